"""Data sets, read once or streamed, as shuffled and augmented batches that depend on nothing but the seed."""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError

import numpy as np
import platformdirs
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor
from torch.utils.data import Dataset

from spikevae.config import FASHION_MNIST_CLASSES, MNIST_CLASSES, DataConfig, Split


class ImageSet(Dataset[tuple[Tensor, Tensor]]):
    """The images of one split, square and of one size, with their labels if they have any.

    Args:
        pixels: uint8 [N, C, H, W] with H = W.
        labels: int64 [N], or None for data without labels.
        name: what the user called the data set.
        split: the part of the data set this is.
        class_names: names of the labels, in their order; empty without labels.
    """

    def __init__(
        self,
        pixels: Tensor,
        labels: Tensor | None = None,
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

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """One image, float [C, H, W] in [0, 1], and its label, int64 [] (-1 if there is none)."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"image {index} of {len(self)}")
        chosen = torch.tensor([index % len(self)])
        return _to_float(self._pixels[chosen])[0], self._labels_of(chosen)[0]

    def images(self, start: int = 0, count: int | None = None) -> Tensor:
        """``count`` images from ``start`` on, or all the rest: uint8 [n, C, H, W]."""
        return self._pixels[start : None if count is None else start + count]

    def subset(self, count: int) -> ImageSet:
        """The first ``count`` images, or all if there are fewer."""
        labels = None if self.labels is None else self.labels[:count]
        return ImageSet(self._pixels[:count], labels, name=self.name, split=self.split, class_names=self.class_names)

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
        return self._batches(batch_size, seed, epoch, skip, flip, shift, rank, world_size)

    def _batches(
        self,
        batch_size: int,
        seed: int | None,
        epoch: int,
        skip: int,
        flip: bool,
        shift: int,
        rank: int,
        world_size: int,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        count = len(self)
        order = torch.arange(count)
        mirrored = torch.zeros(count, dtype=torch.bool)
        offsets = torch.full((count, 2), shift)
        if seed is not None:
            state = np.random.SeedSequence((seed, epoch)).generate_state(1, np.uint64)[0]
            generator = torch.Generator().manual_seed(int(state >> 1))
            order = torch.randperm(count, generator=generator)
            mirrored = torch.rand(count, generator=generator) < (0.5 if flip else 0.0)
            offsets = torch.randint(2 * shift + 1, (count, 2), generator=generator)
        smallest = 1 if seed is None else world_size
        parts = [
            order[start : start + batch_size][rank::world_size]
            for start in range(skip * batch_size, count, batch_size)
            if min(batch_size, count - start) >= smallest
        ]
        for part in parts:
            x = _to_float(self._pixels[part])
            if flip and seed is not None:
                x = torch.where(mirrored[part, None, None, None], x.flip(-1), x)
            if shift and seed is not None:
                x = _shifted(x, offsets[part], shift)
            yield x, self._labels_of(part)

    def _labels_of(self, indices: Tensor) -> Tensor:
        return torch.full_like(indices, -1) if self.labels is None else self.labels[indices]


def load_split(config: DataConfig, split: Split) -> ImageSet:
    """Read one part of a data set, downloading it first if it is not there.

    The validation part is held out of the training split by a fixed permutation, the same for every training seed.

    Raises:
        ValueError: if the data set is unknown, or a file is truncated or not what its name says.
        FileNotFoundError: if a file is missing and cannot be downloaded.
    """
    if config.dataset == "fashion-mnist":
        class_names: tuple[str, ...] = FASHION_MNIST_CLASSES
        pixels, labels = _read_mnist_family("FashionMNIST", data_root(config), split)
    elif config.dataset == "mnist":
        class_names = MNIST_CLASSES
        pixels, labels = _read_mnist_family("MNIST", data_root(config), split)
    else:
        raise ValueError(f"there is no data set {config.dataset!r}; use fashion-mnist or mnist")
    if split != "test":
        kept, held_out = divide(len(pixels), config.validation_share)
        chosen = kept if split == "train" else held_out
        pixels, labels = pixels[chosen], labels[chosen]
    if config.image_size is not None and config.image_size != pixels.shape[-1]:
        pixels = _resized(pixels, config.image_size)
    return ImageSet(pixels, labels, name=config.dataset, split=split, class_names=class_names)


def data_root(config: DataConfig) -> Path:
    """The folder of the data sets: ``config.data_root``, else $SPIKEVAE_DATA, else in the user's cache folder."""
    chosen = config.data_root or os.environ.get("SPIKEVAE_DATA")
    return Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("spikevae") / "data"


def divide(count: int, share: float) -> tuple[Tensor, Tensor]:
    """Indices of the images that are kept and of the ``share`` that is held out, both int64 and rising.

    The same for ever: numpy froze the stream of this generator, and no training seed enters.
    """
    order = torch.from_numpy(np.random.RandomState(0).permutation(count))
    held_out = math.ceil(count * share)
    return order[held_out:].sort().values, order[:held_out].sort().values


def _read_mnist_family(folder: str, root: Path, split: Split) -> tuple[Tensor, Tensor]:
    """Images uint8 [N, 1, 28, 28] and labels int64 [N] from the official IDX files, packed or unpacked."""
    stem = "t10k" if split == "test" else "train"
    raw = root / folder / "raw"
    names = [f"{stem}-images-idx3-ubyte", f"{stem}-labels-idx1-ubyte"]
    if not all((raw / name).exists() or (raw / f"{name}.gz").exists() for name in names):
        _download_mnist_family(folder, root, names)
    pixels, labels = (_read_idx(raw, name, dimensions) for name, dimensions in zip(names, (3, 1), strict=True))
    if len(pixels) != len(labels) or pixels.shape[1:] != (28, 28) or labels.max() > 9:
        raise ValueError(
            f"{raw / names[0]} and {names[1]} do not belong together: images {list(pixels.shape)}, "
            f"labels {list(labels.shape)} up to {int(labels.max())}; expected [N, 28, 28] and [N] up to 9"
        )
    return pixels.unsqueeze(1), labels.to(torch.int64)


def _download_mnist_family(folder: str, root: Path, names: list[str]) -> None:
    dataset = getattr(torchvision.datasets, folder)
    try:
        dataset(root, download=True)
    except (OSError, URLError, RuntimeError) as error:
        missing = next(name for name in names if not (root / folder / "raw" / name).exists())
        reason = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
        raise FileNotFoundError(
            f"{root / folder / 'raw' / missing}.gz is missing and cannot be downloaded ({reason}); "
            f"put it there, from {dataset.mirrors[0]}{missing}.gz"
        ) from error


def _read_idx(folder: Path, name: str, dimensions: int) -> Tensor:
    """A uint8 tensor from an IDX file: 0, 0, type 8 (bytes), the dimensions as big-endian uint32, then the bytes."""
    path = folder / name if (folder / name).exists() else folder / f"{name}.gz"
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path} is truncated or no gzip file ({error}); delete it and get it again") from error
    header = 4 + 4 * dimensions
    if len(content) < header or content[:4] != bytes((0, 0, 8, dimensions)):
        raise ValueError(f"{path} is not an IDX file of {dimensions}-dimensional bytes; delete it and get it again")
    shape = struct.unpack(f">{dimensions}I", content[4:header])
    if len(content) != header + math.prod(shape) or 0 in shape:
        raise ValueError(
            f"{path} holds {len(content) - header:,} bytes, but its header promises {math.prod(shape):,}; "
            "delete it and get it again"
        )
    return torch.frombuffer(bytearray(content), dtype=torch.uint8, offset=header).reshape(shape)


def _to_float(pixels: Tensor) -> Tensor:
    return pixels.to(torch.float32).div_(255)


def _shifted(x: Tensor, offsets: Tensor, shift: int) -> Tensor:
    """Windows of the edge-padded images [n, C, H, W] that start at ``offsets`` [n, 2] in 0 … 2 ``shift``."""
    height, width = x.shape[-2:]
    windows = F.pad(x, (shift, shift, shift, shift), mode="replicate").unfold(2, height, 1).unfold(3, width, 1)
    return windows[torch.arange(len(x)), :, offsets[:, 0], offsets[:, 1]]


def _resized(pixels: Tensor, size: int) -> Tensor:
    """uint8 [N, C, size, size], bilinear and antialiased."""
    parts = [
        F.interpolate(part.to(torch.float32), (size, size), mode="bilinear", antialias=True)
        .round_()
        .clamp_(0, 255)
        .to(torch.uint8)
        for part in torch.split(pixels, 1024)
    ]
    return torch.cat(parts)
