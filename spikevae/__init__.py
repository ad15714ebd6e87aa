"""A spiking variational autoencoder with temporal-channel joint attention that generates images.

>>> import spikevae
>>> model = spikevae.load("fashion-mnist")
>>> images = model.sample(64, seed=0)  # [64, 1, 28, 28] in [0, 1]

The names in ``__all__`` are the public interface. `docs/extending.md` shows the registers at work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from spikevae.api import evaluate as evaluate
    from spikevae.api import register_attention as register_attention
    from spikevae.api import register_dataset as register_dataset
    from spikevae.api import register_latent as register_latent
    from spikevae.api import register_metric as register_metric
    from spikevae.api import register_neuron as register_neuron
    from spikevae.api import save as save
    from spikevae.config import ModelConfig as ModelConfig
    from spikevae.config import RunConfig as RunConfig
    from spikevae.data.sets import DATASETS as DATASETS
    from spikevae.data.sets import ImageSet as ImageSet
    from spikevae.evaluation.metrics import METRICS as METRICS
    from spikevae.evaluation.metrics import MODEL_METRICS as MODEL_METRICS
    from spikevae.evaluation.scores import Score as Score
    from spikevae.hub.checkpoints import load as load
    from spikevae.hub.checkpoints import released_models as released_models
    from spikevae.hub.remote import push as push
    from spikevae.nn.attention import ATTENTIONS as ATTENTIONS
    from spikevae.nn.event_vae import SpikingEventVAE as SpikingEventVAE
    from spikevae.nn.latents import LATENTS as LATENTS
    from spikevae.nn.latents.base import Latent as Latent
    from spikevae.nn.latents.base import Posterior as Posterior
    from spikevae.nn.neurons import NEURONS as NEURONS
    from spikevae.nn.vae import SpikingVAE as SpikingVAE
    from spikevae.presets import preset_for as preset_for
    from spikevae.training.loop import train as train

_PUBLIC = {
    "api": (
        "evaluate", "register_attention", "register_dataset", "register_latent", "register_metric",
        "register_neuron", "save",
    ),
    "config": ("ModelConfig", "RunConfig"),
    "data.sets": ("DATASETS", "ImageSet"),
    "evaluation.metrics": ("METRICS", "MODEL_METRICS"),
    "evaluation.scores": ("Score",),
    "hub.checkpoints": ("load", "released_models"),
    "hub.remote": ("push",),
    "nn.attention": ("ATTENTIONS",),
    "nn.event_vae": ("SpikingEventVAE",),
    "nn.latents": ("LATENTS",),
    "nn.latents.base": ("Latent", "Posterior"),
    "nn.neurons": ("NEURONS",),
    "nn.vae": ("SpikingVAE",),
    "presets": ("preset_for",),
    "training.loop": ("train",),
}  # fmt: skip
_HOMES = {name: home for home, names in _PUBLIC.items() for name in names}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    """Import torch only when something is asked for, so that ``spikevae --help`` answers at once."""
    if name not in _HOMES:
        raise AttributeError(f"module 'spikevae' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"spikevae.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
