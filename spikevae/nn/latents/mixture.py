"""The density of latent membrane potentials, from which new images are drawn."""

from __future__ import annotations

import math
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from spikevae.nn.latents.gaussians import fit_gaussians, leading_directions, one_thread_each
from spikevae.ops import points_of_gaussians


class Mixtures(nn.Module):
    """One mixture of Gaussians per class over the latent potentials of the training images.

    A class's mean and leading directions span a small space, in which M full-covariance Gaussians are fitted. A
    potential is ``mean + basis @ (centre[m] + factor[m] @ e) + rest(f)`` with e and f from N(0, I) and m drawn by
    ``weight``. A subclass says what the leading directions leave, ``rest``: nothing, if it does not. The fitted values
    are buffers, so they travel with the weights.

    Args:
        size: D, number of latent potentials.
        classes: K; 0 where the data has no labels, and then one mixture holds all images.
        rank: R, leading directions, at most D.
        components: M, Gaussians of each class.
    """

    share: Tensor
    mean: Tensor
    basis: Tensor
    weight: Tensor
    centre: Tensor
    factor: Tensor

    def __init__(self, size: int, classes: int, rank: int, components: int) -> None:
        super().__init__()
        groups, rank = max(classes, 1), min(rank, size)
        self.register_buffer("share", torch.full((groups,), 1.0 / groups))  # [K], how often each class occurs
        self.register_buffer("mean", torch.zeros(groups, size))  # [K, D]
        self.register_buffer("basis", torch.zeros(groups, size, rank))  # [K, D, R]
        self.register_buffer("weight", torch.full((groups, components), 1.0 / components))  # [K, M]
        self.register_buffer("centre", torch.zeros(groups, components, rank))  # [K, M, R]

    @torch.no_grad()
    def fit(self, potentials: Float[Tensor, "M D"], labels: Int[Tensor, " M"]) -> None:
        """Fit to the potentials of M images.

        Args:
            potentials: one row for each image.
            labels: class of each image; of an unlabelled one -1, which no class counts. Ignored if all are one group.

        Raises:
            ValueError: if a class has fewer than two images.
        """
        groups = len(self.basis)
        parts = [potentials] if groups == 1 else [potentials[labels == group] for group in range(groups)]
        for group, members in enumerate(parts):
            if len(members) < 2:
                raise ValueError(f"class {group} has {len(members)} images; a density needs at least 2 of each class")
            self.share[group] = len(members) / sum(map(len, parts))
        # A core for each class, and no more: sums of several threads come in any order, and so would the last digits.
        with one_thread_each(), ThreadPoolExecutor(min(groups, os.cpu_count() or 1)) as pool:
            list(pool.map(self._fit_class, range(groups), parts))

    @torch.no_grad()
    def _fit_class(self, group: int, members: Float[Tensor, "m D"]) -> None:
        rank = self.basis.shape[2]
        mean = members.double().mean(dim=0)
        centred = members.double() - mean
        values, vectors = leading_directions(centred, rank)
        scale = values.clamp(min=0).sqrt()
        basis = vectors * scale
        coordinates = centred @ vectors / scale.clamp(min=1e-6 * float(scale[-1]) + 1e-12)
        self.mean[group], self.basis[group] = mean.float(), basis.float()
        self.weight[group], self.centre[group], factor = fit_gaussians(coordinates, self.weight.shape[1])
        self._keep(group, factor, basis, centred, coordinates)

    def _keep(self, group: int, factor: Tensor, basis: Tensor, centred: Tensor, coordinates: Tensor) -> None:
        """Store a class's factors [M, R, R], and what else a subclass keeps of its images.

        Args:
            group: its number.
            factor: lower triangular factors of its Gaussians.
            basis: [D, R], leading directions.
            centred: [m, D], potentials less their mean.
            coordinates: [m, R], those along the leading directions.
        """
        raise NotImplementedError

    def _factors(self, group: int) -> Float[Tensor, "M R R"]:
        """Lower triangular factors of a class."""
        raise NotImplementedError

    def _at_exemplars(
        self,
        labels: Int[Tensor, " N"],
        u: Float[Tensor, " N"],
        component: Int[Tensor, " N"],
        noise: Float[Tensor, "N E"],
    ) -> tuple[Int[Tensor, " N"], Float[Tensor, "N E"]]:
        """Gaussians and noise of images that begin at exemplars, chosen by u from U(0, 1); unchanged without any."""
        return component, noise

    def _near(
        self,
        labels: Int[Tensor, " N"],
        component: Int[Tensor, " N"],
        noise: Float[Tensor, "N R"],
        temperature: float,
    ) -> Float[Tensor, "N R"]:
        """The noise of the leading directions at a temperature, of images of these classes and Gaussians."""
        return temperature * noise

    def _rest(self, labels: Int[Tensor, " N"], noise: Float[Tensor, "N E"]) -> Tensor | float:
        """What noise of N(0, I) adds beside the leading directions, [N, D]; 0 where nothing is added."""
        return 0.0

    def _spread(self, group: int) -> Float[Tensor, " D"]:
        """Standard deviations of what the leading directions leave."""
        return torch.ones_like(self.mean[group])

    @property
    def noise_size(self) -> int:
        """Numbers of :meth:`noise`: 2 + R + D."""
        return 2 + self.basis.shape[2] + self.basis.shape[1]

    @property
    def connections(self) -> int:
        """Products of numbers that a new image takes."""
        raise NotImplementedError

    def noise(self, rng: np.random.Generator) -> np.ndarray:
        """The random numbers behind one image: two from U(0, 1) for class and component, the rest from N(0, 1)."""
        return np.concatenate(
            [rng.random(2, dtype=np.float32), rng.standard_normal(self.noise_size - 2, dtype=np.float32)]
        )

    def labels_of(self, noise: Float[Tensor, "N E"]) -> Int[Tensor, " N"]:
        """Classes of images that were asked for without one, as often as they are in the training data."""
        return drawn_by_share(self.share[None].expand(len(noise), -1), noise[:, 0].detach().cpu().double())

    def sample(
        self,
        noise: Float[Tensor, "N E"],
        labels: Int[Tensor, " N"] | None,
        temperature: float,
        *,
        at_exemplars: bool = True,
    ) -> Tensor:
        """Potentials [N, D], differentiable in the noise.

        Args:
            noise: [N, E] stacked :meth:`noise`.
            labels: class of each image; None draws it with the training data's shares.
            temperature: how far an image may lie from the typical one of its Gaussian, at least 0; 1 as fitted.
            at_exemplars: whether images begin at exemplars, where a density has some; otherwise noise is white.

        Raises:
            ValueError: if the temperature is negative or no number.
        """
        check_temperature(temperature)
        draws = noise.cpu().double()
        labels = (self.labels_of(draws) if labels is None else labels).cpu()
        u, around = draws[:, 1].detach(), draws[:, 2:]
        component = drawn_by_share(self.weight.cpu()[labels], u)
        if at_exemplars:
            component, around = self._at_exemplars(labels, u, component, around)
        return self._drawn(labels, component, around, temperature)

    def typical(self, labels: Int[Tensor, " N"]) -> Float[Tensor, "N D"]:
        """Of each class what temperature 0 draws of its heaviest Gaussian."""
        component = self.weight.cpu()[labels].argmax(dim=1)
        return self._drawn(labels, component, torch.zeros(len(labels), self.noise_size - 2).double(), 0.0)

    def _drawn(
        self, labels: Int[Tensor, " N"], component: Int[Tensor, " N"], noise: Float[Tensor, "N E"], temperature: float
    ) -> Float[Tensor, "N D"]:
        rank = self.basis.shape[2]
        near = self._near(labels, component, noise[:, :rank], temperature)
        shared = points_of_gaussians(self.mean, self.basis, self.centre, self.factor, labels, component, near)
        rest = self._rest(labels, temperature * noise[:, rank:])
        return (shared + rest).float().to(self.mean.device)

    def log_densities(self, potentials: Float[Tensor, "N D"]) -> tuple[Float[Tensor, " N"], Float[Tensor, " N"]]:
        """Log densities of the likeliest class, up to a constant: in the R leading directions, and in all D.

        Where what those leave is not drawn, it counts as if it had a variance of 1 in every dimension.
        """
        shapes, wholes = [], []
        points = potentials.cpu().double()
        for group in range(len(self.share)):
            basis, spread = self.basis[group].cpu().double(), self._spread(group).cpu().double().clamp(min=1e-3)
            centred = points - self.mean[group].cpu().double()
            coordinates = (centred @ basis) / basis.square().sum(dim=0).clamp(min=1e-12)  # [N, R]
            terms = []
            for weight, centre, factor in zip(
                self.weight[group].tolist(), self.centre[group].cpu().double(), self._factors(group), strict=True
            ):
                if weight > 0:
                    white = torch.linalg.solve_triangular(factor, (coordinates - centre).T, upper=False)  # [R, N]
                    volume = factor.diagonal().abs().log().sum()
                    terms.append(math.log(weight) - white.square().sum(dim=0) / 2 - volume)
            shape = torch.stack(terms).logsumexp(dim=0)
            rest = (centred - coordinates @ basis.T) / spread
            shapes.append(shape)
            wholes.append(shape - rest.square().sum(dim=1) / 2 - spread.log().sum())
        return torch.stack(shapes).amax(dim=0), torch.stack(wholes).amax(dim=0)


