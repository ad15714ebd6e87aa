"""Data sets, read once or streamed, as shuffled and augmented batches that depend on nothing but the seed."""

from __future__ import annotations

import difflib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import platformdirs
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor
from torch.utils.data import Dataset

from spikevae.config import CIFAR10_CLASSES, FASHION_MNIST_CLASSES, MNIST_CLASSES, DataConfig, Split
from spikevae.data.readers import (
    ImageFile,
    list_celeba,
    list_folder,
    read_cifar10,
    read_cifar10_jpeg,
    read_mnist_family,
)

Channels = Literal[1, 3]

_MEMORY_LIMIT = 2**29  # bytes; a set that decodes to more is streamed
_PART = 256  # images that are decoded or converted at a time
_BATCHES_AHEAD = 2  # decoded before they are asked for, when streaming
_FILE_SIZE = 64  # pixels; images of folders and of CelebA, as in the papers
_CELEBA_CROP = 148  # pixels, of 178x218, as in the papers
_TEST_SHARE = 0.1  # of a folder that has no test split of its own

_DECODED_SETS: dict[str, tuple[Callable[[Path, bool], tuple[Tensor, Tensor]], tuple[str, ...]]] = {
    "fashion-mnist": (partial(read_mnist_family, "FashionMNIST"), FASHION_MNIST_CLASSES),
    "mnist": (partial(read_mnist_family, "MNIST"), MNIST_CLASSES),
    "cifar10": (read_cifar10, CIFAR10_CLASSES),
    "cifar10-jpeg": (read_cifar10_jpeg, CIFAR10_CLASSES),
}


class StreamedPixels:
    """Images that are decoded when they are asked for, by threads; indexed like a uint8 tensor [N, C, H, W]."""

    def __init__(self, files: Sequence[ImageFile], channels: Channels, size: int, crop: int | None = None) -> None:
        self._files = files
        self._channels: Channels = channels
        self._size = size
        self._crop = crop
        self.shape = torch.Size((len(files), channels, size, size))

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, chosen: Tensor | slice) -> UInt8[Tensor, "n C H W"]:
        indices = torch.arange(len(self))[chosen]
        pixels = torch.empty((len(indices), *self.shape[1:]), dtype=torch.uint8)
        parts = [part for part in torch.arange(len(indices)).split(_PART) if len(part)]
        for part, images in zip(parts, self.stream(indices[part] for part in parts), strict=True):
            pixels[part] = images
        return pixels

    def first(self, count: int) -> StreamedPixels:
        """The first ``count`` of them, not decoded either."""
        return StreamedPixels(self._files[:count], self._channels, self._size, self._crop)

    def stream(self, parts: Iterable[Tensor]) -> Iterator[Tensor]:
        """For each part, int64 [n] indices, its images, [n, C, H, W]; a few parts are decoded ahead, and no more."""
        pending: deque[list[Future[Tensor]]] = deque()
        with ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as pool:
            try:
                for part in parts:
                    pending.append([pool.submit(self._read, index) for index in part.tolist()])
                    if len(pending) > _BATCHES_AHEAD:
                        yield torch.stack([image.result() for image in pending.popleft()])
                while pending:
                    yield torch.stack([image.result() for image in pending.popleft()])
            finally:
                pool.shutdown(cancel_futures=True)

    def _read(self, index: int) -> Tensor:
        return self._files[index].read(self._channels, self._size, self._crop)


