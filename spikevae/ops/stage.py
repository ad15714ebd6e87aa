"""A spiking stage: synapses, a filter over time, batch norm, neurons, attention."""

from __future__ import annotations

from typing import Protocol, cast

import torch
from torch import Tensor, nn

from spikevae.ops.dispatch import is_known, is_watched, makes_new, may_fuse, meters_of
from spikevae.ops.fused import Gate, fire
from spikevae.ops.repeated import at_every_step


class Neurons(Protocol):
    """Neurons that the fast way knows."""

    surrogate_function: nn.Module
    is_standard: bool  # whether no setting was changed that the loops do not know
    leak: float | Tensor
    surrogate_slope: float


class Attention(Protocol):
    """An attention whose gates depend on the means of planes alone."""

    def gate_of_means(self, mean_seq: Tensor) -> Tensor:
        """[T, N, C] gates of [T, N, C] means."""

    def require_shape(self, x_seq: Tensor) -> None:
        """Refuse a sequence of other T or C."""


def spiking_stage(
    x_seq: Tensor, synapses: nn.Module, filter: nn.Module, norm: nn.Module, neurons: nn.Module, attention: nn.Module
) -> Tensor:
    """Gated spikes [T, N, C, H, W] of the input [T, N, ...] of a stage.

    Synapses and norm see one input that is shown at every step once, if no filter tells the steps apart. On the CPU
    norm, neurons and gate are one operator, if they are of classes that it knows and nobody watches them.
    """
    if x_seq.stride(0) == 0 and isinstance(filter, nn.Identity):
        current_seq = at_every_step(norm(synapses(x_seq[0])), len(x_seq))
        return norm_fire_gate(current_seq, nn.Identity(), neurons, attention)
    if not fuses_neurons(neurons, attention):
        return spiking_stage_reference(x_seq, synapses, filter, norm, neurons, attention)
    current_seq = currents(x_seq, synapses, filter)
    is_own = makes_new(synapses) and is_known(filter)
    return _norm_fire_gate(current_seq, norm, neurons, attention, is_own=is_own)


def spiking_stage_reference(
    x_seq: Tensor, synapses: nn.Module, filter: nn.Module, norm: nn.Module, neurons: nn.Module, attention: nn.Module
) -> Tensor:
    """The same, one after the other."""
    current_seq = currents(x_seq, synapses, filter)
    return norm_fire_gate_reference(current_seq, norm, neurons, attention)


def norm_fire_gate(current_seq: Tensor, norm: nn.Module, neurons: nn.Module, attention: nn.Module) -> Tensor:
    """The part of a stage behind its synapses: gated spikes of currents [T, N, C, H, W]."""
    if not fuses_neurons(neurons, attention):
        return norm_fire_gate_reference(current_seq, norm, neurons, attention)
    return _norm_fire_gate(current_seq, norm, neurons, attention, is_own=False)


def norm_fire_gate_reference(current_seq: Tensor, norm: nn.Module, neurons: nn.Module, attention: nn.Module) -> Tensor:
    """The same, one after the other; the norm is over time and batch together."""
    gated_seq: Tensor = attention(neurons(_over_time_and_batch(norm, current_seq)))
    return gated_seq


def currents(x_seq: Tensor, synapses: nn.Module, filter: nn.Module) -> Tensor:
    """What the norm of a stage receives, [T, N, C, H, W]."""
    current_seq: Tensor = filter(synapses(x_seq.flatten(0, 1)).unflatten(0, x_seq.shape[:2]))
    return current_seq


def _over_time_and_batch(norm: nn.Module, x_seq: Tensor) -> Tensor:
    if isinstance(norm, nn.Identity):
        return x_seq
    _require_variance(norm, x_seq)
    x = x_seq.flatten(0, 1)
    # torch's gradient is wrong where one plane has strides that fit two layouts, as views make them.
    if x.shape[0] == 1:
        x = x.clone(memory_format=torch.channels_last)
    normalised: Tensor = norm(x).unflatten(0, x_seq.shape[:2])
    return normalised


def _require_variance(norm: nn.Module, x_seq: Tensor) -> None:
    """Refuse a batch [T, N, C, H, W] of one value a channel, of which a batch norm cannot learn a variance."""
    if norm.training and isinstance(norm, nn.BatchNorm2d) and x_seq[:, :, :1].numel() == 1:
        raise ValueError("one value a channel has no variance to learn from; take larger batches, or more time steps")


def _norm_fire_gate(
    current_seq: Tensor, norm: nn.Module, neurons: nn.Module, attention: nn.Module, *, is_own: bool
) -> Tensor:
    """``is_own``: nobody else has the currents, so that spikes may take their place in memory."""
    leak, slope = cast(Neurons, neurons).leak, cast(Neurons, neurons).surrogate_slope
    weights = tuple(attention.parameters()) if torch.is_grad_enabled() else ()
    parameters = (*weights, leak) if isinstance(leak, Tensor) else weights
    if not (may_fuse(current_seq) and all(x.dtype == torch.float32 for x in parameters)):
        return norm_fire_gate_reference(current_seq, norm, neurons, attention)
    gate = gate_of(attention, current_seq, weights)
    _require_variance(norm, current_seq)
    fused_norm = cast(nn.BatchNorm2d, norm) if fuses_norm(norm, current_seq.shape[2]) else None
    if fused_norm is None:
        current_seq = _over_time_and_batch(norm, current_seq)
    in_place = is_own and not torch.is_grad_enabled()
    return fire(current_seq, leak, slope, fused_norm, gate, in_place=in_place, meters=meters_of(neurons))


def gate_of(attention: nn.Module, x_seq: Tensor, weights: tuple[Tensor, ...] = ()) -> Gate | None:
    """The gate of a known attention, which learns by these weights, on a sequence [T, N, C, H, W]."""
    if isinstance(attention, nn.Identity):
        return None
    known_attention = cast(Attention, attention)
    known_attention.require_shape(x_seq)
    return Gate(known_attention.gate_of_means, weights)


def fuses_neurons(neurons: nn.Module, attention: nn.Module) -> bool:
    """Whether the operator does what these neurons and this attention do, and nobody watches more than rates."""
    if not (is_known(neurons, may_be_metered=True) and is_known(attention)):
        return False
    known_neurons = cast(Neurons, neurons)
    return known_neurons.is_standard and not is_watched(known_neurons.surrogate_function)


def fuses_norm(norm: nn.Module, channels: int | None = None) -> bool:
    """Whether the operator does what this norm does: with the batch's statistics and a gradient, or without both.

    ``channels``: of its input, where they are known; torch refuses others than the norm's.
    """
    return (
        type(norm) is nn.BatchNorm2d
        and channels in (None, norm.num_features)
        and is_known(norm)
        and norm.affine
        and norm.track_running_stats
        and norm.running_mean is not None
        and norm.running_var is not None
        and norm.num_batches_tracked is not None
        and norm.momentum is not None
        and norm.weight.dtype == torch.float32
        and norm.training == torch.is_grad_enabled()
    )
