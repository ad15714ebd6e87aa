"""The Inception score."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor
from torch_fidelity.metric_isc import KEY_METRIC_ISC_MEAN, KEY_METRIC_ISC_STD, isc_features_to_metric

from spikevae.evaluation.inputs import Evaluation
from spikevae.evaluation.metrics.registry import IN_INCEPTION, check_features, register, score_in_space
from spikevae.evaluation.scores import Score


@register("is", {"inception_score": "Inception score"}, spaces=("inception",), reads=IN_INCEPTION)
def measure_inception_score(evaluation: Evaluation) -> list[Score]:
    """The score of the samples; no reference enters."""
    ours, _ = evaluation.features("inception")
    value, spread = inception_score(ours["logits_unbiased"], seed=evaluation.config.seed)
    error_is = "standard deviation over 10 splits"
    score = score_in_space(evaluation, "inception", "inception_score", value, spread, error_is, "higher")
    return [replace(score, reference="", reference_count=None)]


def inception_score(logits: Tensor, *, seed: int) -> tuple[float, float]:
    """Mean and standard deviation of the Inception score over 10 splits of logits [N, K].

    Source: Salimans et al., arXiv:1606.03498.
    """
    check_features("samples", logits, at_least=10)
    found = isc_features_to_metric(logits, splits=10, shuffle=True, rng_seed=seed)
    return found[KEY_METRIC_ISC_MEAN], found[KEY_METRIC_ISC_STD]
