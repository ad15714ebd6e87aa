"""What a program calls that no other file is home to: saving, scores, and parts of one's own."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from torch import nn

from spikevae.config import ModelConfig
from spikevae.data.sets import Reader
from spikevae.data.sets import register as add_dataset
from spikevae.evaluation.command import evaluate as run_evaluation
from spikevae.evaluation.metrics import register as add_metric
from spikevae.evaluation.metrics.registry import Kind, Measure, Need
from spikevae.evaluation.scores import Scores
from spikevae.evaluation.settings import EvaluationConfig
from spikevae.hub.checkpoints import CARD_NAME, CONFIG_NAME, WEIGHTS_NAME, read_config, save_release
from spikevae.nn.attention import ATTENTIONS
from spikevae.nn.latents import LATENTS
from spikevae.nn.latents.base import Latent
from spikevae.nn.networks import Network, unwrapped
from spikevae.nn.neurons import NEURONS
from spikevae.registry import register

AttentionPart = TypeVar("AttentionPart", bound=Callable[[ModelConfig, int], nn.Module])
NeuronPart = TypeVar("NeuronPart", bound=Callable[[ModelConfig], nn.Module])
LatentPart = TypeVar("LatentPart", bound=Callable[[ModelConfig, int], Latent])


def save(model: Network, folder: str | os.PathLike[str], *, dataset: str, card: str | None = None) -> None:
    """Write a folder that `load` reads: config.json, model.safetensors, README.md.

    Matrices and kernels are stored as float16, so the loaded weights are rounded to it.

    Args:
        model: what to save.
        folder: made if it is not there; a model in it is replaced.
        dataset: what it was trained on, as the command line names it. `evaluate` compares with that.
        card: text of README.md; otherwise two lines.

    Raises:
        ValueError: if it is no model of this package, a weight of it is not finite, or its weights are not those of its
            config; or if a file would be replaced that belongs to no such model.
        OSError: if the folder cannot be written.
    """
    folder = Path(folder)
    found = [name for name in (CARD_NAME, CONFIG_NAME, WEIGHTS_NAME) if (folder / name).exists()]
    if found and not _holds_config(folder):
        raise ValueError(f"{folder} holds {found[0]}, which is of no model of spikevae, and stays; name another folder")
    text = card or f"# A spiking VAE of {dataset}\n\nMade with spikevae; `spikevae.load` reads this folder.\n"
    save_release(model, folder, dataset=dataset, card=text)


def _holds_config(folder: Path) -> bool:
    try:
        read_config(folder)
    except (OSError, ValueError):
        return False
    return True


def evaluate(model: str | os.PathLike[str] | Network, **settings: Any) -> Scores:
    """Measure a model. The result has each number with its uncertainty, and how it came about.

    >>> scores = evaluate("fashion-mnist", metrics=("fad", "reconstruction"), count=1000)
    >>> {score.metric: score.value for score in scores.scores}

    Args:
        model: a bundled name, a folder, or a model at hand. For the last ``data`` says what to compare with.
        settings: as in `spikevae.evaluation.settings.EvaluationConfig`, and as in ``spikevae evaluate --help``.

    Raises:
        ValueError, OSError: if the settings, the model or the data are not usable; one line says why.
    """
    if isinstance(settings.get("metrics"), str):
        settings["metrics"] = (settings["metrics"],)
    if not isinstance(model, nn.Module):
        return run_evaluation(EvaluationConfig(model=os.fspath(model), **settings))
    model = unwrapped(model)
    modes = [(module, module.training) for module in model.modules()]  # norms may be frozen in a model that learns
    try:
        return run_evaluation(EvaluationConfig(model="a model in memory", **settings), model.eval())
    finally:
        for module, is_training in modes:
            module.training = is_training


def register_attention(name: str) -> Callable[[AttentionPart], AttentionPart]:
    """Add to ``ATTENTIONS`` what builds an attention from the config and the channels C of a stage.

    The module maps [T, N, C, H, W] to the same shape. ``ModelConfig(attention=name)`` uses it.

    Raises:
        ValueError: if the name is taken. So do the other registers.
    """
    return _adder(ATTENTIONS, name)


def register_neuron(name: str) -> Callable[[NeuronPart], NeuronPart]:
    """Add to ``NEURONS`` what builds neurons from the config.

    The module maps currents [T, N, ...] to spikes in {0, 1}, from rest at each call. ``ModelConfig(neuron=name)`` uses
    it.
    """
    return _adder(NEURONS, name)


def register_latent(name: str) -> Callable[[LatentPart], LatentPart]:
    """Add to ``LATENTS`` what builds a `Latent` from the config and the features F of a time step.

    ``ModelConfig(latent=name)`` uses it.
    """
    return _adder(LATENTS, name)


def register_dataset(name: str, class_names: Sequence[str]) -> Callable[[Reader], Reader]:
    """Add to ``DATASETS`` a function from the data root, and whether the test split is wanted, to images and labels.

    Images are uint8 [N, C, H, H], labels int64 [N]. ``spikevae train NAME`` and ``--data NAME`` use it.
    """
    return add_dataset(name, class_names)


def register_metric(
    name: str,
    scores: Mapping[str, str] | None = None,
    *,
    spaces: tuple[str, ...] = (),
    needs: tuple[Need, ...] = (),
    of: Kind = "images",
) -> Callable[[Measure], Measure]:
    """Add to ``METRICS`` a function from an `Evaluation` to a list of `Score`. ``evaluate --metrics NAME`` uses it.

    Args:
        name: of the metric.
        scores: the keys of the numbers that it gives, each with what a table calls it; otherwise ``name`` alone.
        spaces: networks that it takes features of, as `spikevae.evaluation.networks.spaces.SPACES` names them.
        needs: what must be there for it.
        of: "images" measures what a model draws, or images; "models" a classifier, or a model of recordings (where it
            needs "recordings"). The function then takes a `ModelEvaluation`.
    """
    return add_metric(name, scores, spaces=spaces, needs=needs, of=of)


def _adder(parts: dict[str, Any], name: str) -> Callable[[Any], Any]:
    return register(parts, name)
