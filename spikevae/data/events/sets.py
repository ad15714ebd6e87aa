"""Event data sets by name: where their recordings lie or how they are made, and how they are divided."""

from __future__ import annotations

import csv
import difflib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spikevae.config import CIFAR10_CLASSES, DVS128_CLASSES, GESTURE_CLASSES, MNIST_CLASSES, Split
from spikevae.data.division import divide
from spikevae.data.events.augment import EventAugmentation
from spikevae.data.events.eventset import EventSet
from spikevae.data.events.files import Archive, RecordingFile, list_recordings, read_all
from spikevae.data.events.frames import FrameConfig, kept_frames
from spikevae.data.events.gestures import (
    GESTURE_SENSOR,
    gesture_labels,
    made_shapes,
    record_gestures,
)
from spikevae.data.events.recording import Recording, Size
from spikevae.data.events.simulate import NMNIST_SENSOR, SIMULATION_VERSION, record_digits
from spikevae.data.readers import read_mnist_family

_TRAIN_SHARE = 0.9  # of every class of the sets without a split of their own, as the TCJA authors divide them
_TEST_SHARE = 0.1  # of a folder that has no test split of its own
_SIMULATED_DIGITS = (10_000, 1_000)  # for training and for testing
_SIMULATED_GESTURES = (6_000, 1_000)
_REAL_DIGITS = (1_000, 100)  # recordings that others may have: the same digits are never simulated


@dataclass(frozen=True)
class EventSource:
    """One split of a data set, before its events are read."""

    count: int
    read: Callable[[], Iterator[Recording]]
    key: Any  # what the recordings follow from, in values that JSON knows
    labels: Tensor | None  # int64 [count]
    class_names: tuple[str, ...]


def load_events(
    name: str,
    split: Split,
    *,
    root: Path,
    frames: FrameConfig | None = None,
    validation_share: float = 0.05,
    augmentation: EventAugmentation | None = None,
    frames_folder: Path | None = None,
) -> EventSet:
    """One part of an event data set, cut into frames (the first time, which takes a while; then they are kept).

    The validation part is held out of the training split by a fixed permutation, the same for every training seed.

    Args:
        name: one of `EVENT_DATASETS`, or ``events:FOLDER``.
        split: which part.
        root: where the data sets lie.
        frames: how recordings are cut.
        validation_share: share of the training split that is held out.
        augmentation: of the shuffled batches of the training part; the others are never changed.
        frames_folder: where frames are kept; otherwise in the user's cache folder.

    Raises:
        ValueError: if the data set is unknown or too small, or a recording is not what its name says.
        OSError: if a file is missing or cannot be read.
    """
    source = _find(name)(root, split == "test")
    kept = kept_frames(
        source.read(), source.count, frames or FrameConfig(), key=source.key, name=name, folder=frames_folder
    )
    rows = None
    if split != "test":
        parts = divide(source.count, validation_share)
        rows = parts[0 if split == "train" else 1]
        if not len(rows):
            raise ValueError(
                f"{name}: {source.count} training recordings with validation_share={validation_share} leave none for "
                f"the {split} part; raise validation_share or add recordings"
            )
    return EventSet(
        kept,
        source.labels,
        name=name,
        split=split,
        class_names=source.class_names,
        rows=rows,
        augmentation=augmentation if split == "train" else None,
    )


def load_recordings(name: str, split: Split, *, root: Path, count: int) -> list[tuple[Recording, int]]:
    """The first recordings of the training or the test split, with their labels (-1 where there are none)."""
    source = _find(name)(root, split == "test")
    labels = [-1] * source.count if source.labels is None else source.labels.tolist()
    return [(recording, label) for recording, label, _ in zip(source.read(), labels, range(count), strict=False)]


def _find(name: str) -> Callable[[Path, bool], EventSource]:
    if name.startswith("events:"):
        folder = Path(name.removeprefix("events:")).expanduser()
        return lambda root, is_test: _from_folder(folder, is_test)
    if name in EVENT_DATASETS:
        return EVENT_DATASETS[name]
    known = [*EVENT_DATASETS, "events:FOLDER"]
    near = difflib.get_close_matches(name, known, n=1)
    raise ValueError(
        f"there is no event data set {name!r}; " + (f"did you mean {near[0]!r}?" if near else f"use {', '.join(known)}")
    )


# ------------------------------------------------------------ recordings in files


def _of_files(files: Sequence[RecordingFile], labels: Sequence[int] | None, names: tuple[str, ...]) -> EventSource:
    """A source of files; frames that were made of others, or of other versions of them, are not used."""
    stamps = {
        path: (str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns)
        for path in {file.path for file in files}
    }
    key = [(*stamps[file.path], file.member, file.start, file.end) for file in files]
    return EventSource(
        len(files), lambda: read_all(files), key, None if labels is None else torch.tensor(list(labels)), names
    )


