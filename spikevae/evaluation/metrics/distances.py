"""Distances between two sets of features, by torch-fidelity, each with an uncertainty."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_isc import KEY_METRIC_ISC_MEAN, KEY_METRIC_ISC_STD, isc_features_to_metric
from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, KEY_METRIC_KID_STD, kid_features_to_metric
from torch_fidelity.metric_prc import KEY_METRIC_PRECISION, KEY_METRIC_RECALL, prc_features_to_metric

NEIGHBOURS = 3
KID_SUBSETS = 100
KID_SUBSET_SIZE = 1000
JACKKNIFE_GROUPS = 10
_PRC_BATCH = 2000  # bounds the matrix of distances held at once


def frechet_distance(samples: Tensor, reference: Tensor) -> float:
    """Fréchet distance between Gaussians fitted to features [N, D] and [M, D].

    Source: Heusel et al., arXiv:1706.08500, equation 6.

    Raises:
        ValueError: if a set has fewer than 2 images, or a feature is not finite.
    """
    for name, features in (("samples", samples), ("reference", reference)):
        _check(name, features, at_least=2)
    statistics = [fid_features_to_statistics(features.double()) for features in (samples, reference)]
    return float(fid_statistics_to_metric(*statistics, verbose=False)[KEY_METRIC_FID])


def frechet_with_error(samples: Tensor, reference: Tensor) -> tuple[float, float]:
    """Fréchet distance, and its standard error over the samples: what drawing other samples would change.

    The error is a delete-a-group jackknife: the distance is computed without each tenth of the samples in turn.
    """
    value = frechet_distance(samples, reference)
    groups = min(JACKKNIFE_GROUPS, len(samples) // 2)
    if groups < 2:
        return value, float("nan")
    x, y = samples.double(), reference.double()
    root = _matrix_root(torch.cov(y.T))
    index = torch.arange(len(x)) % groups
    left_out = np.array([_distance_to(x[index != group], y.mean(0), root) for group in range(groups)])
    return value, float(np.sqrt((groups - 1) / groups * np.sum((left_out - left_out.mean()) ** 2)))


def _distance_to(x: Tensor, mean: Tensor, root: Tensor) -> float:
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


def _matrix_root(covariance: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(covariance)
    root: Tensor = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    return root


def kernel_distance(samples: Tensor, reference: Tensor, *, seed: int) -> tuple[float, float, int]:
    """Mean and standard deviation of the kernel distance over 100 random subsets, and the subsets' size.

    Source: Bińkowski et al., arXiv:1801.01401. Subsets are of 1,000 images, or of all if there are fewer.
    """
    size = min(KID_SUBSET_SIZE, len(samples), len(reference))
    for name, features in (("samples", samples), ("reference", reference)):
        _check(name, features, at_least=2)
    found = kid_features_to_metric(
        samples, reference, kid_subsets=KID_SUBSETS, kid_subset_size=size, rng_seed=seed, verbose=False
    )
    return found[KEY_METRIC_KID_MEAN], found[KEY_METRIC_KID_STD], size


def precision_recall(samples: Tensor, reference: Tensor) -> tuple[float, float]:
    """Share of samples inside the reference's manifold, and of the reference inside the samples' (k = 3).

    Source: Kynkäänniemi et al., arXiv:1904.06991.
    """
    for name, features in (("samples", samples), ("reference", reference)):
        _check(name, features, at_least=NEIGHBOURS + 1)
    found = prc_features_to_metric(
        samples,
        reference,
        prc_neighborhood=NEIGHBOURS,
        prc_batch_size=_PRC_BATCH,
        save_cpu_ram=True,  # in blocks: memory grows with the number of images, not with its square
        verbose=False,
    )
    return found[KEY_METRIC_PRECISION], found[KEY_METRIC_RECALL]


def inception_score(logits: Tensor, *, seed: int) -> tuple[float, float]:
    """Mean and standard deviation of the Inception score over 10 splits of logits [N, K].

    Source: Salimans et al., arXiv:1606.03498.
    """
    _check("samples", logits, at_least=10)
    found = isc_features_to_metric(logits, splits=10, shuffle=True, rng_seed=seed)
    return found[KEY_METRIC_ISC_MEAN], found[KEY_METRIC_ISC_STD]


def share_error(share: float, count: int) -> float:
    """Standard error of a share of ``count`` independent images (binomial)."""
    return float(np.sqrt(share * (1 - share) / count))


def _check(name: str, features: Tensor, *, at_least: int) -> None:
    if len(features) < at_least:
        raise ValueError(f"{name}: {len(features)} images are too few; give at least {at_least}")
    if not torch.isfinite(features).all():
        raise ValueError(f"{name}: some features are not finite; look for NaN among the images or the weights")
