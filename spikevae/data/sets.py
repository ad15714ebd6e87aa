"""Data sets by name, and their parts as shuffled and augmented batches that depend on nothing but the seed."""

from __future__ import annotations

import copy
import difflib
import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor
from torch.utils.data import Dataset

from spikevae.config import (
    CIFAR10_CLASSES,
    CIFAR100_CLASSES,
    CLASS_NAMES,
    EVENT_DATASET_NAMES,
    FASHION_MNIST_CLASSES,
    MNIST_CLASSES,
    DataConfig,
    Split,
)
from spikevae.data.arrays import ARRAY_SUFFIXES
from spikevae.data.division import choose
from spikevae.data.folders import list_parts
from spikevae.data.own import FILE_SIZE, class_names, folder_of, read_own
from spikevae.data.passes import check_labels, check_pass, shares
from spikevae.data.pixels import Channels as Channels
from spikevae.data.pixels import StreamedPixels, augmented, check_pixels, converted, cut_out, to_float
from spikevae.data.readers import list_celeba, read_cifar10, read_cifar100, read_mnist_family
from spikevae.files import cache_folder
from spikevae.registry import register as add_part

_MEMORY_LIMIT = 2**29  # bytes; a set that decodes to more is streamed
_MOST_NAMED = 5  # damaged files in one message
_CELEBA_CROP = 148  # pixels, of 178x218, as in the papers


class ImageSet(Dataset[tuple[Tensor, Tensor]]):
    """The images of one split, square and of one size, with their labels if they have any.

    Args:
        pixels: uint8 [N, C, H, W] with H = W, or a stream of them.
        labels: int64 [N], or None for data without labels.
        name: what the user called the data set.
        split: the part of the data set this is.
        class_names: names of the labels, in their order; empty without labels.
        cutout: side of a square, in pixels, that loses its content in every image of a shuffled batch; 0: none.

    Raises:
        ValueError: if pixels or labels are of another type or shape, or a label is none of the classes.
    """

    def __init__(
        self,
        pixels: UInt8[Tensor, "N C H H"] | StreamedPixels,
        labels: Int64[Tensor, " N"] | None = None,
        *,
        name: str,
        split: Split,
        class_names: tuple[str, ...] = (),
        cutout: int = 0,
    ) -> None:
        check_pixels(pixels, name)
        check_labels(labels, len(pixels), len(class_names), name)
        self._pixels = pixels
        self.labels = labels
        self.name = name
        self.split: Split = split
        self.class_names = class_names
        self.cutout = cutout
        self.image_channels = int(pixels.shape[1])
        self.image_size = int(pixels.shape[-1])

    def __len__(self) -> int:
        return len(self._pixels)

    def __getitem__(self, index: int) -> tuple[Float[Tensor, "C H W"], Int64[Tensor, ""]]:
        """One image, float [C, H, W] in [0, 1], and its label, int64 [] (-1 if there is none)."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"image {index} of {len(self)}")
        chosen = torch.tensor([index % len(self)])
        return to_float(self._pixels[chosen])[0], self._labels_of(chosen)[0]

    def images(self, start: int = 0, count: int | None = None) -> UInt8[Tensor, "n C H W"]:
        """``count`` images from ``start`` on, or all the rest: uint8 [n, C, H, W]."""
        return self._pixels[start : None if count is None else start + count]

    def subset(self, count: int) -> ImageSet:
        """The first ``count`` images, or all if there are fewer."""
        return self.chosen(torch.arange(min(count, len(self))))

    def chosen(self, indices: Int64[Tensor, " m"]) -> ImageSet:
        """The images at these places, in this order; what is not decoded stays so."""
        chosen, pixels = copy.copy(self), self._pixels
        chosen._pixels = pixels.chosen(indices) if isinstance(pixels, StreamedPixels) else pixels[indices]
        chosen.labels = None if self.labels is None else self.labels[indices]
        return chosen

    def require_readable(self) -> None:
        """Read every file that is not in memory once, since one that cannot be read would stop a training late.

        Raises:
            ValueError: if some cannot; it names them.
        """
        damaged = self._pixels.damaged() if isinstance(self._pixels, StreamedPixels) else []
        if damaged:
            more = f"; and {len(damaged) - _MOST_NAMED} more" if len(damaged) > _MOST_NAMED else ""
            raise ValueError(f"{self.name}: {len(damaged)} files are damaged: {'; '.join(damaged[:_MOST_NAMED])}{more}")

    def with_cutout(self, side: int) -> ImageSet:
        """The same images, of whose shuffled batches each loses a square of so many pixels."""
        changed = copy.copy(self)
        changed.cutout = side
        return changed

    def batches(
        self,
        batch_size: int,
        *,
        seed: int | None = None,
        epoch: int = 0,
        skip: int = 0,
        flip: bool = False,
        shift: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """One pass over the images: x, float [n, C, H, W] in [0, 1], and labels, int64 [n] (-1 if there are none).

        The order follows from (seed, epoch), an image's augmentation from (seed, epoch, its index): an epoch that was
        interrupted after ``skip`` batches goes on with exactly what it would have seen. The last batch may be smaller.

        Args:
            batch_size: images in a batch, over all processes together.
            seed: of order and augmentation; None: in order, nothing augmented.
            epoch: number of this pass.
            skip: batches to pass over.
            flip: mirror half of the images left to right.
            shift: move each image by up to so many pixels each way; its edge is repeated where it moved away.
            rank: number of this process, which gets its share of every batch.
            world_size: processes. A last shuffled batch with fewer images than processes is left out.
        """
        check_pass(batch_size, rank, world_size, seed=seed, epoch=epoch, skip=skip, shift=shift)
        count = len(self)
        order = torch.arange(count)
        mirrored, offsets = torch.zeros(count, dtype=torch.bool), torch.zeros(count, 2, dtype=torch.int64)
        holes = None
        if seed is not None:
            state = np.random.SeedSequence((seed, epoch)).generate_state(1, np.uint64)[0]
            generator = torch.Generator().manual_seed(int(state >> 1))
            order = torch.randperm(count, generator=generator)
            mirrored = torch.rand(count, generator=generator) < (0.5 if flip else 0)
            offsets = torch.randint(-shift, shift + 1, (count, 2), generator=generator)
            if self.cutout:
                holes = torch.randint(self.image_size, (count, 2), generator=generator)
        parts = shares(order, batch_size, is_shuffled=seed is not None, skip=skip, rank=rank, world_size=world_size)
        is_augmented = seed is not None and (flip or shift > 0)
        return self._batches(parts, mirrored, offsets, holes, is_augmented)

    def _batches(
        self, parts: Sequence[Tensor], mirrored: Tensor, offsets: Tensor, holes: Tensor | None, is_augmented: bool
    ) -> Iterator[tuple[Tensor, Tensor]]:
        source = self._pixels
        batches = source.stream(parts) if isinstance(source, StreamedPixels) else (source[part] for part in parts)
        for part, pixels in zip(parts, batches, strict=True):
            chosen = augmented(pixels, mirrored[part], offsets[part]) if is_augmented else pixels
            if holes is not None:
                chosen = cut_out(chosen, holes[part], self.cutout)
            yield to_float(chosen), self._labels_of(part)

    def _labels_of(self, indices: Tensor) -> Tensor:
        return torch.full_like(indices, -1) if self.labels is None else self.labels[indices]


Opener = Callable[[DataConfig, Split, "Channels | None"], Any]
"""From the settings, the part that is wanted, and 1 for grey or 3 for colour images (None: as they are), to its images.

