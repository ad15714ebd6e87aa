"""Leaky integrate-and-fire neurons on the CPU: a whole sequence, with its batch norm, as one autograd operator."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from spikevae.ops.cpu import compile, neurons
from spikevae.ops.planes import take_over

THRESHOLD = 1.0  # also in the loops of cpu/neurons.py
_ONES_AND_ZEROS = np.ones(compile.BLOCK, np.float32), np.zeros(compile.BLOCK, np.float32)


def lif_sequence(
    x_seq: Tensor,
    leak: float | Tensor,
    surrogate_slope: float,
    norm: nn.BatchNorm2d | None = None,
    sums: Tensor | None = None,
) -> Tensor:
    """Spikes of leaky integrate-and-fire neurons that start at rest.

    Kept for the gradient is the input alone: normalised currents, potentials and spikes are computed again, for some
    neurons at a time, so that they never leave the cache.

    Args:
        x_seq: [T, N, ...] input currents; computed in float32.
        leak: 1 / tau, in (0, 1); a scalar tensor gets a gradient.
        surrogate_slope: slope of the arctan surrogate at the threshold.
        norm: a batch norm through which the currents, then [T, N, C, H, W], go first, over time and batch together. In
            training it takes the batch's statistics and learns; in use no gradient is computed, and the spikes take
            the place of the currents in memory.
        sums: with ``norm``: [T, N, C] zeros, float32, to which the sums of the spikes over H and W are added.

    Returns:
        [T, N, ...] spikes in {0, 1}, of the input's dtype and memory format (with ``norm``: channels last).
    """
    if x_seq.dtype not in compile.DTYPES:
        return lif_sequence(x_seq.float(), leak, surrogate_slope, norm, sums).to(x_seq.dtype)
    if not isinstance(leak, Tensor):
        leak = torch.tensor(leak)
    if norm is None:
        spike_seq: Tensor = _LifSequence.apply(x_seq, leak, surrogate_slope)
        return spike_seq
    assert norm.num_batches_tracked is not None
    assert norm.running_mean is not None
    assert norm.running_var is not None
    x = x_seq.flatten(0, 1).contiguous(memory_format=torch.channels_last)  # [T*N, C, H, W]
    x_seq = x.unflatten(0, x_seq.shape[:2])
    if not norm.training:
        inverse_deviation = (norm.running_var + norm.eps).rsqrt()
        return _fire(x_seq, leak, x_seq, sums, norm.weight, norm.bias, norm.running_mean, inverse_deviation)
    assert norm.momentum is not None
    with torch.no_grad():
        norm.num_batches_tracked.add_(1)
        mean, variance = torch.batch_norm_update_stats(x, norm.running_mean, norm.running_var, norm.momentum)
        inverse_deviation = (variance + norm.eps).rsqrt()
    spike_seq = _LifSequence.apply(x_seq, leak, surrogate_slope, sums, norm.weight, norm.bias, mean, inverse_deviation)
    return spike_seq


def fire_once(x: Tensor, leak: float, v: Tensor | float) -> tuple[Tensor, Tensor]:
    """One step of neurons, without gradient: their spikes, and the potentials after the reset, in float32.

    Args:
        x: [N, ...] input currents; the spikes are of their dtype.
        leak: 1 / tau.
        v: like ``x``, potentials before; a number is those of all.
    """
    if x.dtype not in compile.DTYPES:
        spikes, after = fire_once(x.float(), leak, v)
        return spikes.to(x.dtype), after
    x = x.contiguous()
    before = v.contiguous() if isinstance(v, Tensor) else torch.full(x.shape, v)
    spikes, after = torch.empty_like(x), torch.empty(x.shape)
    compile.in_parallel(
        neurons.fire_once, compile.flat(x), *_ONES_AND_ZEROS, np.float32(leak), compile.flat(before),
        compile.flat(after), compile.flat(spikes), count=x.numel(), together=compile.BLOCK,
    )  # fmt: skip
    return spikes, after


def _fire(x_seq: Tensor, leak: Tensor, into: Tensor, sums: Tensor | None, *norm: Tensor | None) -> Tensor:
    """Spikes of currents that are dense in memory, written ``into`` a sequence of the same layout."""
    currents = _Currents(x_seq, *norm)
    shares = currents.shares
    if sums is not None:
        shares = {**shares, "together": x_seq.shape[2:].numel()}
    compile.in_parallel(
        neurons.fire, *currents.args, np.float32(float(leak)), compile.flat(into), currents.count,
        compile.flat(torch.empty(0) if sums is None else sums), x_seq.shape[2:].numel(), **shares,
    )  # fmt: skip
    return into


class _LifSequence(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x_seq: Tensor,
        leak: Tensor,
        slope: float,
        sums: Tensor | None = None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        mean: Tensor | None = None,
        inverse_deviation: Tensor | None = None,
    ) -> Tensor:
        if not _is_dense(x_seq[0]):
            x_seq = x_seq.contiguous()
        ctx.save_for_backward(x_seq, leak, weight, bias, mean, inverse_deviation)
        ctx.slope = slope
        return _fire(x_seq, leak, _like_steps(x_seq), sums, weight, bias, mean, inverse_deviation)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x_seq, leak, weight, bias, mean, inverse_deviation = ctx.saved_tensors
        (grad_seq,) = grads
        # Of the normalised currents, if there is a norm. Block by block it may take the place of that of the spikes.
        is_ours = take_over(grad_seq) and grad_seq.stride() == _strides(x_seq) and grad_seq.dtype == x_seq.dtype
        grad_x_seq = grad_seq if is_ours else _like_steps(x_seq)
        if grad_seq.stride() != grad_x_seq.stride():
            grad_seq = grad_x_seq.copy_(grad_seq)
        currents = _Currents(x_seq, weight, bias, mean, inverse_deviation)
        channels = 0 if weight is None else len(weight)
        parts = compile.in_parallel(
            neurons.push_back, *currents.args, np.float32(float(leak)), np.float32(ctx.slope),
            compile.flat(grad_seq), compile.flat(grad_x_seq),
            currents.block(mean, 0.0), channels, currents.count, ctx.needs_input_grad[1], **currents.shares,
        )  # fmt: skip
        moments = torch.from_numpy(sum(parts, np.zeros(2 * channels + 1)))
        grad_leak = grad_weight = grad_bias = None
        if ctx.needs_input_grad[1]:  # a learned leak can round to 0, and then nothing moves
            grad_leak = (
                (moments[-1] / leak.double().square() if leak > 0 else moments[-1]).to(leak.dtype).reshape(leak.shape)
            )
        if weight is not None:
            total, product = moments[:channels], moments[channels:-1]
            grad_bias, grad_weight = total.to(bias.dtype), (product * inverse_deviation).to(weight.dtype)
            count = x_seq.numel() / channels
            of_grad = (weight * inverse_deviation).double()
            of_x = -of_grad * product * inverse_deviation.double().square() / count
            compile.in_parallel(
                neurons.normalise_back, compile.flat(x_seq), compile.flat(grad_x_seq),
                *(currents.block(values) for values in (mean, of_grad, of_x, -of_grad * total / count)),
                count=x_seq.numel(), together=currents.shares["together"],
            )  # fmt: skip
        return grad_x_seq, grad_leak, None, None, grad_weight, grad_bias, None, None


class _Currents:
    """Input currents as the loops take them.

    Args:
        x_seq: [T, N, ...], every step dense in memory; [T, N, C, H, W], channels last, if they are normalised.
        weight, bias, mean, inverse_deviation: [C] each, of the norm, or None.
    """

    def __init__(
        self,
        x_seq: Tensor,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        mean: Tensor | None = None,
        inverse_deviation: Tensor | None = None,
    ) -> None:
        self.count = x_seq[0].numel()
        channels = 1 if weight is None else len(weight)
        self._repeats = max(1, compile.BLOCK // channels)
        scale = shift = None
        if weight is not None and bias is not None and mean is not None and inverse_deviation is not None:
            scale = weight * inverse_deviation
            shift = bias - mean * scale
        stride = x_seq.stride(0) if self.count else 0
        x = compile.flat(x_seq, stride * (len(x_seq) - 1) + self.count)
        self.args = (x, stride, self.block(scale, 1.0), self.block(shift, 0.0))
        self.shares = {"count": self.count, "together": self._repeats * channels, "work": len(x_seq)}

    def block(self, values: Tensor | None, otherwise: float = 0.0) -> Any:
        """A value for each channel, repeated to a block; without values the same for all."""
        if values is None:
            return np.full(self._repeats, otherwise, np.float32)
        return values.detach().float().repeat(self._repeats).numpy()


def _is_dense(x: Tensor) -> bool:
    """Whether the elements of ``x`` fill one block of memory, in whatever order."""
    expected = 1
    for stride, size in sorted((stride, size) for stride, size in zip(x.stride(), x.shape, strict=True) if size > 1):
        if stride != expected:
            return False
        expected *= size
    return True


def _strides(x_seq: Tensor) -> tuple[int, ...]:
    """Of a sequence whose steps are laid out as those of ``x_seq`` (which may all be one step's), one after another."""
    step = x_seq[0]
    return (step.numel(), *step.stride())


def _like_steps(x_seq: Tensor) -> Tensor:
    """Empty memory for such a sequence."""
    return torch.empty_strided(x_seq.shape, _strides(x_seq), dtype=x_seq.dtype)
