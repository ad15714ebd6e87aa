"""Bernoulli latent spikes at the places of a small image, with a density fitted after training."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from spikevae.config import ModelConfig
from spikevae.nn.latents.bernoulli import PotentialLatent, PotentialPosterior
from spikevae.nn.latents.grid_density import GridMixtures
from spikevae.nn.precision import at_least_float32


class GridLatent(PotentialLatent):
    """Latent spikes T x C_z x S x S: each place has its own, and what they say of it they say in place.

    Potentials are a 3x3 convolution of the encoder's firing rates where its maps are as large as the decoder's lowest
    ones. At the seams a step's spikes are one row, L = S x S x C_z, place after place.

    Args:
        config: ``latent_size`` is L.
        features: F, feature maps of the encoder there.
    """

    def _parts(self, config: ModelConfig, features: int) -> tuple[nn.Module, GridMixtures]:
        channels = config.latent_channels
        size = config.time_steps * config.latent_size
        density = GridMixtures(
            size,
            config.classes,
            config.prior_rank,
            config.prior_components,
            config.prior_exemplars,
            config.prior_bandwidth,
        )
        return nn.Conv2d(features, config.time_steps * channels, 3, padding=1), density

    def posterior(self, feature_seq: Float[Tensor, "T N F S S"]) -> PotentialPosterior:
        """q(z | x) from the encoder's gated spikes."""
        maps = at_least_float32(self.synapses(feature_seq.mean(dim=0)))  # [N, T*C_z, S, S]
        return PotentialPosterior(maps.unflatten(1, (self.shape[0], -1)).permute(1, 0, 3, 4, 2).flatten(2))
