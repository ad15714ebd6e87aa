"""Latent spikes: how an image is written as binary events, and how new ones are drawn."""

from __future__ import annotations

from collections.abc import Callable

from spikevae.config import ModelConfig
from spikevae.nn.latents.autoregressive import AutoregressiveLatent
from spikevae.nn.latents.base import Latent
from spikevae.nn.latents.bernoulli import PotentialLatent
from spikevae.nn.latents.grid import GridLatent
from spikevae.nn.latents.poisson import PoissonLatent
from spikevae.registry import choose

LATENTS: dict[str, Callable[[ModelConfig, int], Latent]] = {
    "potential": PotentialLatent,
    "grid": GridLatent,
    "autoregressive": AutoregressiveLatent,
    "esvae": PoissonLatent,
}
"""By the name that a config gives: a latent, from the config and the features of a time step."""


def build_latent(config: ModelConfig, features: int) -> Latent:
    """The latent that ``config.latent`` names, on ``features`` values a step from the encoder.

    Raises:
        ValueError: if there is none of this name.
    """
    return choose(LATENTS, "latent", config.latent)(config, features)