class ClassMixtures(Mixtures):
    """:class:`Mixtures` where the other directions together keep a variance of their own for every dimension."""

    spread: Tensor

    def __init__(self, size: int, classes: int, rank: int, components: int) -> None:
        super().__init__(size, classes, rank, components)
        groups, _, rank = self.basis.shape
        self.register_buffer("spread", torch.ones(groups, size))  # [K, D]
        # Not eye().repeat(): on the meta device, where weights are loaded from, that imports sympy, for a second.
        self.register_buffer("factor", torch.zeros(groups, components, rank, rank))  # [K, M, R, R], lower
        self.factor.diagonal(dim1=2, dim2=3).fill_(1.0)

    def _keep(self, group: int, factor: Tensor, basis: Tensor, centred: Tensor, coordinates: Tensor) -> None:
        rest = (centred.var(dim=0) - basis.square().sum(dim=1)).clamp(min=0)
        self.factor[group], self.spread[group] = factor, rest.sqrt().float()

    def _factors(self, group: int) -> Float[Tensor, "M R R"]:
        return self.factor[group].cpu().double()

    def _rest(self, labels: Int[Tensor, " N"], noise: Float[Tensor, "N D"]) -> Float[Tensor, "N D"]:
        return noise * self.spread.cpu()[labels].double()

    def _spread(self, group: int) -> Float[Tensor, " D"]:
        return self.spread[group]

    @property
    def connections(self) -> int:
        """Products of numbers that a new image takes."""
        return self.basis[0].numel() + self.factor[0, 0].numel() + self.spread[0].numel()


def check_temperature(temperature: float) -> None:
    """A spread is a number of at least 0.

    Raises:
        ValueError: if it is not.
    """
    with suppress(TypeError, ValueError, OverflowError, RuntimeError):  # of a text, of several numbers, or too large
        if math.isfinite(temperature) and temperature >= 0:
            return
    raise ValueError(f"temperature={temperature!r}: expected a number of at least 0")


def drawn_by_share(shares: Float[Tensor, "N K"], u: Float[Tensor, " N"]) -> Int[Tensor, " N"]:
    """For each row the place in which a number from U(0, 1) falls when its shares are laid side by side."""
    edges = shares.cpu().double().cumsum(dim=1)
    edges = edges / edges[:, -1:]
    return torch.searchsorted(edges[:, :-1].contiguous(), u[:, None].contiguous(), right=True)[:, 0]
