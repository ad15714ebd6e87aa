"""Does the model copy? Distances of samples to their nearest training images, beside those of test images."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

CLOSE = 0.01
"""An image counts as a near-copy if it is nearer to a training image than this share of test images is."""


@dataclass(frozen=True)
class Nearest:
    """The nearest training image of each of N images."""

    distance: Tensor
    """[N], Euclidean."""
    index: Tensor
    """[N], its number in the training set."""


def nearest(images: Tensor, training: Iterable[Tensor]) -> Nearest:
    """Search a training set that is streamed in blocks.

    Args:
        images: vectors [N, D].
        training: blocks [n, D], in the order of the training set.

    Raises:
        ValueError: if there is no training image.
    """
    images = images.float()
    best = torch.full((len(images),), float("inf"))
    index = torch.full((len(images),), -1, dtype=torch.int64)
    start = 0
    for block in training:
        distance, found = torch.cdist(images, block.float()).min(dim=1)
        closer = distance < best
        best = torch.where(closer, distance, best)
        index = torch.where(closer, found + start, index)
        start += len(block)
    if start == 0:
        raise ValueError("the training set is empty, so nothing can be a copy of it")
    return Nearest(best, index)


@dataclass(frozen=True)
class Copies:
    """Samples against test images, both by distance to the training set."""

    share: float
    """Of samples that are near-copies; 0.01 if they lie as near as test images do."""
    median_ratio: float
    """Median distance of samples over that of test images; far below 1 means copying."""


def compare_distances(samples: Tensor, test: Tensor) -> Copies:
    """Compare nearest distances [N] of samples with those [M] of test images.

    The threshold is the nearest distance that 1 % of the test images fall below.
    """
    threshold = test.double().quantile(CLOSE)
    ratio = samples.double().median() / test.double().median().clamp(min=1e-12)
    return Copies(float((samples.double() < threshold).double().mean()), float(ratio))
