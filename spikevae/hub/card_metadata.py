"""What the Hugging Face hub reads of a model card: licence, task, data set and scores, as YAML before its text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import yaml

from spikevae.config import ModelConfig

_CELEBA = "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html"
_ON_HUB = {"fashion-mnist": "zalando-datasets/fashion_mnist", "mnist": "ylecun/mnist", "cifar10": "uoft-cs/cifar10"}


class ShownScore(NamedTuple):
    """A score as a card shows it."""

    metric: str
    """Its key, such as fad."""
    name: str
    """What a table calls it."""
    value: str
    """Such as "1.083 ± 0.031"."""


def card_metadata(
    dataset: str, model: ModelConfig, *, name: str | None = None, scores: Sequence[ShownScore] = ()
) -> str:
    """The YAML block that a card begins with.

    Args:
        dataset: that the model was trained on.
        model: its network.
        name: of a released model; None for a run's, whose owner chooses the licence.
        scores: what was measured.
    """
    is_classifier = model.network == "classifier"
    task = "image-classification" if is_classifier else "unconditional-image-generation"
    values: dict[str, Any] = {"library_name": "spikevae"}
    if dataset == "celeba":
        values |= {"license": "other", "license_name": "celeba-non-commercial-research", "license_link": _CELEBA}
    elif name:
        values["license"] = "mit"
    values["pipeline_tag"] = task
    tags = [] if model.neuron == "relu" else ["spiking-neural-network", "neuromorphic"]
    values["tags"] = tags + ["tcja"] * (model.attention == "tcja") + ["vae"] * (not is_classifier)
    if dataset in _ON_HUB:
        values["datasets"] = [_ON_HUB[dataset]]
    if scores:
        metrics = [
            {"type": score.metric, "name": score.name, "value": float(score.value.partition(" ")[0])}
            for score in scores
        ]
        data = {"name": dataset, "type": _ON_HUB.get(dataset, dataset)}
        result = {"task": {"type": task}, "dataset": data, "metrics": metrics}
        values["model-index"] = [{"name": name or "spikevae", "results": [result]}]
    return f"---\n{yaml.safe_dump(values, sort_keys=False, allow_unicode=True)}---\n\n"