class ImageSet(Dataset[tuple[Tensor, Tensor]]):
    """The images of one split, square and of one size, with their labels if they have any.

    Args:
        pixels: uint8 [N, C, H, W] with H = W, or a stream of them.
        labels: int64 [N], or None for data without labels.
        name: what the user called the data set.
        split: the part of the data set this is.
        class_names: names of the labels, in their order; empty without labels.
    """

    def __init__(
        self,
        pixels: UInt8[Tensor, "N C H H"] | StreamedPixels,
        labels: Int64[Tensor, " N"] | None = None,
        *,
        name: str,
        split: Split,
        class_names: tuple[str, ...] = (),
    ) -> None:
        self._pixels = pixels
        self.labels = labels
        self.name = name
        self.split: Split = split
        self.class_names = class_names
        self.image_channels = int(pixels.shape[1])
        self.image_size = int(pixels.shape[-1])

    def __len__(self) -> int:
        return len(self._pixels)

    def __getitem__(self, index: int) -> tuple[Float[Tensor, "C H W"], Int64[Tensor, ""]]:
        """One image, float [C, H, W] in [0, 1], and its label, int64 [] (-1 if there is none)."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"image {index} of {len(self)}")
        chosen = torch.tensor([index % len(self)])
        return _to_float(self._pixels[chosen])[0], self._labels_of(chosen)[0]

    def images(self, start: int = 0, count: int | None = None) -> UInt8[Tensor, "n C H W"]:
        """``count`` images from ``start`` on, or all the rest: uint8 [n, C, H, W]."""
        return self._pixels[start : None if count is None else start + count]

    def subset(self, count: int) -> ImageSet:
        """The first ``count`` images, or all if there are fewer."""
        labels = None if self.labels is None else self.labels[:count]
        pixels = self._pixels.first(count) if isinstance(self._pixels, StreamedPixels) else self._pixels[:count]
        return ImageSet(pixels, labels, name=self.name, split=self.split, class_names=self.class_names)

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
        if not 0 <= rank < world_size <= batch_size:
            raise ValueError(
                f"batch_size={batch_size}, rank={rank}, world_size={world_size}: "
                "expected 0 <= rank < world_size <= batch_size"
            )
        if skip < 0 or shift < 0 or epoch < 0 or (seed is not None and seed < 0):
            raise ValueError(f"seed={seed}, epoch={epoch}, skip={skip}, shift={shift}: none may be negative")
        count = len(self)
        order = torch.arange(count)
        mirrored, offsets = torch.zeros(count, dtype=torch.bool), torch.zeros(count, 2, dtype=torch.int64)
        if seed is not None:
            state = np.random.SeedSequence((seed, epoch)).generate_state(1, np.uint64)[0]
            generator = torch.Generator().manual_seed(int(state >> 1))
            order = torch.randperm(count, generator=generator)
            mirrored = torch.rand(count, generator=generator) < (0.5 if flip else 0)
            offsets = torch.randint(-shift, shift + 1, (count, 2), generator=generator)
            if count % batch_size < world_size:
                order = order[: count - count % batch_size]
        parts = [part[rank::world_size] for part in order.split(batch_size)[skip:]]
        is_augmented = seed is not None and (flip or shift > 0)
        return self._batches([part for part in parts if len(part)], mirrored, offsets, is_augmented)

    def _batches(
        self, parts: Sequence[Tensor], mirrored: Tensor, offsets: Tensor, is_augmented: bool
    ) -> Iterator[tuple[Tensor, Tensor]]:
        source = self._pixels
        batches = source.stream(parts) if isinstance(source, StreamedPixels) else (source[part] for part in parts)
        for part, pixels in zip(parts, batches, strict=True):
            chosen = _augmented(pixels, mirrored[part], offsets[part]) if is_augmented else pixels
            yield _to_float(chosen), self._labels_of(part)

    def _labels_of(self, indices: Tensor) -> Tensor:
        return torch.full_like(indices, -1) if self.labels is None else self.labels[indices]


def load_split(config: DataConfig, split: Split, *, image_channels: Channels | None = None) -> ImageSet:
    """Read one part of a data set, downloading it first if it is not there.

    The validation part is held out of the training split by a fixed permutation, the same for every training seed;
    CelebA brings its own. A folder without a test split of its own (see `list_folder`) gives up a fixed tenth.

    Args:
        config: the data set, and the size and share of its parts.
        split: which part.
        image_channels: 1 to make all images grey, 3 for RGB; otherwise the data set's own (folders: RGB).

    Raises:
        ValueError: if the data set is unknown or too small, or a file is truncated or not what its name says.
        OSError: if a file is missing and cannot be downloaded, or cannot be read.
    """
    name = config.dataset
    if name in _DECODED_SETS:
        read, class_names = _DECODED_SETS[name]
        pixels, labels = read(data_root(config), split == "test")
        if split != "test":
            chosen = _chosen_part(len(pixels), config, split)
            pixels, labels = pixels[chosen], labels[chosen]
        pixels = _converted(pixels, config.image_size, image_channels)
        return ImageSet(pixels, labels, name=name, split=split, class_names=class_names)
    if name == "celeba":
        files, crop = list_celeba(data_root(config), split), _CELEBA_CROP
    elif name.startswith("folder:"):
        files, crop = _choose_files(Path(name.removeprefix("folder:")).expanduser(), config, split), None
    else:
        known = [*_DECODED_SETS, "celeba", "folder:PATH"]
        near = difflib.get_close_matches(name, known, n=1)
        raise ValueError(
            f"there is no data set {name!r}; " + (f"did you mean {near[0]!r}?" if near else f"use {', '.join(known)}")
        )
    streamed = StreamedPixels(files, image_channels or 3, config.image_size or _FILE_SIZE, crop)
    is_small = streamed.shape.numel() <= _MEMORY_LIMIT
    return ImageSet(streamed[:] if is_small else streamed, name=name, split=split)


def data_root(config: DataConfig) -> Path:
    """The folder of the data sets: ``config.data_root``, else $SPIKEVAE_DATA, else in the user's cache folder."""
    chosen = config.data_root or os.environ.get("SPIKEVAE_DATA")
    return Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("spikevae") / "data"


