"""Directions in the space of latent potentials that change one thing of an image, found in the density of the data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from spikevae.labels import Label, class_index
from spikevae.nn.images import require_at_least_one, require_tensor
from spikevae.nn.vae import SpikingVAE

_ENDS = 64  # samples of a class, of which the one nearest to an image is where the way to the class ends


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


@torch.no_grad()
def direction_towards(model: SpikingVAE, potential: Float[Tensor, "T L"], label: Label) -> Direction:
    """From an image to a class; an amount of 1 arrives at that of 64 fixed samples whose spikes differ least from it.

    Not at the class's mean: most of its spikes are undecided, and it paints speckles.

    Args:
        model: one whose latent has a density.
        potential: of the image, as for :func:`edit`.
        label: class by name or number.

    Raises:
        ValueError: if the model has no density or no such class, or the potentials are not those of one image.
    """
    group, shape = _group(model, label), (model.config.time_steps, model.config.latent_size)
    require_tensor("potentials", potential)
    _require_one_image(potential, shape)
    labels = torch.full((_ENDS,), group, device="cpu")
    samples = model.sample_potential(range(_ENDS), seed=0, labels=labels)  # [T, 64, L]
    assert samples is not None
    differing = ((samples > 0) != (potential > 0)[:, None]).sum(dim=(0, 2))
    return Direction(f"towards {model.config.class_names[group]}", samples[:, int(differing.argmin())] - potential)


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
        _require_one_image(potential, direction.step.shape)
    moved = potential.clone()
    for direction, amount in zip(directions, amounts, strict=True):
        if not _is_number(amount):
            raise ValueError(f"amount={amount!r} along {direction.name}: expected a number")
        moved += amount * direction.step
    return moved


def _require_one_image(potential: Tensor, shape: Sequence[int]) -> None:
    if potential.shape != tuple(shape):
        raise ValueError(
            f"potentials of one image are [T, L] = {list(shape)}, got {list(potential.shape)}; of a batch [T, N, L] "
            "take potential[:, n]"
        )


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