def _n_mnist(root: Path, is_test: bool) -> EventSource:
    """``Train.zip`` and ``Test.zip`` as they are, or the folders in them; each has a folder for each digit."""
    stem = "Test" if is_test else "Train"
    files = _packed_or_not(root / "NMNIST", stem, (34, 34))
    if not files:
        raise FileNotFoundError(
            f"there is no N-MNIST in {root / 'NMNIST'}: put {stem}.zip ({'0.2' if is_test else '1'} GB) there, from "
            "www.garrickorchard.com/datasets/n-mnist; it is not downloaded"
        )
    files.sort(key=lambda file: Path(file.member or file.path).name)  # the order of MNIST
    return _of_files(files, [_class_of(file, MNIST_CLASSES) for file in files], MNIST_CLASSES)


def _cifar10_dvs(root: Path, is_test: bool) -> EventSource:
    """The ten archives ``airplane.zip`` … as they are, or the folders in them."""
    folder = root / "CIFAR10DVS"
    files: list[RecordingFile] = []
    for name in CIFAR10_CLASSES:
        found = _packed_or_not(folder, name, (128, 128))
        if not found:
            raise FileNotFoundError(
                f"there is no {name}.zip in {folder}: put the ten archives of CIFAR10-DVS (about 8 GB) there, from "
                "figshare.com/articles/dataset/CIFAR10-DVS_New/4724671; they are not downloaded"
            )
        files += found
    return _first_nine_tenths(files, CIFAR10_CLASSES, is_test)


def _n_caltech101(root: Path, is_test: bool) -> EventSource:
    """``Caltech101.zip`` as it is, or the folder in it, with a folder for each class."""
    folder = root / "NCaltech101"
    files = _packed_or_not(folder, "Caltech101", (180, 240))
    if not files:
        raise FileNotFoundError(
            f"there is no N-Caltech101 in {folder}: put Caltech101.zip (about 4 GB) there, from "
            "www.garrickorchard.com/datasets/n-caltech101; it is not downloaded"
        )
    names = tuple(sorted({_folder_of(file) for file in files}))
    return _first_nine_tenths(files, names, is_test)


def _first_nine_tenths(files: Sequence[RecordingFile], names: tuple[str, ...], is_test: bool) -> EventSource:
    """The first 90 % of every class, in the order of the names, for training and the others for testing."""
    chosen: list[RecordingFile] = []
    labels: list[int] = []
    for label, name in enumerate(names):
        own = [file for file in files if _folder_of(file) == name]
        border = math.ceil(len(own) * _TRAIN_SHARE)
        part = own[border:] if is_test else own[:border]
        chosen += part
        labels += [label] * len(part)
    if not chosen:
        raise ValueError(f"{files[0].path}: too few recordings for a test split; is the archive complete?")
    return _of_files(chosen, labels, names)


def _dvs128_gesture(root: Path, is_test: bool) -> EventSource:
    """The folder in ``DvsGesture.tar.gz``: recordings of several gestures, cut where their labels say.

    The end of a gesture that lies beyond the start of the next one (user22_led) is that start.
    """
    folder = root / "DVS128Gesture" / "DvsGesture"
    trials = folder / f"trials_to_{'test' if is_test else 'train'}.txt"
    if not trials.is_file():
        raise FileNotFoundError(
            f"{trials} is missing: put DvsGesture.tar.gz (about 3 GB) into {folder.parent}, from "
            "research.ibm.com/interactive/dvsgesture, and unpack it with tar xzf; it is not downloaded"
        )
    files: list[RecordingFile] = []
    labels: list[int] = []
    for name in trials.read_text(encoding="utf-8", errors="replace").split():
        path = folder / name
        for label, start, end in _gestures_of(path.with_name(f"{path.stem}_labels.csv")):
            files.append(RecordingFile(path, start=start, end=end, size=(128, 128)))
            labels.append(label)
    if not files:
        raise ValueError(f"{trials} names no recordings; unpack the archive again")
    return _of_files(files, labels, DVS128_CLASSES)


