"""What a run takes from models that were trained before it: weights to begin with, or a teacher."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from spikevae.config import ModelConfig, RunConfig
from spikevae.hub.checkpoints import is_known_anywhere, load
from spikevae.labels import are_read_alike
from spikevae.nn.classifiers import SpikingClassifier
from spikevae.nn.networks import Network

_LEAST_SHARE = 0.5  # of the weights that learn


def with_whole_paths(config: RunConfig) -> RunConfig:
    """The settings with other models' folders as whole paths, so that a run can be resumed from another folder."""
    train = config.train
    return replace(config, train=replace(train, start_from=_whole(train.start_from), teacher=_whole(train.teacher)))


def _whole(name: str | None) -> str | None:
    if name is None or is_known_anywhere(name):
        return name
    return str(Path(name).expanduser().absolute())


@torch.no_grad()
def take_weights(model: Network, name: str) -> float:
    """Give a new network the weights of a trained one, where name and shape agree; the share of those that learn.

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
            "model's; leave out --preset and the --model settings, and the network is that model's"
        )
    model.load_state_dict(taken, strict=False)
    return share


def _agree(own: torch.Tensor, other: torch.Tensor | None) -> bool:
    return other is not None and other.shape == own.shape


def teacher_of(config: ModelConfig, name: str, device: torch.device) -> SpikingClassifier:
    """A trained classifier of the same inputs and classes.

    Raises:
        FileNotFoundError: if there is no such model; a run needs its teacher until it ends.
        ValueError: if it is no classifier without a decoder, or of other inputs or classes, or the one that learns is
            none, or has rates in place of logits.
    """
    if config.network != "classifier" or not config.layers.endswith("readout"):
        raise ValueError(
            f"teacher={name!r}: only a classifier without decoder whose layers end in readout can learn from one; "
            "leave teacher out"
        )
    try:
        teacher = load(name, device=device)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"the run's teacher: {error}; a run needs it until it ends") from None
    if not isinstance(teacher, SpikingClassifier):
        raise ValueError(f"teacher={name!r} is no classifier without decoder; `spikevae models` lists those bundled")
    takes, expected = _inputs(teacher.config), _inputs(config)
    if takes != expected:
        raise ValueError(
            f"teacher={name!r} takes {takes}, and the network that learns takes {expected}; both need the same"
        )
    if not are_read_alike(teacher.config.class_names, config.class_names):
        raise ValueError(
            f"teacher={name!r} knows the classes {teacher.config.class_names}, and the network that learns "
            f"{config.class_names}; both need the same, in one order"
        )
    return teacher


def _inputs(config: ModelConfig) -> str:
    size = "x".join(map(str, (config.image_channels, *config.frame_size)))
    if not config.takes_events:
        return f"images of {size}"
    return f"{config.time_steps} event frames of {size}, cut by {config.slice_by}"
