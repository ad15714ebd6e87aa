"""Networks by the name that a config gives."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, cast

import torch
from torch import Tensor, nn

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
MOST_WEIGHTS = 2**27
"""Numbers that a file may hold: half a GiB of them as float32, fifty times those of the released models."""


def build_network(config: ModelConfig) -> Network:
    """The network that a config describes.

    Raises:
        ValueError: if there is none of this name, or a part of it is not known.
    """
    return choose(NETWORKS, "network", config.network)(config)


def weights_of(config: ModelConfig) -> dict[str, Tensor]:
    """The weights that a network of these settings has, by name: their shapes and types alone, without memory.

    Raises:
        ValueError: as for `build_network`, or if there are more than are read back from a file.
    """
    with torch.device("meta"):
        weights: dict[str, Tensor] = build_network(config).state_dict()
    count = sum(tensor.numel() for tensor in weights.values())
    if count > MOST_WEIGHTS:
        raise ValueError(
            f"a network of these settings has {count:,} weights; at most {MOST_WEIGHTS:,} are read back. Each class "
            "has a density of its own: lower model.prior_rank"
        )
    return weights


def parameter_count(network: nn.Module | ModelConfig) -> int:
    """Numbers that a network, or one of these settings, learns; a density, fitted afterwards, does not count."""
    if isinstance(network, ModelConfig):
        with torch.device("meta"):
            network = build_network(network)
    return sum(weight.numel() for weight in network.parameters())


def decaying(weights: Iterable[nn.Parameter], weight_decay: float) -> list[dict[str, Any]]:
    """Groups for an optimizer: matrices and kernels decay; norms, biases and time constants do not."""
    weights = list(weights)
    matrices = [weight for weight in weights if weight.dim() > 1]
    others = [weight for weight in weights if weight.dim() <= 1]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


def unwrapped(model: object) -> Network:
    """The model, without what ``torch.compile`` puts around it.

    Raises:
        ValueError: if it is no model of this package, nor a network that was registered, or it is wrapped otherwise.
    """
    plain: Any = getattr(model, "_orig_mod", model)
    if not isinstance(plain, nn.Module) or not isinstance(getattr(plain, "config", None), ModelConfig):
        raise ValueError(f"expected a model of spikevae, got {type(model).__qualname__}; of a wrapped one give .module")
    return cast(Network, plain)


def require_weights_of_config(model: Network) -> None:
    """Refuse a model whose weights are not those of its config, because a part was replaced, added or removed.

    Neurons have few weights or none: a threshold that was changed is not seen.

    Raises:
        ValueError: if a weight is missing, unknown, or of another shape.
    """
    expected, state = weights_of(model.config), model.state_dict()
    for name in sorted(expected.keys() | state.keys()):
        if name not in state or name not in expected or state[name].shape != expected[name].shape:
            raise ValueError(
                f"the weight {name} is not as this model's config has it, so no model can be read back; nothing is "
                "written. Undo what was changed in the network (torch.compile of a part, too), or register a part of "
                "your own (docs/extending.md)"
            )
