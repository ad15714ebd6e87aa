"""One's own pictures as a data set: a folder, an archive or an array, in parts, with subfolders as classes."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from spikevae.config import DataConfig, Split
from spikevae.data.arrays import ARRAY_SUFFIXES, read_array
from spikevae.data.division import divide, origins, part_indices
from spikevae.data.folders import Picture, list_pictures
from spikevae.data.image_files import ImageFile
from spikevae.data.names import ARCHIVES
from spikevae.data.parts import Parts, list_parts
from spikevae.data.pixels import Channels, StreamedPixels, converted
from spikevae.files import check_is_not_inside, check_is_not_read, in_home
from spikevae.labels import composed

log = logging.getLogger(__name__)

FILE_SIZE = 64  # pixels; images of folders and of CelebA, as in the papers
_TEST_SHARE = 0.1  # of pictures that have no test split of their own
_RESULTS = (".json", ".html", ".txt", ".md")  # of files that commands write, and none reads as data


@dataclass(frozen=True)
class OwnPart:
    """One part of one's own pictures."""

    pixels: UInt8[Tensor, "N C H H"] | StreamedPixels
    labels: Int64[Tensor, " N"] | None = None
    class_names: tuple[str, ...] = ()
    origins: dict[str, str] | None = None
    """As :attr:`ImageSet.origins`."""
    for_testing: StreamedPixels | None = None
    """As :attr:`ImageSet.for_testing`."""


@dataclass(frozen=True, order=True)
class ArrayPicture(ImageFile):
    """One of the pictures of an array file, which is in memory."""

    pixels: UInt8[Tensor, "C H W"] | None = field(default=None, compare=False)

    def read(self, channels: Channels, size: int, crop: int | None = None) -> UInt8[Tensor, "C S S"]:
        """Its largest central square, resized."""
        assert self.pixels is not None
        return converted(_square(self.pixels[None]), size, channels)[0]


def list_own(path: Path) -> list[ImageFile]:
    """All pictures of a folder, an archive or an array file, in their order; of any other file it alone.

    Raises:
        ValueError, OSError: as `list_pictures` and `read_array`.
    """
    if path.is_dir() or path.suffix.lower() in ARCHIVES:
        return list_pictures(path)
    if path.suffix.lower() in ARRAY_SUFFIXES:
        return [ArrayPicture(path, str(number), pixels=pixels) for number, pixels in enumerate(read_array(path))]
    return [ImageFile(path)]


def check_is_not_among(out: Path, given: Iterable[Path | str | None]) -> None:
    """Refuse to write a result over data that are read: a file that is given, or one inside a folder that is.

    Texts and pages in a folder are never data, so results may be written there again, and merged.

    Raises:
        ValueError: if ``out`` is such a file.
    """
    places = [in_home(place) for place in given if place]
    check_is_not_read(out, places)
    for place in places if out.suffix.lower() not in _RESULTS else ():
        check_is_not_inside(out, place, str(place))


def folder_of(config: DataConfig) -> Path | None:
    """The path in ``folder:PATH``; None for a data set with a name."""
    kind, colon, path = config.dataset.partition(":")
    return in_home(path) if kind == "folder" and colon else None


def read_own(path: Path, config: DataConfig, split: Split, channels: Channels | None) -> OwnPart:
    """One part; without classes it has no labels, and no names of classes.

    Raises:
        ValueError: if there are too few pictures, or too few of a class, or a file is wrong.
        OSError: if the folder is missing or cannot be read.
    """
    size = config.image_size or FILE_SIZE
    if path.suffix.lower() in ARRAY_SUFFIXES and path.is_file():
        images = read_array(path)
        indices = _indices(len(images), config, split, None, has_validation=False, has_test=False)
        drawn = origins(map(str, range(len(images))), has_validation=False, has_test=False)
        return OwnPart(converted(_square(images[indices]), size, channels or 3), origins=drawn)
    parts = list_parts(path)
    names = class_names(parts, config)
    brought: dict[Split, list[Picture] | None] = {"train": None, "validation": parts.validation, "test": parts.test}
    has = {"has_validation": parts.validation is not None, "has_test": parts.test is not None}
    labels = _labels(parts.train, names, config)

    def taken(split: Split) -> list[Picture]:
        """What the folder brings for a part, or else a share of its pictures for training."""
        own = brought[split]
        if own is not None:
            return own
        return [parts.train[index] for index in _indices(len(parts.train), config, split, labels, **has).tolist()]

    pictures = taken(split)
    for_testing: StreamedPixels | None = None
    if split == "train" and len(parts.train) > 1:
        for_testing = StreamedPixels([picture.file for picture in taken("test")], channels or 3, size)
        if names:
            _warn_of_foreign(parts.test or [], names, config)
    pixels = StreamedPixels([picture.file for picture in pictures], channels or 3, size)
    drawn_from = origins((str(picture.place) for picture in parts.train), **has)
    return OwnPart(pixels, _labels(pictures, names, config), names, drawn_from, for_testing)


