"""A model that is to be measured: opened by its name, or at hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from spikevae.evaluation.networks.weights import hash_weights
from spikevae.evaluation.settings import EvaluationConfig
from spikevae.files import hash_file
from spikevae.hub.checkpoints import WEIGHTS_NAME, model_folder, read_dataset_name
from spikevae.hub.measured import IN_MEMORY
from spikevae.nn.vae import SpikingVAE


class OpenedModel(NamedTuple):
    """A model, and what its scores say of it."""

    model: Any
    weights_hash: str
    """SHA-256 of the file of its weights, or of the weights of a model in memory."""
    trained_on: str | None
    """The data set that it was trained on; None of a model in memory."""


def open_model(config: EvaluationConfig, model: Any, loader: Callable[..., Any], device: torch.device) -> OpenedModel:
    """The model that the settings name, or the one at hand.

    Raises:
        ValueError, OSError: if it cannot be read, the device is not there, or nothing says what a model at hand is
            compared with.
    """
    assert config.model is not None  # the callers saw to it
    if model is not None:
        if config.data is None and config.reference is None:
            other = ", or reference=PATH" if isinstance(model, SpikingVAE) else ""
            raise ValueError("a model in memory does not know its data set; name it: data=NAME" + other)
        return OpenedModel(model, IN_MEMORY + hash_weights(model), None)
    weights_hash = hash_file(model_folder(config.model) / WEIGHTS_NAME)
    trained_on = read_dataset_name(config.model)
    try:
        model = loader(config.model, device=device)
    except (RuntimeError, AssertionError) as error:  # torch's words for a device that is not there
        raise ValueError(f"--device {config.device}: {str(error).splitlines()[0]}") from None
    return OpenedModel(model, weights_hash, trained_on)
