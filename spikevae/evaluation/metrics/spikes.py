"""Firing rates, operations and energy of each of a model's calls."""

from __future__ import annotations

from typing import Any

import torch

from spikevae.evaluation.energy import measure_costs, parameter_count
from spikevae.evaluation.inputs import Evaluation
from spikevae.evaluation.metrics.registry import NotComputedError, register
from spikevae.evaluation.scores import Score
from spikevae.evaluation.streams import first_images

_IMAGES = 250


@register(
    "spikes",
    {
        "firing_rate": "firing rate",
        "encode_energy": "energy of encoding (µJ)",
        "decode_energy": "energy of decoding (µJ)",
        "sample_energy": "energy of a sample (µJ)",
        "classify_energy": "energy of a classification (µJ)",
        "classify_flip_energy": "energy of a classification with flip (µJ)",
    },
    needs=("model",),
)
def measure_spikes(evaluation: Evaluation) -> list[Score]:
    """Mean firing rate, and energy with every use of a gated spike as a multiplication (docs/energy.md)."""
    model = evaluation.model
    if model is None:
        raise NotComputedError("only a model has spikes")
    config = model.config
    images = first_images(evaluation.reference, _IMAGES)[:, : config.image_channels].float() / 255
    if tuple(images.shape[1:]) != (config.image_channels, config.image_size, config.image_size):
        raise NotComputedError(f"the reference images are not {config.image_size} pixels wide")
    costs = measure_costs(model, images.to(model.device), seed=evaluation.config.seed)
    rates = {**costs["encode"].firing_rates, **costs["decode"].firing_rates}
    evaluation.details["firing_rates"] = rates
    evaluation.details["costs"] = {call: cost.to_dict() for call, cost in costs.items()}
    evaluation.details["parameters"] = parameter_count(model)
    common: dict[str, Any] = {"samples": len(images), "reference": evaluation.reference.name}
    mean_rate = float(torch.tensor([rate for steps in rates.values() for rate in steps]).mean())
    return [
        Score("firing_rate", mean_rate, note="mean over spiking layers and time steps", **common),
        *(
            Score(
                f"{call}_energy",
                cost.microjoule,
                better="lower",
                note=f"every use of a gated spike multiplied; with gates folded {cost.microjoule_folded:.3g} µJ; "
                f"the same layers as an ordinary network {cost.ann_microjoule:.3g} µJ",
                **common,
            )
            for call, cost in costs.items()
        ),
    ]
