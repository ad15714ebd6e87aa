"""The spiking variational autoencoder with its classifier: the parts put together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import SupportsIndex

import torch
from jaxtyping import Float, Int
from torch import Tensor

from spikevae.labels import Label
from spikevae.nn.autoencoder import Outputs, SpikingAutoencoder
from spikevae.nn.images import (
    cpu_by_default,
    crop,
    image_rngs,
    in_batches,
    pad,
    require_at_least_one,
    require_images,
    require_spikes,
    resized,
)
from spikevae.nn.inpainting import inpaint
from spikevae.nn.precision import at_least_float32


class SpikingVAE(SpikingAutoencoder):
    """A spiking autoencoder of images: float tensors [N, C, H, W] in [0, 1] with the sizes of ``config``."""

    def forward(
        self,
        x: Float[Tensor, "N C H W"],
        generator: torch.Generator | None = None,
        new_z_seq: Float[Tensor, "T M L"] | None = None,
        *,
        random: bool = True,
    ) -> Outputs:
        """One pass of training.

        Args:
            x: images in [0, 1].
            generator: of the latent spikes; None takes torch's global one.
            new_z_seq: latent spikes of M new images. With them the pass trains the decoder alone: it also decodes
                these, and no latent spike of ``x`` is drawn, as in use.
            random: whether latent spikes are drawn; otherwise they are those of :meth:`Posterior.mode`.
        """
        if new_z_seq is not None:
            with torch.no_grad():
                z_seq = self.encode(x).mode()
            images = self.decode(torch.cat([z_seq, new_z_seq], dim=1))
            return Outputs(images[: len(x)], None, None, images[len(x) :])
        return self._pass(x, generator, random)

    def decode(self, z_seq: Float[Tensor, "T N L"]) -> Float[Tensor, "N C H W"]:
        """Images in [0, 1] of latent spikes in {0, 1}.

        Raises:
            ValueError: if ``z_seq`` is not [T, N, L] with this model's T and L.
        """
        z_seq = z_seq() if callable(z_seq) else z_seq  # `encode(x).mode` was a value once, and is a method now
        require_spikes(z_seq, is_training=self.training)
        centred = self.decoder(z_seq.to(next(self.parameters()).dtype))
        return crop(centred, self.config.image_size).add(1).div(2)

    @torch.no_grad()
    def reconstruct(self, x: Float[Tensor, "N C H W"], *, batch_size: int = 64) -> Float[Tensor, "N C H W"]:
        """Images in [0, 1] decoded from the latent spikes of ``x``, without randomness."""
        parts = in_batches(x, batch_size, "image")
        return torch.cat([self.decode(self.encode(part).mode()) for part in parts])

    @torch.no_grad()
    def classify(
        self, x: Float[Tensor, "N C H W"], *, batch_size: int = 64, flip_tta: bool | None = None
    ) -> Float[Tensor, "N K"]:
        """Class probabilities; columns are ``config.class_names``.

        Args:
            x: images.
            batch_size: images computed together.
            flip_tta: whether to average the answers to an image and its mirror image (flip test-time augmentation),
                which costs twice as much. None: as ``config.classify_mirrored`` says.

        Raises:
            ValueError: if the model has no classifier, or ``x`` has not this model's C, H, W.
        """
        parts = in_batches(x, batch_size, "image")
        return torch.cat([self.classify_together(part, flip_tta=flip_tta) for part in parts])

    def classify_together(self, x: Float[Tensor, "N C H W"], *, flip_tta: bool | None = None) -> Float[Tensor, "N K"]:
        """:meth:`classify` of all images at once, however many."""
        classifier = self._require_classifier()
        flips = self.config.classify_mirrored if flip_tta is None else flip_tta
        views = [x, x.flip(-1)] if flips else [x]
        logits = [at_least_float32(classifier(self.features(view))) for view in views]
        return torch.stack(logits).softmax(dim=2).mean(dim=0)

    inpaint = inpaint

    def sample(
        self,
        count: int = 1,
        *,
        seed: SupportsIndex = 0,
        label: Label | Sequence[Label] | Tensor | None = None,
        temperature: float = 1.0,
        size: int | None = None,
        batch_size: int = 64,
        start: int = 0,
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, "N C H W"]:
        """New images in [0, 1]; image i of a seed depends on nothing else: not on ``count``, nor on ``batch_size``.

        In training mode batch norm sees the batch, as everywhere in PyTorch: call ``eval()`` first, as ``load`` does.

        Args:
            count: N, at least 1.
            seed: 0 to 2^63 - 1.
            label: class of all images, by name or number, or one for each; None draws classes as often as they are in
                the training data.
            generator: takes the place of ``seed``; each call then gives other images.
            temperature: spread of the latent density; 1 is what was fitted, 0 gives the typical image of a class.
            size: resize to so many pixels (bilinear, as the papers' protocol asks for 32); None leaves the images.
            batch_size: images computed together.
            start: number of the first one.

        Raises:
            ValueError: if a number is out of range or the model has no such class.
        """
        if generator is not None:
            if not isinstance(generator, torch.Generator):
                raise ValueError(f"generator={generator!r}: expected a torch.Generator; a number goes to seed")
            seed = int(torch.randint(2**63 - 1, (), generator=generator, device=generator.device))
        batches = self.sample_batches(
            count, seed=seed, label=label, temperature=temperature, size=size, batch_size=batch_size, start=start
        )
        return torch.cat(list(batches))

    def sample_batches(
        self,
        count: int,
        *,
        seed: SupportsIndex = 0,
        label: Label | Sequence[Label] | Tensor | None = None,
        temperature: float = 1.0,
        size: int | None = None,
        batch_size: int = 64,
        start: int = 0,
    ) -> Iterator[Float[Tensor, "N C H W"]]:
        """The images of :meth:`sample` in batches, from image ``start`` on, so that any number fits the memory."""
        require_at_least_one("pixel", size=1 if size is None else size)
        batches = super().sample_batches(
            count, seed=seed, label=label, temperature=temperature, batch_size=batch_size, start=start
        )
        for images in batches:
            yield resized(images, size)

    @torch.no_grad()
    @cpu_by_default()
    def sample_potential(
        self,
        indices: Sequence[int],
        *,
        seed: SupportsIndex,
        labels: Int[Tensor, " N"] | None = None,
        temperature: float = 1.0,
    ) -> Float[Tensor, "T N L"] | None:
        """The potentials that the spikes of :meth:`sample_prior` fire from; None if this latent has none.

        Raises:
            ValueError: as there.
        """
        if not self.latent.has_density:
            return None
        require_at_least_one("image", indices=len(indices))
        chosen = self._classes_of(labels, len(indices))
        return self.latent.sample_potential(image_rngs(seed, indices), chosen, temperature).to(self.device)

    def _encoded(self, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "T N *F"]:
        require_images(x, self.config, is_training=self.training)
        centred = pad(2.0 * x.to(next(self.parameters()).dtype) - 1.0, self.config.padded_size)
        spike_seq: Tensor = self.encoder(centred.contiguous(memory_format=torch.channels_last))
        return spike_seq
