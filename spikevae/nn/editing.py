"""Directions in the space of latent potentials that change one thing of an image, found in the density of the data."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from spikevae.labels import Label, class_index
from spikevae.nn.images import require_at_least_one, require_tensor
from spikevae.nn.vae import SpikingVAE


class Direction(NamedTuple):
    """One way to change an image."""

    name: str
    step: Tensor  # [T, L], what is added to the potentials for an amount of 1: a standard deviation, or all the way


def principal_directions(model: SpikingVAE, label: Label | None = None, count: int = 8) -> list[Direction]:
    """The ways in which images of a class differ most, the strongest first; an amount of 1 is a standard deviation.

    They are the leading principal directions of the training images' potentials inside the class.

    Args:
        model: one whose latent has a density.
        label: class by name or number; None where the model has no classes.
        count: how many, at least 1; there are as many as ``config.prior_rank``.

    Raises:
        ValueError: if the model has no density or no such class, or a class is missing.
    """
    group = _group(model, label)
    require_at_least_one("direction", count=count)
    steps = model.latent.directions(group)[:count]
    return [Direction(f"direction {number}", step) for number, step in enumerate(steps, 1)]


def class_directions(model: SpikingVAE, label: Label) -> list[Direction]:
    """From a class to each of the others; an amount of 1 goes from the mean of one to that of the other.

    Raises:
        ValueError: if the model has no density or no such class.
    """
    group, means = _group(model, label), model.latent.means()
    names = enumerate(model.config.class_names)
    return [Direction(f"towards {name}", means[other] - means[group]) for other, name in names if other != group]


@torch.no_grad()
def edit(
    model: SpikingVAE, potential: Float[Tensor, "T L"], directions: list[Direction], amounts: list[float]
) -> Float[Tensor, "C H W"]:
    """The image in [0, 1] of potentials that were moved along directions.

    Args:
        model: the one that the directions are of.
        potential: of one image: ``model.encode(x).potential[:, 0]``, or ``model.sample_potential([i], seed=s)[:, 0]``.
        directions: as above.
        amounts: one for each; 0 leaves the image.

    Raises:
        ValueError: if there are not as many amounts as directions, an amount is no number, or the potentials are of
            another shape than the directions, as those of several images are.
    """
    moved = move(potential, directions, amounts)
    return model.decode((moved > 0).to(moved.dtype)[:, None])[0]


def move(potential: Float[Tensor, "T L"], directions: list[Direction], amounts: list[float]) -> Float[Tensor, "T L"]:
    """The potentials that :func:`edit` decodes; errors as there."""
    require_tensor("potentials", potential)
    if len(directions) != len(amounts):
        raise ValueError(f"{len(amounts)} amounts for {len(directions)} directions; give one for each")
    for direction in directions:
        if potential.shape != direction.step.shape:
            raise ValueError(
                f"potentials of one image are [T, L] = {list(direction.step.shape)}, got {list(potential.shape)}; of a "
                "batch [T, N, L] take potential[:, n]"
            )
    moved = potential.clone()
    for direction, amount in zip(directions, amounts, strict=True):
        if not _is_number(amount):
            raise ValueError(f"amount={amount!r} along {direction.name}: expected a number")
        moved += amount * direction.step
    return moved


def _is_number(amount: float) -> bool:
    try:
        return math.isfinite(amount)
    except (TypeError, ValueError, OverflowError):  # of a text, of several numbers, or beyond what a float holds
        return False


def _group(model: SpikingVAE, label: Label | None) -> int:
    if not model.latent.has_density:
        raise ValueError("this model's latent has no density, so there are no directions to move along")
    if not model.config.classes:
        if label is not None:
            raise ValueError("this model has no classes; leave label out")
        return 0
    if label is None:
        raise ValueError(f"give a class: {', '.join(model.config.class_names)}")
    return class_index(label, model.config.class_names)
