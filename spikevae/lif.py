"""Leaky integrate-and-fire neurons on the CPU: a whole sequence, with its batch norm, as one autograd operator."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

THRESHOLD = 1.0
_FORWARD = 1_048_576  # neurons stepped through time together, before the next ones: enough to keep all threads busy
_BACKWARD = 4_194_304  # potentials held together: those of some neurons at all T steps


def lif_sequence(
    x_seq: Tensor, leak: float | Tensor, surrogate_slope: float, norm: nn.BatchNorm2d | None = None
) -> Tensor:
    """Spikes of leaky integrate-and-fire neurons that start at rest.

    Kept for the gradient is the input alone. Normalised currents, potentials and spikes are computed again, for some
    neurons at a time so that they stay in the cache: that takes no longer than writing them and reading them back.

    Args:
        x_seq: [T, N, ...] input currents.
        leak: 1 / tau, in (0, 1); a scalar tensor gets a gradient.
        surrogate_slope: slope of the arctan surrogate at the threshold.
        norm: a batch norm in training, through which the currents, then [T, N, C, H, W], go first, over time and batch
            together.

    Returns:
        [T, N, ...] spikes in {0, 1}, of the input's dtype and memory format (with ``norm``: channels last).
    """
    if not isinstance(leak, Tensor):
        leak = torch.tensor(leak)
    if norm is None:
        spike_seq: Tensor = _LifSequence.apply(x_seq, leak, surrogate_slope)
        return spike_seq
    assert norm.num_batches_tracked is not None
    assert norm.momentum is not None
    x = x_seq.flatten(0, 1).contiguous(memory_format=torch.channels_last)  # [T*N, C, H, W]
    with torch.no_grad():
        norm.num_batches_tracked.add_(1)
        mean, variance = torch.batch_norm_update_stats(x, norm.running_mean, norm.running_var, norm.momentum)
        inverse_deviation = (variance + norm.eps).rsqrt()
    spike_seq = _LifSequence.apply(
        x.unflatten(0, x_seq.shape[:2]), leak, surrogate_slope, norm.weight, norm.bias, mean, inverse_deviation
    )
    return spike_seq


class _LifSequence(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x_seq: Tensor,
        leak: Tensor,
        slope: float,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        mean: Tensor | None = None,
        inverse_deviation: Tensor | None = None,
    ) -> Tensor:
        if not _is_dense(x_seq[0]):
            x_seq = x_seq.contiguous()
        ctx.save_for_backward(x_seq, leak, weight, bias, mean, inverse_deviation)
        ctx.slope = slope
        spike_seq = _like_steps(x_seq)
        neurons = _Neurons(_FORWARD, x_seq, float(leak), *_line(weight, bias, mean, inverse_deviation))
        rows = [_row(step) for step in spike_seq]
        h, spikes = torch.empty(2, neurons.together)
        for part in neurons.parts():
            size = part.stop - part.start
            outputs = [row[part] for row in rows]
            if x_seq.dtype == torch.float32:
                neurons.fire(part, [h[:size]] * len(rows), outputs)
            else:
                neurons.fire(part, [h[:size]] * len(rows), [spikes[:size]] * len(rows), outputs)
        return spike_seq

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x_seq, leak, weight, bias, mean, inverse_deviation = ctx.saved_tensors
        (grad_seq,) = grads
        grad_x_seq = _like_steps(x_seq)  # with a norm, of the normalised currents
        if grad_seq.stride() != grad_x_seq.stride():
            grad_seq = grad_x_seq.copy_(grad_seq)  # step by step the one then takes the other's place
        line = _line(weight, bias, mean, inverse_deviation)
        neurons = _Neurons(_BACKWARD // len(x_seq), x_seq, float(leak), *line)
        grad_leak = neurons.push_back(
            [_row(step) for step in grad_seq], [_row(step) for step in grad_x_seq], ctx.slope, ctx.needs_input_grad[1]
        )
        grad_weight = grad_bias = None
        if weight is not None:
            grad_x, grad_weight, grad_bias = torch.ops.aten.native_batch_norm_backward(
                grad_x_seq.flatten(0, 1), x_seq.flatten(0, 1), weight, None, None, mean, inverse_deviation,
                True, 0.0, [True, True, True],
            )  # fmt: skip
            grad_x_seq = grad_x.unflatten(0, x_seq.shape[:2])
        return (
            grad_x_seq,
            leak.new_tensor(grad_leak) if ctx.needs_input_grad[1] else None,
            None,
            grad_weight,
            grad_bias,
            None,
            None,
        )


def _line(
    weight: Tensor | None, bias: Tensor | None, mean: Tensor | None, inverse_deviation: Tensor | None
) -> tuple[Tensor, Tensor] | tuple[None, None]:
    """Scale and shift, [C] each, that normalise a channel; None where nothing is normalised."""
    if weight is None or bias is None or mean is None or inverse_deviation is None:
        return None, None
    scale = weight * inverse_deviation
    return scale, bias - mean * scale


class _Neurons:
    """Steps neurons through time, some of them after the others, in fp32.

    Args:
        together: neurons that go together, about.
        x_seq: [T, N, ...] currents, every step dense in memory; [T, N, C, H, W] in channels-last order if they are to
            be scaled and shifted.
        leak: 1 / tau.
        scale, shift: [C] each, of the currents; None leaves them.
    """

    def __init__(
        self, together: int, x_seq: Tensor, leak: float, scale: Tensor | None = None, shift: Tensor | None = None
    ) -> None:
        self.x_rows = [_row(step) for step in x_seq]
        self.leak = leak
        self.count = self.x_rows[0].numel()
        self.together = max(1, min(self.count, together))
        self.line: tuple[Tensor, Tensor] | None = None
        if scale is not None and shift is not None:
            repeats = max(1, self.together // len(scale))
            self.together = repeats * len(scale)
            self.line = (scale.repeat(repeats), shift.repeat(repeats))
        self.x = torch.empty(self.together)
        self.v = torch.empty(self.together)

    def parts(self) -> list[slice]:
        """Which neurons go together."""
        starts = range(0, self.count, self.together)
        return [slice(start, min(start + self.together, self.count)) for start in starts]

    def fire(
        self, part: slice, h_seq: list[Tensor], spike_seq: list[Tensor], copy_seq: list[Tensor] | None = None
    ) -> None:
        """Write the potentials before the reset, and the spikes, of some neurons, T tensors each."""
        v = self.v[: part.stop - part.start]
        last = len(self.x_rows) - 1
        for t, (h, spike) in enumerate(zip(h_seq, spike_seq, strict=True)):
            x = self._currents(t, part)
            if t == 0:
                torch.mul(x, self.leak, out=h)
            else:
                torch.lerp(v, x, self.leak, out=h)
            torch.ge(h, THRESHOLD, out=spike)
            if copy_seq is not None:
                copy_seq[t].copy_(spike)
            if t < last:
                torch.addcmul(h, h, spike, value=-1, out=v)

    def _currents(self, t: int, part: slice) -> Tensor:
        x = self.x_rows[t][part]
        size = len(x)
        if x.dtype != torch.float32:
            x = self.x[:size].copy_(x)
        if self.line is not None:
            scale, shift = self.line
            x = torch.addcmul(shift[:size], x, scale[:size], out=self.x[:size])
        return x

    def push_back(
        self, grad_rows: list[Tensor], grad_x_rows: list[Tensor], slope: float, needs_grad_leak: bool
    ) -> float:
        """From the gradient of the spikes to that of the (normalised) currents, which is written, and of the leak.

        ``ds/dh = slope / 2 / (1 + (pi / 2 slope (h - 1))^2)``; what came before is reached through ``1 - s``, s held
        fixed: ``dx[t] = leak ds/dh grad[t] + (1 - leak) (1 - s[t]) dx[t+1]``.
        """
        time_steps, k = len(grad_rows), self.leak
        h_seq, spike_seq = torch.empty(2, time_steps, self.together)
        flat = torch.full((self.together,), 2 / slope)
        surrogate, grad_x, grad_s = torch.empty(3, self.together)
        grad_leak = 0.0
        for part in self.parts():
            size = part.stop - part.start
            h, spikes = [step[:size] for step in h_seq], [step[:size] for step in spike_seq]
            self.fire(part, h, spikes)
            later = torch.zeros(size)  # dx[t+1]
            for t in reversed(range(time_steps)):
                grad, row = grad_rows[t][part], grad_x_rows[t][part]
                if is_half := grad.dtype != torch.float32:
                    grad = grad_s[:size].copy_(grad)
                now = grad_x[:size] if is_half else row
                through = torch.sub(h[t], THRESHOLD, out=surrogate[:size])
                torch.addcmul(flat[:size], through, through, value=math.pi**2 / 2 * slope, out=through)
                torch.div(grad, through, out=through)
                torch.lerp(torch.addcmul(later, later, spikes[t], value=-1, out=now), through, k, out=now)
                if needs_grad_leak and k > 0:  # a learned leak can round to 0, and then nothing moves
                    drive = h[t]  # (h - v) / leak = x - v, what the leak multiplies
                    if t > 0:
                        v = torch.addcmul(h[t - 1], h[t - 1], spikes[t - 1], value=-1, out=through)
                        drive = torch.sub(h[t], v, out=through)
                    grad_leak += float(torch.dot(now, drive)) / k**2
                if is_half:
                    row.copy_(now)
                later = now
        return grad_leak


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


def _like_steps(x_seq: Tensor) -> Tensor:
    """Empty memory for a sequence whose steps are laid out as those of ``x_seq`` (which may all be one step's)."""
    step = x_seq[0]
    return torch.empty_strided(x_seq.shape, (step.numel(), *step.stride()), dtype=x_seq.dtype)
