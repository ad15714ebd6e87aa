"""Leaky integrate-and-fire neurons over a whole sequence."""

from __future__ import annotations

from collections.abc import Callable

import torch
from spikingjelly.activation_based.surrogate import ATan
from torch import Tensor

from spikevae.ops.dispatch import is_watched, may_fuse
from spikevae.ops.fused import fire, fire_once

THRESHOLD = 1.0  # also in the loops of cpu/neurons.py


def lif(x_seq: Tensor, leak: float | Tensor, surrogate: Callable[[Tensor], Tensor], slope: float) -> Tensor:
    """Spikes of leaky integrate-and-fire neurons that start at rest: hard reset, detached from the gradient.

    Args:
        x_seq: [T, N, ...] input currents.
        leak: 1 / tau, in (0, 1); a scalar tensor gets a gradient.
        surrogate: the step function at 0, with the gradient of an arctan.
        slope: of that gradient at 0.

    Returns:
        [T, N, ...] spikes in {0, 1}, of the input's dtype.
    """
    if may_fuse(x_seq) and not is_watched(surrogate):
        return fire(x_seq, leak, slope)
    return lif_reference(x_seq, leak, surrogate)


def lif_reference(x_seq: Tensor, leak: float | Tensor, surrogate: Callable[[Tensor], Tensor]) -> Tensor:
    """The same, step by step."""
    v = torch.zeros((), dtype=torch.promote_types(x_seq.dtype, torch.float32), device=x_seq.device)
    steps = []
    if isinstance(leak, Tensor):
        leak = leak.to(v.dtype)
    for x in x_seq.to(v.dtype):
        spikes, v = lif_step_reference(x, v, leak, surrogate)
        steps.append(spikes)
    return torch.stack(steps).to(x_seq.dtype)


def lif_step(
    x: Tensor, v: Tensor, leak: float | Tensor, surrogate: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    """One time step: spikes, and membrane potentials after the reset. Without gradient it is one loop on the CPU."""
    is_step = type(surrogate) is ATan and surrogate.spiking and not is_watched(surrogate)
    if is_step and not torch.is_grad_enabled() and x.shape == v.shape and may_fuse(x, v, dtypes=(torch.float32,)):
        return fire_once(x, v, leak)
    return lif_step_reference(x, v, leak, surrogate)


def lif_step_reference(
    x: Tensor, v: Tensor, leak: float | Tensor, surrogate: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    """The same, by PyTorch."""
    h = torch.lerp(v, x, leak)  # charge: v + (x - v) / tau
    spikes = surrogate(h - THRESHOLD)  # fire
    return spikes, h * (1 - spikes.detach())  # reset
