"""Batch norm, neurons and gates of a whole sequence on the CPU, as one autograd operator.

Normalised currents and potentials never leave the cache. Kept for the gradient are the currents alone: potentials and
spikes are computed again, for some neurons at a time. Every buffer is this operator's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from spikevae.ops.cpu import compile, neurons
from spikevae.ops.currents import LaidOut, Norm, channels_last, is_dense, strides
from spikevae.ops.dispatch import RateMeter
from spikevae.ops.planes import GatedSpikes, scale_planes


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
    meters: Iterable[RateMeter] = (),
) -> Tensor:
    """Spikes of leaky integrate-and-fire neurons that start at rest, times their gates.

    Args:
        x_seq: [T, N, ...] input currents; [T, N, C, H, W] with a norm or a gate.
        leak: 1 / tau; a scalar tensor gets a gradient.
        slope: of the arctan surrogate at the threshold.
        norm: normalises the currents over time and batch together. In training it takes the batch's statistics.
        gate: None passes spikes on.
        in_place: whether the result may take the place of the currents in memory, if there is no gradient.
        meters: are told how many of the neurons fire.

    Returns:
        Of the input's shape and dtype; with a norm or a gate the channels come last in memory.
    """
    leak = leak if isinstance(leak, Tensor) else torch.tensor(leak, dtype=torch.float32)
    if norm is not None or gate is not None:
        x_seq = channels_last(x_seq, may_be_constant=norm is None)
    elif not is_dense(x_seq[0]):
        x_seq = x_seq.contiguous()
    numbers = None if norm is None else _numbers_of(norm, x_seq)
    if not torch.is_grad_enabled():
        currents = LaidOut(x_seq, leak, gate is not None, numbers)
        fired, means = _fire(x_seq, currents, x_seq if in_place else None)
        _tell(meters, fired if gate is None else means)
        return fired if gate is None else scale_planes(fired, gate.of_means(means), into=fired)
    weights, eps = () if gate is None else gate.weights, None if norm is None else norm.eps
    gated, means = _Fire.apply(x_seq, leak, slope, eps, gate, *(numbers or ()), *weights)
    _tell(meters, gated if gate is None else means)
    fired_seq: Tensor = gated
    return fired_seq


def fire_gated(x_seq: Tensor, leak: float | Tensor, norm: nn.BatchNorm2d, gate: Gate | None) -> GatedSpikes:
    """:func:`fire` without gradient, on float32 [T, N, C, H, W]: spikes and gates apart, not multiplied."""
    leak = leak if isinstance(leak, Tensor) else torch.tensor(leak, dtype=torch.float32)
    x_seq = channels_last(x_seq, may_be_constant=False)
    currents = LaidOut(x_seq, leak, True, _numbers_of(norm, x_seq))
    spikes, means = _fire(x_seq, currents, torch.empty_strided(x_seq.shape, strides(x_seq), dtype=torch.uint8))
    gates = torch.ones_like(means) if gate is None else gate.of_means(means).float().contiguous()
    return GatedSpikes(spikes, gates)


def fire_once(x: Tensor, v: Tensor, leak: float | Tensor) -> tuple[Tensor, Tensor]:
    """One step of neurons, float32, without gradient: spikes, and potentials after the reset."""
    x, after = x.contiguous(), v.clone(memory_format=torch.contiguous_format)
    spikes = torch.empty_like(x)
    compile.in_parallel(
        neurons.fire_once, compile.flat(x), np.float32(float(leak)), compile.flat(after), compile.flat(spikes),
        count=x.numel(), together=compile.BLOCK,
    )  # fmt: skip
    return spikes, after


def _tell(meters: Iterable[RateMeter], fired: Tensor) -> None:
    for meter in meters:
        meter.keep(fired)


def _fire(x_seq: Tensor, currents: LaidOut, into: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Spikes, laid out like the currents, and the means of their planes [T, N, C], if planes matter."""
    if into is None:
        into = torch.empty_strided(x_seq.shape, strides(x_seq), dtype=x_seq.dtype)
    sums = torch.zeros(x_seq.shape[:3] if currents.loop.image else 0, dtype=torch.float32)
    compile.in_parallel(neurons.fire, currents.loop, compile.flat(into), compile.flat(sums), **currents.shares(x_seq))
    return into, sums / x_seq.shape[3:].numel()


