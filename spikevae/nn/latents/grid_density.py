"""The density of latent membrane potentials on a grid of places, small enough to travel with the weights."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from spikevae.nn.latents.gaussians import in_their_gaussians
from spikevae.nn.latents.mixture import Mixtures
from spikevae.ops import Remembered, points_of_gaussians, triangles

_CANDIDATES = 64  # draws of a Gaussian, of which the one with the firmest potentials is its typical image
_LONGEST = 1.3  # times the usual distance of draws from the centre: how far that one may lie from it


class GridMixtures(Mixtures):
    """:class:`Mixtures` over the thousands of potentials of a grid, of which only the leading directions vary.

    What those leave is not drawn. It carries little of an image, and as noise it only disturbs what the decoder paints
    (measured in docs/experiments.md). Triangles are stored without their zeros.

    A class's images are not spread in its Gaussians as white noise is. So exemplars can take the noise's place: the
    white coordinates w of some training images inside their own Gaussians. A new image begins at one of them, and its
    noise is ``sqrt(1 - h^2) w + h e`` with e from N(0, I), which has about the same variance for every bandwidth h.

    Source of the exemplars: Norouzi, Fleet and Norouzi, "Exemplar VAE", arXiv:2004.04795.

    Args:
        size, classes, rank, components: those of :class:`Mixtures`.
        exemplars: of each class; 0 for Gaussians alone.
        bandwidth: h, larger than 0 and at most 1.
    """

    exemplar: Tensor
    owner: Tensor

    def __init__(
        self, size: int, classes: int, rank: int, components: int, exemplars: int = 0, bandwidth: float = 1.0
    ) -> None:
        super().__init__(size, classes, rank, components)
        self._exemplars, self._bandwidth = exemplars, bandwidth
        self._typical = Remembered()  # noise of the Gaussians that were asked for, [R] by class and number
        groups, _, rank = self.basis.shape
        self.register_buffer("factor", _identities(rank, groups, components))  # [K, M, R (R + 1) / 2]
        if exemplars:
            self.register_buffer("exemplar", torch.zeros(groups, exemplars, rank))  # [K, E, R]
            self.register_buffer("owner", torch.zeros(groups, exemplars, dtype=torch.int32))  # [K, E], its Gaussian

    def _at_exemplars(
        self,
        labels: Int[Tensor, " N"],
        u: Float[Tensor, " N"],
        component: Int[Tensor, " N"],
        noise: Float[Tensor, "N E"],
    ) -> tuple[Int[Tensor, " N"], Float[Tensor, "N E"]]:
        if not self._exemplars or self._bandwidth == 1:
            return component, noise
        number = (u * self._exemplars).long()
        owner = self.owner.cpu()[labels, number].long().clamp(0, self.weight.shape[1] - 1)  # a file may hold anything
        begin = self.exemplar.cpu()[labels, number].double()
        return owner, (1 - self._bandwidth**2) ** 0.5 * begin + self._bandwidth * noise

    def _near(
        self,
        labels: Int[Tensor, " N"],
        component: Int[Tensor, " N"],
        noise: Float[Tensor, "N R"],
        temperature: float,
    ) -> Float[Tensor, "N R"]:
        """The lower the temperature below 1, the more of a typical image's noise is in it.

        The centre itself is no image: it averages so many that most of its spikes are undecided, and paints speckles.
        """
        near = temperature * noise
        if temperature < 1 and len(noise):
            chosen, places = torch.stack([labels, component], dim=1).unique(dim=0, return_inverse=True)
            known = self._typical.of(self.mean, self.basis, self.centre, self.factor)
            pairs = [(group, gaussian) for group, gaussian in chosen.tolist()]
            for pair in pairs:
                if pair not in known:
                    known[pair] = self._typical_noise(*pair)
            typical = torch.from_numpy(np.stack([known[pair] for pair in pairs]))
            near = near + (1 - temperature**2) ** 1.5 * typical[places]
        return near

    @torch.no_grad()
    def _typical_noise(self, group: int, component: int) -> np.ndarray:
        """Of some fixed draws of a Gaussian that with potentials farthest from the threshold, or a part of its way."""
        rank = self.basis.shape[2]
        draws = torch.from_numpy(np.random.default_rng((group, component)).standard_normal((_CANDIDATES, rank)))
        noise = torch.cat([draws, draws.new_zeros(1, rank)])  # the last one's point is the centre
        labels, components = torch.tensor([[group], [component]]).expand(2, len(noise))
        points = points_of_gaussians(self.mean, self.basis, self.centre, self.factor, labels, components, noise)
        firmest = int(points[:-1].abs().mean(dim=1).argmax())
        lengths = (points[:-1] - points[-1]).norm(dim=1)
        longest = _LONGEST * lengths.square().mean().sqrt()
        shortened = draws[firmest] * (longest / lengths[firmest].clamp(min=1e-12)).clamp(max=1.0)
        return shortened.numpy()  # type: ignore[no-any-return]

    def _keep(self, group: int, factor: Tensor, basis: Tensor, centred: Tensor, coordinates: Tensor) -> None:
        self.factor[group] = _packed(factor)
        if self._exemplars:
            # Some images in an order that has nothing to do with theirs; all of them several times if they are fewer.
            order = torch.randperm(len(coordinates), generator=torch.Generator().manual_seed(group))
            some = coordinates[order.repeat(-(-self._exemplars // len(order)))[: self._exemplars]]
            self.owner[group], self.exemplar[group] = in_their_gaussians(
                some, self.weight[group].cpu().double(), self.centre[group].cpu().double(), factor.double()
            )

    def _factors(self, group: int) -> Float[Tensor, "M R R"]:
        return triangles(self.factor[group].cpu().double(), self.basis.shape[2])

    @property
    def noise_size(self) -> int:
        """Numbers of :meth:`noise`: 2 + R."""
        return 2 + self.basis.shape[2]

    @property
    def connections(self) -> int:
        """Products of numbers that a new image takes."""
        mixed = self.basis.shape[2] if self._exemplars else 0  # noise times bandwidth
        return self.basis[0].numel() + self.factor[0, 0].numel() + mixed


def _packed(triangles: Float[Tensor, "*k B B"]) -> Float[Tensor, "*k E"]:
    """The lower triangles of matrices, row after row."""
    row, column = torch.tril_indices(triangles.shape[-1], triangles.shape[-1])
    return triangles[..., row, column].float()


def _identities(size: int, *count: int) -> Tensor:
    packed = torch.zeros(*count, size * (size + 1) // 2)
    for row in range(size):  # not by a list of places: on the meta device that imports sympy, for a second
        packed[..., row * (row + 3) // 2] = 1.0
    return packed
