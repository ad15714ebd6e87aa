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
        side = config.padded_size
        self.stages = nn.ModuleList()
        self.lower_stages, self.lower_features = 0, 0  # of a grid latent
        for before, after in pairwise((config.image_channels, *config.encoder_widths)):
            self.stages.append(convolutional_stage(config, before, after, "down"))
            side = math.ceil(side / 2)
            if config.latent == "grid" and side == config.grid_size:
                self.stages.extend(
                    convolutional_stage(config, after, after, "same") for _ in range(config.encoder_depth)
                )
                self.lower_stages, self.lower_features = len(self.stages), after
        self.features = config.encoder_widths[-1] * side**2  # F, per time step

    def forward(self, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "T N F"]:
        """Gated spikes of the last stage, flattened; ``x`` is centred, in [-1, 1]."""
        return self.upper(self.lower(x))

    def lower(self, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "T N C2 H2 W2"]:
        """Gated spikes of the stage that the latent spikes come from; ``x`` as above."""
        first, *others = self.stages[: self.lower_stages or None]
        assert isinstance(first, SpikingStage)
        x_seq = first.forward_constant(x)
        for stage in others:
            x_seq = stage(x_seq)
        return x_seq

    def upper(self, x_seq: Float[Tensor, "T N C H W"]) -> Float[Tensor, "T N F"]:
        """Gated spikes of the last stage, flattened, from those of :meth:`lower`."""
        for stage in self.stages[self.lower_stages or len(self.stages) :]:
            x_seq = stage(x_seq)
        return x_seq.flatten(2)
