"""Kernel distance between features: KID in Inception's, and the same in other spaces."""

from __future__ import annotations

import math
from dataclasses import replace

from torch import Tensor
from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, KEY_METRIC_KID_STD, kid_features_to_metric

from spikevae.evaluation.inputs import Evaluation
from spikevae.evaluation.metrics.registry import IN_INCEPTION, check_features, register, score_in_space
from spikevae.evaluation.scores import Score

_SUBSETS = 100
_SUBSET_SIZE = 1000


@register("kid", {"kid": "KID"}, spaces=("inception",), reads=IN_INCEPTION)
def measure_kid(evaluation: Evaluation) -> list[Score]:
    """Kernel distance between the features of Inception."""
    return [kernel_score(evaluation, "kid", "inception", "2048")]


def kernel_score(evaluation: Evaluation, metric: str, space: str, layer: str) -> Score:
    """The distance of samples and reference in one layer's features, as a score."""
    ours, theirs = (tables[layer] for tables in evaluation.features(space))
    value, spread, size = kernel_distance(ours, theirs, seed=evaluation.config.seed)
    if math.isnan(spread):
        note = f"no error: with {min(len(ours), len(theirs)):,} images on a side all subsets of {size:,} hold the same"
        return replace(score_in_space(evaluation, space, metric, value, None, "", "lower"), note=note)
    error_is = f"standard deviation over {_SUBSETS} subsets of {size}"
    return score_in_space(evaluation, space, metric, value, spread, error_is, "lower")


def kernel_distance(samples: Tensor, reference: Tensor, *, seed: int) -> tuple[float, float, int]:
    """Mean and standard deviation of the kernel distance over 100 random subsets, and the subsets' size.

    Source: Bińkowski et al., arXiv:1801.01401. Subsets are of 1,000 images, or of all if there are fewer. Then they do
    not differ on that side, so their deviation says nothing of the error and is NaN.
    """
    size = min(_SUBSET_SIZE, len(samples), len(reference))
    for name, features in (("samples", samples), ("reference", reference)):
        check_features(name, features, at_least=2)
    found = kid_features_to_metric(
        samples, reference, kid_subsets=_SUBSETS, kid_subset_size=size, rng_seed=seed, verbose=False
    )
    has_others = size < min(len(samples), len(reference))
    return found[KEY_METRIC_KID_MEAN], found[KEY_METRIC_KID_STD] if has_others else math.nan, size
