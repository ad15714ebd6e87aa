"""Latent spikes: how an image is written as binary events, and how new ones are drawn."""

from __future__ import annotations

from spikevae.config import ModelConfig
from spikevae.nn.latents.autoregressive import AutoregressiveLatent
from spikevae.nn.latents.base import Latent
from spikevae.nn.latents.bernoulli import PotentialLatent

LATENTS: dict[str, type[Latent]] = {"potential": PotentialLatent, "autoregressive": AutoregressiveLatent}


def build_latent(config: ModelConfig, features: int) -> Latent:
    """The latent that ``config.latent`` names, on ``features`` values a step from the encoder."""
    return LATENTS[config.latent](config, features)
