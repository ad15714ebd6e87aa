"""The spiking variational autoencoder of event recordings: the parts put together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import SupportsIndex

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from spikevae.data.events.recording import Recording
from spikevae.labels import Label
from spikevae.nn.autoencoder import Outputs, SpikingAutoencoder
from spikevae.nn.frames import intensity_of, require_frames, sample_recording
from spikevae.nn.images import crop, first_number, image_rngs, in_batches, pad, require_spikes


class SpikingEventVAE(SpikingAutoencoder):
    """A spiking autoencoder whose input and output change over time.

    The encoder sees counts of events, [T, N, 2, H, W], a frame a time step. The decoder gives the events that are
    expected in each: the intensity of a Poisson process. A recording is a draw from it.
    """

    unit = "recording"

    def forward(
        self, x_seq: Float[Tensor, "T N 2 H W"], generator: torch.Generator | None = None, *, random: bool = True
    ) -> Outputs:
        """One pass of training; the arguments are those of :meth:`spikevae.nn.vae.SpikingVAE.forward`."""
        return self._pass(x_seq, generator, random)

    def decode(self, z_seq: Float[Tensor, "T N L"]) -> Float[Tensor, "T N 2 H W"]:
        """The events that latent spikes in {0, 1} let expect in each time step, OFF and ON.

        Raises:
            ValueError: if ``z_seq`` is not [T, N, L] with this model's T and L.
        """
        require_spikes(z_seq, is_training=self.training)
        intensity = self.decoder(z_seq.to(next(self.parameters()).dtype))
        return crop(intensity, self.config.image_size)

    @torch.no_grad()
    def reconstruct(self, x_seq: Float[Tensor, "T N 2 H W"], *, batch_size: int = 64) -> Float[Tensor, "T N 2 H W"]:
        """Expected events, decoded from the latent spikes of ``x_seq`` without randomness."""
        parts = in_batches(x_seq, batch_size, "recording", dim=1)
        return torch.cat([self.decode(self.encode(part).mode()) for part in parts], dim=1)

    @torch.no_grad()
    def classify(self, x_seq: Float[Tensor, "T N 2 H W"], *, batch_size: int = 64) -> Float[Tensor, "N K"]:
        """Class probabilities; columns are ``config.class_names``.

        Raises:
            ValueError: if the model has no classifier, or ``x_seq`` has not this model's sizes.
        """
        classifier = self._require_classifier()
        logits: Tensor = classifier(self._features_in_batches(x_seq, batch_size))
        return logits.float().softmax(dim=1)

    @torch.no_grad()
    def probabilities(self, x_seq: Float[Tensor, "T N 2 H W"], *, batch_size: int = 64) -> Float[Tensor, "T N K"]:
        """Class probabilities after 1, 2, … T steps, as they form over time; the last ones are :meth:`classify`'s.

        A model with attention weighs its steps in sight of all of them.
        """
        classifier = self._require_classifier()
        feature_seq = self._features_in_batches(x_seq, batch_size)
        logit_seq = torch.stack([classifier(feature_seq[: t + 1]) for t in range(len(feature_seq))])
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
        """A recording drawn from each of these expected events; ``start`` is the number of the first one.

        Raises:
            ValueError: if one is no tensor of this model's sizes, finite and at least 0, or a number is out of range.
        """
        made = []
        for number, intensity in enumerate(intensities, first_number(start)):
            latent_rng = image_rngs(seed, [number])[0]
            rng = np.random.Generator(latent_rng.bit_generator.jumped())  # type: ignore[attr-defined]
            made.append(sample_recording(intensity_of(intensity, self.config), self.config.duration, rng))
        return made

    def _features_in_batches(self, x_seq: Float[Tensor, "T N 2 H W"], batch_size: int) -> Float[Tensor, "T N F"]:
        parts = in_batches(x_seq, batch_size, "recording", dim=1)
        return torch.cat([self.features(part) for part in parts], dim=1)

    def _encoded(self, x_seq: Float[Tensor, "T N 2 H W"]) -> Float[Tensor, "T N *F"]:
        require_frames(x_seq, self.config, is_training=self.training)
        padded = pad(x_seq.to(next(self.parameters()).dtype), self.config.padded_size, border=0.0)
        spike_seq: Tensor = self.encoder(padded)
        return spike_seq
