"""The spiking variational autoencoder of event recordings: the parts put together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import SupportsIndex

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from spikevae.config import ModelConfig
from spikevae.data.events.recording import Recording
from spikevae.labels import Label, class_indices
from spikevae.nn.classifier import RateClassifier
from spikevae.nn.decoder import SpikingDecoder
from spikevae.nn.encoder import SpikingEncoder
from spikevae.nn.frames import require_frames, sample_recording
from spikevae.nn.images import crop, image_rngs, pad, require_at_least_one
from spikevae.nn.latents import build_latent
from spikevae.nn.latents.base import Latent, Posterior
from spikevae.nn.vae import Outputs


class SpikingEventVAE(nn.Module):
    """A :class:`spikevae.nn.vae.SpikingVAE` whose input and output change over time.

    The encoder sees counts of events, [T, N, 2, H, W], a frame a time step. The decoder gives the events that are
    expected in each: the intensity of a Poisson process. A recording is a draw from it.

    Args:
        config: everything that the network is.
    """

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

    def forward(
        self, x_seq: Float[Tensor, "T N 2 H W"], generator: torch.Generator | None = None, *, random: bool = True
    ) -> Outputs:
        """One pass of training; the arguments are those of :meth:`spikevae.nn.vae.SpikingVAE.forward`."""
        spike_seq = self._encoded(x_seq)
        posterior = self.latent.posterior(spike_seq)
        spikes = posterior.spikes(generator, random=random)
        return Outputs(
            reconstruction=self.decode(spikes.z_seq),
            logits=None if self.classifier is None else self.classifier(self.encoder.upper(spike_seq)),
            divergence=posterior.kl(spikes, generator),
            samples=None,
        )

    def encode(self, x_seq: Float[Tensor, "T N 2 H W"]) -> Posterior:
        """q(z | x), as :meth:`spikevae.nn.vae.SpikingVAE.encode` gives it.

        Raises:
            ValueError: if ``x_seq`` is not [T, N, 2, H, W] with this model's sizes.
        """
        return self.latent.posterior(self._encoded(x_seq))

    def decode(self, z_seq: Float[Tensor, "T N L"]) -> Float[Tensor, "T N 2 H W"]:
        """The events that latent spikes in {0, 1} let expect in each time step, OFF and ON.

        Raises:
            ValueError: if ``z_seq`` is not [T, N, L] with this model's T and L.
        """
        intensity = self.decoder(z_seq.to(next(self.parameters()).dtype))
        return crop(intensity, self.config.image_size)

    @torch.no_grad()
    def reconstruct(self, x_seq: Float[Tensor, "T N 2 H W"], *, batch_size: int = 64) -> Float[Tensor, "T N 2 H W"]:
        """Expected events, decoded from the latent spikes of ``x_seq`` without randomness."""
        require_at_least_one("recording", batch_size=batch_size)
        parts = x_seq.split(batch_size, dim=1)
        return torch.cat([self.decode(self.encode(part).mode()) for part in parts], dim=1)

    @torch.no_grad()
    def classify(self, x_seq: Float[Tensor, "T N 2 H W"], *, batch_size: int = 64) -> Float[Tensor, "N K"]:
        """Class probabilities; columns are ``config.class_names``.

        Raises:
            ValueError: if the model has no classifier, or ``x_seq`` has not this model's sizes.
        """
        return self.probabilities(x_seq, batch_size=batch_size)[-1]

    @torch.no_grad()
    def probabilities(self, x_seq: Float[Tensor, "T N 2 H W"], *, batch_size: int = 64) -> Float[Tensor, "T N K"]:
        """Class probabilities after 1, 2, … T steps, as they form over time; the last ones are :meth:`classify`'s.

        A model with attention weighs its steps in sight of all of them.
        """
        if self.classifier is None:
            raise ValueError("this model was trained without labels, so it cannot classify")
        require_at_least_one("recording", batch_size=batch_size)
        parts = x_seq.split(batch_size, dim=1)
        feature_seq = torch.cat([self.encoder.upper(self._encoded(part)) for part in parts], dim=1)
        logit_seq = torch.stack([self.classifier(feature_seq[: t + 1]) for t in range(len(feature_seq))])
        return logit_seq.float().softmax(dim=2)

    def sample(
        self,
        count: int = 1,
        *,
        seed: SupportsIndex = 0,
        label: Label | Sequence[Label] | Tensor | None = None,
        temperature: float = 1.0,
        batch_size: int = 64,
        start: int = 0,
    ) -> Float[Tensor, "T N 2 H W"]:
        """Expected events of new recordings. The arguments are those of :meth:`sample_events`."""
        batches = self.sample_batches(
            count, seed=seed, label=label, temperature=temperature, batch_size=batch_size, start=start
        )
        return torch.cat(list(batches), dim=1)

    def sample_events(
        self,
        count: int = 1,
        *,
        seed: SupportsIndex = 0,
        label: Label | Sequence[Label] | Tensor | None = None,
        temperature: float = 1.0,
        batch_size: int = 64,
        start: int = 0,
    ) -> list[Recording]:
        """New recordings; recording i of a seed does not depend on ``count``.

        Args:
            count: N, at least 1.
            seed: 0 to 2^63 - 1.
            label: class of all recordings, by name or number, or one for each; None draws classes as often as they are
                in the training data.
            temperature: spread of the latent density; 1 is what was fitted, 0 gives the typical recording of a class.
                Events are drawn at random in either case.
            batch_size: recordings computed together.
            start: number of the first one.

        Raises:
            ValueError: if a number is out of range or the model has no such class.
        """
        batches = self.sample_batches(
            count, seed=seed, label=label, temperature=temperature, batch_size=batch_size, start=start
        )
        intensities = (one for batch in batches for one in batch.cpu().unbind(dim=1))
        return self.recordings(intensities, seed=seed, start=start)

    def recordings(
        self, intensities: Iterable[Float[Tensor, "T 2 H W"]], *, seed: SupportsIndex = 0, start: int = 0
    ) -> list[Recording]:
        """A recording drawn from each of these expected events; ``start`` is the number of the first one."""
        made = []
        for number, intensity in enumerate(intensities, start):
            latent_rng = image_rngs(seed, [number])[0]
            rng = np.random.Generator(latent_rng.bit_generator.jumped())  # type: ignore[attr-defined]
            made.append(sample_recording(intensity.numpy(), self.config.duration, rng))
        return made

    def sample_batches(
        self,
        count: int,
        *,
        seed: SupportsIndex = 0,
        label: Label | Sequence[Label] | Tensor | None = None,
        temperature: float = 1.0,
        batch_size: int = 64,
        start: int = 0,
    ) -> Iterator[Float[Tensor, "T N 2 H W"]]:
        """What :meth:`sample` gives, in batches, from recording ``start`` on."""
        require_at_least_one("recording", count=count, batch_size=batch_size)
        labels = None if label is None else torch.tensor(class_indices(label, count, self.config.class_names))
        indices = range(start, start + count)
        for first in range(0, count, batch_size):
            part = slice(first, first + batch_size)
            chosen = None if labels is None else labels[part]
            with torch.no_grad():
                yield self.decode(self.sample_prior(indices[part], seed=seed, labels=chosen, temperature=temperature))

    @torch.no_grad()
    def sample_prior(
        self,
        indices: Sequence[int],
        *,
        seed: SupportsIndex,
        labels: Int[Tensor, " N"] | None = None,
        temperature: float = 1.0,
    ) -> Float[Tensor, "T N L"]:
        """Latent spikes of the recordings of these numbers of a seed."""
        return self.latent.sample_prior(image_rngs(seed, indices), labels, temperature).to(self.device)

    def _encoded(self, x_seq: Float[Tensor, "T N 2 H W"]) -> Float[Tensor, "T N *F"]:
        require_frames(x_seq, self.config)
        padded = pad(x_seq.to(next(self.parameters()).dtype), self.config.padded_size, border=0.0)
        spike_seq: Tensor = self.encoder(padded)
        return spike_seq
