"""The loss."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from spikevae.config.checks import require_not_negative, require_positive, require_types


@dataclass(frozen=True)
class ObjectiveConfig:
    """Weights of the loss terms. The reconstruction error is a mean over pixels on the [-1, 1] scale."""

    divergence_weight: float = 1e-4
    """Of the divergence between posterior and prior (per latent spike)."""
    classification_weight: float = 0.15
    """Of the cross-entropy of the shared classifier."""
    label_smoothing: float = 0.05
    """Probability mass spread over the other labels in that cross-entropy."""
    classification_loss: Literal["cross-entropy", "rate-mse", "tet"] = field(
        default="cross-entropy", metadata={"before": "cross-entropy"}
    )
    """Loss of a classifier: cross-entropy of the mean over time, squared error of the rates, or TET: the mean of
    every step's cross-entropy (Deng et al., arXiv:2202.11946)."""
    tet_weight: float = field(default=1e-3, metadata={"before": 1e-3})
    """Of TET's other term, the squared distance of every logit from 1 (lambda; cross-entropy has 1 - lambda)."""
    teacher_weight: float = field(default=0.9, metadata={"before": 0.9})
    """Of a teacher's probabilities where classes are learned; the labels have the rest. 0 to 1."""
    teacher_temperature: float = field(default=4.0, metadata={"before": 4.0})
    """What the logits of both are divided by before they are compared: the higher, the more small probabilities say."""
    perceptual_weight: float = field(default=1.0, metadata={"before": 1.0})
    """Of how different reconstructions look from their originals to a teacher (mean over its feature maps)."""
    adversarial_weight: float = 0.04
    """Of the discriminator's score of new samples, in adversarial fine-tuning."""
    feature_weight: float = 0.1
    """Of the distance between the discriminator's features of images and of their reconstructions, likewise."""
    label_weight: float = 0.02
    """Of the discriminator's cross-entropy on the classes of samples and reconstructions, likewise."""

    firing_rate_weight: float = field(default=0.0, metadata={"before": 0.0})
    """Of how far firing rates lie above the target (mean square over the spiking layers that learn)."""
    firing_rate_target: float = field(default=0.1, metadata={"before": 0.1})
    """Share of a layer's neurons that may fire at a time step for nothing."""

    def __post_init__(self) -> None:
        require_types(self)
        require_not_negative(self, *(name for name in self.__dataclass_fields__ if name.endswith("_weight")))
        require_positive(self, "teacher_temperature")
        for name in ("tet_weight", "teacher_weight", "firing_rate_target", "label_smoothing"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}={getattr(self, name)} is outside [0, 1]")
