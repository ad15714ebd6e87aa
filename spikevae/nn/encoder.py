"""From an image, or event frames, to spikes at the lowest resolution."""

from __future__ import annotations

import math
from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn

from spikevae.config import ModelConfig
from spikevae.nn.stage import convolutional_stage


class SpikingEncoder(nn.Module):
    """Stages of halving size on event frames, or on an image that is shown at every time step (direct coding).

    The first convolution of an image does not change over time, so it is computed once, not T times.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        side = config.padded_size
        self.time_steps = config.time_steps
        self.stages = nn.ModuleList()
        self.latent_stages = 0  # stages up to the maps of a grid latent; 0: latent spikes come from all of them
        for before, after in pairwise((config.image_channels, *config.encoder_widths)):
            self.stages.append(convolutional_stage(config, before, after, "down"))
            side = math.ceil(side / 2)
            if config.latent == "grid" and side == config.grid_size:
                self.stages.extend(
                    convolutional_stage(config, after, after, "same") for _ in range(config.encoder_depth)
                )
                self.latent_stages, self.latent_features = len(self.stages), after
        self.features = config.encoder_widths[-1] * side**2  # F, per time step
        if not self.latent_stages:
            self.latent_features = self.features

    def forward(self, x: Float[Tensor, "*T N C H W"]) -> Float[Tensor, "T N *F"]:
        """Gated spikes that latent spikes come from: [T, N, F] of the last stage, or maps [T, N, C2, S, S] of a grid.

        ``x`` is a centred image, in [-1, 1], or counts of events.
        """
        x_seq = x.expand(self.time_steps, *x.shape) if x.dim() == 4 else x
        for stage in self.stages[: self.latent_stages or None]:
            x_seq = stage(x_seq)
        return x_seq if self.latent_stages else x_seq.flatten(2)

    def upper(self, x_seq: Float[Tensor, "T N *F"]) -> Float[Tensor, "T N F"]:
        """Gated spikes of the last stage, flattened, from what :meth:`forward` gave."""
        for stage in self.stages[self.latent_stages or len(self.stages) :]:
            x_seq = stage(x_seq)
        return x_seq.flatten(2)
