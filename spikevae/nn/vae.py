"""The spiking variational autoencoder with its classifier: the parts put together."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator, Sequence
from typing import NamedTuple, SupportsIndex, cast

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from spikevae.config import ModelConfig
from spikevae.labels import class_index
from spikevae.nn.classifier import RateClassifier
from spikevae.nn.decoder import SpikingDecoder
from spikevae.nn.encoder import SpikingEncoder
from spikevae.nn.latents import build_latent
from spikevae.nn.latents.base import Latent, Posterior
from spikevae.ops import is_traced

Label = str | SupportsIndex
"""A class by its name or its number."""
_SLACK = 0.5  # how far beyond [0, 1] an image may go: enlarging and shrinking overshoot, other scales go further


class Outputs(NamedTuple):
    """What a training step needs of one batch."""

    reconstruction: Tensor  # [N, C, H, W], [0, 1]
    logits: Tensor | None  # [N, K]
    divergence: Tensor | None  # scalar, per latent spike
    samples: Tensor | None  # [M, C, H, W], [0, 1], decoded from ``refine_z_seq``


class SpikingVAE(nn.Module):
    """A spiking encoder, latent spikes, a spiking decoder, and a classifier on the encoder.

    Images are float tensors [N, C, H, W] in [0, 1] with the sizes of ``config``. Neurons start at rest in every call,
    so calls do not influence each other. After ``eval()`` nothing is random but ``sample`` and ``encode(x).sample()``,
    which take a seed or a generator.

    Args:
        config: everything that the network is.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = SpikingEncoder(config)
        self.latent: Latent = build_latent(config, self.encoder.lower_features or self.encoder.features)
        self.decoder = SpikingDecoder(config)
        self.classifier = RateClassifier(self.encoder.features, config.classes) if config.classes else None
        self.to(memory_format=torch.channels_last)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    # ------------------------------------------------------------ training

    def forward(
        self,
        x: Float[Tensor, "N C H W"],
        generator: torch.Generator | None = None,
        refine_z_seq: Float[Tensor, "T M L"] | None = None,
        *,
        random: bool = True,
    ) -> Outputs:
        """One pass of training.

        Args:
            x: images in [0, 1].
            generator: of the latent spikes; None takes torch's global one.
            refine_z_seq: latent spikes of M new images. With them the pass trains the decoder alone: it also decodes
                these, and no latent spike of ``x`` is drawn, as in use.
            random: whether latent spikes are drawn; otherwise they are those of :meth:`Posterior.mode`.
        """
        if refine_z_seq is not None:
            with torch.no_grad():
                z_seq = self.encode(x).mode()
            images = self.decode(torch.cat([z_seq, refine_z_seq], dim=1))
            return Outputs(images[: len(x)], None, None, images[len(x) :])
        lower_seq = self._lower(x)
        feature_seq = self._upper(lower_seq)
        posterior = self.latent.posterior(lower_seq)
        spikes = posterior.spikes(generator, random=random)
        return Outputs(
            reconstruction=self.decode(spikes.z_seq),
            logits=None if self.classifier is None else self.classifier(feature_seq),
            divergence=posterior.kl(spikes, generator),
            samples=None,
        )

    # ------------------------------------------------------------ use

    def encode(self, x: Float[Tensor, "N C H W"]) -> Posterior:
        """q(z | x): a distribution with ``sample(generator)``, ``mode()`` and ``rate()``, each [T, N, L], and ``kl()``.

        Raises:
            ValueError: if ``x`` is not [N, C, H, W] with this model's C, H, W.
        """
        return self.latent.posterior(self._lower(x))

    def decode(self, z_seq: Float[Tensor, "T N L"]) -> Float[Tensor, "N C H W"]:
        """Images in [0, 1] of latent spikes in {0, 1}.

        Raises:
            ValueError: if ``z_seq`` is not [T, N, L] with this model's T and L.
        """
        if callable(z_seq):  # `encode(x).mode` was a value once, and is a method now
            z_seq = z_seq()
        centred = self.decoder(z_seq.to(next(self.parameters()).dtype))
        return self._crop(centred).add(1).div(2)

    @torch.no_grad()
    def reconstruct(self, x: Float[Tensor, "N C H W"], *, batch_size: int = 64) -> Float[Tensor, "N C H W"]:
        """Images in [0, 1] decoded from the latent spikes of ``x``, without randomness."""
        _check_batch_size(batch_size)
        return torch.cat([self.decode(self.encode(part).mode()) for part in x.split(batch_size)])

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
        if self.classifier is None:
            raise ValueError("this model was trained without labels, so it cannot classify")
        _check_batch_size(batch_size)
        flips = self.config.classify_mirrored if flip_tta is None else flip_tta
        answers = []
        for part in x.split(batch_size):
            answer = self.classifier(self._features(part)).softmax(dim=1)
            if flips:
                answer = (answer + self.classifier(self._features(part.flip(3))).softmax(dim=1)) / 2
            answers.append(answer)
        return torch.cat(answers)

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
        """New images in [0, 1].

        Image i of a seed depends on nothing else: not on ``count``, nor on ``batch_size``.

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
        if operator.index(count) < 1:
            raise ValueError(f"count={count}: expected at least 1 image")
        if size is not None and operator.index(size) < 1:
            raise ValueError(f"size={size}: expected at least 1 pixel")
        _check_batch_size(batch_size)
        labels = self._labels(label, count)
        for first in range(0, count, batch_size):
            part = slice(first, min(first + batch_size, count))
            z_seq = self.sample_prior(
                range(start + part.start, start + part.stop),
                seed=seed,
                labels=None if labels is None else labels[part],
                temperature=temperature,
            )
            with torch.no_grad():
                images = self.decode(z_seq)
                if size is not None and size != self.config.image_size:
                    images = functional.interpolate(images, size=(size, size), mode="bilinear", align_corners=False)
            yield images

    @torch.no_grad()
    def sample_prior(
        self,
        indices: Sequence[int],
        *,
        seed: SupportsIndex,
        labels: Int[Tensor, " N"] | None = None,
        temperature: float = 1.0,
        reject: bool = True,
    ) -> Float[Tensor, "T N L"]:
        """Latent spikes of the images of these numbers of a seed.

        ``reject``: whether to sample again what does not look like its class, if this latent can tell.
        """
        return self.latent.sample_prior(_image_rngs(seed, indices), labels, temperature, reject=reject).to(self.device)

    @torch.no_grad()
    def sample_potential(
        self,
        indices: Sequence[int],
        *,
        seed: SupportsIndex,
        labels: Int[Tensor, " N"] | None = None,
        temperature: float = 1.0,
    ) -> Float[Tensor, "T N L"] | None:
        """The potentials that the spikes of :meth:`sample_prior` fire from; None if this latent has none."""
        if not self.latent.has_density:
            return None
        return self.latent.sample_potential(_image_rngs(seed, indices), labels, temperature).to(self.device)

    # ------------------------------------------------------------ details

    def _features(self, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "T N F"]:
        return self._upper(self._lower(x))

    def _upper(self, lower_seq: Float[Tensor, "T N ..."]) -> Float[Tensor, "T N F"]:
        return self.encoder.upper(lower_seq) if self.encoder.lower_stages else lower_seq

    def _lower(self, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "T N ..."]:
        """What latent spikes come from: the encoder's output, or for a grid its maps of that size."""
        expected = (self.config.image_channels, self.config.image_size, self.config.image_size)
        if x.dim() != 4 or tuple(x.shape[1:]) != expected:
            raise ValueError(f"images must be [N, C, H, W] = [N, {', '.join(map(str, expected))}], got {list(x.shape)}")
        if not x.is_floating_point():
            raise ValueError(f"images must be floats in [0, 1], got {x.dtype}; divide bytes by 255")
        if not self.training and not is_traced():
            _check_range(x)
        x = x.to(next(self.parameters()).dtype)
        encode = self.encoder.lower if self.encoder.lower_stages else self.encoder
        features: Tensor = encode(self._pad(2.0 * x - 1.0).contiguous(memory_format=torch.channels_last))
        return features

    def _pad(self, x: Tensor) -> Tensor:
        extra = self.config.padded_size - self.config.image_size
        before = extra // 2
        return functional.pad(x, (before, extra - before, before, extra - before), value=-1.0) if extra else x

    def _crop(self, x: Tensor) -> Tensor:
        size = self.config.image_size
        start = (self.config.padded_size - size) // 2
        return x[..., start : start + size, start : start + size]

    def _labels(self, label: Label | Sequence[Label] | Tensor | None, count: int) -> Tensor | None:
        if label is None:
            return None
        is_one = isinstance(label, str | int) or getattr(label, "ndim", 1) == 0  # of numpy and torch, too
        labels = [label] * count if is_one else list(cast(Sequence[Label], label))
        if len(labels) != count:
            raise ValueError(f"{len(labels)} labels for {count} images; give one label, or one for each image")
        return torch.tensor([class_index(item, self.config.class_names) for item in labels])


