"""What a latent is: how an image is written as T x L binary events, and how new ones are drawn."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from spikevae.config import ModelConfig
from spikevae.nn.neurons import spiking_layer, threshold_scaled
from spikevae.nn.precision import at_least_float32


class LatentSpikes(NamedTuple):
    """Latent spikes, and the probabilities that they fired with."""

    z_seq: Tensor  # [T, N, L], {0, 1}
    rate: Tensor  # [T, N, L], [0, 1]


class Posterior(ABC):
    """q(z | x) of a batch of images."""

    potential: Tensor | None = None  # [T, N, L], of latents that fire from one

    @abstractmethod
    def spikes(self, generator: torch.Generator | None = None, *, random: bool = True) -> LatentSpikes:
        """Latent spikes with their rates; without randomness those of :meth:`mode`. Gradients go straight through."""

    @abstractmethod
    def kl(self, spikes: LatentSpikes | None = None, generator: torch.Generator | None = None) -> Tensor:
        """Divergence from the prior, a scalar per latent spike.

        Args:
            spikes: of this posterior, where the divergence depends on them; None takes those of :meth:`mode`.
            generator: of the prior, where that is random.
        """

    def sample(self, generator: torch.Generator | None = None) -> Float[Tensor, "T N L"]:
        """Latent spikes in {0, 1}."""
        return self.spikes(generator).z_seq

    def mode(self) -> Float[Tensor, "T N L"]:
        """Latent spikes without randomness: the most probable ones, or a typical sample of an autoregressive latent."""
        return self.spikes(random=False).z_seq

    def rate(self) -> Float[Tensor, "T N L"]:
        """Firing probabilities of :meth:`mode`."""
        return self.spikes(random=False).rate


class Latent(nn.Module):
    """Base class of latents. ``config.latent`` names one of ``LATENTS``; each has a file of its own.

    A latent is built from the config and the number of features that the encoder gives at each time step.
    """

    has_density: bool = False
    """Whether new images come from a density that :meth:`fit` fits, so that their spread can be chosen."""
    is_conditional: bool = False
    """Whether images of one class can be asked for."""

    def posterior(self, feature_seq: Float[Tensor, "T N F"]) -> Posterior:
        """q(z | x) from the encoder's gated spikes."""
        raise NotImplementedError

    def sample_prior(
        self,
        rngs: Sequence[np.random.Generator],
        labels: Int[Tensor, " N"] | None = None,
        temperature: float = 1.0,
        *,
        reject: bool = True,
    ) -> Float[Tensor, "T N L"]:
        """Latent spikes of new images.

        Args:
            rngs: random numbers of each image, so that it depends on no other one.
            labels: class of each image; None takes classes as often as they are in the training data.
            temperature: factor on the spread of the density; 1 is what was fitted.
            reject: whether to sample again what does not look like its class, if this latent can tell.

        Raises:
            ValueError: if a class or a temperature is asked for, which this latent does not have.
        """
        raise NotImplementedError

    def sample_potential(
        self,
        rngs: Sequence[np.random.Generator],
        labels: Int[Tensor, " N"] | None = None,
        temperature: float = 1.0,
        *,
        reject: bool = True,
    ) -> Float[Tensor, "T N L"]:
        """Potentials that the spikes of :meth:`sample_prior` fire from; of latents with a density."""
        raise NotImplementedError

    def noise(self, rngs: Sequence[np.random.Generator]) -> Float[Tensor, "N E"]:
        """The random numbers behind new images; of latents with a density.

        The first two are from U(0, 1) and choose class and Gaussian, or exemplar; the others are from N(0, 1).
        """
        raise NotImplementedError

    def potential_of(
        self, noise: Float[Tensor, "N E"], labels: Int[Tensor, " N"] | None = None
    ) -> Float[Tensor, "T N L"]:
        """Potentials of images of the density, a differentiable function of :meth:`noise` that is white everywhere.

        So exemplars have no part in it: whoever looks for an image by its noise may go anywhere.
        """
        raise NotImplementedError

    def typical(self, group: int) -> Float[Tensor, "T L"]:
        """Potentials of a typical image of a class: what temperature 0 draws of the density's heaviest Gaussian."""
        raise NotImplementedError

    def directions(self, group: int) -> Float[Tensor, "R T L"]:
        """Principal directions of the potentials inside a class, times their standard deviations, strongest first."""
        raise NotImplementedError

    def fit(self, potentials: Float[Tensor, "M D"], labels: Int[Tensor, " M"]) -> None:
        """Fit the density to the potentials of M images (ex-post density estimation, Ghosh et al., ICLR 2020).

        Args:
            potentials: one row for each image, D = T x L.
            labels: classes; -1 for an image without one.

        Raises:
            ValueError: if a class has fewer than two images.
        """
        raise NotImplementedError


class NeuronLatent(Latent):
    """Base class of latents with L neurons of their own: encoder spikes → linear → norm → spiking neurons."""

    def __init__(self, config: ModelConfig, features: int) -> None:
        super().__init__()
        self.shape = (config.time_steps, config.latent_size)
        self.synapses = nn.Linear(features, config.latent_size, bias=False)
        self.norm = threshold_scaled(nn.BatchNorm1d(config.latent_size), config)
        self.neurons = spiking_layer(config)

    def fire(self, feature_seq: Float[Tensor, "T N F"]) -> Float[Tensor, "T N L"]:
        """Spikes of the latent neurons."""
        current: Tensor = self.norm(self.synapses(feature_seq.flatten(0, 1)))  # [T*N, L]
        spike_seq: Tensor = self.neurons(at_least_float32(current).unflatten(0, (feature_seq.shape[0], -1)))
        return spike_seq


def straight_through(spikes: Tensor, rate: Tensor) -> Tensor:
    """The spikes, exactly, with the gradient of the rate."""
    return spikes + (rate - rate.detach()) if rate.requires_grad else spikes


def uniform(shape: tuple[int, ...], generator: torch.Generator | None, device: torch.device) -> Tensor:
    """Numbers from U(0, 1), drawn where the generator lives.

    Raises:
        ValueError: if the generator is something else, such as a seed.
    """
    return torch.rand(shape, generator=generator, dtype=_wide(), device=_source(generator, device)).to(device)


def normal(shape: tuple[int, ...], generator: torch.Generator | None, device: torch.device) -> Tensor:
    """Numbers from N(0, 1), drawn where the generator lives.

    Raises:
        ValueError: if the generator is something else, such as a seed.
    """
    return torch.randn(shape, generator=generator, dtype=_wide(), device=_source(generator, device)).to(device)


def _wide() -> torch.dtype:
    """Of random numbers: a program's default type, but not one of 16 bits, which holds few different numbers."""
    return torch.promote_types(torch.get_default_dtype(), torch.float32)


def _source(generator: torch.Generator | None, device: torch.device) -> torch.device:
    """Where random numbers are drawn."""
    if generator is None:
        return device
    if not isinstance(generator, torch.Generator):
        raise ValueError(f"generator={generator!r}: expected a torch.Generator; a seed goes to its manual_seed")
    return generator.device