def divide(count: int, share: float) -> tuple[Int64[Tensor, " kept"], Int64[Tensor, " held_out"]]:
    """Indices of the images that are kept, and of the ``share`` that is held out (at least one if there are two).

    The same for ever: numpy has frozen the stream of this generator, and no training seed enters.
    """
    held_out = min(max(1, round(count * share)), count - 1) if share > 0 else 0
    order = torch.from_numpy(np.random.RandomState(0).permutation(count)).to(torch.int64)
    return order[held_out:].sort().values, order[:held_out].sort().values


def _chosen_part(count: int, config: DataConfig, split: Split) -> Int64[Tensor, " n"]:
    """Indices of the training or the validation part, of the ``count`` images of a training split."""
    kept, held_out = divide(count, config.validation_share)
    chosen = kept if split == "train" else held_out
    if len(chosen) == 0:
        raise ValueError(
            f"{config.dataset}: {count} training images with validation_share={config.validation_share} "
            f"leave none for the {split} part; raise validation_share or add images"
        )
    return chosen


def _choose_files(path: Path, config: DataConfig, split: Split) -> list[ImageFile]:
    train, test = list_folder(path)
    if test is None:
        kept, held_out = divide(len(train), _TEST_SHARE)
        train, test = [train[i] for i in kept.tolist()], [train[i] for i in held_out.tolist()]
    if split != "test":
        return [train[i] for i in _chosen_part(len(train), config, split).tolist()]
    if not test:
        raise ValueError(f"{config.dataset}: one image cannot be divided into parts; add images")
    return test


def _to_float(pixels: Tensor) -> Tensor:
    return pixels.to(torch.float32).div_(255)


def _augmented(
    pixels: UInt8[Tensor, "n C H W"], mirrored: Bool[Tensor, " n"], offsets: Int64[Tensor, "n 2"]
) -> UInt8[Tensor, "n C H W"]:
    """Each image read from ``offsets`` (down, right) pixels away, beyond the edge from the edge, mirrored or not."""
    height, width = pixels.shape[-2:]
    rows = (torch.arange(height) + offsets[:, :1]).clamp(0, height - 1)  # [n, H]
    columns = (torch.arange(width) + offsets[:, 1:]).clamp(0, width - 1)  # [n, W]
    columns = torch.where(mirrored[:, None], columns.flip(1), columns)
    indices = (rows[:, None, :, None] * width + columns[:, None, None, :]).flatten(2)  # [n, 1, H*W]
    return pixels.flatten(2).gather(2, indices.expand(-1, pixels.shape[1], -1)).view_as(pixels)


def _converted(pixels: Tensor, size: int | None, channels: int | None) -> UInt8[Tensor, "N C H W"]:
    """Images of another size (bilinear, antialiased) and number of channels (grey by ITU-R 601, as Pillow does)."""
    if size in (None, pixels.shape[-1]) and channels in (None, pixels.shape[1]):
        return pixels
    parts = []
    for part in torch.split(pixels, _PART):
        if size not in (None, pixels.shape[-1]):
            part = F.interpolate(part.to(torch.float32), (size, size), mode="bilinear", antialias=True)
            part = part.round().clamp(0, 255).to(torch.uint8)
        if channels == 3 and part.shape[1] == 1:
            part = part.expand(-1, 3, -1, -1)
        if channels == 1 and part.shape[1] == 3:
            luma = torch.tensor([19595, 38470, 7471]).view(3, 1, 1)  # of 2**16
            part = ((part * luma).sum(1, keepdim=True) + 2**15 >> 16).to(torch.uint8)
        parts.append(part)
    return torch.cat(parts)
