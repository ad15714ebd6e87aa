"""Spiking layers: leaky integrate-and-fire neurons over whole sequences, from rest to the last step."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from spikingjelly.activation_based import neuron, surrogate
from torch import Tensor

from spikevae.config import ModelConfig

THRESHOLD = 1.0
_CHUNK = 1_048_576  # neurons stepped through time together, so that their potentials stay in the last-level cache


def spiking_layer(config: ModelConfig) -> SpikingLayer | ParametricSpikingLayer:
    """The layer that ``config.neuron``, ``config.tau`` and ``config.surrogate_slope`` ask for."""
    layer = ParametricSpikingLayer if config.neuron == "plif" else SpikingLayer
    return layer(float(config.tau), config.surrogate_slope)


class SpikingLayer(neuron.LIFNode):
    """Leaky integrate-and-fire neurons, hard reset, arctan surrogate gradient, reset detached from the gradient.

    ``h[t] = v[t-1] + (x[t] - v[t-1]) / tau``, ``s[t] = h[t] >= 1``, ``v[t] = h[t] (1 - s[t])``, ``v[-1] = 0``.
    Every call is a whole sequence and starts at rest, so nothing is carried from one call to the next. On the CPU the
    whole sequence is one autograd operator (3 to 4 times faster than step by step, the spikes being equal); elsewhere
    spikingjelly's own multi-step kernels run.

    Args:
        tau: membrane time constant, in time steps, larger than 1.
        surrogate_slope: slope of the arctan surrogate at the threshold.
    """

    def __init__(self, tau: float, surrogate_slope: float) -> None:
        super().__init__(
            tau=tau,
            v_threshold=THRESHOLD,
            surrogate_function=surrogate.ATan(alpha=surrogate_slope),
            detach_reset=True,
            step_mode="m",
        )
        self.surrogate_slope = surrogate_slope

    @property
    def leak(self) -> float:
        """1 / tau."""
        return 1.0 / self.tau

    def multi_step_forward(
        self, x_seq: Float[Tensor, "T N *F"], *args: Tensor, **kwargs: object
    ) -> Float[Tensor, "T N *F"]:
        """Spikes in {0, 1} for input currents; takes no further arguments (spikingjelly's signature has them)."""
        if x_seq.device.type == "cpu":
            return lif_sequence(x_seq, self.leak, self.surrogate_slope)
        return from_rest(self, super().multi_step_forward, x_seq)


class ParametricSpikingLayer(neuron.ParametricLIFNode):
    """:class:`SpikingLayer` whose time constant is learned, one per layer: 1 / tau = sigmoid(w).

    Source: Fang et al., PLIF, ICCV 2021, arXiv:2007.05785.
    """

    def __init__(self, tau: float, surrogate_slope: float) -> None:
        super().__init__(
            init_tau=tau,
            v_threshold=THRESHOLD,
            surrogate_function=surrogate.ATan(alpha=surrogate_slope),
            detach_reset=True,
            step_mode="m",
        )
        self.surrogate_slope = surrogate_slope

    @property
    def leak(self) -> Tensor:
        """1 / tau, a scalar tensor."""
        return self.w.sigmoid()

    def multi_step_forward(
        self, x_seq: Float[Tensor, "T N *F"], *args: Tensor, **kwargs: object
    ) -> Float[Tensor, "T N *F"]:
        """Spikes in {0, 1} for input currents; takes no further arguments (spikingjelly's signature has them)."""
        if x_seq.device.type == "cpu":
            return lif_sequence(x_seq, self.leak, self.surrogate_slope)
        return from_rest(self, super().multi_step_forward, x_seq)


def from_rest(layer: neuron.BaseNode, forward: Callable[[Tensor], Any], x_seq: Tensor) -> Tensor:
    """Run spikingjelly's own multi-step ``forward`` with no state from before and none left behind."""
    layer.reset()
    spike_seq: Tensor = forward(x_seq)
    layer.reset()
    return spike_seq


def lif_sequence(x_seq: Tensor, leak: float | Tensor, surrogate_slope: float) -> Tensor:
    """Spikes of leaky integrate-and-fire neurons that start at rest.

    Args:
        x_seq: [T, N, ...] input currents.
        leak: 1 / tau, in (0, 1); a scalar tensor gets a gradient.
        surrogate_slope: slope of the arctan surrogate at the threshold.

    Returns:
        [T, N, ...] spikes in {0, 1}, of the input's dtype and memory format.
    """
    if not isinstance(leak, Tensor):
        leak = torch.tensor(leak)
    spike_seq: Tensor = _LifSequence.apply(x_seq, leak, surrogate_slope)
    return spike_seq


def _is_dense(x: Tensor) -> bool:
    """Whether the elements of ``x`` fill one block of memory, in whatever order."""
    expected = 1
    for stride, size in sorted((stride, size) for stride, size in zip(x.stride(), x.shape, strict=True) if size > 1):
        if stride != expected:
            return False
        expected *= size
    return True


def _row(x: Tensor) -> Tensor:
    """A dense tensor's elements in the order of memory, as a view."""
    return x.as_strided((x.numel(),), (1,))


class _LifSequence(torch.autograd.Function):
    """All T steps of a chunk of neurons before the next chunk, in fp32, so that only input and output leave the cache.

    Saved for the gradient: the potentials before the reset, and the spikes, which the next layer keeps anyway.
    """

    @staticmethod
    def forward(ctx: Any, x_seq: Tensor, leak: Tensor, slope: float) -> Tensor:
        keep = any(ctx.needs_input_grad)
        if not _is_dense(x_seq[0]):
            x_seq = x_seq.contiguous()
        time_steps, k = x_seq.shape[0], float(leak)
        spike_seq = _like_steps(x_seq)
        h_seq = _like_steps(x_seq) if keep else None
        x_rows, spike_rows = [_row(x) for x in x_seq], [_row(s) for s in spike_seq]
        h_rows = [_row(h) for h in h_seq] if h_seq is not None else []
        neurons = x_rows[0].numel()
        half = x_seq.dtype != torch.float32
        for start in range(0, neurons, _CHUNK):
            part = slice(start, min(start + _CHUNK, neurons))
            v = torch.zeros(part.stop - start)
            h = torch.empty_like(v)
            spike = torch.empty_like(v)
            for t in range(time_steps):
                x = x_rows[t][part]
                torch.lerp(v, x.float() if half else x, k, out=h)
                torch.ge(h, THRESHOLD, out=spike)
                if t + 1 < time_steps:
                    torch.addcmul(h, h, spike, value=-1, out=v)
                spike_rows[t][part].copy_(spike)
                if keep:
                    h_rows[t][part].copy_(h)
        if keep:
            ctx.save_for_backward(h_seq, spike_seq, leak)
            ctx.slope = slope
        return spike_seq

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor | None, None]:
        h_seq, spike_seq, leak = ctx.saved_tensors
        grad_seq = grads[0]
        if grad_seq.stride() != h_seq.stride():
            grad_seq = torch.empty_like(h_seq).copy_(grad_seq)
        grad_x_seq = torch.empty_like(h_seq)
        rows = [[_row(step) for step in seq] for seq in (h_seq, spike_seq, grad_seq, grad_x_seq)]
        h_rows, spike_rows, grad_rows, grad_x_rows = rows
        time_steps, k = len(h_rows), float(leak)
        neurons = h_rows[0].numel()
        slope = math.pi / 2 * ctx.slope
        grad_leak = 0.0
        for start in range(0, neurons, _CHUNK):
            part = slice(start, min(start + _CHUNK, neurons))
            grad_v = torch.zeros(part.stop - start)
            for t in reversed(range(time_steps)):
                h, spike = h_rows[t][part].float(), spike_rows[t][part].float()
                surrogate_grad = (h - THRESHOLD).mul_(slope).square_().add_(1.0).reciprocal_().mul_(ctx.slope / 2)
                grad_h = surrogate_grad.mul_(grad_rows[t][part])  # d s / d h, then through the reset's (1 - s)
                grad_h.add_(grad_v).addcmul_(grad_v, spike, value=-1)
                if ctx.needs_input_grad[1] and k > 0:  # a learned leak can round to 0, and then nothing moves
                    drive = h  # (h - v) / k = x - v, what the leak multiplies
                    if t > 0:
                        before = h_rows[t - 1][part].float()
                        drive = h - torch.addcmul(before, before, spike_rows[t - 1][part].float(), value=-1)
                    grad_leak += float(torch.dot(grad_h, drive)) / k
                torch.mul(grad_h, 1 - k, out=grad_v)
                grad_x_rows[t][part].copy_(grad_h.mul_(k))
        return grad_x_seq, leak.new_tensor(grad_leak) if ctx.needs_input_grad[1] else None, None


def _like_steps(x_seq: Tensor) -> Tensor:
    """Empty memory for a sequence whose steps are laid out as those of ``x_seq`` (which may all be one step's)."""
    step = x_seq[0]
    return torch.empty_strided(x_seq.shape, (step.numel(), *step.stride()), dtype=x_seq.dtype)
