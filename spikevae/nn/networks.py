"""Networks by the name that a config gives."""

from __future__ import annotations

from collections.abc import Callable

from spikevae.config import ModelConfig
from spikevae.nn.classifiers import SpikingClassifier
from spikevae.nn.event_vae import SpikingEventVAE
from spikevae.nn.vae import SpikingVAE
from spikevae.registry import choose

Network = SpikingVAE | SpikingEventVAE | SpikingClassifier

NETWORKS: dict[str, Callable[[ModelConfig], Network]] = {
    "vae": SpikingVAE,
    "event-vae": SpikingEventVAE,
    "classifier": SpikingClassifier,
}
"""What ``config.network`` may name."""


def build_network(config: ModelConfig) -> Network:
    """The network that a config describes.

    Raises:
        ValueError: if there is none of this name, or a part of it is not known.
    """
    return choose(NETWORKS, "network", config.network)(config)
