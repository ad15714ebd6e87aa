"""How to train."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Annotated, Literal

from tyro.conf import arg

from spikevae.config.checks import require_not_negative, require_positive, require_types


@dataclass(frozen=True)
class TrainConfig:
    """How to train. Progress is counted in images, so that batch size changes nothing else.

    Three phases. In the joint phase encoder, latent, decoder and classifier learn together. The deterministic phase is
    the same without randomness in the latent spikes. In adversarial fine-tuning encoder and classifier are frozen, the
    density of the latents is fitted, and the decoder alone learns, against a discriminator.

    A length of 0 is left open: it is chosen for the number of training images.
    """

    epochs: int = 0
    """Passes over the training split, in all phases together (0: 20, or more where images are few)."""
    deterministic_share: Annotated[float, arg(aliases=["--train.settling-share"])] = 0.15
    """Share of the epochs with the most probable latent spikes in place of random ones (0: none)."""
    adversarial_share: Annotated[float, arg(aliases=["--train.refinement-share"])] = 0.2
    """Share of the epochs, the last ones, of adversarial fine-tuning (0: none; latents with a density only)."""
    batch_size: int = 0
    """Images a step, over all processes together (0: 16 to 64, the more the more images there are)."""
    learning_rate: float = 4e-3
    """Peak rate of the optimizer, reached after the warm-up, then brought down along a cosine."""
    deterministic_learning_rate: Annotated[float, arg(aliases=["--train.settling-learning-rate"])] = 1e-3
    """Peak rate of the deterministic phase."""
    adversarial_learning_rate: Annotated[float, arg(aliases=["--train.refinement-learning-rate"])] = 5e-4
    """Peak rate of the decoder and of the discriminator in adversarial fine-tuning."""
    optimizer: Literal["adamw", "muon"] = field(default="adamw", metadata={"before": "adamw"})
    """What takes the steps; muon: Muon for convolution kernels and AdamW for the rest, at the same learning rate."""
    weight_decay: float = 0.01
    """Share of matrices and kernels that a step takes away, times the learning rate."""
    warmup_images: int = 0
    """Images over which the learning rate rises (0: a sixteenth of the run, at most 20,000)."""
    gradient_clip: float = 1.0
    """Largest norm of the gradient."""
    ema_images: int = 0
    """Time constant of the weights' moving average, which is what is released (0: a sixth of the run, at most 50,000).
    """
    flip: bool = True
    """Mirror half of the images left to right, in adversarial fine-tuning only with `symmetric` (never for digits)."""
    symmetric: bool = field(default=False, metadata={"before": False})
    """A mirror image is as real as its image, as a face's is: new images may be mirrored too. The density is fitted to
    both, and adversarial fine-tuning mirrors as well."""
    shift: int = 0
    """Move images by up to so many pixels each way, but not in adversarial fine-tuning."""
    discriminator_shift: int = field(default=0, metadata={"before": 0})
    """Move all that the discriminator sees by up to so many pixels each way, real or not (Zhao et al., "Differentiable
    augmentation", arXiv:2006.10738): few images last longer, and a texture that is tied to the pixels' places shows."""
    rotation: float = field(default=0.0, metadata={"before": 0.0})
    """Turn event frames by up to so many degrees each way."""
    shear: float = field(default=0.0, metadata={"before": 0.0})
    """Slant event frames by up to so many degrees each way."""
    cutout: int = field(default=0, metadata={"before": 0})
    """Side of a square, in pixels, that is emptied in event frames, and shows the mean colour in a classifier's images.
    Models that draw take none."""
    mixup: float = field(default=0.0, metadata={"before": 0.0})
    """Share of event recordings that are mixed with another one, and their labels too."""
    one_change: bool = field(default=True, metadata={"before": True})
    """Change an event recording by one of shift, rotation, shear and cut-out, drawn anew; otherwise by all of them."""
    start_from: str | None = field(default=None, metadata={"before": None})
    """A trained model to begin with: a bundled one, a folder, or hf:USER/NAME. Weights of the same name and shape are
    taken over. On the command line, without --preset, network and settings are that model's."""
    teacher: str | None = field(default=None, metadata={"before": None})
    """A trained classifier without a decoder, likewise. Its probabilities of the classes are learned besides the labels
    (Hinton et al., "Distilling the knowledge in a neural network", arXiv:1503.02531). Reconstructions shall look to it
    as their originals do (Johnson et al., "Perceptual losses", arXiv:1603.08155)."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Arithmetic of convolutions; auto: bfloat16 where the hardware multiplies faster in it."""
    seed: int = 0
    """Of weights, shuffling, augmentation and latent spikes."""
    checkpoint_seconds: float = 120.0
    """Longest time between two saved states, and so the most that an interruption can lose."""
    preview_epochs: int = 0
    """Epochs between two validations, with pictures of samples and reconstructions (0: about twenty in a run)."""
    image_limit: Annotated[int | None, arg(metavar="INT")] = None
    """Use only so many training images (for trying things out): the first ones, or some of every class where images lie
    class by class."""

    def __post_init__(self) -> None:
        require_types(self)
        require_positive(self, "learning_rate", "deterministic_learning_rate")
        require_positive(self, "adversarial_learning_rate", "gradient_clip")
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"seed={self.seed}: expected a whole number from 0 to 2^63 - 1")
        for name in ("deterministic_share", "adversarial_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}={getattr(self, name)} is outside [0, 1]")
        require_not_negative(self, "epochs", "batch_size", "warmup_images", "ema_images", "preview_epochs")
        require_not_negative(
            self,
            "weight_decay",
            "shift",
            "discriminator_shift",
            "checkpoint_seconds",
            "rotation",
            "shear",
            "cutout",
        )
        if not 0 <= self.mixup <= 1 or self.shear >= 90:
            raise ValueError(f"mixup={self.mixup}, shear={self.shear}: expected 0 to 1, and below 90 degrees")
        if self.symmetric and not self.flip:
            raise ValueError(
                "symmetric=True mirrors images, flip=False forbids it (as for digits); leave one of them out"
            )
        if self.image_limit is not None:
            require_not_negative(self, "image_limit")
        if self.image_limit == 0:
            raise ValueError("image_limit=0 leaves no image to train on")

    def fitted_to(self, images: int) -> TrainConfig:
        """These settings with every open length chosen for a run on so many training images; what is set stays.

        The network sees at least 1,200 times the square root of their number, because few images need many epochs.
        """
        epochs = self.epochs or max(20, math.ceil(1200 / math.sqrt(images)))
        return dataclasses.replace(
            self,
            epochs=epochs,
            batch_size=self.batch_size or (16 if images < 1_000 else 32 if images < 20_000 else 64),
            warmup_images=self.warmup_images or max(1, min(20_000, epochs * images // 16)),
            ema_images=self.ema_images or max(1, min(50_000, epochs * images // 6)),
            preview_epochs=self.preview_epochs or max(1, epochs // 20),
        )

    @property
    def adversarial_epochs(self) -> int:
        """Epochs of adversarial fine-tuning, the last ones."""
        return round(self.epochs * self.adversarial_share)

    @property
    def deterministic_epochs(self) -> int:
        """Epochs of the deterministic phase, before them."""
        return min(round(self.epochs * self.deterministic_share), self.epochs - self.adversarial_epochs)
