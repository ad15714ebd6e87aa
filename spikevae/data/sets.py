"""Data sets by name, and the images of each of their parts."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

from jaxtyping import UInt8
from torch import Tensor

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
from spikevae.data.checks import check_labels, check_split, checked_names
from spikevae.data.division import part_indices
from spikevae.data.imageset import ImageSet as ImageSet
from spikevae.data.own import FILE_SIZE, folder_of, read_own
from spikevae.data.pixels import Channels as Channels
from spikevae.data.pixels import StreamedPixels, check_pixels, converted, refuse_damaged
from spikevae.data.readers import list_celeba, read_cifar10, read_cifar100, read_mnist_family
from spikevae.files import cache_folder, in_home
from spikevae.registry import register as add_part
from spikevae.text import did_you_mean

_MEMORY_LIMIT = 2**29  # bytes; a set that decodes to more is streamed
_CELEBA_CROP = 148  # pixels, of 178x218, as in the papers


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
        ValueError: if there is one of this name, or the names of its classes are not different texts.
    """
    names = checked_names(class_names, name)

    def add(read: Decorated) -> Decorated:
        add_part(DATASETS, name)(partial(_open_labelled, read))
        CLASS_NAMES[name] = names
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
        ValueError: if data set or part is unknown or too small, or a file is truncated or not what its name says.
        OSError: if a file is missing and cannot be downloaded, or cannot be read.
    """
    check_split(split)
    return _opener(config)(config, split, image_channels)


def wanted_channels(dataset: str, model_channels: int | None) -> Channels | None:
    """What :func:`load_split` is to make of a model's data: a folder's pictures are read as the model takes them.

    Data sets and recordings have channels of their own (None).
    """
    is_own = dataset.startswith("folder:") and model_channels in (1, 3)
    return cast(Channels, model_channels) if is_own else None


def data_root(config: DataConfig) -> Path:
    """The folder of the data sets: ``config.data_root``, else $SPIKEVAE_DATA, else in the user's cache folder."""
    chosen = config.data_root or os.environ.get("SPIKEVAE_DATA")
    return in_home(chosen) if chosen else cache_folder("data", "say --data-root FOLDER, or set SPIKEVAE_DATA")


def is_events(config: DataConfig) -> bool:
    """Whether a data set holds recordings of event cameras.

    Raises:
        ValueError: if the data set is unknown.
    """
    return _opener(config) is _open_events


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
    if name and in_home(name).exists():
        advice = f"for the pictures there, say folder:{name}"
    else:
        advice = did_you_mean(name, known) or f"use {', '.join(known)}"
    raise ValueError(f"there is no data set {name!r}; {advice}")


def _open_labelled(read: Reader, config: DataConfig, split: Split, image_channels: Channels | None) -> ImageSet:
    pixels, labels = _pair(read(data_root(config), split == "test"), config.dataset)
    check_pixels(pixels, config.dataset)  # before they are resized, which rounds floats to black
    check_labels(labels, len(pixels), len(CLASS_NAMES[config.dataset]), config.dataset)
    if not len(pixels):
        raise ValueError(f"{config.dataset}: its {'test' if split == 'test' else 'training'} split has no images")
    if split != "test":
        chosen = part_indices(len(pixels), config, split)
        pixels, labels = pixels[chosen], labels[chosen]
    pixels = converted(pixels, config.image_size, image_channels)
    return ImageSet(pixels, labels, name=config.dataset, split=split, class_names=CLASS_NAMES[config.dataset])


def _pair(found: object, name: str) -> tuple[Tensor, Tensor]:
    """What a function that reads a data set gave: two tensors, which are looked at more closely later."""
    if isinstance(found, tuple | list) and len(found) == 2 and found[1] is not None:
        return found[0], found[1]
    raise ValueError(f"{name}: the function that reads it must return two tensors, images [N, C, H, H] and labels [N]")


def _open_celeba(config: DataConfig, split: Split, image_channels: Channels | None) -> ImageSet:
    files = list_celeba(data_root(config), split)
    pixels = StreamedPixels(files, image_channels or 3, config.image_size or FILE_SIZE, _CELEBA_CROP)
    return ImageSet(_in_memory_if_small(pixels, config.dataset), name=config.dataset, split=split)


def _open_folder(config: DataConfig, split: Split, image_channels: Channels | None) -> ImageSet:
    path = folder_of(config)
    assert path is not None
    own = read_own(path, config, split, image_channels)
    pixels = _in_memory_if_small(own.pixels, config.dataset, own.for_testing)
    part = ImageSet(pixels, own.labels, name=config.dataset, split=split, class_names=own.class_names)
    part.origins, part.for_testing = own.origins, own.for_testing
    return part


def _open_events(config: DataConfig, split: Split, image_channels: Channels | None) -> Any:
    from spikevae.data.events.frames import FrameConfig
    from spikevae.data.events.sets import load_events

    if image_channels is not None:
        raise ValueError(f"{config.dataset} holds event recordings, and images are wanted; choose a data set of images")
    size = None if config.image_size is None else (config.image_size, config.image_width or config.image_size)
    frames = FrameConfig(config.time_steps or 10, config.slice_by or "number", size)
    found = load_events(
        config.dataset, split, root=data_root(config), frames=frames, validation_share=config.validation_share
    )
    if config.unlabelled:
        found.labels, found.class_names = None, ()
    return found


def _in_memory_if_small(
    pixels: UInt8[Tensor, "N C H H"] | StreamedPixels, name: str, others: StreamedPixels | None = None
) -> UInt8[Tensor, "N C H H"] | StreamedPixels:
    """The images, decoded if they fit; where one cannot be, all are named that cannot, of ``others`` too."""
    if not isinstance(pixels, StreamedPixels) or pixels.shape.numel() > _MEMORY_LIMIT:
        return pixels
    try:
        return pixels[:]
    except ValueError:
        streams = [stream for stream in (pixels, others) if stream is not None]
        refuse_damaged(sorted(line for stream in streams for line in stream.damaged(range(len(stream)))), name)
        raise


register("fashion-mnist", FASHION_MNIST_CLASSES)(partial(read_mnist_family, "FashionMNIST"))
register("mnist", MNIST_CLASSES)(partial(read_mnist_family, "MNIST"))
register("cifar10", CIFAR10_CLASSES)(read_cifar10)
register("cifar100", CIFAR100_CLASSES)(read_cifar100)
DATASETS["celeba"] = _open_celeba
DATASETS["folder"] = _open_folder
for _name in EVENT_DATASET_NAMES:
    DATASETS[_name] = _open_events
DATASETS["events"] = _open_events
