"""Batch norm, neurons and gates of a whole sequence on the CPU, as one autograd operator.

Normalised currents and potentials never leave the cache. Kept for the gradient are the currents alone: potentials and
spikes are computed again, for some neurons at a time. Every buffer is this operator's own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from spikevae.ops.cpu import compile, neurons
from spikevae.ops.planes import scale_planes


class Gate(NamedTuple):
    """A factor for every (time step, image, channel)."""

    of_means: Callable[[Tensor], Tensor]  # from the means of the planes of spikes [T, N, C] to the factors
    weights: tuple[Tensor, ...]  # parameters that it learns by


def fire(
    x_seq: Tensor,
    leak: float | Tensor,
    slope: float,
    norm: nn.BatchNorm2d | None = None,
    gate: Gate | None = None,
    *,
    in_place: bool = False,
) -> Tensor:
    """Spikes of leaky integrate-and-fire neurons that start at rest, times their gates.

    Args:
        x_seq: [T, N, ...] input currents; [T, N, C, H, W] with a norm or a gate.
        leak: 1 / tau; a scalar tensor gets a gradient.
        slope: of the arctan surrogate at the threshold.
        norm: normalises the currents over time and batch together. In training it takes the batch's statistics.
        gate: None passes spikes on.
        in_place: whether the result may take the place of the currents in memory, if there is no gradient.

    Returns:
        Of the input's shape and dtype; with a norm or a gate the channels come last in memory.
    """
    leak = leak if isinstance(leak, Tensor) else torch.tensor(leak)
    if norm is not None or gate is not None:
        x_seq = _channels_last(x_seq, may_be_constant=norm is None)
    elif not _is_dense(x_seq[0]):
        x_seq = x_seq.contiguous()
    mean = inverse_deviation = weight = bias = None
    if norm is not None:
        mean, inverse_deviation = _statistics(norm, x_seq)
        weight, bias = norm.weight, norm.bias
    if not torch.is_grad_enabled():
        currents = _Currents(x_seq, gate is not None, weight, bias, mean, inverse_deviation)
        fired, means = _fire(x_seq, leak, currents, gate is not None, x_seq if in_place else None)
        return fired if gate is None else scale_planes(fired, gate.of_means(means), into=fired)
    weights, eps = () if gate is None else gate.weights, None if norm is None else norm.eps
    gated: Tensor = _Fire.apply(x_seq, leak, slope, eps, gate, weight, bias, mean, inverse_deviation, *weights)
    return gated


def _fire(
    x_seq: Tensor, leak: Tensor, currents: _Currents, wants_means: bool, into: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Spikes, laid out like the currents, and the means of their planes [T, N, C], if they are wanted."""
    if into is None:
        into = torch.empty_strided(x_seq.shape, _strides(x_seq), dtype=x_seq.dtype)
    sums = torch.zeros(x_seq.shape[:3]) if wants_means else torch.empty(0)
    compile.in_parallel(
        neurons.fire, *currents.args, np.float32(float(leak)), compile.flat(into), currents.count,
        compile.flat(sums), currents.image, **currents.shares(by_image=wants_means),
    )  # fmt: skip
    return into, sums / x_seq.shape[3:].numel() if wants_means else sums


