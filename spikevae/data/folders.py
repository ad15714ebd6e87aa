"""The pictures of a folder, a tar file or a zip file: which files count, which part and which class each belongs to."""

from __future__ import annotations

import logging
import os
import struct
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from spikevae.config import Split
from spikevae.data.decode import IMAGE_SUFFIXES
from spikevae.data.image_files import ImageFile as ImageFile
from spikevae.data.image_files import ZippedImage
from spikevae.data.names import ARCHIVES, is_passed_over, part_of
from spikevae.data.walk import is_folder, walk
from spikevae.files import open_regular

log = logging.getLogger(__name__)

_UNREAD = frozenset({".heic", ".heif", ".jxl", ".svg", ".psd", ".raw", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".eps"})
"""Suffixes of pictures that are not read: they are counted and named, so that nobody misses them."""
_PACKED = frozenset({".npy", ".npz", ".zip", ".tar", ".tgz", ".gz", ".7z", ".rar"})
"""Suffixes of files that may hold pictures, and are read on their own, not in a folder: counted and named, too."""


@dataclass(frozen=True, order=True)
class Picture:
    """A picture of a folder: where it lies in it, and how it is read."""

    place: PurePosixPath
    file: ImageFile = field(compare=False)

    def inside(self) -> Picture:
        """The same, seen from the first folder on its way."""
        return Picture(PurePosixPath(*self.place.parts[1:]), self.file)


@dataclass(frozen=True)
class Parts:
    """A folder's pictures by part. Where it has no part for validation or testing of its own, that is None."""

    train: list[Picture]
    validation: list[Picture] | None = None
    test: list[Picture] | None = None
    empty: tuple[str, ...] = ()
    """Subfolders of the part for training that hold no picture that is read."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the subfolders, if every picture for training lies in one of two or more, at any depth."""
        names = sorted({picture.place.parts[0] for picture in self.train})
        return tuple(names) if self.beside_subfolders == 0 and len(names) > 1 else ()

    @property
    def beside_subfolders(self) -> int:
        """How many pictures for training lie in no subfolder."""
        return sum(len(picture.place.parts) == 1 for picture in self.train)


def list_pictures(path: Path) -> list[ImageFile]:
    """All pictures in a folder, at any depth, or in a tar or zip file, in the order of their names.

    What is left out and could be missed is logged in one line. Never counted, and not worth a word, are hidden files
    and folders, what programs leave half written, and files that are no pictures.

    Raises:
        ValueError: if there is none, or the file is damaged.
        OSError: if a folder in it cannot be read.
    """
    return [picture.file for picture in _list(path)]


def list_parts(path: Path) -> Parts:
    """The pictures of a folder, a tar or a zip file by part.

    Where it holds ``train`` beside ``val`` or ``test`` (folders, or tar or zip files), or is itself such a ``train``,
    these are the parts. Of several for training, the one that was named is read. A validation part serves for testing
    where there is no other. Otherwise all are for training.

    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError, OSError: as `list_pictures`.
    """
    if not path.exists():
        raise FileNotFoundError(f"folder:{path}: there is no such folder")
    whole, found = path, _find_parts(path)
    named = Path(os.path.abspath(path))  # "." has no name
    if part_of(named.name) == "train" and (found_beside := _find_parts(named.parent)):
        whole, found = named.parent, {**found_beside, "train": named}
    if found:
        _name_what_is_beside(whole, found)
        parts = _as_parts({split: _list_part(place) for split, place in found.items()})
        _name_what_lies_deeper(found["train"], parts.train)
        return replace(parts, empty=_empty_subfolders(found["train"], parts.train))
    pictures = _without_common_folder(_list(path)) if path.is_file() else _list(path)
    by_part: dict[Split, list[Picture]] = {}
    for picture in pictures:
        split = part_of(picture.place.parts[0]) if len(picture.place.parts) > 1 else None
        if split is not None:
            by_part.setdefault(split, []).append(picture.inside())
    if "train" not in by_part or len(by_part) < 2:
        if parts_named := sorted(by_part.keys() - {"train"}):
            log.warning(
                "%s: it has a part for %s and none for training, so its folders are classes; name the folder of "
                "pictures for training train",
                path, " and ".join(parts_named),
            )  # fmt: skip
        _name_what_lies_deeper(path, pictures)
        return Parts(pictures, empty=_empty_subfolders(path, pictures))
    if beside := len(pictures) - sum(map(len, by_part.values())):
        log.warning("%s: its parts are read (%s); left out: %d pictures beside them", path, ", ".join(by_part), beside)
    return _as_parts(by_part)


