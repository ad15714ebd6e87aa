"""What the spiking variational autoencoders of images and of event recordings share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, SupportsIndex

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from spikevae.config import ModelConfig
from spikevae.labels import Label, class_indices
from spikevae.nn.classifier import RateClassifier
from spikevae.nn.decoder import SpikingDecoder
from spikevae.nn.encoder import SpikingEncoder
from spikevae.nn.images import cpu_by_default, first_number, image_rngs, require_at_least_one
from spikevae.nn.latents import build_latent
from spikevae.nn.latents.base import Latent, Posterior


class Outputs(NamedTuple):
    """What a training step needs of one batch."""

    reconstruction: Tensor  # [N, C, H, W], [0, 1]; of recordings [T, N, 2, H, W], expected events
    logits: Tensor | None  # [N, K]
    divergence: Tensor | None  # scalar, per latent spike
    samples: Tensor | None = None  # [M, C, H, W], [0, 1], decoded from new latent spikes


class SpikingAutoencoder(nn.Module):
    """A spiking encoder, latent spikes, a spiking decoder, and a classifier on the encoder: the parts put together.

    Neurons start at rest in every call, so calls do not influence each other. After ``eval()`` nothing is random but
    what takes a seed or a generator.

    Args:
        config: everything that the network is.
    """

    unit = "image"
    """What messages call an input."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = SpikingEncoder(config)
        self.latent: Latent = build_latent(config, self.encoder.latent_features)
        self.decoder = SpikingDecoder(config)
        self.classifier = RateClassifier(self.encoder.features, config.classes) if config.classes else None
        self.to(memory_format=torch.channels_last)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def encode(self, x: Float[Tensor, ...]) -> Posterior:
        """q(z | x): a distribution with ``sample(generator)``, ``mode()`` and ``rate()``, each [T, N, L], and ``kl()``.

        Raises:
            ValueError: if ``x`` has not this model's sizes.
        """
        return self.latent.posterior(self._encoded(x))

    def features(self, x: Float[Tensor, ...]) -> Float[Tensor, "T N F"]:
        """Gated spikes of the encoder's last stage, which the classifier reads."""
        return self.encoder.upper(self._encoded(x))

    def decode(self, z_seq: Float[Tensor, "T N L"]) -> Tensor:
        """What latent spikes in {0, 1} stand for."""
        raise NotImplementedError

    @torch.no_grad()
    @cpu_by_default()
    def sample_prior(
        self,
        indices: Sequence[int],
        *,
        seed: SupportsIndex,
        labels: Int[Tensor, " N"] | None = None,
        temperature: float = 1.0,
        reject: bool = True,
    ) -> Float[Tensor, "T N L"]:
        """Latent spikes of these numbers of a seed; ``reject``: again those that do not look like their class.

        Raises:
            ValueError: if a number is out of range, there is none, or the model has no such class.
        """
        require_at_least_one("image", indices=len(indices))
        chosen = self._classes_of(labels, len(indices))
        return self.latent.sample_prior(image_rngs(seed, indices), chosen, temperature, reject=reject).to(self.device)

    def sample_batches(
        self,
        count: int,
        *,
        seed: SupportsIndex = 0,
        label: Label | Sequence[Label] | Tensor | None = None,
        temperature: float = 1.0,
        batch_size: int = 64,
        start: int = 0,
    ) -> Iterator[Tensor]:
        """What :meth:`decode` gives of new latent spikes, in batches, so that any number fits the memory.

        Arguments and errors are those of the method ``sample``.
        """
        require_at_least_one(self.unit, count=count, batch_size=batch_size)
        labels = self._classes_of(label, count)
        first = first_number(start)
        indices = range(first, first + count)
        for place in range(0, count, batch_size):
            part = slice(place, place + batch_size)
            chosen = None if labels is None else labels[part]
            with torch.no_grad():
                z_seq = self.sample_prior(indices[part], seed=seed, labels=chosen, temperature=temperature)
                decoded = self.decode(z_seq)
            yield decoded  # outside, since no_grad would hold in the caller's loop

    def _pass(self, x: Tensor, generator: torch.Generator | None, random: bool) -> Outputs:
        """One pass of training, of the whole network."""
        x_seq = self._encoded(x)
        posterior = self.latent.posterior(x_seq)
        spikes = posterior.spikes(generator, random=random)
        return Outputs(
            reconstruction=self.decode(spikes.z_seq),
            logits=None if self.classifier is None else self.classifier(self.encoder.upper(x_seq)),
            divergence=posterior.kl(spikes, generator),
        )

    def _classes_of(self, label: Label | Sequence[Label] | Tensor | None, count: int) -> Int[Tensor, " N"] | None:
        """The class of each of so many images, on the CPU; None if they are of any."""
        if label is None:
            return None
        return torch.tensor(class_indices(label, count, self.config.class_names), device="cpu")

    def _require_classifier(self) -> RateClassifier:
        if self.classifier is None:
            raise ValueError("this model was trained without labels, so it cannot classify")
        return self.classifier

    def _encoded(self, x: Tensor) -> Float[Tensor, "T N *F"]:
        """Gated spikes that latent spikes come from."""
        raise NotImplementedError
