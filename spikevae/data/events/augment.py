"""Changes to event frames that keep their label: for training data alone, and the same for the same seed."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor


@dataclass(frozen=True)
class EventAugmentation:
    """How far frames are changed at random; all off by default.

    The authors of TCJA follow Li et al. (Neuromorphic data augmentation, ECCV 2022): flip, then one of roll, rotation,
    cut-out and shear, then mixup. All steps of a recording are changed alike.
    """

    flip: bool = False
    """Mirror half of the recordings left to right (never digits, and never movements to one side)."""
    roll: int = 0
    """Move by up to so many pixels each way; what leaves is lost (the authors let it enter at the other side)."""
    rotation: float = 0.0
    """Turn by up to so many degrees each way."""
    shear: float = 0.0
    """Slant by up to so many degrees each way, along x."""
    cutout: int = 0
    """Side of a square that is emptied, in pixels."""
    one_of: bool = True
    """Apply one of roll, rotation, shear and cut-out, drawn anew for each recording; otherwise all of them."""
    mixup: float = 0.0
    """Share of the recordings that are mixed with another one, at a weight from Beta(1/2, 1/2); so are their labels."""

    def __post_init__(self) -> None:
        for name in ("roll", "rotation", "shear", "cutout", "mixup"):
            if not math.isfinite(getattr(self, name)):
                raise ValueError(f"{name}={getattr(self, name)} is no finite number; use 0 to leave it out")
            if getattr(self, name) < 0:
                raise ValueError(f"{name}={getattr(self, name)} is negative")
        if self.mixup > 1 or self.shear >= 90:
            raise ValueError(f"mixup={self.mixup}, shear={self.shear}: expected at most 1, below 90")

    @property
    def changes_places(self) -> bool:
        """Whether anything but mixup is on."""
        return self != EventAugmentation(one_of=self.one_of, mixup=self.mixup)

    def with_images(self, *, flip: bool, shift: int) -> EventAugmentation:
        """These, and what a training run asks for of every kind of data."""
        return replace(self, flip=self.flip or flip, roll=max(self.roll, shift))


@dataclass(frozen=True)
class Draws:
    """What one epoch does to each of N recordings, drawn at once, so that batches may be made in any order."""

    affine: Float[Tensor, "N 2 3"]  # from places in the result to places in the source, in pixels from the centre
    hole: Float[Tensor, "N 2"]  # centre of the emptied square as a share of height and width; negative: none
    partner: Tensor  # int64 [N], the recording it is mixed with
    weight: Float[Tensor, " N"]  # of the recording itself


def draw(config: EventAugmentation, count: int, rng: np.random.Generator) -> Draws:
    """What happens to each of ``count`` recordings in one epoch."""
    signed = rng.uniform(-1, 1, (count, 5))  # of which two are used; another number would change what seeds draw
    names = ("roll", "rotation", "shear", "cutout")
    used = [number for number, name in enumerate(names) if getattr(config, name) > 0]
    chosen = np.zeros((count, len(names)), dtype=bool)
    chosen[:, used] = True
    if config.one_of and used:
        chosen[:] = np.asarray(used)[rng.integers(0, len(used), count)][:, None] == np.arange(len(names))
    moved = np.round(rng.uniform(-1, 1, (count, 2)) * config.roll) * chosen[:, :1]
    angle = np.radians(signed[:, 1] * config.rotation) * chosen[:, 1]
    slant = np.tan(np.radians(signed[:, 2] * config.shear)) * chosen[:, 2]
    mirror = np.where(rng.random(count) < (0.5 if config.flip else 0), -1.0, 1.0)
    cos, sin = np.cos(angle), np.sin(angle)
    affine = np.empty((count, 2, 3))
    affine[:, 0] = np.stack([cos * mirror, slant * cos - sin, moved[:, 0]], axis=1)
    affine[:, 1] = np.stack([sin * mirror, slant * sin + cos, moved[:, 1]], axis=1)
    hole = np.where(chosen[:, 3:], rng.random((count, 2)), -1.0)
    partner = rng.integers(0, count, count)
    weight = np.where(rng.random(count) < config.mixup, rng.beta(0.5, 0.5, count), 1.0)
    return Draws(
        affine=torch.from_numpy(affine.astype(np.float32)),
        hole=torch.from_numpy(hole.astype(np.float32)),
        partner=torch.from_numpy(partner),
        weight=torch.from_numpy(weight.astype(np.float32)),
    )


def augmented(
    frames: UInt8[Tensor, "n T 2 H W"], config: EventAugmentation, draws: Draws, chosen: Tensor
) -> Float[Tensor, "n T 2 H W"]:
    """Frames of the recordings ``chosen`` (int64 [n]), changed as drawn for them. Counts stay whole numbers."""
    n, T, P, H, W = frames.shape
    planes = frames.reshape(n, T * P, H, W).float()
    scale = torch.tensor([[1.0, H / W, 2 / W], [W / H, 1.0, 2 / H]])  # pixels to grid_sample's -1 to 1
    grid = F.affine_grid(draws.affine[chosen] * scale, [n, 1, H, W], align_corners=False)
    planes = F.grid_sample(planes, grid, mode="nearest", align_corners=False)
    if config.cutout:
        planes = planes * _outside_hole(draws.hole[chosen], config.cutout, H, W)
    return planes.view(n, T, P, H, W)


def _outside_hole(hole: Float[Tensor, "n 2"], side: int, H: int, W: int) -> Float[Tensor, "n 1 H W"]:
    """0 inside the square around each centre, 1 elsewhere."""
    inside = []
    for axis, length in enumerate((H, W)):
        first = torch.floor(hole[:, axis : axis + 1] * length) - math.floor(side / 2)  # [n, 1]
        places = torch.arange(length)
        inside.append((places >= first) & (places < first + side) & (hole[:, :1] >= 0))
    return 1.0 - (inside[0][:, None, :, None] & inside[1][:, None, None, :]).float()