def class_names(parts: Parts, config: DataConfig) -> tuple[str, ...]:
    """Names of the subfolders that are classes; none where there are none or the settings ignore them.

    Raises:
        ValueError: if a class has fewer than two pictures to learn from.
    """
    names = () if config.unlabelled else parts.class_names
    beside = parts.beside_subfolders
    if 0 < beside < len(parts.train) and not config.unlabelled:
        log.warning("%s: subfolders are no classes here, since %d pictures lie in none of them", config.dataset, beside)
    if parts.empty and beside == 0 and not config.unlabelled:
        none = ", ".join(map(repr, parts.empty))
        log.warning("%s: no pictures are read from %s, so that is no class", config.dataset, none)
    counts = Counter(picture.place.parts[0] for picture in parts.train)
    small = next((name for name in names if counts[name] < 2), None)
    if small is not None:
        drawn = (parts.validation is None) + (parts.test is None)
        raise ValueError(too_few(config.dataset, f"the subfolder {small!r} holds one picture", 2, drawn))
    return names


def too_few(dataset: str, found: str, learned: int, drawn: int) -> str:
    """What is said of a class that is too small.

    Args:
        dataset: as on the command line.
        found: how small it is.
        learned: how many there must be to learn from.
        drawn: how many parts the folder does not bring, so that a share is held out for each.
    """
    return (
        f"{dataset}: {found}, and every class needs {learned + drawn} or more: {learned} to learn from, and one for "
        "each part that is held out; add pictures, or train without classes: --unlabelled"
    )


def _warn_of_foreign(test: list[Picture], names: tuple[str, ...], config: DataConfig) -> None:
    """Say before training that its test part will be of no use, where its pictures lie in no folder of a class."""
    foreign = [picture for picture, number in zip(test, _numbers(test, names), strict=True) if number is None]
    if foreign:
        log.warning(
            "%s: %d of %d pictures for testing are of no class, as %s; until they lie in folders of classes, or are "
            "gone, evaluate refuses them",
            config.dataset, len(foreign), len(test), foreign[0].place,
        )  # fmt: skip


def _labels(pictures: list[Picture], names: tuple[str, ...], config: DataConfig) -> Int64[Tensor, " n"] | None:
    if not names:
        return None
    numbers = _numbers(pictures, names)
    if None in numbers:
        foreign = pictures[numbers.index(None)]
        raise ValueError(
            f"{config.dataset}: {foreign.file.path} is of no class that there is to learn from "
            f"({', '.join(names)}); move it, or train without classes: --unlabelled"
        )
    return torch.tensor(numbers, dtype=torch.int64)


def _numbers(pictures: list[Picture], names: tuple[str, ...]) -> list[int | None]:
    """The class of each, by the folder that it lies in, however accented letters are written; None of no class."""
    known = {composed(name): number for number, name in enumerate(names)}
    known |= {name: number for number, name in enumerate(names)}
    folders = (picture.place.parts[0] for picture in pictures)
    return [known.get(folder, known.get(composed(folder))) for folder in folders]


def _indices(
    count: int,
    config: DataConfig,
    split: Split,
    labels: Int64[Tensor, " count"] | None,
    *,
    has_validation: bool,
    has_test: bool,
) -> Int64[Tensor, " n"]:
    """Which of the pictures for training are in a part: a share of them is held out for each part that is not there."""
    kept, test = divide(count, 0.0 if has_test else _TEST_SHARE, labels)
    needed = 1 + (not has_validation) + (not has_test)
    if split == "test":
        if len(test) == 0:
            raise ValueError(
                f"{config.dataset}: one image cannot be divided into parts; add images until there are {needed} or more"
            )
        return test
    if has_validation:
        return kept
    return kept[part_indices(len(kept), config, split, None if labels is None else labels[kept], needed=needed)]


def _square(images: UInt8[Tensor, "N C H W"]) -> UInt8[Tensor, "N C S S"]:
    """The largest central square of each image."""
    height, width = images.shape[-2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return images[..., top : top + side, left : left + side]
