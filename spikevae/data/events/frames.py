"""Events into frames: counts of each polarity, pixel and time slice; made once for a data set and kept on disk."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import filelock
import numpy as np
from jaxtyping import UInt8

from spikevae.config import ModelConfig
from spikevae.console import progress
from spikevae.data.events.recording import Recording, Size
from spikevae.files import cache_folder, write_atomically

log = logging.getLogger(__name__)

_VERSION = 2  # of what frames hold; another one makes the kept ones anew


@dataclass(frozen=True)
class FrameConfig:
    """How the events of a recording become T frames."""

    time_steps: int = 10
    """T, slices of a recording."""
    slice_by: Literal["number", "time"] = "number"
    """Slices with equally many events, or of equal duration; what is left over goes to the last one."""
    size: Size | None = None
    """Height and width of the frames; smaller than the sensor's, they add up pixels that fall together."""

    @classmethod
    def taken_by(cls, model: ModelConfig) -> FrameConfig:
        """Frames as a network takes them."""
        return cls(model.time_steps, model.slice_by, model.frame_size)

    def __post_init__(self) -> None:
        if not 1 <= self.time_steps <= 1024:
            raise ValueError(f"time_steps={self.time_steps} is outside 1 to 1024")
        if self.slice_by not in ("number", "time"):
            raise ValueError(f"slice_by={self.slice_by!r} is none of number, time")
        if self.size is not None and not all(1 <= side <= 1024 for side in self.size):
            raise ValueError(f"size={self.size}: frames have 1 to 1024 pixels each way")


def shrunk(recording: Recording, size: Size) -> Recording:
    """A recording on a sensor of ``size`` pixels: those of its own that fall together become one.

    A sensor whose size is a guess is at least that large.

    Raises:
        ValueError: if the sensor is known to be smaller.
    """
    if recording.size == size:
        return recording
    (height, width), (H, W) = recording.size, size
    if not recording.is_size_known:
        height, width = max(height, H), max(width, W)
    if height < H or width < W:
        raise ValueError(f"frames of {H}x{W} pixels are larger than the sensor's {height}x{width}")
    y, x = recording.y.astype(np.int64) * H // height, recording.x.astype(np.int64) * W // width
    return replace(recording, y=y.astype(np.int16), x=x.astype(np.int16), size=size)


def to_frames(recording: Recording, config: FrameConfig) -> UInt8[np.ndarray, "T 2 H W"]:
    """Counts of events: ``frames[t, p, y, x]``, p = 1 for ON; 255 stands for all that are more.

    Slices are those of spikingjelly and of the TCJA authors: N // T events, or (last - first time) // T microseconds,
    and what is left over in the last.

    Raises:
        ValueError: as `shrunk` does.
    """
    T, (H, W) = config.time_steps, config.size or recording.size
    recording = shrunk(recording, (H, W))
    if config.slice_by == "number":
        steps = np.minimum(np.arange(len(recording)) // max(len(recording) // T, 1), T - 1)
    else:
        start = recording.t[0] if len(recording) else 0
        elapsed = recording.t - start
        steps = np.minimum(elapsed // (recording.duration // T), T - 1) if recording.duration >= T else 0 * elapsed
    y, x = recording.y.astype(np.int64), recording.x.astype(np.int64)
    places = ((steps * 2 + recording.p) * H + y) * W + x
    counts = np.bincount(places, minlength=T * 2 * H * W)
    return np.minimum(counts, 255).astype(np.uint8).reshape(T, 2, H, W)


def kept_frames(
    read: Callable[[], Iterable[Recording]],
    count: int,
    config: FrameConfig,
    *,
    key: Any,
    name: str,
    folder: Path | None = None,
) -> UInt8[np.ndarray, "N T 2 H W"]:
    """The frames of ``count`` recordings, mapped from a file that is written the first time, with a progress bar.

    Of several processes that want the same frames one makes them and the others wait. Where no file can be written,
    as on a full disk, the frames stay in memory.

    Args:
        read: gives the recordings from the first one on. It is called if the file is not there, and once more if that
            cannot be written.
        count: N, recordings there are.
        config: how they are cut.
        key: all else that the frames follow from, in values that JSON knows; another key is another file.
        name: what the user called the data set, for the progress bar and the file's name.
        folder: where such files are kept; otherwise ``frames`` in the user's cache folder.

    Raises:
        ValueError: if the recordings are none, or not of one size.
    """
    said = json.dumps([_VERSION, key, count, asdict(config)], sort_keys=True, default=str)
    digest = hashlib.sha256(said.encode()).hexdigest()[:16]
    stem = "".join(letter if letter.isalnum() or letter == "-" else "-" for letter in name)[-40:]
    folder = folder or cache_folder("frames", "set HOME or XDG_CACHE_HOME")
    path = folder / f"{stem}-{digest}.npy"
    kept = _mapped(path, count)
    if kept is not None:
        return kept
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(path.with_suffix(".lock")):
            kept = _mapped(path, count)
            if kept is None:
                _write_frames(path, read(), count, config, name)
                kept = _mapped(path, count)
    except (OSError, NotImplementedError) as error:  # NotImplementedError: a file system without locks
        if isinstance(error, OSError) and error.filename is not None and not _is_within(error.filename, folder):
            raise  # about a recording
        log.warning("frames of %s are kept in memory, since %s cannot be written (%s)", name, path, error)
    if kept is None:
        kept = np.concatenate([frames[None] for frames in _made(read(), count, config, name)])
    return kept


def _is_within(path: str | bytes, folder: Path) -> bool:
    return Path(os.fsdecode(path)).is_relative_to(folder) or folder.is_relative_to(Path(os.fsdecode(path)))


def _mapped(path: Path, count: int) -> UInt8[np.ndarray, "N T 2 H W"] | None:
    """The frames in a file; None if it is missing or not what it should be."""
    try:
        frames: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return frames if frames.dtype == np.uint8 and frames.ndim == 5 and len(frames) == count else None


def _write_frames(path: Path, recordings: Iterable[Recording], count: int, config: FrameConfig, name: str) -> None:
    def write(temporary: Path) -> None:
        # Written in order, not mapped: a mapped hole that a full disk cannot fill kills the process (SIGBUS).
        with temporary.open("wb") as file:
            for number, frames in enumerate(_made(recordings, count, config, name)):
                if number == 0:
                    header = {"descr": "|u1", "fortran_order": False, "shape": (count, *frames.shape)}
                    np.lib.format.write_array_header_1_0(file, header)
                file.write(frames.tobytes())

    write_atomically(path, write)


def _made(
    recordings: Iterable[Recording], count: int, config: FrameConfig, name: str
) -> Iterable[UInt8[np.ndarray, "T 2 H W"]]:
    shape: tuple[int, ...] | None = None
    with progress(count, f"frames of {name}", unit="recording") as done:
        for recording in recordings:
            try:
                frames = to_frames(recording, config)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from error
            if shape not in (None, frames.shape):
                raise ValueError(
                    f"{name} has recordings of {shape[-2:]} and of {frames.shape[-2:]} pixels; give a size"
                )
            shape = frames.shape
            yield frames
            done(1)
    if shape is None:
        raise ValueError(f"{name} has no recordings")
