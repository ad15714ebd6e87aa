"""Gaussians of a few directions, fitted to points by expectation and maximisation."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

log = logging.getLogger(__name__)

_MOST_ROUNDS = 200  # of expectation and maximisation
_IMAGES_PER_DIRECTION = 4  # fewer images than this for each direction of a component, and there are fewer components


def leading_directions(centred: Float[Tensor, "m D"], rank: int) -> tuple[Float[Tensor, " R"], Float[Tensor, "D R"]]:
    """The largest eigenvalues of the covariance of m vectors of mean 0, ascending, and their directions.

    Of fewer vectors than dimensions the products of vectors with each other tell the same, and are fewer. Directions
    in which nothing varies are 0 then.
    """
    from scipy.linalg import eigh

    count, size = centred.shape
    products = centred @ centred.T if count < size else centred.T @ centred
    last = min(rank, len(products))
    found, vectors = map(
        torch.from_numpy, eigh(products.numpy(), subset_by_index=(len(products) - last, len(products) - 1))
    )
    if count < size:
        varies = found > 1e-12 * found[-1]
        vectors = centred.T @ vectors / found.where(varies, torch.inf).sqrt()
    missing = (rank - last, 0)
    return nn.functional.pad(found / (count - 1), missing), nn.functional.pad(vectors, missing)


def fit_gaussians(
    coordinates: Float[Tensor, "M R"], components: int
) -> tuple[Float[Tensor, " C"], Float[Tensor, "C R"], Float[Tensor, "C R R"]]:
    """Weights, centres and lower triangular factors of full Gaussians, fewer than ``components`` for few images.

    The coordinates have mean 0 and variance 1 in every direction. What is not used has the weight 0.
    """
    rank = coordinates.shape[1]
    weight, centre = torch.zeros(components), torch.zeros(components, rank)
    factor = torch.eye(rank).repeat(components, 1, 1)
    weight[0] = 1.0
    count = max(1, min(components, len(coordinates) // (_IMAGES_PER_DIRECTION * rank)))
    if count > 1:
        from sklearn.mixture import GaussianMixture

        mixture = GaussianMixture(count, reg_covar=1e-3, tol=1e-2, max_iter=_MOST_ROUNDS, random_state=0)
        mixture.fit(coordinates.numpy())
        if not mixture.converged_:
            log.warning("%d Gaussians still changed after %d rounds; the last ones are used", count, _MOST_ROUNDS)
        weight[:count] = torch.from_numpy(mixture.weights_)
        centre[:count] = torch.from_numpy(mixture.means_)
        factor[:count] = torch.linalg.cholesky(torch.from_numpy(mixture.covariances_)).float()
    return weight, centre, factor


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Linear algebra takes one thread for each caller, and mixtures that still changed do not warn."""
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


def in_their_gaussians(
    coordinates: Float[Tensor, "E R"],
    weight: Float[Tensor, " M"],
    centre: Float[Tensor, "M R"],
    factor: Float[Tensor, "M R R"],
) -> tuple[Int[Tensor, " E"], Float[Tensor, "E R"]]:
    """The likeliest Gaussian of each point, and the noise from N(0, I) that would have drawn the point from it."""
    used = weight.nonzero()[:, 0]
    offsets = coordinates[None] - centre[used][:, None]  # [M, E, R]
    white = torch.linalg.solve_triangular(factor[used], offsets.mT, upper=False).mT
    volume = factor[used].diagonal(dim1=1, dim2=2).abs().log().sum(dim=1)
    log_density = (weight[used].log() - volume)[:, None] - white.square().sum(dim=2) / 2  # [M, E]
    likeliest = log_density.argmax(dim=0)
    return used[likeliest], white[likeliest, torch.arange(len(coordinates))]
