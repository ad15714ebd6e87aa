"""What a run takes from a model that was trained before it: weights to begin with."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import torch

from spikevae.config import RunConfig, own_place
from spikevae.files import in_home
from spikevae.hub.checkpoints import is_known_anywhere, load, model_folder
from spikevae.hub.run_settings import has_changed, held_out_beside, is_same_data, share_files, trained_as
from spikevae.nn.networks import Network

log = logging.getLogger(__name__)

_DIVIDES = ("validation_share", "unlabelled")  # settings on which the parts of a data set depend
_LEAST_SHARE = 0.5  # of the weights that learn


def with_whole_paths(config: RunConfig) -> RunConfig:
    """The settings with folders as whole paths, so that they mean the same in whatever folder a run goes on."""
    train, data = config.train, config.data
    return replace(
        config,
        train=replace(train, start_from=_whole(train.start_from), teacher=_whole(train.teacher)),
        data=replace(data, dataset=_whole_data(data.dataset), also=data.also and _whole_data(data.also)),
    )


def _whole_data(name: str) -> str:
    place = own_place(name)
    return f"{name.removesuffix(place)}{in_home(place).absolute()}" if place else name


def _whole(name: str | None) -> str | None:
    if name is None or is_known_anywhere(name):
        return name
    return str(in_home(name).absolute())


def tell_of_another_division(config: RunConfig, train_set: Any) -> None:
    """Say so where a run begins with, or imitates, what learned from the same data in other parts."""
    for name in filter(None, (config.train.start_from, config.train.teacher)):
        folder = model_folder(name)
        before = trained_as(folder)
        if before is None:
            continue
        datasets = before.data.dataset, config.data.dataset
        if not is_same_data(*datasets):
            if share_files(*datasets, held_out_beside("train")):
                log.warning("%s learned from files of %s: it may know what is held out now", name, train_set.name)
            continue
        is_alike = all(getattr(before.data, part) == getattr(config.data, part) for part in _DIVIDES)
        if has_changed(folder, train_set) or not is_alike:
            log.warning("%s learned from %s in other parts: it may know what is held out now", name, train_set.name)


@torch.no_grad()
def take_weights(model: Network, name: str) -> float:
    """Give a new network the weights of a trained one, where name and shape agree; the share of those that learn.

    Raises:
        FileNotFoundError: if there is no such model.
        ValueError: if less than half of the weights agree, so that these are two different networks.
    """
    others, state = load(name).state_dict(), model.state_dict()
    taken = {key: other for key, other in others.items() if key in state and state[key].shape == other.shape}
    learned = dict(model.named_parameters())
    count = sum(own.numel() for own in learned.values())
    share = sum(own.numel() for key, own in learned.items() if key in taken) / count
    if share < _LEAST_SHARE:
        raise ValueError(
            f"start_from={name!r}: only {share:.0%} of this network's weights have the names and shapes of that "
            "model's; leave out --preset and the --model settings, and the network is that model's"
        )
    model.load_state_dict(taken, strict=False)
    return share
