"""Layers without memory, which see an input that is shown at every time step once."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn


def each_step(layer: nn.Module, x_seq: Float[Tensor, "T N ..."]) -> Float[Tensor, "T N ..."]:
    """A layer without memory, applied to every step."""
    if x_seq.stride(0) == 0:  # one input, shown at every step
        return at_every_step(layer(x_seq[0]), len(x_seq))
    result: Tensor = layer(x_seq.flatten(0, 1)).unflatten(0, x_seq.shape[:2])
    return result


def at_every_step(x: Tensor, steps: int) -> Tensor:
    """[T, N, C, ...] whose every step is ``x`` [N, C, ...], without a copy.

    Its gradient has the channels last in memory, as feature maps have. A plain ``expand`` sums it into another layout,
    and batch norm then takes fifteen times as long on the way back.
    """
    channels_last = x.movedim(1, -1)
    return channels_last.expand(steps, *channels_last.shape).movedim(-1, 2)


def at_every_step_reference(x: Tensor, steps: int) -> Tensor:
    """The same, as one would write it."""
    return x.expand(steps, *x.shape)
