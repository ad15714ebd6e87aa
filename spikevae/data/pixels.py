"""Pixels of many images: in memory or decoded when they are asked for, moved, mirrored, resized and coloured."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor

from spikevae.console import progress
from spikevae.data.image_files import ImageFile
from spikevae.text import kind_of

Channels = Literal[1, 3]

_PART = 256  # images that are decoded or converted at a time
_MOST_NAMED = 5  # damaged files in one message
_BATCHES_AHEAD = 2  # decoded before they are asked for, when streaming


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

    def chosen(self, indices: Tensor) -> StreamedPixels:
        """Those at these places, in this order, not decoded either."""
        files = [self._files[index] for index in indices.tolist()]
        return StreamedPixels(files, self._channels, self._size, self._crop)

    def stream(self, parts: Iterable[Tensor]) -> Iterator[Tensor]:
        """For each part, int64 [n] indices, its images, [n, C, H, W]; a few parts are decoded ahead, and no more."""
        pending: deque[list[Future[Tensor]]] = deque()
        with ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as pool:
            try:
                for part in parts:
                    pending.append([pool.submit(self._read, index) for index in part.tolist()])
                    if len(pending) > _BATCHES_AHEAD:
                        yield torch.stack(list(map(Future.result, pending.popleft())))
                while pending:
                    yield torch.stack(list(map(Future.result, pending.popleft())))
            finally:
                pool.shutdown(cancel_futures=True)

    def damaged(self, indices: range) -> list[str]:
        """What is wrong with each of these files that cannot be read, in a line each; all are decoded, and not kept."""
        found: list[str] = []

        def try_one(index: int) -> None:
            try:
                self._read(index)
            except (ValueError, OSError) as error:
                found.append(str(error))

        with ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as pool, progress(len(indices), "pictures read") as done:
            for _ in pool.map(try_one, indices):
                done(1)
        return sorted(found)

    def _read(self, index: int) -> Tensor:
        return self._files[index].read(self._channels, self._size, self._crop)


def refuse_damaged(damaged: Sequence[str], name: str) -> None:
    """Name files that cannot be read, the first five of them.

    Raises:
        ValueError: if there is one.
    """
    if damaged:
        more = f"; and {len(damaged) - _MOST_NAMED} more" if len(damaged) > _MOST_NAMED else ""
        shown = "; ".join(damaged[:_MOST_NAMED])
        raise ValueError(f"{name}: files that cannot be read: {len(damaged)}. {shown}{more}")


def check_pixels(pixels: object, name: str) -> None:
    """Refuse what are no images; floats above all, which would be taken for bytes and be all but black.

    Raises:
        ValueError: if they are none.
    """
    if isinstance(pixels, StreamedPixels):
        return
    is_right = isinstance(pixels, Tensor) and pixels.dtype == torch.uint8 and pixels.dim() == 4
    if not is_right or pixels.shape[1] not in (1, 3) or pixels.shape[2] != pixels.shape[3]:  # type: ignore[attr-defined]
        raise ValueError(
            f"{name}: pixels must be a uint8 tensor [N, C, H, H] with 1 or 3 channels, got {kind_of(pixels)}; "
            "of floats x in [0, 1] say (255 * x).round().byte()"
        )


def to_float(pixels: UInt8[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Bytes as numbers in [0, 1]."""
    return pixels.to(torch.float32).div_(255)


def augmented(
    pixels: UInt8[Tensor, "n C H W"], mirrored: Bool[Tensor, " n"], offsets: Int64[Tensor, "n 2"]
) -> UInt8[Tensor, "n C H W"]:
    """Each image read from ``offsets`` (down, right) pixels away, beyond the edge from the edge, mirrored or not."""
    height, width = pixels.shape[-2:]
    rows = (torch.arange(height) + offsets[:, :1]).clamp(0, height - 1)  # [n, H]
    columns = (torch.arange(width) + offsets[:, 1:]).clamp(0, width - 1)  # [n, W]
    columns = torch.where(mirrored[:, None], columns.flip(1), columns)
    indices = (rows[:, None, :, None] * width + columns[:, None, None, :]).flatten(2)  # [n, 1, H*W]
    return pixels.flatten(2).gather(2, indices.expand(-1, pixels.shape[1], -1)).view_as(pixels)


def cut_out(pixels: UInt8[Tensor, "n C H W"], centres: Int64[Tensor, "n 2"], side: int) -> UInt8[Tensor, "n C H W"]:
    """Each image with a square around its centre (row, column) in the image's mean colour; at an edge, what is left.

    Source: DeVries and Taylor, "Improved regularization of convolutional neural networks with cutout",
    arXiv:1708.04552.
    """
    first = centres - side // 2
    inside = []
    for axis in (0, 1):
        places = torch.arange(pixels.shape[2 + axis])
        inside.append((places >= first[:, axis, None]) & (places < first[:, axis, None] + side))  # [n, H] and [n, W]
    hole = inside[0][:, None, :, None] & inside[1][:, None, None, :]
    mean = pixels.to(torch.float32).mean((2, 3), keepdim=True).round().to(torch.uint8)
    return torch.where(hole, mean, pixels)


def converted(pixels: Tensor, size: int | None, channels: int | None) -> UInt8[Tensor, "N C H W"]:
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
