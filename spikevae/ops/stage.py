"""A spiking stage behind its synapses: batch norm, neurons and attention."""

from __future__ import annotations

from typing import Protocol, cast

import torch
from torch import Tensor, nn

from spikevae.ops.dispatch import is_known, may_fuse
from spikevae.ops.fused import Gate, fire


class Neurons(Protocol):
    """Neurons that the fast way knows."""

    is_standard: bool  # whether no setting was changed that the loops do not know
    leak: float | Tensor
    surrogate_slope: float


class Attention(Protocol):
    """An attention whose gates depend on the means of planes alone."""

    def gate_of_means(self, mean_seq: Tensor) -> Tensor:
        """[T, N, C] gates of [T, N, C] means."""

    def require_shape(self, x_seq: Tensor) -> None:
        """Refuse a sequence of other T or C."""


def norm_fire_gate(current_seq: Tensor, norm: nn.Module, neurons: nn.Module, attention: nn.Module) -> Tensor:
    """Gated spikes [T, N, C, H, W] of input currents that are normalised over time and batch together.

    On the CPU norm, neurons and gate are one operator, if they are of classes that it knows and nobody watches them.
    """
    if not (is_known(neurons) and is_known(attention) and may_fuse(current_seq) and _are_float32(neurons, attention)):
        return norm_fire_gate_reference(current_seq, norm, neurons, attention)
    known_neurons, known_attention = cast(Neurons, neurons), cast(Attention, attention)
    if not known_neurons.is_standard:
        return norm_fire_gate_reference(current_seq, norm, neurons, attention)
    gate = None
    if not isinstance(attention, nn.Identity):
        known_attention.require_shape(current_seq)
        gate = Gate(known_attention.gate_of_means, tuple(attention.parameters()))
    fused_norm = cast(nn.BatchNorm2d, norm) if _fuses_norm(norm) else None
    if fused_norm is None:
        current_seq = _over_time_and_batch(norm, current_seq)
    return fire(current_seq, known_neurons.leak, known_neurons.surrogate_slope, fused_norm, gate)


def norm_fire_gate_reference(current_seq: Tensor, norm: nn.Module, neurons: nn.Module, attention: nn.Module) -> Tensor:
    """The same, one after the other."""
    gated_seq: Tensor = attention(neurons(_over_time_and_batch(norm, current_seq)))
    return gated_seq


def _over_time_and_batch(norm: nn.Module, x_seq: Tensor) -> Tensor:
    if isinstance(norm, nn.Identity):
        return x_seq
    normalised: Tensor = norm(x_seq.flatten(0, 1)).unflatten(0, x_seq.shape[:2])
    return normalised


def _are_float32(*modules: nn.Module) -> bool:
    return all(parameter.dtype == torch.float32 for module in modules for parameter in module.parameters())


def _fuses_norm(norm: nn.Module) -> bool:
    """Whether the operator does what this norm does: with the batch's statistics and a gradient, or without both."""
    return (
        type(norm) is nn.BatchNorm2d
        and is_known(norm)
        and norm.affine
        and norm.track_running_stats
        and norm.momentum is not None
        and norm.weight.dtype == torch.float32
        and norm.training == torch.is_grad_enabled()
    )
