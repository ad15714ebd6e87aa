"""From an image to spikes at the lowest resolution."""

from __future__ import annotations

import math
from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn

from spikevae.config import ModelConfig
from spikevae.nn.stage import SpikingStage, convolutional_stage


class SpikingEncoder(nn.Module):
    """Stages of halving size on an image that is shown at every time step (direct coding).

    The first convolution's input does not change over time, so it is computed once, not T times.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        widths = (config.image_channels, *config.encoder_widths)
        self.stages = nn.ModuleList(
            convolutional_stage(config, before, after, "down") for before, after in pairwise(widths)
        )
        side = config.padded_size
        for _ in config.encoder_widths:
            side = math.ceil(side / 2)
        self.features = config.encoder_widths[-1] * side**2  # F, per time step

    def forward(self, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "T N F"]:
        """Gated spikes of the last stage, flattened; ``x`` is centred, in [-1, 1]."""
        first, *others = self.stages
        assert isinstance(first, SpikingStage)
        x_seq = first.forward_constant(x)
        for stage in others:
            x_seq = stage(x_seq)
        return x_seq.flatten(2)
