"""The training loss and its named terms. Plain tensors in; no network."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from spikevae.config import ObjectiveConfig


class Terms(NamedTuple):
    """The loss and what it is made of, each a scalar."""

    loss: Tensor  # weighted sum of the rest
    reconstruction_error: Tensor  # mean squared error on the [-1, 1] scale
    divergence: Tensor  # per latent spike
    cross_entropy: Tensor  # nats per labelled image


def reconstruction_error(reconstruction: Tensor, x: Tensor) -> Tensor:
    """Mean squared error on the papers' [-1, 1] scale, of images in [0, 1]: 4 times the error on [0, 1]."""
    return 4.0 * functional.mse_loss(reconstruction.float(), x.float())


def vae_objective(
    reconstruction: Float[Tensor, "N C H W"],
    x: Float[Tensor, "N C H W"],
    divergence: Tensor,
    logits: Float[Tensor, "N K"] | None,
    labels: Int[Tensor, " N"],
    weights: ObjectiveConfig,
) -> Terms:
    """Reconstruction + divergence of the latent + classification, weighted.

    Args:
        reconstruction: images in [0, 1].
        x: the originals, in [0, 1].
        divergence: of posterior from prior, a scalar per latent spike.
        logits: class scores, or None without a classifier.
        labels: -1 for an image without label, which the classifier then skips.
        weights: of the terms.
    """
    error = reconstruction_error(reconstruction, x)
    cross_entropy = error.new_zeros(())
    if logits is not None and bool((labels >= 0).any()):
        cross_entropy = functional.cross_entropy(
            logits.float(), labels, ignore_index=-1, label_smoothing=weights.label_smoothing
        )
    loss = error + weights.divergence_weight * divergence + weights.classification_weight * cross_entropy
    return Terms(loss, error, divergence, cross_entropy)


def discriminator_hinge_loss(real_scores: Tensor, fake_scores: Tensor) -> Tensor:
    """The discriminator's loss: scores above 1 for images, below -1 for generated ones cost nothing."""
    return functional.relu(1.0 - real_scores).mean() + functional.relu(1.0 + fake_scores).mean()


def feature_distance(real_features: list[Tensor], fake_features: list[Tensor]) -> Tensor:
    """Mean absolute difference of two sets of feature maps, averaged over the maps' layers."""
    layers = [functional.l1_loss(fake, real.detach()) for real, fake in zip(real_features, fake_features, strict=True)]
    return torch.stack(layers).mean()