def _gestures_of(path: Path) -> list[tuple[int, int, int]]:
    """Label (from 0), start and end of each gesture in a file of labels, in the order of time."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = [tuple(int(value) for value in row) for row in list(csv.reader(file))[1:] if row]
    except (ValueError, csv.Error) as error:
        raise ValueError(f"{path} is no list of class, start and end ({error}); unpack the archive again") from error
    gestures = []
    rows.sort(key=lambda row: row[1:2])
    for number, row in enumerate(rows):
        if len(row) != 3 or not 1 <= row[0] <= len(DVS128_CLASSES) or not 0 <= row[1] < row[2]:
            raise ValueError(f"{path}: {row} is no class from 1 to {len(DVS128_CLASSES)}, start and later end")
        end = min([row[2], *(other[1] for other in rows[number + 1 : number + 2] if other[1] > row[1])])
        gestures.append((row[0] - 1, row[1], end))
    return gestures


def _packed_or_not(folder: Path, stem: str, size: Size) -> list[RecordingFile]:
    """The recordings in ``stem.zip``, or else in the folder ``stem``; none if there is neither."""
    packed = folder / f"{stem}.zip"
    if packed.is_file():
        with Archive(packed) as archive:
            files = [RecordingFile(packed, member) for member in archive.recordings()]
    else:
        files = list_recordings(folder / stem)
    if not files and (packed.is_file() or (folder / stem).is_dir()):
        raise ValueError(f"{packed if packed.is_file() else folder / stem} holds no recordings; get it again")
    return [replace(file, size=size) for file in files]


def _folder_of(file: RecordingFile) -> str:
    return Path(file.member or file.path).parent.name


def _class_of(file: RecordingFile, names: tuple[str, ...]) -> int:
    if _folder_of(file) not in names:
        raise ValueError(f"{file.name} is in no folder of a class; expected one of {', '.join(names)}")
    return names.index(_folder_of(file))


def _from_folder(folder: Path, is_test: bool) -> EventSource:
    """A folder of recordings, one subfolder a class, or ``train`` and ``test`` with such subfolders.

    Without a ``test``, a fixed tenth of the recordings is for testing. Recordings right in it have no labels.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"events:{folder}: there is no such folder")
    has_split = (folder / "train").is_dir() and (folder / "test").is_dir()
    parts = [list_recordings(folder / name) for name in ("train", "test")] if has_split else [list_recordings(folder)]
    everything = [file for part in parts for file in part]
    if not all(parts):
        raise ValueError(f"{folder} holds no recordings (files such as .bin, .aedat, .npz)")
    base = folder / "train" if has_split else folder
    names = tuple(sorted({_class_folder(file, base) for file in parts[0]}))
    if has_split:
        chosen, base = parts[is_test], folder / ("test" if is_test else "train")
    else:
        chosen = [everything[row] for row in divide(len(everything), _TEST_SHARE)[is_test].tolist()]
    if not chosen:
        raise ValueError(f"events:{folder}: one recording cannot be divided into parts; add recordings")
    labels = None
    if names != ("",):
        labels = [names.index(name) if (name := _class_folder(file, base)) in names else -1 for file in chosen]
    source = _of_files(chosen, labels, names if labels else ())

    def read() -> Iterator[Recording]:
        sizes = [recording.size for recording in read_all(everything)]  # files of some formats do not say their own
        size = (max(height for height, _ in sizes), max(width for _, width in sizes))
        return (replace(recording, size=size) for recording in read_all(chosen))

    return replace(source, read=read, key=[source.key, [str(file.path) for file in everything]])


def _class_folder(file: RecordingFile, base: Path) -> str:
    return file.path.relative_to(base).parts[0] if file.path.parent != base else ""


# ------------------------------------------------------------ recordings that are made


def _simulated_digits(root: Path, is_test: bool) -> EventSource:
    """Digits of MNIST that are not among N-MNIST's first recordings, seen by the simulated camera."""
    pixels, labels = read_mnist_family("MNIST", root, is_test)
    first, count = _REAL_DIGITS[is_test], _SIMULATED_DIGITS[is_test]
    images = pixels[first : first + count, 0].numpy()
    key = ["sim-n-mnist", SIMULATION_VERSION, is_test, images.sum(dtype=np.int64).item(), asdict(NMNIST_SENSOR)]
    return EventSource(
        len(images),
        lambda: record_digits(images, seed=int(is_test)),
        key,
        labels[first : first + count],
        MNIST_CLASSES,
    )


def _simulated_gestures(root: Path, is_test: bool) -> EventSource:
    """Moving digits and garments; those of the test split are of the test images."""
    both = [read_mnist_family(folder, root, is_test)[0][:, 0].numpy() for folder in ("MNIST", "FashionMNIST")]
    return _gestures(np.concatenate(both), is_test, "images")


def _simulated_shapes(root: Path, is_test: bool) -> EventSource:
    """The same movements of made shapes, for a machine without images."""
    return _gestures(made_shapes(_SIMULATED_GESTURES[is_test], seed=1 + is_test), is_test, "shapes")


def _gestures(objects: np.ndarray, is_test: bool, kind: str) -> EventSource:
    count = _SIMULATED_GESTURES[is_test]
    key = [
        "sim-gestures",
        SIMULATION_VERSION,
        kind,
        is_test,
        objects.sum(dtype=np.int64).item(),
        asdict(GESTURE_SENSOR),
    ]
    return EventSource(
        count,
        lambda: record_gestures(objects, count, seed=int(is_test)),
        key,
        torch.from_numpy(gesture_labels(count)),
        GESTURE_CLASSES,
    )


EVENT_DATASETS: dict[str, Callable[[Path, bool], EventSource]] = {
    "n-mnist": _n_mnist,
    "dvs128-gesture": _dvs128_gesture,
    "cifar10-dvs": _cifar10_dvs,
    "n-caltech101": _n_caltech101,
    "sim-n-mnist": _simulated_digits,
    "sim-gestures": _simulated_gestures,
    "sim-shapes": _simulated_shapes,
}
"""The training or the test split of each, read from a data root."""
