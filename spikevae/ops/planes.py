"""Planes of a sequence (all places of a time step, image, channel) on the CPU."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from spikevae.ops.cpu import compile, planes


class GatedSpikes(NamedTuple):
    """A sequence [T, N, C, H, W] of spikes times their gates, in a quarter of its memory."""

    spikes: Tensor  # [T, N, C, H, W] bytes in {0, 1}, the channels last in memory
    gates: Tensor  # [T, N, C] float32

    def tensor(self) -> Tensor:
        """The products."""
        return scale_planes(self.spikes, self.gates, into=torch.empty_like(self.spikes, dtype=torch.float32))

    def weighted_sum(self, weights: Tensor) -> Tensor:
        """``sum_t weights[t] x[t]``, [N, C, H, W]."""
        summed = torch.empty_like(self.spikes[0], dtype=torch.float32)
        images, channels = self.spikes.shape[1:3]
        compile.in_parallel(
            planes.sum_gated, compile.flat(self.spikes), compile.flat(self.gates),
            compile.flat(weights.detach().contiguous()), compile.flat(summed), channels, images,
            count=images, together=1, work=len(self.spikes) * self.spikes.shape[2:].numel(),
        )  # fmt: skip
        return summed


def scale_planes(x_seq: Tensor, factor: Tensor, *, into: Tensor) -> Tensor:
    """Write ``factor x_seq`` into a sequence, which may be ``x_seq``; the channels of both come last in memory.

    Args:
        x_seq: [..., C, H, W] float32, bfloat16 or bytes.
        factor: [..., C].
        into: like ``x_seq``.
    """
    channels = factor.shape[-1]
    compile.in_parallel(
        planes.scale_planes, compile.flat(x_seq), compile.flat(factor.float().contiguous()), compile.flat(into),
        channels, count=factor[..., 0].numel(), together=1, work=into.shape[-3:].numel(),
    )  # fmt: skip
    return into


def split_gated(x: Tensor) -> tuple[Tensor, Tensor] | None:
    """Gated spikes as bytes and gates, in a quarter (bfloat16: half) of their memory.

    Args:
        x: [P, C, H, W], the channels last in memory.

    Returns:
        Spikes [P, C, H, W], uint8 in {0, 1}, and gates [P, C], whose product is ``x``; None if there are none.
    """
    if x.numel() == 0 or not x.is_contiguous(memory_format=torch.channels_last):
        return None
    spikes, gates = torch.empty_like(x, dtype=torch.uint8), torch.empty(x.shape[:2], dtype=torch.float32)
    are_gated = compile.in_parallel(
        planes.split_gated, compile.flat(x), compile.flat(spikes), compile.flat(gates), x.shape[1],
        count=len(x), together=1, work=x.shape[1:].numel(),
    )  # fmt: skip
    return (spikes, gates) if all(are_gated) else None


def join_gated(spikes: Tensor, gates: Tensor, dtype: torch.dtype) -> Tensor:
    """What :func:`split_gated` has split, every value as it was."""
    return scale_planes(spikes, gates, into=torch.empty_like(spikes, dtype=dtype))


class _Stand(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.set_materialize_grads(False)
        return x.new_zeros(()).expand(x.shape)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> Tensor | None:
        return grads[0]


def stand_in(x: Tensor) -> Tensor:
    """Zeros of the size of ``x``, without its memory, whose gradient goes to ``x``.

    Added to a copy of ``x`` that was made from bytes they let gradients of gradients flow.
    """
    zeros: Tensor = _Stand.apply(x)
    return zeros
