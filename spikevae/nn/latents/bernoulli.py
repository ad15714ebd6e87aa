"""Bernoulli latent spikes that fire from membrane potentials, with a density fitted after training: ours."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from spikevae.config import ModelConfig
from spikevae.nn.latents.base import Draw, Latent, Posterior, straight_through, uniform
from spikevae.nn.latents.discriminant import LatentDiscriminant
from spikevae.nn.latents.mixture import ClassMixtures

_MOST_DRAWS = 8  # of one image, until its latent spikes look like its class


class PotentialPosterior(Posterior):
    """Independent Bernoulli spikes with probabilities sigmoid(potential)."""

    potential: Tensor

    def __init__(self, potential: Float[Tensor, "T N L"]) -> None:
        self.potential = potential

    def draw(self, generator: torch.Generator | None = None, *, random: bool = True) -> Draw:
        rate = self.potential.sigmoid()
        threshold = uniform(tuple(rate.shape), generator, rate.device) if random else 0.5
        return Draw(straight_through((rate > threshold).to(rate.dtype), rate), rate)


class PotentialLatent(Latent):
    """Latent spikes fire with the sigmoid of a membrane potential; new ones come from a density of those potentials.

    The potentials of all T steps are a linear function of the encoder's firing rates. Their density over the training
    images is fitted after training (see :class:`spikevae.nn.latents.mixture.ClassMixtures`).
    """

    has_density = True

    def __init__(self, config: ModelConfig, features: int) -> None:
        super().__init__()
        self.is_conditional = config.classes > 0
        self.shape = (config.time_steps, config.latent_size)
        self.synapses = nn.Linear(features, config.time_steps * config.latent_size)
        self.density = ClassMixtures(
            config.time_steps * config.latent_size, config.classes, config.prior_rank, config.prior_components
        )
        self.discriminant = (
            LatentDiscriminant(config.time_steps * config.latent_size, config.classes) if config.classes > 1 else None
        )

    def posterior(self, feature_seq: Float[Tensor, "T N F"]) -> PotentialPosterior:
        """q(z | x) from the encoder's gated spikes."""
        potential = self.synapses(feature_seq.mean(dim=0)).float()  # [N, T*L]
        return PotentialPosterior(potential.unflatten(1, self.shape).transpose(0, 1))

    def divergence(self, draw: Draw, generator: torch.Generator | None = None) -> Tensor:
        """KL(q || Bernoulli(1/2)), in nats per latent spike: it keeps potentials near the threshold."""
        rate = draw.rate.clamp(1e-6, 1 - 1e-6)
        return (rate * rate.log() + (1 - rate) * (1 - rate).log()).mean() + float(np.log(2))

    def prior_noise(self, rng: np.random.Generator) -> np.ndarray:
        """The random numbers behind one image."""
        return self.density.noise(rng)

    def draw_prior(self, noise: Tensor, labels: Int[Tensor, " N"] | None, temperature: float) -> Tensor:
        """Latent spikes [T, N, L] of new images.

        Args:
            noise: [N, ...] stacked :meth:`prior_noise`.
            labels: class of each image; None draws them as often as they are in the training data.
            temperature: factor on the spread of the potentials around their mean.
        """
        potential = self.draw_potential(noise, labels, temperature)
        return (potential > 0).to(potential.dtype)

    def draw_potential(self, noise: Tensor, labels: Int[Tensor, " N"] | None, temperature: float) -> Tensor:
        """Potentials [T, N, L] of new images, arguments as of :meth:`draw_prior`; a unit fires where it is positive."""
        potential: Tensor = self.density.draw(noise, labels, temperature).unflatten(1, self.shape).transpose(0, 1)
        return potential

    def draw_plausible_potential(
        self, rngs: Sequence[np.random.Generator], labels: Int[Tensor, " N"] | None, temperature: float
    ) -> Tensor:
        """Potentials [T, N, L] of new images whose latent spikes look like their class.

        An image is drawn again from its own random numbers until they do, but not for ever.
        """
        noise = torch.from_numpy(np.stack([self.prior_noise(rng) for rng in rngs]))
        if labels is None:
            labels = self.density.labels_of(noise)
        potential = self.draw_potential(noise, labels, temperature)
        if self.discriminant is None or temperature == 0:
            return potential
        for _ in range(_MOST_DRAWS - 1):
            spikes = (potential > 0).to(potential.dtype).transpose(0, 1).flatten(1)
            again = (~self.discriminant.is_plausible(spikes, labels)).nonzero()[:, 0]
            if len(again) == 0:
                break
            noise = torch.from_numpy(np.stack([self.prior_noise(rngs[index]) for index in again.tolist()]))
            potential[:, again] = self.draw_potential(noise, labels[again], temperature)
        return potential

    @torch.no_grad()
    def fit(self, potentials: Float[Tensor, "M D"], labels: Int[Tensor, " M"]) -> None:
        """Fit what new images are drawn from, to the potentials of M images with their classes (-1: unknown).

        Raises:
            ValueError: if a class has fewer than two images.
        """
        self.density.fit(potentials, labels)
        if self.discriminant is not None:
            self.discriminant.fit((potentials > 0).float(), labels)
