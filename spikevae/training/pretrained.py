"""What a run takes from models that were trained before it: weights to begin with, or a teacher."""

from __future__ import annotations

import logging

import torch

from spikevae.config import ModelConfig
from spikevae.hub.checkpoints import load
from spikevae.labels import are_read_alike
from spikevae.nn.classifiers import SpikingClassifier
from spikevae.nn.networks import Network

log = logging.getLogger(__name__)

_LEAST_SHARE = 0.5  # of the weights that learn


@torch.no_grad()
def take_weights(model: Network, name: str) -> None:
    """Give a new network the weights of a trained one, where name and shape agree.

    Raises:
        FileNotFoundError: if there is no such model.
        ValueError: if less than half of the weights agree, so that these are two different networks.
    """
    others = load(name).state_dict()
    taken = {key: others[key] for key, own in model.state_dict().items() if _agree(own, others.get(key))}
    learned = dict(model.named_parameters())
    count = sum(own.numel() for own in learned.values())
    share = sum(own.numel() for key, own in learned.items() if key in taken) / count
    if share < _LEAST_SHARE:
        raise ValueError(
            f"start_from={name!r}: only {share:.0%} of this network's weights have the names and shapes of that "
            "model's; leave the model's settings as that model has them (config.json), or leave start_from out"
        )
    model.load_state_dict(taken, strict=False)
    log.info("began with the weights of %s: %.0f%% of those that learn", name, 100 * share)


def _agree(own: torch.Tensor, other: torch.Tensor | None) -> bool:
    return other is not None and other.shape == own.shape


def teacher_of(config: ModelConfig, name: str) -> SpikingClassifier:
    """A trained classifier of the same inputs and classes.

    Raises:
        FileNotFoundError: if there is no such model.
        ValueError: if it is no classifier, or of other inputs or classes, or the one that learns is none.
    """
    teacher = load(name)
    if config.network != "classifier" or not isinstance(teacher, SpikingClassifier):
        raise ValueError(f"teacher={name!r}: a classifier alone can teach, and learn from, another one; leave it out")
    takes, expected = _inputs(teacher.config), _inputs(config)
    if takes != expected:
        raise ValueError(f"teacher={name!r} takes {takes}, and the network that learns takes {expected}")
    if not are_read_alike(teacher.config.class_names, config.class_names):
        raise ValueError(
            f"teacher={name!r} knows the classes {teacher.config.class_names}, not {config.class_names}, in this order"
        )
    return teacher


def _inputs(config: ModelConfig) -> str:
    size = "x".join(map(str, (config.image_channels, *config.frame_size)))
    return f"{config.time_steps} event frames of {size}" if config.takes_events else f"images of {size}"