@torch.no_grad()
def _statistics(norm: nn.BatchNorm2d, x_seq: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and inverse standard deviation of each channel, [C]: the batch's in training, otherwise the running ones."""
    assert norm.num_batches_tracked is not None
    assert norm.running_mean is not None
    assert norm.running_var is not None
    if not norm.training:
        return norm.running_mean, (norm.running_var + norm.eps).rsqrt()
    assert norm.momentum is not None
    norm.num_batches_tracked.add_(1)
    mean, variance = torch.batch_norm_update_stats(
        x_seq.flatten(0, 1), norm.running_mean, norm.running_var, norm.momentum
    )
    return mean, (variance + norm.eps).rsqrt()


class _Fire(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x_seq: Tensor,
        leak: Tensor,
        slope: float,
        eps: float | None,
        gate: Gate | None,
        weight: Tensor | None,
        bias: Tensor | None,
        mean: Tensor | None,
        inverse_deviation: Tensor | None,
        *gate_weights: Tensor,
    ) -> Tensor:
        currents = _Currents(x_seq, gate is not None, weight, bias, mean, inverse_deviation)
        ctx.slope, ctx.eps, ctx.gate = slope, eps, gate
        ctx.save_for_backward(x_seq, leak, weight, bias, mean, inverse_deviation, *gate_weights)
        fired, means = _fire(x_seq, leak, currents, gate is not None)
        if gate is None:
            return fired
        wants_gradient = any(ctx.needs_input_grad)
        with torch.set_grad_enabled(wants_gradient):
            ctx.means = means.requires_grad_(wants_gradient)
            ctx.factor = gate.of_means(ctx.means)  # [T, N, C]
        return scale_planes(fired, ctx.factor.detach(), into=fired)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            return _differentiable_gradients(ctx, grads[0])
        x_seq, leak, weight, bias, mean, inverse_deviation, *gate_weights = ctx.saved_tensors
        grad_seq = grads[0].to(x_seq.dtype)
        if grad_seq.stride() != _strides(x_seq):
            grad_seq = torch.empty_strided(x_seq.shape, _strides(x_seq), dtype=x_seq.dtype).copy_(grad_seq)
        currents = _Currents(x_seq, ctx.gate is not None, weight, bias, mean, inverse_deviation)
        factor = addend = torch.empty(0)
        of_gate_weights: tuple[Tensor | None, ...] = ()
        if ctx.gate is not None:
            factor = ctx.factor.detach()
            of_factor = torch.zeros(factor.shape)
            compile.in_parallel(
                neurons.sum_where_fired, *currents.args, np.float32(float(leak)), compile.flat(grad_seq),
                currents.count, compile.flat(of_factor), currents.image, **currents.shares(by_image=True),
            )  # fmt: skip
            learned = [x for x in gate_weights if x.requires_grad]  # a frozen one has no gradient
            of_means, *rest = torch.autograd.grad(
                ctx.factor, [ctx.means, *learned], of_factor, retain_graph=True, allow_unused=True
            )
            addend = of_means / x_seq.shape[3:].numel()
            of_gate_weights = tuple(rest.pop(0) if x.requires_grad else None for x in gate_weights)
        of_x, of_leak, of_weight, of_bias = _gradients(ctx, currents, grad_seq, factor, addend)
        return of_x, of_leak, None, None, None, of_weight, of_bias, None, None, *of_gate_weights


def _gradients(
    ctx: Any, currents: _Currents, grad_seq: Tensor, factor: Tensor, addend: Tensor
) -> tuple[Tensor | None, ...]:
    """Gradients of currents, leak, and weight and bias of the norm from that of the gated spikes."""
    x_seq, leak, weight, bias, mean, inverse_deviation, *_ = ctx.saved_tensors
    wants_leak = ctx.needs_input_grad[1]
    of_x = torch.empty_strided(x_seq.shape, _strides(x_seq), dtype=x_seq.dtype)
    channels = 0 if weight is None else len(weight)
    parts = compile.in_parallel(
        neurons.push_back, *currents.args, np.float32(float(leak)), np.float32(ctx.slope), compile.flat(grad_seq),
        compile.flat(of_x), currents.block(mean, 0.0), channels, currents.count, wants_leak,
        compile.flat(factor.contiguous()), compile.flat(addend.contiguous()), currents.image,
        **currents.shares(by_image=factor.numel() > 0),
    )  # fmt: skip
    moments = torch.from_numpy(sum(parts, np.zeros(2 * channels + 1)))
    of_leak = None
    if wants_leak:  # a learned leak can round to 0, and then nothing moves
        moved = moments[-1] / leak.double().square() if leak > 0 else moments[-1]
        of_leak = moved.to(leak.dtype).reshape(leak.shape)
    if weight is None:
        return of_x, of_leak, None, None
    total, product = moments[:channels], moments[channels:-1]
    count = x_seq.numel() / channels
    of_grad = (weight * inverse_deviation).double()
    of_current = -of_grad * product * inverse_deviation.double().square() / count
    compile.in_parallel(
        neurons.normalise_back, compile.flat(x_seq), compile.flat(of_x),
        *(currents.block(values) for values in (mean, of_grad, of_current, -of_grad * total / count)),
        count=x_seq.numel(), together=currents.together,
    )  # fmt: skip
    return of_x, of_leak, (product * inverse_deviation).to(weight.dtype), total.to(bias.dtype)


def _differentiable_gradients(ctx: Any, grad_seq: Tensor) -> tuple[Tensor | None, ...]:
    """The same gradients, by PyTorch's operators, where they shall have gradients themselves."""
    from spikingjelly.activation_based import surrogate

    from spikevae.ops.lif import lif_reference

    x_seq, leak, weight, bias, _, _, *gate_weights = ctx.saved_tensors
    current_seq = x_seq
    if weight is not None:
        x = x_seq.flatten(0, 1)
        x = functional.batch_norm(x, None, None, weight, bias, training=True, eps=ctx.eps)
        current_seq = x.unflatten(0, x_seq.shape[:2])
    gated_seq = lif_reference(current_seq, leak, surrogate.ATan(alpha=ctx.slope))
    if ctx.gate is not None:
        gated_seq = gated_seq * ctx.gate.of_means(gated_seq.mean(dim=(3, 4)))[..., None, None].to(gated_seq.dtype)
    given = [x_seq, leak, weight, bias, *gate_weights]
    wanted = [x for x in given if x is not None and x.requires_grad]
    found = dict(
        zip(
            map(id, wanted),
            torch.autograd.grad(gated_seq, wanted, grad_seq, create_graph=True, allow_unused=True),
            strict=True,
        )
    )
    of_x, of_leak, of_weight, of_bias, *rest = (found.get(id(x)) for x in given)
    return of_x, of_leak, None, None, None, of_weight, of_bias, None, None, *rest


class _Currents:
    """Input currents as the loops take them.

    Args:
        x_seq: [T, N, ...], every step dense in memory; [T, N, C, H, W], channels last, if normalised or gated.
        has_gates: whether channels matter for what comes after the neurons.
        weight, bias, mean, inverse_deviation: [C] each, of the norm, or None.
    """

    def __init__(
        self,
        x_seq: Tensor,
        has_gates: bool,
        weight: Tensor | None,
        bias: Tensor | None,
        mean: Tensor | None,
        inverse_deviation: Tensor | None,
    ) -> None:
        self.count = x_seq[0].numel()
        self.image = x_seq.shape[2:].numel()  # neurons of an image
        self._time_steps = len(x_seq)
        channels = x_seq.shape[2] if has_gates or weight is not None else 1
        self._repeats = max(1, compile.BLOCK // channels)
        self.together = self._repeats * channels
        scale = shift = None
        if weight is not None and bias is not None and mean is not None and inverse_deviation is not None:
            scale = weight * inverse_deviation
            shift = bias - mean * scale
        stride = x_seq.stride(0) if self.count else 0
        x = compile.flat(x_seq, stride * (len(x_seq) - 1) + self.count)
        self.args = (x, stride, self.block(scale, 1.0), self.block(shift, 0.0))

    def shares(self, *, by_image: bool) -> dict[str, int]:
        """How threads share the neurons: in blocks, or whole images at a time."""
        return {
            "count": self.count,
            "together": max(self.image, 1) if by_image else self.together,
            "work": self._time_steps,
        }

    def block(self, values: Tensor | None, otherwise: float = 0.0) -> Any:
        """A value for each channel, repeated to a block; without values the same for all."""
        if values is None:
            return np.full(self.together, otherwise, np.float32)
        return values.detach().float().repeat(self._repeats).numpy()


def _channels_last(x_seq: Tensor, *, may_be_constant: bool) -> Tensor:
    """[T, N, C, H, W] with the channels last in memory; one step shown again and again may stay one in memory."""
    if may_be_constant and x_seq.stride(0) == 0 and x_seq[0].is_contiguous(memory_format=torch.channels_last):
        return x_seq
    laid_out: Tensor = x_seq.flatten(0, 1).contiguous(memory_format=torch.channels_last).unflatten(0, x_seq.shape[:2])
    return laid_out


def _is_dense(x: Tensor) -> bool:
    """Whether the elements of ``x`` fill one block of memory, in whatever order."""
    expected = 1
    for stride, size in sorted((stride, size) for stride, size in zip(x.stride(), x.shape, strict=True) if size > 1):
        if stride != expected:
            return False
        expected *= size
    return True


def _strides(x_seq: Tensor) -> tuple[int, ...]:
    """Strides of a sequence laid out like the steps of ``x_seq``, which may all be one, one step after another."""
    step = x_seq[0]
    return (step.numel(), *step.stride())
