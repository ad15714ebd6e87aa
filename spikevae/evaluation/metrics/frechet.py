"""Fréchet distances: between the latents of an autoencoder (FAD) and between the features of Inception (FID)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric

from spikevae.evaluation.inputs import Evaluation
from spikevae.evaluation.metrics.registry import (
    IN_DOMAIN,
    IN_INCEPTION,
    JACKKNIFE,
    check_features,
    register,
    score_in_space,
)
from spikevae.evaluation.scores import Score

_GROUPS = 10  # of the jackknife
_MIXED_BY = 1_000_003  # its seed: one by which nobody has mixed the samples before, for twice by one is not at all


@register("fad", {"fad": "FAD (autoencoder)"}, spaces=("autoencoder",), reads=IN_DOMAIN)
def measure_fad(evaluation: Evaluation) -> list[Score]:
    """Fréchet distance between the latents of the domain's autoencoder."""
    return [frechet_score(evaluation, "fad", "autoencoder", "latent")]


@register("fid", {"fid": "FID"}, spaces=("inception",), reads=IN_INCEPTION)
def measure_fid(evaluation: Evaluation) -> list[Score]:
    """Fréchet distance between the features of Inception."""
    return [frechet_score(evaluation, "fid", "inception", "2048")]


def frechet_score(evaluation: Evaluation, metric: str, space: str, layer: str) -> Score:
    """The distance of samples and reference in one layer's features, as a score."""
    ours, theirs = (tables[layer] for tables in evaluation.features(space))
    value, error = frechet_with_error(ours, theirs)
    return score_in_space(evaluation, space, metric, value, error, JACKKNIFE, "lower")


def frechet_distance(samples: Tensor, reference: Tensor) -> float:
    """Fréchet distance between Gaussians fitted to features [N, D] and [M, D].

    Source: Heusel et al., arXiv:1706.08500, equation 6.

    Raises:
        ValueError: if a set has fewer than 2 images, or a feature is not finite.
    """
    for name, features in (("samples", samples), ("reference", reference)):
        check_features(name, features, at_least=2)
    statistics = [fid_features_to_statistics(features.double()) for features in (samples, reference)]
    return float(fid_statistics_to_metric(*statistics, verbose=False)[KEY_METRIC_FID])


def frechet_with_error(samples: Tensor, reference: Tensor) -> tuple[float, float]:
    """Fréchet distance, and its standard error over the samples: what drawing other samples would change.

    The error is a delete-a-group jackknife: the distance is computed without each tenth of the samples in turn.
    """
    value = frechet_distance(samples, reference)
    if len(samples) < 4:
        return value, float("nan")
    y = reference.double()
    return value, jackknife_error(samples.double(), y.mean(0), matrix_root(torch.cov(y.T)))


def jackknife_error(x: Tensor, mean: Tensor, root: Tensor) -> float:
    """Standard error of `distance_to` over the images, from what leaving out each tenth of them changes.

    Which tenth an image is in does not follow from its place: images often come with their classes in turn.
    """
    groups = min(_GROUPS, len(x) // 2)
    index = torch.randperm(len(x), generator=torch.Generator().manual_seed(_MIXED_BY)) % groups
    left_out = np.array([distance_to(x[index != group], mean, root) for group in range(groups)])
    return float(np.sqrt((groups - 1) / groups * np.sum((left_out - left_out.mean()) ** 2)))


def distance_to(x: Tensor, mean: Tensor, root: Tensor) -> float:
    """Fréchet distance of features ``x`` [N, D] from a Gaussian given by its mean and its covariance's root.

    With S1 = X'X the trace of (S1 S2)^(1/2) is the sum of the singular values of X S2^(1/2), which for the 2,048
    features of Inception is ten times faster than the eigenvalues of S1 S2, whose matrix is not symmetric.
    """
    centred = (x - x.mean(0)) / (len(x) - 1) ** 0.5
    product = centred @ root
    if len(x) < root.shape[0]:
        trace = torch.linalg.svdvals(product).sum()
    else:
        trace = torch.linalg.eigvalsh(product.T @ product).clamp(min=0).sqrt().sum()
    distance = (x.mean(0) - mean).square().sum() + centred.square().sum() + root.square().sum() - 2 * trace
    return float(distance)


def matrix_root(covariance: Tensor) -> Tensor:
    """The symmetric square root of a covariance [D, D]."""
    values, vectors = torch.linalg.eigh(covariance)
    root: Tensor = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    return root