def _numbers_of(norm: nn.BatchNorm2d, x_seq: Tensor) -> Norm:
    """A norm's numbers: mean and deviation are those of the batch in training, otherwise the running ones."""
    assert norm.num_batches_tracked is not None
    assert norm.running_mean is not None
    assert norm.running_var is not None
    if not norm.training:
        return Norm(norm.weight, norm.bias, norm.running_mean, (norm.running_var + norm.eps).rsqrt())
    assert norm.momentum is not None
    with torch.no_grad():
        norm.num_batches_tracked.add_(1)
        mean, variance = torch.batch_norm_update_stats(
            x_seq.flatten(0, 1), norm.running_mean, norm.running_var, norm.momentum
        )
        return Norm(norm.weight, norm.bias, mean, (variance + norm.eps).rsqrt())


def _parted(eps: float | None, tensors: Sequence[Tensor]) -> tuple[Norm | None, Sequence[Tensor]]:
    """What :class:`_Fire` takes one by one: the numbers of a norm, where one has an eps, and weights of a gate."""
    return (None, tensors) if eps is None else (Norm(*tensors[:4]), tensors[4:])


class _Fire(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x_seq: Tensor,
        leak: Tensor,
        slope: float,
        eps: float | None,
        gate: Gate | None,
        *tensors: Tensor,
    ) -> tuple[Tensor, Tensor | None]:
        """Gated spikes, and the means of the planes of spikes [T, N, C] where there is a gate."""
        currents = LaidOut(x_seq, leak, gate is not None, _parted(eps, tensors)[0])
        ctx.slope, ctx.eps, ctx.gate = slope, eps, gate
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x_seq, leak, *tensors)
        fired, means = _fire(x_seq, currents)
        if gate is None:
            return fired, None
        wants_gradient = any(ctx.needs_input_grad)
        with torch.set_grad_enabled(wants_gradient):
            ctx.means = means.requires_grad_(wants_gradient)
            ctx.factor = gate.of_means(ctx.means)  # [T, N, C]
        return scale_planes(fired, ctx.factor.detach(), into=fired), means.detach()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            return _differentiable_gradients(ctx, *grads)
        x_seq, leak, *tensors = ctx.saved_tensors
        norm, gate_weights = _parted(ctx.eps, tensors)
        grad_seq = torch.zeros_like(x_seq) if grads[0] is None else grads[0].to(x_seq.dtype)
        if grad_seq.stride() != strides(x_seq):
            grad_seq = torch.empty_strided(x_seq.shape, strides(x_seq), dtype=x_seq.dtype).copy_(grad_seq)
        currents = LaidOut(x_seq, leak, ctx.gate is not None, norm)
        factor = addend = torch.empty(0)
        of_gate_weights: tuple[Tensor | None, ...] = ()
        if ctx.gate is not None:
            factor = ctx.factor.detach()
            of_factor = torch.zeros(factor.shape, dtype=torch.float32)
            compile.in_parallel(
                neurons.sum_where_fired, currents.loop, compile.flat(grad_seq), compile.flat(of_factor),
                **currents.shares(x_seq),
            )  # fmt: skip
            learned = [x for x in gate_weights if x.requires_grad]  # a frozen one has no gradient
            of_means, *rest = torch.autograd.grad(
                ctx.factor, [ctx.means, *learned], of_factor, retain_graph=True, allow_unused=True
            )
            if grads[1] is not None:
                of_means = of_means + grads[1]
            addend = of_means / x_seq.shape[3:].numel()
            of_gate_weights = tuple(rest.pop(0) if x.requires_grad else None for x in gate_weights)
        of_x, of_leak, *of_norm = _gradients(ctx, x_seq, leak, norm, currents, grad_seq, factor, addend)
        return of_x, of_leak, None, None, None, *of_norm, *of_gate_weights


