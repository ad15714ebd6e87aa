"""A weighted sum over time."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from spikevae.ops.dispatch import may_fuse
from spikevae.ops.planes import GatedSpikes, join_gated, split_gated, stand_in


def weighted_sum(x_seq: Tensor | GatedSpikes, weights: Tensor) -> Tensor:
    """``sum_t weights[t] x_seq[t]``, [N, C, H, W]. On the CPU gated spikes are kept for the gradient as bytes."""
    if isinstance(x_seq, GatedSpikes):
        fuses = may_fuse(weights, dtypes=(torch.float32,))
        return x_seq.weighted_sum(weights) if fuses else weighted_sum_reference(x_seq.tensor(), weights)
    if not may_fuse(x_seq, weights):
        return weighted_sum_reference(x_seq, weights)
    if not torch.is_grad_enabled():
        return _sum_steps(x_seq, weights)
    summed: Tensor = _WeightedSum.apply(x_seq, weights, stand_in(x_seq))
    return summed


def weighted_sum_reference(x_seq: Tensor, weights: Tensor) -> Tensor:
    """The same, by PyTorch."""
    return (x_seq * weights.to(x_seq.dtype)[:, None, None, None, None]).sum(dim=0)


def _sum_steps(x_seq: Tensor, weights: Tensor) -> Tensor:
    first, *factors = weights.to(x_seq.dtype)
    summed: Tensor = x_seq[0] * first
    for x, factor in zip(x_seq[1:], factors, strict=True):
        summed.addcmul_(x, factor)
    return summed


class _WeightedSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_seq: Tensor, weights: Tensor, zeros: Tensor) -> Tensor:
        kept = split_gated(x_seq.flatten(0, 1)) if ctx.needs_input_grad[1] else ()
        ctx.save_for_backward(weights, zeros, *((x_seq,) if kept is None else kept))
        ctx.dtype, ctx.steps = x_seq.dtype, len(x_seq)
        return _sum_steps(x_seq, weights)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor | None, None]:
        (grad,) = grads
        weights, zeros, *kept = ctx.saved_tensors
        grad_weights = None
        if ctx.needs_input_grad[1]:
            x_seq = kept[0] if len(kept) == 1 else join_gated(kept[0], kept[1], ctx.dtype).unflatten(0, (ctx.steps, -1))
            if torch.is_grad_enabled() and len(kept) == 2:
                x_seq = x_seq + zeros
            grad_weights = torch.stack([(grad * x).sum() for x in x_seq]).to(weights.dtype)
        return grad * weights.to(grad.dtype)[:, None, None, None, None], grad_weights, None