def _as_parts(pictures: dict[Split, list[Picture]]) -> Parts:
    validation = pictures.get("validation")
    return Parts(pictures["train"], validation, pictures.get("test", validation))


def _empty_subfolders(folder: Path, pictures: list[Picture]) -> tuple[str, ...]:
    if not folder.is_dir():
        return ()
    filled = {picture.place.parts[0] for picture in pictures}
    names = (entry.name for entry in os.scandir(folder) if is_folder(entry) and not is_passed_over(entry.name))
    return tuple(sorted(name for name in names if name not in filled))


def _find_parts(folder: Path) -> dict[Split, Path]:
    """The folders or archives of a folder that are parts; nothing unless one is for training and another is not."""
    found: dict[Split, Path] = {}
    if folder.is_dir():
        for name in sorted(os.listdir(folder)):
            split = part_of(name)
            if split and ((folder / name).is_dir() or name.lower().endswith(ARCHIVES)):
                found.setdefault(split, folder / name)
    return found if "train" in found and len(found) > 1 else {}


def _list_part(path: Path) -> list[Picture]:
    """The pictures of a part, without the folder of the part's name that an archive may have them in."""
    pictures = _list(path)
    is_deep = all(len(picture.place.parts) > 1 for picture in pictures)
    is_packed_twice = path.is_file() and is_deep and part_of(pictures[0].place.parts[0]) is not None
    return [picture.inside() for picture in pictures] if is_packed_twice else pictures


def _name_what_is_beside(folder: Path, parts: dict[Split, Path]) -> None:
    """Say so where a folder holds pictures or folders that belong to none of its parts."""
    beside = [
        name
        for name in sorted(os.listdir(folder))
        if folder / name not in parts.values()
        and not is_passed_over(name)
        and ((folder / name).is_dir() or PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES)
    ]
    if beside:
        names = ", ".join(path.name for path in parts.values())
        log.warning("%s: its parts are read (%s); left out: %s", folder, names, ", ".join(beside))


def _name_what_lies_deeper(folder: Path, pictures: list[Picture]) -> None:
    """Say so where all pictures lie in one subfolder, whose own subfolders would be parts or classes."""
    inside = _without_common_folder(pictures)
    depth = len(pictures[0].place.parts) - len(inside[0].place.parts)
    if depth and all(len(picture.place.parts) > 1 for picture in inside):
        deeper = folder.joinpath(*pictures[0].place.parts[:depth])
        names = ", ".join(sorted({picture.place.parts[0] for picture in inside}))
        log.warning("%s: its subfolders %s are no classes here; name that folder to have them", deeper, names)


def _without_common_folder(pictures: list[Picture]) -> list[Picture]:
    """The pictures of an archive without the one folder that all of them lie in, which has the archive's name."""
    while len({picture.place.parts[0] for picture in pictures}) == 1 and len(pictures[0].place.parts) > 1:
        pictures = [picture.inside() for picture in pictures]
    return pictures


def _list(path: Path) -> list[Picture]:
    left_out: Counter[str] = Counter()
    if path.is_dir():
        pictures = list(_in_folder(path, left_out))
    else:
        with open_regular(path) as file:
            read = _in_zip if zipfile.is_zipfile(file) else _in_tar
        members = list(read(path, left_out))
        pictures = list({member.place: member for member in members}.values())  # unpacked, the last one of a name stays
        left_out["earlier files of the same name"] += len(members) - len(pictures)
    places = {str(picture.place) for picture in pictures}
    kept = [picture for picture in pictures if not _is_original(picture.place, places)]
    left_out["originals beside their reconstructions"] += len(pictures) - len(kept)
    words = ", ".join(f"{count:,} {what}" for what, count in left_out.items() if count)
    if not kept:
        beside = f"; left out: {words}" if words else ""
        raise ValueError(f"{path} holds no images (files such as .png, .jpg, .webp){beside}")
    if words:
        log.warning("%s: %d pictures are read; left out: %s", path, len(kept), words)
    return sorted(kept)


