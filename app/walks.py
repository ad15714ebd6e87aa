"""The way from one picture's latent spikes to another's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from spikevae.nn.vae import SpikingVAE


class Walk(NamedTuple):
    """Pictures from one end to the other."""

    images: Tensor  # [F, C, H, W], [0, 1]
    flips: int  # latent spikes that differ between the ends
    latents: int  # latent spikes of a picture, T x L


def walk(network: SpikingVAE, potentials: Sequence[Tensor | None], spikes: Sequence[Tensor], frames: int) -> Walk:
    """Decode ``frames`` latents between two ends: [T, 1, L] each.

    Through the potentials where there are any, in a straight line, so that each spike flips at most once. Otherwise
    the spikes that differ flip one after the other, in a fixed random order.
    """
    start, end = spikes
    first, last = potentials
    shares = torch.linspace(0, 1, frames)
    if first is not None and last is not None:
        steps = [(torch.lerp(first, last, share) > 0).to(start.dtype) for share in shares.tolist()]
    else:
        order = torch.rand(start.shape, generator=torch.Generator().manual_seed(0)).to(start.device)
        steps = [torch.where(order < share, end, start) for share in shares.tolist()]
    z_seq = torch.cat([start, *steps[1:-1], end], dim=1)  # [T, F, L]
    return Walk(network.decode(z_seq), int((start != end).sum()), start.numel())
