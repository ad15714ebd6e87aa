"""The event frames of one split, as shuffled and augmented batches that depend on nothing but the seed."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64, UInt8
from torch import Tensor
from torch.utils.data import Dataset

from spikevae.config import Split
from spikevae.data.checks import check_labels, checked_names
from spikevae.data.events.augment import Draws, EventAugmentation, augmented, draw
from spikevae.data.passes import check_pass, shares
from spikevae.text import kind_of


class EventSet(Dataset[tuple[Tensor, Tensor]]):
    """The recordings of one split, as frames of one size, with their labels. The counterpart of ``ImageSet``.

    Args:
        frames: uint8 [N, T, 2, H, W], counts of OFF and ON events; in memory or mapped from a file.
        labels: int64 [N], or None for data without labels.
        name: what the user called the data set.
        split: the part of the data set this is.
        class_names: names of the labels, in their order; empty without labels.

    Raises:
        ValueError: if frames or labels are of another type or shape, a label is none of the classes, or the names
            of these are not different texts.
    """

    image_channels = 2

    def __init__(
        self,
        frames: UInt8[np.ndarray, "N T 2 H W"],
        labels: Int64[Tensor, " N"] | None = None,
        *,
        name: str,
        split: Split,
        class_names: Sequence[str] = (),
    ) -> None:
        if not isinstance(frames, np.ndarray) or frames.dtype != np.uint8 or frames.ndim != 5 or frames.shape[2] != 2:
            raise ValueError(f"{name}: frames must be a uint8 array of numpy [N, T, 2, H, W], got {kind_of(frames)}")
        check_labels(labels, len(frames), len(class_names), name)
        self._frames = frames
        self._rows = torch.arange(len(frames))  # which of the frames, in this order
        self.labels = labels
        self.name = name
        self.split: Split = split
        self.class_names = checked_names(class_names, name)
        self.origins: dict[str, str] | None = None
        """As `ImageSet.origins`."""
        self.augmentation = EventAugmentation()  # of shuffled batches, beside what `batches` is asked for
        self.time_steps = int(frames.shape[1])
        self.frame_size = (int(frames.shape[3]), int(frames.shape[4]))
        self.image_size = self.frame_size[0]

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> tuple[Float[Tensor, "T 2 H W"], Int64[Tensor, ""]]:
        """The frames of one recording, counts, and its label (-1 if there is none)."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"recording {index} of {len(self)}")
        chosen = torch.tensor([index % len(self)])
        return self._frames_of(chosen)[0].float(), self._labels_of(chosen)[0]

    def frames(self, start: int = 0, count: int | None = None) -> UInt8[Tensor, "n T 2 H W"]:
        """Those of ``count`` recordings from ``start`` on, or of all the rest."""
        return self._frames_of(torch.arange(len(self))[start : None if count is None else start + count])

    def subset(self, count: int) -> EventSet:
        """The first ``count`` recordings, or all if there are fewer."""
        return self.chosen(torch.arange(min(count, len(self))))

    def chosen(self, indices: Int64[Tensor, " m"]) -> EventSet:
        """The recordings at these places, in this order; their frames are not copied."""
        chosen = copy.copy(self)
        chosen._rows = self._rows[indices]
        chosen.labels = None if self.labels is None else self.labels[indices]
        return chosen

    def augmented(self, augmentation: EventAugmentation) -> EventSet:
        """The same recordings, whose shuffled batches are augmented.

        Raises:
            ValueError: if roll or cutout is as large as the frames, of which nothing might be left.
        """
        for name in ("roll", "cutout"):
            if (pixels := getattr(augmentation, name)) >= min(self.frame_size):
                height, width = self.frame_size
                raise ValueError(
                    f"{self.name}: {name}={pixels} can leave nothing of frames of {height}x{width} pixels; lower it"
                )
        changed = copy.copy(self)
        changed.augmentation = augmentation
        return changed

    def joined(self, other: EventSet) -> EventSet:
        """These recordings and, after them, another set's, of the same classes, steps and size; copied to memory."""
        shapes = (self._frames.shape[1:], other._frames.shape[1:])
        if self.class_names != other.class_names or shapes[0] != shapes[1]:
            raise ValueError(
                f"{self.name} {list(shapes[0])} and {other.name} {list(shapes[1])} differ in classes, time steps or "
                "size; they cannot be joined"
            )
        joined = copy.copy(self)
        joined._frames = np.concatenate([part._frames[part._rows.numpy()] for part in (self, other)])
        joined._rows = torch.arange(len(joined._frames))
        joined.labels = None if self.labels is None or other.labels is None else torch.cat([self.labels, other.labels])
        return joined

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
    ) -> Iterator[tuple[Float[Tensor, "T n 2 H W"], Tensor]]:
        """One pass over the recordings: x_seq, counts, and labels, int64 [n] (-1 if there are none).

        With mixup, labels are shares of the classes, float [n, K]. The order follows from (seed, epoch), a recording's
        augmentation from (seed, epoch, its index): an epoch that was interrupted after ``skip`` batches goes on with
        exactly what it would have seen. The last batch may be smaller.

        Args:
            batch_size: recordings in a batch, over all processes together.
            seed: of order and augmentation; None: in order, nothing augmented.
            epoch: number of this pass.
            skip: batches to pass over.
            flip: mirror half of the recordings left to right.
            shift: move each recording by up to so many pixels each way.
            rank: number of this process, which gets its share of every batch.
            world_size: processes. A last shuffled batch with fewer recordings than processes is left out.

        Raises:
            ValueError: if a number is out of range, or mixup meets a recording without label among labelled ones.
        """
        check_pass(batch_size, rank, world_size, seed=seed, epoch=epoch, skip=skip, shift=shift)
        count = len(self)
        order, draws = np.arange(count), None
        augmentation = self.augmentation.with_images(flip=flip, shift=shift)
        if seed is not None:
            self._require_labels_to_mix(augmentation)
            rng = np.random.default_rng((seed, epoch))
            order = rng.permutation(count)
            if augmentation.changes_places or augmentation.mixup:
                draws = draw(augmentation, count, rng)
        indices, is_shuffled = torch.from_numpy(order), seed is not None
        parts = shares(indices, batch_size, is_shuffled=is_shuffled, skip=skip, rank=rank, world_size=world_size)
        return self._batches(parts, augmentation, draws)

    def _require_labels_to_mix(self, augmentation: EventAugmentation) -> None:
        unknown = len(self) if self.labels is None else int((self.labels < 0).sum())
        if augmentation.mixup and unknown:
            raise ValueError(
                f"{self.name}: mixup={augmentation.mixup} mixes labels, and {unknown} of {len(self)} recordings have "
                "none (-1); leave these out, or set mixup to 0"
            )

    def _batches(
        self, parts: Sequence[Tensor], augmentation: EventAugmentation, draws: Draws | None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        for part in parts:
            labels = self._labels_of(part)
            frames = self._changed(part, augmentation, draws)
            if draws is not None and augmentation.mixup and self.labels is not None:
                partner, weight = draws.partner[part], draws.weight[part]
                others = self._changed(partner, augmentation, draws)
                frames = frames.lerp(others, (1 - weight).view(-1, 1, 1, 1, 1))
                one_hot = F.one_hot(torch.stack([labels, self.labels[partner]]), len(self.class_names)).float()
                labels = one_hot[0].lerp(one_hot[1], (1 - weight)[:, None])
            yield frames.transpose(0, 1).contiguous(), labels

    def _changed(
        self, indices: Tensor, augmentation: EventAugmentation, draws: Draws | None
    ) -> Float[Tensor, "n T 2 H W"]:
        frames = self._frames_of(indices)
        if draws is None or not augmentation.changes_places:
            return frames.float()
        return augmented(frames, augmentation, draws, indices)

    def _frames_of(self, indices: Tensor) -> UInt8[Tensor, "n T 2 H W"]:
        return torch.from_numpy(self._frames[self._rows[indices].numpy()])

    def _labels_of(self, indices: Tensor) -> Tensor:
        return torch.full_like(indices, -1) if self.labels is None else self.labels[indices]
