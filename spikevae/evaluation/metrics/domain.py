"""Distances, precision and recall in the features of the domain classifier."""

from __future__ import annotations

from spikevae.evaluation.inputs import Evaluation
from spikevae.evaluation.metrics.frechet import frechet_score
from spikevae.evaluation.metrics.kid import kernel_score
from spikevae.evaluation.metrics.precision_recall import precision_recall_scores
from spikevae.evaluation.metrics.registry import IN_DOMAIN, NotComputedError, register
from spikevae.evaluation.scores import Score


@register(
    "domain",
    {
        "domain_frechet": "Fréchet distance, domain classifier",
        "domain_kernel": "kernel distance, domain classifier",
        "domain_precision": "precision, domain classifier",
        "domain_recall": "recall, domain classifier",
    },
    spaces=("classifier",),
    reads=IN_DOMAIN,
)
def measure_domain(evaluation: Evaluation) -> list[Score]:
    """All four, in the layer before the classifier's scores; of few images the distances alone."""
    distances = [
        frechet_score(evaluation, "domain_frechet", "classifier", "features"),
        kernel_score(evaluation, "domain_kernel", "classifier", "features"),
    ]
    try:
        shares = precision_recall_scores(evaluation, "domain", "classifier", "features")
    except NotComputedError as reason:
        shares = [Score(key, None, note=str(reason)) for key in ("domain_precision", "domain_recall")]
    return [*distances, *shares]
