"""The density of latent membrane potentials, from which new images are drawn."""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


class ClassGaussians(nn.Module):
    """One Gaussian per class over the latent potentials of the training images.

    The covariance of a class is its R leading directions plus a variance of its own for every dimension
    (``basis @ basis.T + diag(spread**2)``). The fitted values are buffers, so they travel with the weights.

    Args:
        size: D, number of latent potentials (T x L).
        classes: K; 0 where the data has no labels, and then one Gaussian holds all images.
        rank: R, at most D.
    """

    share: Tensor
    mean: Tensor
    basis: Tensor
    spread: Tensor

    def __init__(self, size: int, classes: int, rank: int) -> None:
        super().__init__()
        groups, rank = max(classes, 1), min(rank, size)
        self.register_buffer("share", torch.full((groups,), 1.0 / groups))  # [K], how often each class occurs
        self.register_buffer("mean", torch.zeros(groups, size))  # [K, D]
        self.register_buffer("basis", torch.zeros(groups, size, rank))  # [K, D, R]
        self.register_buffer("spread", torch.ones(groups, size))  # [K, D]

    @torch.no_grad()
    def fit(self, potentials: Float[Tensor, "M D"], labels: Int[Tensor, " M"]) -> None:
        """Fit to the potentials of M images.

        Args:
            potentials: one row for each image.
            labels: class of each image; of an unlabelled one -1, which no class counts. Ignored if all are one group.

        Raises:
            ValueError: if a class has fewer than two images.
        """
        groups, _, rank = self.basis.shape
        parts = [potentials] if groups == 1 else [potentials[labels == group] for group in range(groups)]
        for group, members in enumerate(parts):
            if len(members) < 2:
                raise ValueError(f"class {group} has {len(members)} images; a density needs at least 2 of each class")
            mean = members.double().mean(dim=0)
            centred = members.double() - mean
            covariance = centred.T @ centred / (len(members) - 1)
            values, vectors = torch.linalg.eigh(covariance)  # ascending
            basis = vectors[:, -rank:] * values[-rank:].clamp(min=0).sqrt()
            rest = (covariance.diagonal() - basis.square().sum(dim=1)).clamp(min=0)
            self.share[group] = len(members) / sum(map(len, parts))
            self.mean[group] = mean.float()
            self.basis[group] = basis.float()
            self.spread[group] = rest.sqrt().float()

    @property
    def noise_size(self) -> int:
        """Numbers of :meth:`noise`: 1 + R + D."""
        return 1 + self.basis.shape[2] + self.basis.shape[1]

    def noise(self, rng: np.random.Generator) -> np.ndarray:
        """The random numbers behind one image: one for the class, R + D from N(0, 1)."""
        _, size, rank = self.basis.shape
        return np.concatenate([rng.random(1, dtype=np.float32), rng.standard_normal(rank + size, dtype=np.float32)])

    def draw(self, noise: Float[Tensor, "N E"], labels: Int[Tensor, " N"] | None, temperature: float) -> Tensor:
        """Potentials [N, D].

        Args:
            noise: [N, 1 + R + D] stacked :meth:`noise`.
            labels: class of each image; None draws it with the training data's shares.
            temperature: factor on the distance from the class's mean, at least 0.

        Raises:
            ValueError: if the temperature is negative or no number.
        """
        if not (math.isfinite(temperature) and temperature >= 0):
            raise ValueError(f"temperature={temperature}: expected a number of at least 0")
        # In float64 on the CPU: an image must not depend on the batch that it is drawn in, nor on the device.
        draws = noise.detach().cpu().double()
        rank = self.basis.shape[2]
        if labels is None:
            edges = self.share.cpu().double().cumsum(0)[:-1]
            labels = torch.searchsorted(edges, draws[:, 0].contiguous(), right=True)
        labels = labels.cpu()
        potential = torch.empty(len(draws), self.mean.shape[1], dtype=torch.float64)
        for group in labels.unique().tolist():
            rows = labels == group
            offset = draws[rows, 1 : 1 + rank] @ self.basis[group].cpu().double().T
            offset += draws[rows, 1 + rank :] * self.spread[group].cpu().double()
            potential[rows] = self.mean[group].cpu().double() + temperature * offset
        return potential.float().to(self.mean.device)
