"""The density of latent membrane potentials on a grid of places, small enough to travel with the weights."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from spikevae.nn.latents.mixture import check_temperature, choose, fit_gaussians


class GridMixtures(nn.Module):
    """One mixture of Gaussians per class over the potentials of a grid: what places share, and what each has alone.

    As in :class:`spikevae.nn.latents.mixture.ClassMixtures`, a class's mean and leading directions span a small space
    with M full Gaussians. What those directions leave is not independent noise: the T x C_z potentials of one place
    belong together (they are steps of one membrane, and channels of one piece of an image), so each place has a
    Gaussian of its own for it. A potential is ``mean + basis @ (centre[m] + factor[m] @ e) + rest[place] @ f[place]``
    with e and f from N(0, I) and m drawn by ``weight``. Triangles are stored without their zeros.

    Args:
        time_steps: T.
        places: P, S x S.
        channels: C_z, latent units of each place.
        classes: K; 0 where the data has no labels, and then one mixture holds all images.
        rank: R, leading directions, at most T x P x C_z.
        components: M, Gaussians of each class.
    """

    share: Tensor
    mean: Tensor
    basis: Tensor
    weight: Tensor
    centre: Tensor
    factor: Tensor
    rest: Tensor

    def __init__(self, time_steps: int, places: int, channels: int, classes: int, rank: int, components: int) -> None:
        super().__init__()
        groups, size, block = max(classes, 1), time_steps * places * channels, time_steps * channels
        rank = min(rank, size)
        self.shape = (time_steps, places, channels)
        self.register_buffer("share", torch.full((groups,), 1.0 / groups))  # [K], how often each class occurs
        self.register_buffer("mean", torch.zeros(groups, size))  # [K, D]
        self.register_buffer("basis", torch.zeros(groups, size, rank))  # [K, D, R]
        self.register_buffer("weight", torch.full((groups, components), 1.0 / components))  # [K, M]
        self.register_buffer("centre", torch.zeros(groups, components, rank))  # [K, M, R]
        self.register_buffer("factor", _identities(rank, groups, components))  # [K, M, R (R + 1) / 2]
        self.register_buffer("rest", _identities(block, groups, places))  # [K, P, B (B + 1) / 2], B = T C_z

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
            values, vectors = _leading(centred.T @ centred / (len(members) - 1), rank)
            scale = values.clamp(min=0).sqrt()
            basis = vectors * scale
            coordinates = centred @ vectors / scale.clamp(min=1e-6 * float(scale[-1]) + 1e-12)
            self.share[group] = len(members) / sum(map(len, parts))
            self.mean[group], self.basis[group] = mean.float(), basis.float()
            self.weight[group], self.centre[group], factor = fit_gaussians(coordinates, self.weight.shape[1])
            self.factor[group] = _packed(factor)
            left = self._by_place(centred - coordinates @ basis.T).transpose(0, 1)  # [P, m, B]
            covariance = left.transpose(1, 2) @ left / (len(members) - 1)
            least = 1e-6 * covariance.diagonal(dim1=1, dim2=2).mean() + 1e-12
            self.rest[group] = _packed(torch.linalg.cholesky(covariance + least * torch.eye(covariance.shape[1])))

    @property
    def noise_size(self) -> int:
        """Numbers of :meth:`noise`: 2 + R + D."""
        return 2 + self.basis.shape[2] + self.basis.shape[1]

    @property
    def connections(self) -> int:
        """Products of numbers that a new image takes."""
        return self.basis[0].numel() + self.factor[0, 0].numel() + self.rest[0].numel()

    def noise(self, rng: np.random.Generator) -> np.ndarray:
        """The random numbers behind one image: two from U(0, 1) for class and component, R + D from N(0, 1)."""
        return np.concatenate(
            [rng.random(2, dtype=np.float32), rng.standard_normal(self.noise_size - 2, dtype=np.float32)]
        )

    def labels_of(self, noise: Float[Tensor, "N E"]) -> Int[Tensor, " N"]:
        """Classes of images that were asked for without one, as often as they are in the training data."""
        return choose(self.share[None].expand(len(noise), -1), noise[:, 0].detach().cpu().double())

    def sample(self, noise: Float[Tensor, "N E"], labels: Int[Tensor, " N"] | None, temperature: float) -> Tensor:
        """Potentials [N, D].

        Args:
            noise: [N, 2 + R + D] stacked :meth:`noise`.
            labels: class of each image; None draws it with the training data's shares.
            temperature: factor on the distance from the centre of the image's Gaussian, at least 0.

        Raises:
            ValueError: if the temperature is negative or no number.
        """
        check_temperature(temperature)
        # In float64 on the CPU: an image must not depend on the batch that it is drawn in, nor on the device.
        draws = noise.cpu().double()
        rank = self.basis.shape[2]
        labels = (self.labels_of(draws) if labels is None else labels).cpu()
        component = choose(self.weight.cpu()[labels], draws[:, 1].detach())
        near, far = draws[:, 2 : 2 + rank], self._by_place(draws[:, 2 + rank :])
        potential = torch.empty(len(draws), self.mean.shape[1], dtype=torch.float64)
        for group in labels.unique().tolist():
            rows = labels == group
            chosen = component[rows]
            factor = _triangles(self.factor[group].cpu().double(), rank)[chosen]  # [n, R, R]
            coordinates = (
                self.centre[group].cpu().double()[chosen] + temperature * (factor @ near[rows, :, None])[..., 0]
            )
            rest = _triangles(self.rest[group].cpu().double(), far.shape[2])  # [P, B, B]
            alone = self._in_rows((far[rows].transpose(0, 1) @ rest.transpose(1, 2)).transpose(0, 1))
            potential[rows] = (
                self.mean[group].cpu().double() + coordinates @ self.basis[group].cpu().double().T + temperature * alone
            )
        return potential.float().to(self.mean.device)

    def _by_place(self, rows: Float[Tensor, "N D"]) -> Float[Tensor, "N P B"]:
        return rows.reshape(-1, *self.shape).transpose(1, 2).flatten(2)

    def _in_rows(self, by_place: Float[Tensor, "N P B"]) -> Float[Tensor, "N D"]:
        time_steps, places, channels = self.shape
        return by_place.reshape(-1, places, time_steps, channels).transpose(1, 2).flatten(1)


def _leading(covariance: Float[Tensor, "D D"], count: int) -> tuple[Float[Tensor, " R"], Float[Tensor, "D R"]]:
    """The largest eigenvalues, ascending, and their vectors: of thousands of dimensions, a few."""
    from scipy.linalg import eigh
    from threadpoolctl import threadpool_limits

    size = len(covariance)
    with threadpool_limits(1):  # sums of several threads come in any order, and so would the last digits
        values, vectors = eigh(covariance.numpy(), subset_by_index=(size - count, size - 1))
    return torch.from_numpy(values), torch.from_numpy(vectors)


def _packed(triangles: Float[Tensor, "*k B B"]) -> Float[Tensor, "*k E"]:
    """The lower triangles of matrices, row after row."""
    row, column = torch.tril_indices(triangles.shape[-1], triangles.shape[-1])
    return triangles[..., row, column].float()


def _triangles(packed: Float[Tensor, "k E"], size: int) -> Float[Tensor, "k B B"]:
    row, column = torch.tril_indices(size, size)
    matrices = packed.new_zeros(len(packed), size, size)
    matrices[:, row, column] = packed
    return matrices


def _identities(size: int, *count: int) -> Tensor:
    packed = torch.zeros(*count, size * (size + 1) // 2)
    packed[..., torch.arange(1, size + 1).cumsum(0) - 1] = 1.0
    return packed