An opener gives an :class:`ImageSet`, or for event data an :class:`~spikevae.data.events.eventset.EventSet`.

Raises ValueError or OSError, in one line, if there are none or a file is wrong."""
Reader = Callable[[Path, bool], tuple[Tensor, Tensor]]
"""From the data root, and whether the test split is wanted, to uint8 images [N, C, H, H] and int64 labels [N]."""
Decorated = TypeVar("Decorated", bound=Reader)

DATASETS: dict[str, Opener] = {}
"""Every data set by its name on the command line; ``folder:PATH`` is looked up as ``folder``, so is ``events``."""


def register(name: str, class_names: Sequence[str]) -> Callable[[Decorated], Decorated]:
    """Make a labelled data set known by the function that reads it. A part of its training split is held out.

    >>> @register("stripes", class_names=("rows", "columns"))
    ... def read_stripes(root: Path, is_test: bool) -> tuple[Tensor, Tensor]: ...

    Raises:
        ValueError: if there is one of this name.
    """

    def add(read: Decorated) -> Decorated:
        add_part(DATASETS, name)(partial(_open_labelled, read))
        CLASS_NAMES[name] = tuple(class_names)
        return read

    return add


def load_split(config: DataConfig, split: Split, *, image_channels: Channels | None = None) -> Any:
    """Read one part of a data set: an :class:`ImageSet`, or for event data an ``EventSet``.

    Images are downloaded first if they are not there; event recordings are not.

    The validation part is held out of the training split by a fixed permutation, the same for every training seed;
    CelebA, and folders with parts of their own, bring theirs. Other folders give up a fixed tenth for testing.

    Args:
        config: the data set, and the size and share of its parts.
        split: which part.
        image_channels: 1 to make all images grey, 3 for RGB; otherwise the data set's own (folders: RGB).

    Raises:
        ValueError: if the data set is unknown or too small, or a file is truncated or not what its name says.
        OSError: if a file is missing and cannot be downloaded, or cannot be read.
    """
    return _opener(config)(config, split, image_channels)


def class_names_of(config: DataConfig) -> tuple[str, ...]:
    """Names of a data set's classes, in the order of its labels, without reading an image; empty if it has none.

    Raises:
        ValueError: if the data set is unknown, or its classes are too small.
        OSError: if its folder is missing or cannot be read.
    """
    _opener(config)
    if is_events(config) and config.dataset not in CLASS_NAMES:
        return tuple(load_split(config, "train").class_names)
    path = folder_of(config)
    if path is None:
        return CLASS_NAMES.get(config.dataset, ())
    return () if path.suffix.lower() in ARRAY_SUFFIXES else class_names(list_parts(path), config)


def data_root(config: DataConfig) -> Path:
    """The folder of the data sets: ``config.data_root``, else $SPIKEVAE_DATA, else in the user's cache folder."""
    chosen = config.data_root or os.environ.get("SPIKEVAE_DATA")
    return Path(chosen).expanduser() if chosen else cache_folder("data", "say --data-root FOLDER, or set SPIKEVAE_DATA")


