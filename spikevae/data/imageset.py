"""The images of one split, and their shuffled and augmented batches, which depend on nothing but the seed."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor
from torch.utils.data import Dataset

from spikevae.config import Split
from spikevae.data.checks import check_labels, checked_names
from spikevae.data.passes import check_pass, shares
from spikevae.data.pixels import StreamedPixels, augmented, check_pixels, cut_out, refuse_damaged, to_float
from spikevae.distributed import from_all, rank, world_size


class ImageSet(Dataset[tuple[Tensor, Tensor]]):
    """The images of one split, square and of one size, with their labels if they have any.

    Args:
        pixels: uint8 [N, C, H, W] with H = W, or a stream of them.
        labels: int64 [N], or None for data without labels.
        name: what the user called the data set.
        split: the part of the data set this is.
        class_names: names of the labels, in their order; empty without labels.

    Raises:
        ValueError: if pixels or labels are of another type or shape, a label is none of the classes, or the names
            of these are not different texts.
    """

    def __init__(
        self,
        pixels: UInt8[Tensor, "N C H H"] | StreamedPixels,
        labels: Int64[Tensor, " N"] | None = None,
        *,
        name: str,
        split: Split,
        class_names: Sequence[str] = (),
    ) -> None:
        check_pixels(pixels, name)
        check_labels(labels, len(pixels), len(class_names), name)
        self._pixels = pixels
        self.labels = labels
        self.name = name
        self.split: Split = split
        self.class_names = checked_names(class_names, name)
        self.origins: dict[str, str] | None = None
        """Where the parts of one's own pictures come from, as `division.origins` gives it; None of other sets."""
        self.for_testing: StreamedPixels | None = None
        """Beside the training part of one's own pictures, those that it will be tested on."""
        self.cutout = 0  # side of the square that images of a shuffled batch lose, in pixels; see `with_cutout`
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
        """Read every file that is not in memory once, since one that cannot be read would stop a training late, or its
        test. So beside the training part of one's own pictures those for testing are read, too.

        Processes that are connected share the work, and all of them raise.

        Raises:
            ValueError: if some cannot; it names them.
        """
        streams = [pixels for pixels in (self._pixels, self.for_testing) if isinstance(pixels, StreamedPixels)]
        own = [line for pixels in streams for line in pixels.damaged(range(rank(), len(pixels), world_size()))]
        damaged = sorted(line for part in from_all(own) for line in part)
        refuse_damaged(damaged, self.name)

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