def _gradients(
    ctx: Any,
    x_seq: Tensor,
    leak: Tensor,
    norm: Norm | None,
    currents: LaidOut,
    grad_seq: Tensor,
    factor: Tensor,
    addend: Tensor,
) -> tuple[Tensor | None, ...]:
    """Gradients of currents, leak, and the numbers of the norm, if any, from that of the gated spikes."""
    wants_leak = ctx.needs_input_grad[1]
    of_x = torch.empty_strided(x_seq.shape, strides(x_seq), dtype=x_seq.dtype)
    parts = compile.in_parallel(
        neurons.push_back, currents.loop, np.float32(ctx.slope), compile.flat(grad_seq),
        compile.flat(factor.contiguous()), compile.flat(addend.contiguous()), compile.flat(of_x),
        np.empty(0, np.float32) if norm is None else currents.block(norm.mean), wants_leak, **currents.shares(x_seq),
    )  # fmt: skip
    sums = torch.from_numpy(sum(parts, np.zeros((3, len(currents.loop.scale)))))
    of_leak = None
    if wants_leak:  # a learned leak can round to 0, and then nothing moves
        moved = sums[2].sum() / (leak.double().square() if leak > 0 else 1)
        of_leak = moved.to(leak.dtype).reshape(leak.shape)
    if norm is None:
        return of_x, of_leak
    weight, bias, mean, inverse_deviation = norm
    channels = len(weight)
    total, product = sums[:2].unflatten(1, (-1, channels)).sum(dim=1)
    count = x_seq.numel() / channels
    of_grad = (weight * inverse_deviation).double()
    of_current = -of_grad * product * inverse_deviation.double().square() / count
    compile.in_parallel(
        neurons.normalise_back, compile.flat(x_seq), compile.flat(of_x),
        *(currents.block(values) for values in (mean, of_grad, of_current, -of_grad * total / count)),
        count=x_seq.numel(), together=len(currents.loop.scale),
    )  # fmt: skip
    return of_x, of_leak, (product * inverse_deviation).to(weight.dtype), total.to(bias.dtype), None, None


def _differentiable_gradients(ctx: Any, grad_seq: Tensor | None, of_means: Tensor | None) -> tuple[Tensor | None, ...]:
    """The same gradients, by PyTorch's operators, where they shall have gradients themselves."""
    from spikingjelly.activation_based import surrogate

    from spikevae.ops.lif import lif_reference

    x_seq, leak, *tensors = ctx.saved_tensors
    norm, _ = _parted(ctx.eps, tensors)
    current_seq = x_seq
    if norm is not None:
        x = x_seq.flatten(0, 1)
        x = functional.batch_norm(x, None, None, norm.weight, norm.bias, training=True, eps=ctx.eps)
        current_seq = x.unflatten(0, x_seq.shape[:2])
    gated_seq = lif_reference(current_seq, leak, surrogate.ATan(alpha=ctx.slope))
    means = None
    if ctx.gate is not None:
        means = gated_seq.mean(dim=(3, 4))
        gated_seq = gated_seq * ctx.gate.of_means(means)[..., None, None].to(gated_seq.dtype)
    pairs = [(x, grad) for x, grad in ((gated_seq, grad_seq), (means, of_means)) if x is not None and grad is not None]
    outputs, grads = zip(*pairs, strict=True)
    wanted = [x for x in (x_seq, leak, *tensors) if x.requires_grad]
    found = dict(
        zip(
            map(id, wanted),
            torch.autograd.grad(outputs, wanted, grads, create_graph=True, allow_unused=True),
            strict=True,
        )
    )
    of_x, of_leak, *others = (found.get(id(x)) for x in (x_seq, leak, *tensors))
    return of_x, of_leak, None, None, None, *others