def _in_folder(root: Path, left_out: Counter[str]) -> Iterator[Picture]:
    for place, entries in walk(root, left_out):
        names = {entry.name for entry in entries}
        if place.parts and _is_run(names):
            left_out["folders of runs and models"] += 1
            entries.clear()
        own = {"previews"} if "run.json" in names else set()
        entries[:] = [entry for entry in entries if not (is_passed_over(entry.name) or entry.name in own)]
        for entry in entries:
            if not is_folder(entry) and _is_counted(entry.name, left_out):
                if os.path.isfile(entry.path):
                    yield Picture(place / entry.name, ImageFile(Path(entry.path)))
                else:
                    left_out["broken links, pipes or devices"] += 1


def _in_tar(path: Path, left_out: Counter[str]) -> list[Picture]:
    found: list[Picture] = []
    try:
        with open_regular(path) as file, tarfile.open(fileobj=file, mode="r:") as archive:
            files: dict[str, tarfile.TarInfo] = {}  # a hard link is a further name of one of them
            for member in archive:
                place = PurePosixPath(member.name)
                content = files.get(member.linkname) if member.islnk() else member
                if content is not None and content.isfile():
                    files[member.name] = content
                    found.append(Picture(place, ImageFile(path, member.name, content.offset_data, content.size)))
                elif (member.issym() or member.islnk()) and not any(map(is_passed_over, place.parts)):
                    left_out["links, which are not followed in an archive"] += 1
    except tarfile.TarError as error:
        kinds = "neither a folder, nor a whole, uncompressed tar file, nor a zip file"
        raise ValueError(f"{path} is {kinds} ({error})") from error
    return _counted_in_archive(found, left_out)


def _in_zip(path: Path, left_out: Counter[str]) -> list[Picture]:
    found: list[Picture] = []
    try:
        archive = zipfile.ZipFile(path)
        for member in archive.infolist():
            place = PurePosixPath(member.filename.replace("\\", "/"))  # as some programs of Windows write it
            if member.filename and not member.is_dir():
                found.append(Picture(place, ZippedImage(path, member.filename, archive=archive)))
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError, struct.error) as error:
        raise ValueError(f"{path} is truncated or no zip file ({error}); get it again") from error
    except OSError as error:
        if error.filename is not None:
            raise
        raise ValueError(f"{path} is damaged ({error}); get it again") from error
    return _counted_in_archive(found, left_out)


def _counted_in_archive(files: list[Picture], left_out: Counter[str]) -> list[Picture]:
    """The pictures among the files of an archive, without those of runs, as in a folder.

    The folder that all files lie in is the root: if that is a run, only its previews are left out.
    """
    left_out["files whose names lead out of the archive"] += sum(".." in file.place.parts for file in files)
    files = [file for file in files if not any(map(is_passed_over, file.place.parts))]  # ".." too
    names: dict[PurePosixPath, set[str]] = {}
    for file in files:
        names.setdefault(file.place.parent, set()).add(file.place.name)
    above = {folder: {folder, *folder.parents} for folder in names}
    shared: set[PurePosixPath] = set.intersection(*above.values()) if above else set()
    root = max(shared, key=lambda folder: len(folder.parts), default=PurePosixPath())
    runs = {folder for folder in names if folder != root and _is_run(names[folder])}
    left_out["folders of runs and models"] += sum(runs.isdisjoint(run.parents) for run in runs)
    own = {root / "previews"} if "run.json" in names.get(root, ()) else set()
    kept = {folder for folder in names if above[folder].isdisjoint(runs | own)}
    return [file for file in files if file.place.parent in kept and _is_counted(file.place.name, left_out)]


def _is_counted(name: str, left_out: Counter[str]) -> bool:
    suffix = PurePosixPath(name).suffix.lower()
    if suffix in _UNREAD:
        left_out[f"{suffix} files, which are not read (save them as .png or .jpg)"] += 1
    if suffix in _PACKED:
        left_out[f"{suffix} files, which are not read here (give each on its own, or unpack it)"] += 1
    return suffix in IMAGE_SUFFIXES


def _is_run(names: set[str]) -> bool:
    """Whether the files of a folder are those of a training run or a model."""
    return "run.json" in names or {"config.json", "model.safetensors"} <= names


def _is_original(place: PurePosixPath, places: set[str]) -> bool:
    """Whether this is what `spikevae reconstruct` writes beside a reconstruction: ``0001_original.png``."""
    stem = place.stem.removesuffix("_original")
    return stem != place.stem and str(place.with_name(stem + place.suffix)) in places
