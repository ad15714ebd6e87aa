"""A split of an event data set before its events are read, and the recordings in files that it may be."""

from __future__ import annotations

import csv
import logging
import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from spikevae.config import CIFAR10_CLASSES, DVS128_CLASSES, MNIST_CLASSES, Split
from spikevae.data.division import divide, origins, without_learned
from spikevae.data.events.files import Archive, RecordingFile, is_recording, list_recordings, read_all, recordings_in
from spikevae.data.events.recording import Recording, Size
from spikevae.data.names import PARTS_IN_WORDS, is_passed_over, part_of, some_of

log = logging.getLogger(__name__)

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
    files: Sequence[RecordingFile] = ()  # one for each, where any can be read alone
    held_out: int = 0  # how many of a training split, the last ones, are a validation part of its own
    origins: dict[str, str] | None = None  # of a folder; see `EventSet.origins`


def _of_files(files: Sequence[RecordingFile], labels: Sequence[int] | None, names: tuple[str, ...]) -> EventSource:
    """A source of files; frames that were made of others, or of other versions of them, are not used."""
    return EventSource(
        len(files),
        lambda: read_all(files),
        _versions(files),
        None if labels is None else torch.tensor(list(labels)),
        names,
        files,
    )


def _versions(files: Sequence[RecordingFile]) -> list[Any]:
    """The files with their sizes and times of change, in values that JSON knows."""
    stamps = {
        path: (str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns)
        for path in {file.path for file in files}
    }
    return [(*stamps[file.path], file.member, file.start, file.end, file.number) for file in files]


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
    """A folder of recordings, one subfolder a class, or ``train``, ``validation`` and ``test`` with such subfolders.

    These parts go by any name that they may have in a folder of pictures. A validation part serves for testing where
    there is no other; without either, a fixed tenth of the recordings is for testing. Where recordings lie right in the
    part for training, there are no labels.

    Raises:
        ValueError: if the folder or one of its parts holds no recordings, or too few, or one is of a class that there
            is none of for training.
        OSError: if there is no such folder.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"events:{folder}: there is no such folder")
    places = _parts_of(folder)
    parts = {split: recordings_in(place) for split, place in places.items()}
    empty = next((places[split] for split, files in parts.items() if not files), None)
    if empty is not None:
        raise ValueError(f"{empty} holds no recordings (files such as .bin, .aedat, .npz)")
    parts = without_learned(parts, places, lambda file: os.path.realpath(file.path), "recordings")
    folder_of = {file: _folder_in(places[split], file) for split, files in parts.items() for file in files}
    names = _class_names([folder_of[file] for file in parts["train"]], places["train"])
    everything, held_out = list(folder_of), parts.get("validation", [])
    if len(parts) == 1:
        chosen = [everything[row] for row in divide(len(everything), _TEST_SHARE)[is_test].tolist()]
    else:
        chosen = parts.get("test", held_out) if is_test else parts["train"] + held_out
    if not chosen:
        raise ValueError(f"events:{folder}: one recording cannot be divided into parts; add recordings")
    foreign = [file for file in everything if names and folder_of[file] not in names]
    if foreign:
        what = f"events:{folder}: {foreign[0].path} is of no class that there is to learn from ({', '.join(names)})"
        if any(file in chosen for file in foreign):
            raise ValueError(f"{what}; move it")
        log.warning("%s; until it is moved, nothing can be tested on that part", what)
    source = _of_files(chosen, [names.index(folder_of[file]) for file in chosen] if names else None, names)

    def read() -> Iterator[Recording]:
        size, is_known = _size_of_all(everything, folder)
        return (replace(recording, size=size, is_size_known=is_known) for recording in read_all(chosen))

    key = [source.key, _versions(everything)]  # the sensor's size follows from all of them
    names_of_files = (_place_in(places["train"], file) for file in parts["train"])
    drawn = origins(names_of_files, has_validation=bool(held_out), has_test=len(parts) > 1)
    return replace(source, read=read, files=(), key=key, held_out=0 if is_test else len(held_out), origins=drawn)


def _place_in(folder: Path, file: RecordingFile) -> str:
    return f"{file.path.relative_to(folder).as_posix()}:{file.number}"


def _size_of_all(files: Sequence[RecordingFile], folder: Path) -> tuple[Size, bool]:
    """The sensor's, the largest that a file names, or that its events need where it names none; and if one names it."""
    found = [(recording.size, recording.is_size_known) for recording in read_all(files)]
    size = (max(height for (height, _), _ in found), max(width for (_, width), _ in found))
    smaller = [(file, own) for file, (own, is_known) in zip(files, found, strict=True) if is_known and own != size]
    if smaller:
        log.warning(
            "events:%s: %d recordings of a sensor of fewer than %dx%d pixels, as %s (%dx%d), stand in the corner of "
            "their frames; put recordings of one sensor into a folder",
            folder, len(smaller), *size, smaller[0][0].name, *smaller[0][1],
        )  # fmt: skip
    return size, (size, True) in found


def _parts_of(folder: Path) -> dict[Split, Path]:
    """Where the recordings of each part lie; the folder itself is for training if it has no parts."""
    inside = [path for path in sorted(folder.iterdir()) if not is_passed_over(path.name)]
    found: dict[Split, Path] = {}
    for path in inside:
        split = part_of(path.name)
        if split is not None and path.is_dir():
            found.setdefault(split, path)
    others = (path for path in inside if path not in found.values())
    beside = [path for path in others if path.is_dir() or is_recording(Path(path.name))]
    is_alone = len(found) == 1 and not any(path.is_file() or list_recordings(path) for path in beside)
    if found and "train" not in found and not beside:
        log.warning(
            "%s holds %s and no part for training, so all of it is for training; put a folder named train beside",
            folder, " and ".join(path.name for path in found.values()),
        )  # fmt: skip
    if len(found) == 1 and "train" in found and not is_alone:
        log.warning(
            "%s has a part for training and none for validation or testing, so all of it is for training (%s); parts "
            "are called %s",
            folder, some_of([path.name for path in (*found.values(), *beside)]), PARTS_IN_WORDS,
        )  # fmt: skip
    if "train" not in found or (len(found) == 1 and not is_alone):
        return {"train": folder}
    if beside and not is_alone:
        names, left_out = (", ".join(path.name for path in paths) for paths in (found.values(), beside))
        log.warning("%s: its parts are read (%s); left out: %s", folder, names, left_out)
    return found


def _class_names(folders: Sequence[str], place: Path) -> tuple[str, ...]:
    """Names of the subfolders that recordings lie in; none if some lie in none."""
    beside = folders.count("")
    if 0 < beside < len(folders):
        log.warning("%s: subfolders are no classes here, since %d recordings lie in none of them", place, beside)
    return () if beside else tuple(sorted(set(folders)))


def _folder_in(place: Path, file: RecordingFile) -> str:
    """The subfolder of a part that a recording lies in, at any depth; empty if it lies in none."""
    return file.path.relative_to(place).parts[0] if file.path.parent != place else ""
