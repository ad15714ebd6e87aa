"""Recordings out, whole or not at all: .npz, ATIS .bin, pictures and animations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from spikevae.data.events.frames import FrameConfig, to_frames
from spikevae.data.events.pictures import write_animation, write_film_strip
from spikevae.data.events.recording import Recording, Size
from spikevae.files import check_output, write_atomically

_SUFFIXES = (".bin", ".gif", ".npz", ".png", ".webp")
_ATIS_ROWS, _ATIS_COLUMNS, _ATIS_TIME = 240, 256, 2**23


def check_recordings_path(path: Path | str, count: int) -> Path:
    """Refuse a path that `save_recordings` cannot write ``count`` recordings to, before they are made.

    Raises:
        ValueError: if the suffix is unknown, something is in the way, or a ``.bin`` is to hold several.
        OSError: if the folder that it would lie in takes no new files.
    """
    path = check_output(path, "recordings", _SUFFIXES)
    if path.suffix.lower() == ".bin" and count > 1:
        raise ValueError(f"{path} can hold one recording, not {count}; name a folder (no suffix) or an .npz file")
    return path


def check_recordings_fit(path: Path | str, size: Size, duration: int) -> None:
    """Refuse a ``.bin`` file, or a folder of them, for recordings that the format cannot hold, before they are made.

    Args:
        path: as `save_recordings` takes it.
        size: height and width of the sensor.
        duration: microseconds; all times are below it.

    Raises:
        ValueError: if the sensor is larger, or the recordings are longer, than the format has room for.
    """
    if Path(path).suffix.lower() not in ("", ".bin"):
        return
    if size[0] > _ATIS_ROWS or size[1] > _ATIS_COLUMNS or duration > _ATIS_TIME:
        raise ValueError(
            f"a .bin file holds {_ATIS_ROWS} rows, {_ATIS_COLUMNS} columns and {_ATIS_TIME:,} µs; these recordings "
            f"have {size[0]} rows, {size[1]} columns and {duration:,} µs; write an .npz file"
        )


def save_recordings(
    recordings: Sequence[Recording],
    path: Path | str,
    *,
    labels: Sequence[int] | None = None,
    frames: FrameConfig | None = None,
    originals: UInt8[np.ndarray, "N T 2 H W"] | None = None,
) -> None:
    """Write recordings in the form that the suffix of ``path`` names; equal recordings give equal bytes.

    ``.npz``: arrays t, x, y, p, and size if it is known; for several recordings one after another, with ``offsets``
    [N + 1], and ``labels`` [N] if given. ``.bin``: ATIS, one recording. ``.gif``, ``.webp``: an animation. ``.png``: a
    film strip. No suffix: a folder of ``.bin`` files named by their number, and their label if given.

    Args:
        recordings: at least one.
        path: a file of the same kind is replaced; missing folders above it are made.
        labels: one for each.
        frames: time steps of pictures and animations.
        originals: frames that pictures and animations show before those of each recording.

    Raises:
        ValueError: if there is nothing to write, ``path`` cannot take it, or ``.bin`` cannot hold it.
    """
    path = check_recordings_path(path, len(recordings))
    if not recordings:
        raise ValueError(f"there are no recordings to write to {path}")
    if labels is not None and len(labels) != len(recordings):
        raise ValueError(f"{len(labels)} labels for {len(recordings)} recordings; expected one for each")
    suffix = path.suffix.lower()
    if suffix == ".npz":
        write: Callable[[Path], None] = partial(_write_npz, recordings=recordings, labels=labels)
    elif suffix == ".bin":
        write = partial(_write_atis, recording=recordings[0])
    elif suffix:
        drawn = np.stack([to_frames(recording, frames or FrameConfig()) for recording in recordings])
        if originals is not None:
            drawn = np.stack([originals, drawn], axis=1).reshape(-1, *drawn.shape[1:])
        write = (
            partial(write_film_strip, frames=drawn)
            if suffix == ".png"
            else partial(write_animation, frames=drawn, image_format=suffix[1:].upper())
        )
    else:
        write = partial(_write_folder, recordings=recordings, labels=labels)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, write)


def encode_atis(recording: Recording) -> bytes:
    """The content of an ATIS ``.bin`` file, as N-MNIST has them.

    Raises:
        ValueError: if a place or a time does not fit into the format.
    """
    if len(recording) and (
        recording.y.max() >= _ATIS_ROWS
        or recording.x.max() >= _ATIS_COLUMNS
        or recording.t[0] < 0
        or recording.t[-1] >= _ATIS_TIME
    ):
        raise ValueError(
            f"a .bin file holds {_ATIS_ROWS} rows, {_ATIS_COLUMNS} columns and 0 to {_ATIS_TIME - 1:,} µs; "
            f"this recording has events up to y={recording.y.max()}, x={recording.x.max()} from {recording.t[0]:,} to "
            f"{recording.t[-1]:,} µs; write an .npz file"
        )
    packed = np.empty((len(recording), 5), np.uint8)
    packed[:, 0], packed[:, 1] = recording.x, recording.y
    packed[:, 2] = recording.p << 7 | (recording.t >> 16).astype(np.uint8)
    packed[:, 3], packed[:, 4] = recording.t >> 8 & 0xFF, recording.t & 0xFF
    return packed.tobytes()


def _write_atis(path: Path, recording: Recording) -> None:
    path.write_bytes(encode_atis(recording))


def _write_npz(path: Path, recordings: Sequence[Recording], labels: Sequence[int] | None) -> None:
    sizes = {recording.size for recording in recordings}
    if len(sizes) > 1:
        raise ValueError(f"recordings of sensors of {len(sizes)} sizes do not go into one file; name a folder")
    arrays = {name: np.concatenate([getattr(recording, name) for recording in recordings]) for name in "txyp"}
    if all(recording.is_size_known for recording in recordings):  # a guess would be taken for the sensor's
        arrays["size"] = np.asarray(recordings[0].size, np.int64)
    if len(recordings) > 1:
        arrays["offsets"] = np.cumsum([0, *map(len, recordings)], dtype=np.int64)
    if labels is not None:
        arrays["labels"] = np.asarray(labels, np.int64)
    with path.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def _write_folder(path: Path, recordings: Sequence[Recording], labels: Sequence[int] | None) -> None:
    path.mkdir()
    digits = max(4, len(str(len(recordings) - 1)))
    for number, recording in enumerate(recordings):
        label = "" if labels is None else f"-{labels[number]}"
        _write_atis(path / f"{number:0{digits}}{label}.bin", recording)
