"""Bernoulli latent spikes that fire from membrane potentials, with a density fitted after training: ours."""

from __future__ import annotations

from collections.abc import Sequence
from math import log

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from spikevae.config import ModelConfig
from spikevae.nn.latents.base import Latent, LatentSpikes, Posterior, straight_through, uniform
from spikevae.nn.latents.discriminant import LatentDiscriminant
from spikevae.nn.latents.mixture import ClassMixtures, Mixtures
from spikevae.nn.precision import at_least_float32

_MOST_TRIES = 8  # of rejection sampling, for one image


class PotentialPosterior(Posterior):
    """Independent Bernoulli spikes with probabilities sigmoid(potential)."""

    potential: Tensor

    def __init__(self, potential: Float[Tensor, "T N L"]) -> None:
        self.potential = potential

    def spikes(self, generator: torch.Generator | None = None, *, random: bool = True) -> LatentSpikes:
        rate = self.potential.sigmoid()
        threshold = uniform(tuple(rate.shape), generator, rate.device) if random else 0.5
        return LatentSpikes(straight_through((rate > threshold).to(rate.dtype), rate), rate)

    def kl(self, spikes: LatentSpikes | None = None, generator: torch.Generator | None = None) -> Tensor:
        """KL(q || Bernoulli(1/2)), in nats per latent spike: it keeps potentials near the threshold."""
        rate = self.potential.sigmoid().clamp(1e-6, 1 - 1e-6)
        return (rate * rate.log() + (1 - rate) * (1 - rate).log()).mean() + log(2)


class PotentialLatent(Latent):
    """Latent spikes fire with the sigmoid of a membrane potential; new ones come from a density of those potentials.

    The potentials of all T steps are a linear function of the encoder's firing rates. Their density over the training
    images is fitted after training (see :class:`spikevae.nn.latents.mixture.ClassMixtures`).
    """

    has_density = True
    synapses: nn.Module
    density: Mixtures

    def __init__(self, config: ModelConfig, features: int) -> None:
        super().__init__()
        self.is_conditional = config.classes > 0
        self.shape = (config.time_steps, config.latent_size)
        size = config.time_steps * config.latent_size
        self.synapses, self.density = self._parts(config, features)
        self.discriminant = LatentDiscriminant(size, config.classes) if config.classes > 1 else None

    def _parts(self, config: ModelConfig, features: int) -> tuple[nn.Module, Mixtures]:
        """What the potentials are made by, and drawn from."""
        size = config.time_steps * config.latent_size
        return (
            nn.Linear(features, size),
            ClassMixtures(size, config.classes, config.prior_rank, config.prior_components),
        )

    def posterior(self, feature_seq: Float[Tensor, "T N F"]) -> PotentialPosterior:
        """q(z | x) from the encoder's gated spikes."""
        potential = at_least_float32(self.synapses(feature_seq.mean(dim=0)))  # [N, T*L]
        return PotentialPosterior(potential.unflatten(1, self.shape).transpose(0, 1))

    def sample_prior(
        self,
        rngs: Sequence[np.random.Generator],
        labels: Int[Tensor, " N"] | None = None,
        temperature: float = 1.0,
        *,
        reject: bool = True,
    ) -> Float[Tensor, "T N L"]:
        potential = self.sample_potential(rngs, labels, temperature, reject=reject)
        return (potential > 0).to(potential.dtype)

    def sample_potential(
        self,
        rngs: Sequence[np.random.Generator],
        labels: Int[Tensor, " N"] | None = None,
        temperature: float = 1.0,
        *,
        reject: bool = True,
    ) -> Float[Tensor, "T N L"]:
        """Potentials by rejection sampling: an image is sampled again until its spikes look like its class."""
        noise = self.noise(rngs)
        if labels is None:
            labels = self.density.labels_of(noise)
        flat = self.density.sample(noise, labels, temperature)  # [N, T*L]
        if reject and self.discriminant is not None and temperature != 0:
            for _ in range(_MOST_TRIES - 1):
                rejected = (~self.discriminant.accepts((flat > 0).to(flat.dtype), labels)).nonzero()[:, 0]
                if len(rejected) == 0:
                    break
                noise = self.noise([rngs[index] for index in rejected.tolist()])
                flat[rejected] = self.density.sample(noise, labels[rejected], temperature)
        return self._in_steps(flat).transpose(0, 1)

    def noise(self, rngs: Sequence[np.random.Generator]) -> Float[Tensor, "N E"]:
        return torch.from_numpy(np.stack([self.density.noise(rng) for rng in rngs]))

    def potential_of(
        self, noise: Float[Tensor, "N E"], labels: Int[Tensor, " N"] | None = None
    ) -> Float[Tensor, "T N L"]:
        return self._in_steps(self.density.sample(noise, labels, 1.0, at_exemplars=False)).transpose(0, 1)

    def typical(self, group: int) -> Float[Tensor, "T L"]:
        return self._in_steps(self.density.typical(torch.tensor([group])))[0]

    def directions(self, group: int) -> Float[Tensor, "R T L"]:
        return self._in_steps(self.density.basis[group].T.flip(0))

    def _in_steps(self, rows: Float[Tensor, "N D"]) -> Float[Tensor, "N T L"]:
        return rows.reshape(-1, *self.shape)

    @torch.no_grad()
    def fit(self, potentials: Float[Tensor, "M D"], labels: Int[Tensor, " M"]) -> None:
        self.density.fit(potentials, labels)
        if self.discriminant is not None:
            self.discriminant.fit((potentials > 0).float(), labels)
