"""From decoder spikes to the events that a camera is expected to report."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from spikevae.nn.precision import at_least_float32

_INITIAL = 0.1  # events of a pixel, polarity and time step, about as many as in N-MNIST


class IntensityReadOut(nn.Module):
    """Expected events of every pixel, polarity and time step: a 3x3 convolution of that step's spikes, and softplus.

    Events are independent given the intensity ``lambda``, so that their number is Poisson:
    ``log p(n) = n log lambda - lambda - log n!``.

    Args:
        in_channels: feature maps of the spikes.
    """

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(in_channels, 2, 3, padding=1)
        nn.init.constant_(self.convolution.bias, math.log(math.expm1(_INITIAL)))  # type: ignore[arg-type]

    def forward(self, x_seq: Float[Tensor, "T N K H W"]) -> Float[Tensor, "T N 2 H W"]:
        """Intensities, OFF and ON, each above 0."""
        current_seq = self.convolution(x_seq.flatten(0, 1)).unflatten(0, x_seq.shape[:2])
        return functional.softplus(at_least_float32(current_seq))


def log_likelihood(intensity: Float[Tensor, ...], counts: Float[Tensor, ...]) -> Float[Tensor, ...]:
    """log p of each count of events, in nats, given how many are expected there."""
    return torch.xlogy(counts, intensity) - intensity - torch.lgamma(counts + 1)


def gain_per_event(intensity: Float[Tensor, "T N 2 H W"], counts: Float[Tensor, "T N 2 H W"]) -> Float[Tensor, " N"]:
    """How much more likely each recording is than with its own mean rate everywhere: nats for each of its events.

    Minus infinity for a recording without events.
    """
    places = (0, 2, 3, 4)
    constant = counts.mean(dim=places, keepdim=True)
    gain = log_likelihood(intensity, counts) - log_likelihood(constant, counts)
    return gain.double().sum(dim=places) / counts.sum(dim=places)
