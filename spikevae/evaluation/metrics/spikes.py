"""Firing rates, operations and energy of each of a model's calls."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

from torch import nn

from spikevae.data.division import some
from spikevae.data.pixels import converted
from spikevae.evaluation.costs import Cost
from spikevae.evaluation.energy import measure_costs
from spikevae.evaluation.inputs import Evaluation
from spikevae.evaluation.metrics.registry import NotComputedError, register
from spikevae.evaluation.model_inputs import ModelEvaluation
from spikevae.evaluation.scores import Score
from spikevae.evaluation.streams import first_images
from spikevae.nn.networks import parameter_count

_IMAGES = 250
_INPUTS = 100  # of a model that makes no images

Rates = Mapping[str, Sequence[float]]
"""By spiking layer, the share of its neurons that fire at each time step."""


NAMES = {
    "firing_rate": "firing rate",
    "encode_energy": "energy of encoding (µJ)",
    "decode_energy": "energy of decoding (µJ)",
    "sample_energy": "energy of a sample (µJ)",
    "classify_energy": "energy of a classification (µJ)",
    "classify_flip_energy": "energy of a classification with flip (µJ)",
}


@register("spikes", NAMES, needs=("model",), reads=("seed",))
def measure_spikes(evaluation: Evaluation) -> list[Score]:
    """Mean firing rate, and energy with every use of a gated spike as a multiplication (docs/energy.md)."""
    model = evaluation.model
    if model is None:
        raise NotComputedError("only a model has spikes")
    config = model.config
    given = evaluation.reference_set
    images = first_images(evaluation.reference, _IMAGES) if given is None else some(given, _IMAGES).images()
    images = converted(images, None, config.image_channels).float() / 255  # those of files are read as RGB
    if tuple(images.shape[1:]) != (config.image_channels, config.image_size, config.image_size):
        raise NotComputedError(f"the reference images are not {config.image_size} pixels wide")
    costs = measure_costs(model, images.to(model.device), seed=evaluation.config.seed)
    rates = {**costs["encode"].firing_rates, **costs["decode"].firing_rates}
    evaluation.details |= spike_details(model, costs, rates)
    return spike_scores(costs, rates, samples=len(images), reference=evaluation.reference.name)


@register("spikes", NAMES, of="models", reads=("seed",))
def measure_spikes_of_model(evaluation: ModelEvaluation) -> Iterable[Score]:
    """Mean firing rate, and energy of each call (docs/energy.md). Events of the input accumulate."""
    model, x = evaluation.model, evaluation.inputs(min(_INPUTS, len(evaluation.given)))
    count = x.shape[1] if x.dim() == 5 else len(x)
    costs = measure_costs(model, x, seed=evaluation.config.seed)
    once = (cost for name, cost in costs.items() if name != "classify_flip")  # which has the steps of two images
    rates = {layer: steps for cost in once for layer, steps in cost.firing_rates.items()}
    evaluation.details |= spike_details(model, costs, rates)
    return spike_scores(costs, rates, once=", on one frame", samples=count, reference=evaluation.reference_name)


def spike_details(model: nn.Module, costs: Mapping[str, Cost], rates: Rates) -> dict[str, Any]:
    """The tables that a report shows."""
    counted = {call: cost.to_dict() for call, cost in costs.items()}
    return {"firing_rates": rates, "costs": counted, "parameters": parameter_count(model)}


def spike_scores(costs: Mapping[str, Cost], rates: Rates, *, once: str = "", **about: Any) -> list[Score]:
    """The mean of all firing rates (none where no layer is known to spike), and the energy of each call.

    Args:
        costs: by call.
        rates: by layer, of each time step.
        once: what an ordinary network sees, where that is less than the spiking one does.
        about: what else a `Score` takes.
    """
    every_rate = [rate for steps in rates.values() for rate in steps]
    firing_rate = (
        Score("firing_rate", fmean(every_rate), note="mean over spiking layers and time steps", **about)
        if every_rate
        else Score("firing_rate", None, note="no layer is a BaseNode of spikingjelly, whose spikes are counted")
    )
    return [
        firing_rate,
        *(
            Score(
                f"{call}_energy",
                cost.microjoule,
                better="lower",
                note=f"every use of a gated spike multiplied; with gates folded {cost.microjoule_folded:.3g} µJ; "
                f"the same layers as an ordinary network{once} {cost.ann_microjoule:.3g} µJ",
                **about,
            )
            for call, cost in costs.items()
        ),
    ]
