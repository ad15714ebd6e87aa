"""The density of latent membrane potentials on a grid of places, small enough to travel with the weights."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from spikevae.nn.latents.mixture import Mixtures


class GridMixtures(Mixtures):
    """:class:`Mixtures` over the potentials of a grid, where each place has a Gaussian of its own for the rest.

    What the leading directions leave is not independent noise: the T x C_z potentials of one place belong together
    (they are steps of one membrane, and channels of one piece of an image). Triangles are stored without their zeros.

    Args:
        time_steps: T.
        places: P, S x S.
        channels: C_z, latent units of each place; D = T x P x C_z.
        classes, rank, components: those of :class:`Mixtures`.
    """

    rest: Tensor

    def __init__(self, time_steps: int, places: int, channels: int, classes: int, rank: int, components: int) -> None:
        super().__init__(time_steps * places * channels, classes, rank, components)
        self.shape = (time_steps, places, channels)
        groups, _, rank = self.basis.shape
        self.register_buffer("factor", _identities(rank, groups, components))  # [K, M, R (R + 1) / 2]
        self.register_buffer("rest", _identities(time_steps * channels, groups, places))  # [K, P, B (B + 1) / 2]

    def _leading(self, covariance: Float[Tensor, "D D"], rank: int) -> tuple[Float[Tensor, " R"], Float[Tensor, "D R"]]:
        """Of thousands of dimensions only these few are computed."""
        from scipy.linalg import eigh

        size = len(covariance)
        values, vectors = eigh(covariance.numpy(), subset_by_index=(size - rank, size - 1))
        return torch.from_numpy(values), torch.from_numpy(vectors)

    def _keep(self, group: int, factor: Tensor, basis: Tensor, covariance: Tensor, left: Tensor) -> None:
        of_places = self._by_place(left).transpose(0, 1)  # [P, m, B], B = T C_z
        covariances = of_places.transpose(1, 2) @ of_places / (len(left) - 1)
        least = 1e-6 * covariances.diagonal(dim1=1, dim2=2).mean() + 1e-12
        self.factor[group] = _packed(factor)
        self.rest[group] = _packed(torch.linalg.cholesky(covariances + least * torch.eye(covariances.shape[1])))

    def _factors(self, group: int) -> Float[Tensor, "M R R"]:
        return _triangles(self.factor[group].cpu().double(), self.basis.shape[2])

    def _rest(self, group: int, noise: Float[Tensor, "n D"]) -> Float[Tensor, "n D"]:
        of_places = self._by_place(noise).transpose(0, 1)  # [P, n, B]
        rest = _triangles(self.rest[group].cpu().double(), of_places.shape[2])  # [P, B, B]
        return self._in_rows((of_places @ rest.transpose(1, 2)).transpose(0, 1))

    @property
    def connections(self) -> int:
        """Products of numbers that a new image takes."""
        return self.basis[0].numel() + self.factor[0, 0].numel() + self.rest[0].numel()

    def _by_place(self, rows: Float[Tensor, "N D"]) -> Float[Tensor, "N P B"]:
        return rows.reshape(-1, *self.shape).transpose(1, 2).flatten(2)

    def _in_rows(self, by_place: Float[Tensor, "N P B"]) -> Float[Tensor, "N D"]:
        time_steps, places, channels = self.shape
        return by_place.reshape(-1, places, time_steps, channels).transpose(1, 2).flatten(1)


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
