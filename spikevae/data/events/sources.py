"""A split of an event data set before its events are read, and the recordings in files that it may be."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from spikevae.config import CIFAR10_CLASSES, DVS128_CLASSES, MNIST_CLASSES
from spikevae.data.division import divide
from spikevae.data.events.files import Archive, RecordingFile, list_recordings, read_all
from spikevae.data.events.recording import Recording, Size

_TRAIN_SHARE = 0.9  # of every class of the sets without a split of their own, as the TCJA authors divide them
_TEST_SHARE = 0.1  # of a folder that has no test split of its own


@dataclass(frozen=True)
class EventSource:
    """One split of a data set, before its events are read."""

    count: int
    read: Callable[[], Iterator[Recording]]
    key: Any  # what the recordings follow from, in values that JSON knows
    labels: Tensor | None  # int64 [count]
    class_names: tuple[str, ...]


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


def n_mnist(root: Path, is_test: bool) -> EventSource:
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


def cifar10_dvs(root: Path, is_test: bool) -> EventSource:
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


def n_caltech101(root: Path, is_test: bool) -> EventSource:
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


def dvs128_gesture(root: Path, is_test: bool) -> EventSource:
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


def from_folder(folder: Path, is_test: bool) -> EventSource:
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
