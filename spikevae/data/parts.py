"""Which part and which class each picture of a folder, a tar file or a zip file belongs to."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from spikevae.config import Split
from spikevae.data.decode import IMAGE_SUFFIXES
from spikevae.data.division import without_learned
from spikevae.data.folders import Picture, list_places
from spikevae.data.names import ARCHIVES, PARTS_IN_WORDS, is_passed_over, part_of, some_of
from spikevae.data.walk import is_folder

log = logging.getLogger(__name__)


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


def list_parts(path: Path) -> Parts:
    """The pictures of a folder, a tar or a zip file by part.

    Where it holds ``train`` beside ``val`` or ``test`` (folders, or tar or zip files), or is itself one of those,
    these are the parts. Of several for one part, the one that was named is read. A validation part serves for testing
    where there is no other. Otherwise all are for training.

    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError, OSError: as `list_pictures`.
    """
    if not path.exists():
        raise FileNotFoundError(f"folder:{path}: there is no such folder")
    whole, found = parts_of(path)
    if found:
        if whole is not path and part_of(Path(os.path.abspath(path)).name) != "train":
            log.warning("%s is a part of %s: the parts beside it are read too", path, whole)
        _name_what_is_beside(whole, found)
        listed = {split: _list_part(place) for split, place in found.items()}
        parts = _as_parts(without_learned(listed, found, lambda picture: picture.real, "pictures"))
        _name_what_lies_deeper(found["train"], parts.train)
        return replace(parts, empty=_empty_subfolders(found["train"], parts.train))
    pictures = _without_common_folder(list_places(path)) if path.is_file() else list_places(path)
    by_part: dict[Split, list[Picture]] = {}
    for picture in pictures:
        split = part_of(picture.place.parts[0]) if len(picture.place.parts) > 1 else None
        if split is not None:
            by_part.setdefault(split, []).append(picture.inside())
    if "train" not in by_part or len(by_part) < 2:
        _name_what_is_no_part(path, pictures, set(by_part))
        _name_what_lies_deeper(path, pictures)
        return Parts(pictures, empty=_empty_subfolders(path, pictures))
    if beside := len(pictures) - sum(map(len, by_part.values())):
        log.warning("%s: its parts are read (%s); left out: %d pictures beside them", path, ", ".join(by_part), beside)
    return _as_parts(by_part)


def parts_of(path: Path) -> tuple[Path, dict[Split, Path]]:
    """The folder that has the parts, which may be above one that is named, and the folder or archive of each.

    None where there are no parts, or they lie in an archive.
    """
    named = Path(os.path.abspath(path))  # "." has no name
    split, inside = part_of(named.name), _find_parts(path)
    is_part = split is not None and (split == "train" or not inside)
    beside = _find_parts(named.parent) if is_part else {}
    if split is not None and beside:
        return named.parent, {**beside, split: named}
    return path, inside


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
    pictures = list_places(path)
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


def _name_what_is_no_part(folder: Path, pictures: list[Picture], parts: set[Split]) -> None:
    """Say so where folders are named like parts and are none, since there are no others beside them."""
    if parts_named := sorted(parts - {"train"}):
        log.warning(
            "%s: it has a part for %s and none for training, so its folders are classes; name the folder of "
            "pictures for training train",
            folder, " and ".join(parts_named),
        )  # fmt: skip
    names = sorted({picture.place.parts[0] for picture in pictures if len(picture.place.parts) > 1})
    if parts == {"train"} and len(names) > 1:
        log.warning(
            "%s: it has a part for training and none for validation or testing, so its folders are classes (%s); "
            "parts are called %s",
            folder, some_of(names), PARTS_IN_WORDS,
        )  # fmt: skip
    deeper = {picture.place.parts[1] for picture in pictures if len(picture.place.parts) > 2}
    if len(names) > 1 and "train" in (splits := {part_of(name) for name in deeper}) and len(splits - {None}) > 1:
        log.warning(
            "%s: the folders %s inside of its classes (%s) are no parts, so pictures of all of them are held out; "
            "put the classes into the parts, as train/%s",
            folder, some_of([name for name in sorted(deeper) if part_of(name)]), some_of(names), names[0],
        )  # fmt: skip


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
