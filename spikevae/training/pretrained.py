"""What a run takes from models that were trained before it: weights to begin with."""

from __future__ import annotations

import logging

import torch

from spikevae.hub.checkpoints import load
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