def _check_range(x: Tensor) -> None:
    """Refuse images that are clearly not in [0, 1].

    Raises:
        ValueError: if a value is no number or far outside.
    """
    if x.numel() == 0:
        return
    least, most = (float(value) for value in x.detach().aminmax())
    if not (math.isfinite(least) and math.isfinite(most)):
        raise ValueError("images must be floats in [0, 1]; some values are not finite (NaN or infinite)")
    if least < -_SLACK or most > 1 + _SLACK:
        raise ValueError(
            f"images must be floats in [0, 1], these go from {least:.4g} to {most:.4g}; divide bytes by 255, "
            "and undo any other scaling"
        )


def _check_batch_size(batch_size: int) -> None:
    if operator.index(batch_size) < 1:
        raise ValueError(f"batch_size={batch_size}: expected at least 1 image")


def _image_rngs(seed: SupportsIndex, indices: Sequence[int]) -> list[np.random.Generator]:
    """The random numbers of each image of a seed (a counter-based generator: cheap to start anywhere).

    Raises:
        ValueError: if the seed is out of range.
    """
    number = operator.index(seed)
    if not 0 <= number < 2**63:
        raise ValueError(f"seed={seed}: expected a whole number from 0 to 2^63 - 1")
    return [np.random.Generator(np.random.Philox(key=[number, index])) for index in indices]
