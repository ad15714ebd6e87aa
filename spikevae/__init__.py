"""A spiking variational autoencoder with temporal-channel joint attention that generates images.

>>> import spikevae
>>> model = spikevae.load("fashion-mnist")
>>> images = model.sample(64, seed=0)  # [64, 1, 28, 28] in [0, 1]
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["ModelConfig", "SpikingVAE", "load", "released_models", "train"]

if TYPE_CHECKING:
    from spikevae.config import ModelConfig
    from spikevae.hub.checkpoints import load, released_models
    from spikevae.nn.vae import SpikingVAE
    from spikevae.training.loop import train

_HOMES = {
    "load": "hub.checkpoints",
    "released_models": "hub.checkpoints",
    "ModelConfig": "config",
    "SpikingVAE": "nn.vae",
    "train": "training.loop",
}


def __getattr__(name: str) -> Any:
    """Import torch only when something is asked for, so that ``spikevae --help`` answers at once."""
    if name not in _HOMES:
        raise AttributeError(f"module 'spikevae' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"spikevae.{_HOMES[name]}"), name)
