"""Precision and recall: how many samples look real, and how much of what is real the samples cover."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch_fidelity.metric_prc import KEY_METRIC_PRECISION, KEY_METRIC_RECALL, prc_features_to_metric

from spikevae.evaluation.inputs import Evaluation
from spikevae.evaluation.metrics.registry import IN_INCEPTION, check_features, register, share_score
from spikevae.evaluation.scores import Score
from spikevae.evaluation.streams import drawn_numbers

_NEIGHBOURS = 3
_BATCH = 2000  # bounds the matrix of distances held at once


@register(
    "precision-recall",
    {"inception_precision": "precision, Inception", "inception_recall": "recall, Inception"},
    spaces=("inception",),
    reads=IN_INCEPTION,
)
def measure_precision_recall(evaluation: Evaluation) -> list[Score]:
    """Precision and recall in the features of Inception."""
    return precision_recall_scores(evaluation, "inception", "inception", "2048")


def precision_recall_scores(evaluation: Evaluation, prefix: str, space: str, layer: str) -> list[Score]:
    """Both shares in one layer's features, of as many samples as reference images, chosen by the seed."""
    ours, theirs = (tables[layer] for tables in evaluation.features(space))
    about = {"reference": evaluation.reference.name, **evaluation.extractor(space).about}
    return equal_precision_recall(ours, theirs, prefix, evaluation.config.seed, **about)


def equal_precision_recall(ours: Tensor, theirs: Tensor, prefix: str, seed: int, **about: Any) -> list[Score]:
    """Both shares as scores, of as many samples as reference images; ``about`` is what else a `Score` takes."""
    _check(ours, theirs)  # before they are cut to one length, and the larger set is blamed too
    count = min(len(ours), len(theirs))
    shares = precision_recall(*(each[drawn_numbers(len(each), count, seed)] for each in (ours, theirs)))
    return [
        share_score(f"{prefix}_{name}", share, count, reference_count=count, **about)
        for name, share in zip(("precision", "recall"), shares, strict=True)
    ]


def precision_recall(samples: Tensor, reference: Tensor) -> tuple[float, float]:
    """Share of samples inside the reference's manifold, and of the reference inside the samples' (k = 3).

    Source: Kynkäänniemi et al., arXiv:1904.06991.
    """
    _check(samples, reference)
    found = prc_features_to_metric(
        samples,
        reference,
        prc_neighborhood=_NEIGHBOURS,
        prc_batch_size=_BATCH,
        save_cpu_ram=True,  # in blocks: memory grows with the number of images, not with its square
        verbose=False,
    )
    return found[KEY_METRIC_PRECISION], found[KEY_METRIC_RECALL]


def _check(samples: Tensor, reference: Tensor) -> None:
    for name, features in (("samples", samples), ("reference", reference)):
        check_features(name, features, at_least=_NEIGHBOURS + 1)
