"""Precision and recall: how many samples look real, and how much of what is real the samples cover."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch_fidelity.metric_prc import KEY_METRIC_PRECISION, KEY_METRIC_RECALL, prc_features_to_metric

from spikevae.evaluation.inputs import Evaluation
from spikevae.evaluation.metrics.registry import BINOMIAL, check_features, register, score_in_space
from spikevae.evaluation.scores import Score

_NEIGHBOURS = 3
_BATCH = 2000  # bounds the matrix of distances held at once


@register(
    "precision-recall",
    {"inception_precision": "precision, Inception", "inception_recall": "recall, Inception"},
    spaces=("inception",),
)
def measure_precision_recall(evaluation: Evaluation) -> list[Score]:
    """Precision and recall in the features of Inception."""
    return precision_recall_scores(evaluation, "inception", "inception", "2048")


def precision_recall_scores(evaluation: Evaluation, prefix: str, space: str, layer: str) -> list[Score]:
    """Both shares in one layer's features, of as many samples as reference images, chosen by the seed."""
    ours, theirs = (tables[layer] for tables in evaluation.features(space))
    count, seed = min(len(ours), len(theirs)), evaluation.config.seed
    shares = precision_recall(ours[chosen(len(ours), count, seed)], theirs[chosen(len(theirs), count, seed)])
    scores = []
    for name, share in zip(("precision", "recall"), shares, strict=True):
        error = share_error(share, count)
        score = score_in_space(evaluation, space, f"{prefix}_{name}", share, error, BINOMIAL, "higher")
        scores.append(replace(score, samples=count, reference_count=count))
    return scores


def chosen(count: int, wanted: int, seed: int) -> Tensor:
    """Numbers of ``wanted`` of ``count`` images, by a permutation that the seed determines; all in order if equal."""
    if wanted == count:
        return torch.arange(count)
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))[:wanted]


def precision_recall(samples: Tensor, reference: Tensor) -> tuple[float, float]:
    """Share of samples inside the reference's manifold, and of the reference inside the samples' (k = 3).

    Source: Kynkäänniemi et al., arXiv:1904.06991.
    """
    for name, features in (("samples", samples), ("reference", reference)):
        check_features(name, features, at_least=_NEIGHBOURS + 1)
    found = prc_features_to_metric(
        samples,
        reference,
        prc_neighborhood=_NEIGHBOURS,
        prc_batch_size=_BATCH,
        save_cpu_ram=True,  # in blocks: memory grows with the number of images, not with its square
        verbose=False,
    )
    return found[KEY_METRIC_PRECISION], found[KEY_METRIC_RECALL]


def share_error(share: float, count: int) -> float:
    """Standard error of a share of ``count`` independent images (binomial)."""
    return float(np.sqrt(share * (1 - share) / count))
