"""What a latent is: latent spikes of images, and how new ones are drawn."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


class Draw(NamedTuple):
    """Latent spikes and the firing probabilities they were drawn with."""

    z_seq: Tensor  # [T, N, L], {0, 1}
    rate: Tensor  # [T, N, L], [0, 1]


def straight_through(spikes: Tensor, rate: Tensor) -> Tensor:
    """The spikes, exactly, with the gradient of the rate."""
    return spikes + (rate - rate.detach()) if rate.requires_grad else spikes


class Posterior(ABC):
    """q(z | x) of a batch of images."""

    potential: Tensor | None  # [T, N, L], of the latents that have one

    @abstractmethod
    def draw(self, generator: torch.Generator | None = None, *, random: bool = True) -> Draw:
        """Latent spikes with their rates; not ``random``: those of :attr:`mode`."""

    def sample(self, generator: torch.Generator | None = None) -> Float[Tensor, "T N L"]:
        """Latent spikes in {0, 1}, with a straight-through gradient."""
        return self.draw(generator).z_seq

    @property
    def mode(self) -> Float[Tensor, "T N L"]:
        """Latent spikes without randomness: the most probable ones, or of autoregressive latents a typical draw."""
        return self.draw(random=False).z_seq

    @property
    def rate(self) -> Float[Tensor, "T N L"]:
        """Firing probabilities that ``mode`` was taken from."""
        return self.draw(random=False).rate


def uniform(shape: tuple[int, ...], generator: torch.Generator | None, device: torch.device) -> Tensor:
    """Numbers from U(0, 1), drawn where the generator lives."""
    return torch.rand(shape, generator=generator, device=generator.device if generator else device).to(device)


class Latent(nn.Module):
    """How an image is written as T x L binary events, and how new ones are drawn. A file of this folder for each kind.

    ``config.latent`` names one; ``features`` are the encoder's values a time step.
    """

    has_density: bool
    """Whether new images come from a density that :meth:`fit` fits, so that their spread can be chosen."""
    is_conditional: bool
    """Whether images of one class can be asked for."""

    def posterior(self, feature_seq: Float[Tensor, "T N F"]) -> Posterior:
        """q(z | x) from the encoder's gated spikes."""
        raise NotImplementedError

    def divergence(self, draw: Draw, generator: torch.Generator | None = None) -> Tensor:
        """The objective's term for latent spikes drawn from a posterior, a scalar per latent spike."""
        raise NotImplementedError

    def prior_noise(self, rng: np.random.Generator) -> np.ndarray:
        """The random numbers behind one image."""
        raise NotImplementedError

    def draw_prior(self, noise: Tensor, labels: Int[Tensor, " N"] | None, temperature: float) -> Tensor:
        """Latent spikes [T, N, L] of new images.

        Args:
            noise: [N, ...] stacked :meth:`prior_noise`.
            labels: class of each image; None draws them as often as they are in the training data.
            temperature: factor on the spread of the density; 1 is what was fitted.

        Raises:
            ValueError: if a class or a temperature is asked for, which this latent does not have.
        """
        raise NotImplementedError

    def draw_plausible_potential(
        self, rngs: Sequence[np.random.Generator], labels: Int[Tensor, " N"] | None, temperature: float
    ) -> Tensor:
        """Potentials [T, N, L] of new images that look like their class; for latents with a density."""
        raise NotImplementedError

    def fit(self, potentials: Float[Tensor, "M D"], labels: Int[Tensor, " M"]) -> None:
        """Fit what new images are drawn from, to the potentials of M images with their classes (-1: unknown).

        Raises:
            ValueError: if a class has fewer than two images.
        """
        raise NotImplementedError
