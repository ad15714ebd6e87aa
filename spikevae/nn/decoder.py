"""From latent spikes to an image, or to the expected events of every time step."""

from __future__ import annotations

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from spikevae.config import ModelConfig, ReadOut
from spikevae.nn.intensity import IntensityReadOut
from spikevae.nn.precision import at_least_float32
from spikevae.nn.stage import convolutional_stage, grid_stage, latent_stage
from spikevae.ops import GatedSpikes, known_reader, spiking_stages, weighted_sum

MEMBRANE_DECAY = 0.8  # of FSVAE's output neuron, per time step


class SpikingDecoder(nn.Module):
    """Latent spikes → spikes at the lowest resolution → stages of doubling size → read-out over time → image.

    Of event frames each step has a read-out of its own, and the result is intensities [T, N, 2, H, W].
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        widths = config.decoder_widths
        self.latent_shape = (config.time_steps, config.latent_size)
        make = grid_stage if config.latent == "grid" else latent_stage
        self.expand = make(config, widths[0], config.grid_size)
        self.stages = nn.Sequential(
            *(convolutional_stage(config, before, after, "up") for before, after in pairwise(widths))
        )
        self.read_out: IntensityReadOut | TimeReadOut = (
            IntensityReadOut(widths[-1])
            if config.takes_events
            else TimeReadOut(config.read_out, config.time_steps, widths[-1], config.image_channels)
        )

    def forward(self, z_seq: Float[Tensor, "T N L"]) -> Float[Tensor, "*T N C H W"]:
        """Images in [-1, 1], or intensities of events, at the padded size."""
        if z_seq.dim() != 3 or (z_seq.shape[0], z_seq.shape[2]) != self.latent_shape:
            time_steps, latent_size = self.latent_shape
            raise ValueError(f"latent spikes must be [T={time_steps}, N, L={latent_size}], got {list(z_seq.shape)}")
        image: Tensor = self.read_out(spiking_stages(z_seq, self.expand, self.stages, self.read_out))
        return image


@known_reader
class TimeReadOut(nn.Module):
    """One image from a sequence of spikes: a weighted sum over time, a 3x3 convolution, tanh.

    The sum and the convolution are both linear, so the sum goes first and the convolution runs once, not T times.

    Args:
        kind: "weighted": one learned weight per time step, 1 / T at first; "membrane": the last potential of a leaky
            neuron that never fires, decay^(T - 1 - t) with decay 0.8 (Kamata et al., FSVAE, arXiv:2110.00375).
        time_steps: T.
        in_channels: feature maps of the spikes.
        image_channels: C of the image.
    """

    weights: Tensor

    def __init__(self, kind: ReadOut, time_steps: int, in_channels: int, image_channels: int) -> None:
        super().__init__()
        if kind == "weighted":
            self.weights = nn.Parameter(torch.full((time_steps,), 1.0 / time_steps))
        else:
            decays = MEMBRANE_DECAY ** torch.arange(time_steps - 1, -1, -1.0)
            self.register_buffer("weights", decays, persistent=False)
        self.convolution = nn.Conv2d(in_channels, image_channels, 3, padding=1)

    def forward(self, x_seq: Float[Tensor, "T N K H W"] | GatedSpikes) -> Float[Tensor, "N C H W"]:
        """Images in [-1, 1]."""
        image: Tensor = self.convolution(weighted_sum(x_seq, self.weights))
        return at_least_float32(image).tanh()