def is_events(config: DataConfig) -> bool:
    """Whether a data set holds recordings of event cameras."""
    return config.dataset.startswith("events:") or DATASETS.get(config.dataset) is _open_events


def _opener(config: DataConfig) -> Opener:
    name = config.dataset
    if name in ("folder:", "events:"):
        raise ValueError(f"{name} names no folder; say {name}PATH, or {name}. for the one you are in")
    if name.startswith("events:"):
        return DATASETS["events"]
    if folder_of(config) is not None:
        return DATASETS["folder"]
    kinds = ("folder", "events")
    if name in DATASETS and name not in kinds:
        return DATASETS[name]
    known = [*(other for other in DATASETS if other not in kinds), "folder:PATH", "events:FOLDER"]
    near = difflib.get_close_matches(name, known, n=1)
    if name and Path(name).expanduser().exists():
        advice = f"for the pictures there, say folder:{name}"
    else:
        advice = f"did you mean {near[0]!r}?" if near else f"use {', '.join(known)}"
    raise ValueError(f"there is no data set {name!r}; {advice}")


def _open_labelled(read: Reader, config: DataConfig, split: Split, image_channels: Channels | None) -> ImageSet:
    pixels, labels = read(data_root(config), split == "test")
    if split != "test":
        chosen = choose(len(pixels), config, split)
        pixels, labels = pixels[chosen], labels[chosen]
    pixels = converted(pixels, config.image_size, image_channels)
    return ImageSet(pixels, labels, name=config.dataset, split=split, class_names=CLASS_NAMES[config.dataset])


def _open_celeba(config: DataConfig, split: Split, image_channels: Channels | None) -> ImageSet:
    files = list_celeba(data_root(config), split)
    pixels = StreamedPixels(files, image_channels or 3, config.image_size or FILE_SIZE, _CELEBA_CROP)
    return ImageSet(_in_memory_if_small(pixels), name=config.dataset, split=split)


def _open_folder(config: DataConfig, split: Split, image_channels: Channels | None) -> ImageSet:
    path = folder_of(config)
    assert path is not None
    pixels, labels, names = read_own(path, config, split, image_channels)
    return ImageSet(_in_memory_if_small(pixels), labels, name=config.dataset, split=split, class_names=names)


def _open_events(config: DataConfig, split: Split, image_channels: Channels | None) -> Any:
    from spikevae.data.events.frames import FrameConfig
    from spikevae.data.events.sets import load_events

    if image_channels is not None:
        raise ValueError(f"{config.dataset} holds event recordings, and images are wanted; choose a data set of images")
    size = None if config.image_size is None else (config.image_size, config.image_width or config.image_size)
    frames = FrameConfig(config.time_steps or 10, config.slice_by or "number", size)
    return load_events(
        config.dataset, split, root=data_root(config), frames=frames, validation_share=config.validation_share
    )


def _in_memory_if_small(pixels: UInt8[Tensor, "N C H H"] | StreamedPixels) -> UInt8[Tensor, "N C H H"] | StreamedPixels:
    if isinstance(pixels, StreamedPixels) and pixels.shape.numel() <= _MEMORY_LIMIT:
        return pixels[:]
    return pixels


register("fashion-mnist", FASHION_MNIST_CLASSES)(partial(read_mnist_family, "FashionMNIST"))
register("mnist", MNIST_CLASSES)(partial(read_mnist_family, "MNIST"))
register("cifar10", CIFAR10_CLASSES)(read_cifar10)
register("cifar100", CIFAR100_CLASSES)(read_cifar100)
DATASETS["celeba"] = _open_celeba
DATASETS["folder"] = _open_folder
for _name in EVENT_DATASET_NAMES:
    DATASETS[_name] = _open_events
DATASETS["events"] = _open_events
