"""The training loss and its named terms."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from spikingjelly.activation_based import neuron
from torch import Tensor, nn
from torch.nn import functional

from spikevae.config import ObjectiveConfig
from spikevae.ops import RateMeter


class Terms(NamedTuple):
    """The loss and what it is made of, each a scalar."""

    loss: Tensor  # weighted sum of the rest
    reconstruction_error: Tensor  # mean squared error on the [-1, 1] scale, or Poisson likelihood of events, negative
    divergence: Tensor  # per latent spike
    cross_entropy: Tensor  # nats per labelled image, or what a teacher makes of it


def reconstruction_error(reconstruction: Tensor, x: Tensor) -> Tensor:
    """Mean squared error on the papers' [-1, 1] scale, of images in [0, 1]: 4 times the error on [0, 1]."""
    return 4.0 * functional.mse_loss(reconstruction.float(), x.float())


def event_error(intensity: Float[Tensor, "T N 2 H W"], x_seq: Float[Tensor, "T N 2 H W"]) -> Tensor:
    """Negative Poisson likelihood of event counts, nats per pixel, polarity and step; without the constant log n!."""
    return functional.poisson_nll_loss(intensity.float(), x_seq.float(), log_input=False)


def vae_objective(
    reconstruction: Float[Tensor, "*T N C H W"],
    x: Float[Tensor, "*T N C H W"],
    divergence: Tensor,
    logits: Float[Tensor, "N K"] | None,
    labels: Int[Tensor, " N"],
    weights: ObjectiveConfig,
    taught: Float[Tensor, "N K"] | None = None,
) -> Terms:
    """Reconstruction + divergence of the latent + classification, weighted.

    Args:
        reconstruction: images in [0, 1], or expected events.
        x: the originals: images in [0, 1], or counts of events.
        divergence: of posterior from prior, a scalar per latent spike.
        logits: class scores, or None without a classifier.
        labels: -1 for an image without label, which the classifier then skips.
        weights: of the terms.
        taught: a teacher's probabilities of the classes.
    """
    error = (event_error if x.dim() == 5 else reconstruction_error)(reconstruction, x)
    cross_entropy = error.new_zeros(())
    if logits is not None:
        cross_entropy = _mean_over_known(_cross_entropies(logits.float(), labels, weights), labels)
        cross_entropy = _shared_with_teacher(cross_entropy, logits.float(), taught, weights)
    loss = error + weights.divergence_weight * divergence + weights.classification_weight * cross_entropy
    return Terms(loss, error, divergence, cross_entropy)


def classification_loss(
    score_seq: Float[Tensor, "T N K"],
    labels: Tensor,
    weights: ObjectiveConfig,
    taught: Float[Tensor, "N K"] | None = None,
) -> Float[Tensor, ""]:
    """The loss of a classifier without decoder, as ``classification_loss`` names it, and what a teacher adds.

    Args:
        score_seq: logits, or firing rates, of every time step.
        labels: int64 [N], -1 for an input without label, which is skipped; or shares of the classes [N, K].
        weights: the settings.
        taught: a teacher's probabilities of the classes.
    """
    scores = score_seq.float()
    if weights.classification_loss == "rate-mse":
        each = (scores.mean(dim=0) - _shares(labels, scores)).square().mean(dim=1)
    elif weights.classification_loss == "cross-entropy":
        each = _cross_entropies(scores.mean(dim=0), labels, weights)
    else:
        of_steps = torch.stack([_cross_entropies(of_step, labels, weights) for of_step in scores]).mean(dim=0)
        each = (1 - weights.tet_weight) * of_steps + weights.tet_weight * (scores - 1.0).square().mean(dim=(0, 2))
    return _shared_with_teacher(_mean_over_known(each, labels), scores.mean(dim=0), taught, weights)


def _shared_with_teacher(
    loss: Tensor, logits: Float[Tensor, "N K"], taught: Float[Tensor, "N K"] | None, weights: ObjectiveConfig
) -> Tensor:
    """The loss of the labels, and where there is a teacher the distance from its probabilities in its place, mostly."""
    if taught is None:
        return loss
    distance = distillation_loss(logits, taught, weights.teacher_temperature)
    return (1 - weights.teacher_weight) * loss + weights.teacher_weight * distance


def distillation_loss(
    logits: Float[Tensor, "N K"], taught: Float[Tensor, "N K"], temperature: float
) -> Float[Tensor, ""]:
    """How far a classifier's probabilities are from its teacher's, both of logits divided by a temperature.

    The Kullback-Leibler divergence, mean over inputs, times the temperature's square, so that the gradient keeps its
    size.

    Source: Hinton, Vinyals and Dean, arXiv:1503.02531.

    Args:
        logits: of the one that learns.
        taught: the teacher's probabilities, without a temperature.
        temperature: larger than 0.
    """
    wanted = (taught.clamp(min=1e-12).log() / temperature).log_softmax(dim=1)
    found = (logits / temperature).log_softmax(dim=1)
    return temperature**2 * functional.kl_div(found, wanted, reduction="batchmean", log_target=True)


def _cross_entropies(logits: Float[Tensor, "N K"], labels: Tensor, weights: ObjectiveConfig) -> Float[Tensor, " N"]:
    """Of each input; mixed labels are soft already."""
    smoothing = weights.label_smoothing if labels.dim() == 1 else 0.0
    return functional.cross_entropy(logits, _shares(labels, logits), reduction="none", label_smoothing=smoothing)


def _shares(labels: Tensor, scores: Float[Tensor, "*T N K"]) -> Float[Tensor, "N K"]:
    """Labels as shares of the classes; an unknown one is taken for the first class."""
    one_hot = labels if labels.dim() == 2 else functional.one_hot(labels.clamp(min=0), scores.shape[-1])
    return one_hot.to(scores.dtype)


def _mean_over_known(each: Float[Tensor, " N"], labels: Tensor) -> Float[Tensor, ""]:
    """Mean over the inputs that have a label, 0 if none has. Nothing here waits for a GPU to tell which they are."""
    known = (labels >= 0 if labels.dim() == 1 else torch.ones_like(each)).to(each.dtype)
    return (each * known).sum() / known.sum().clamp(min=1)


@contextmanager
def firing_rates(model: nn.Module) -> Iterator[list[Tensor]]:
    """Collect the mean firing rate of every spiking layer that runs meanwhile, a scalar with a gradient each.

    Layers that are called step by step (of an autoregressive latent) have no gradient, and are left out.
    """
    meter = RateMeter()
    layers = [layer for layer in model.modules() if isinstance(layer, neuron.BaseNode) and layer.step_mode == "m"]
    hooks = [layer.register_forward_hook(meter) for layer in layers]
    try:
        yield meter.rates
    finally:
        for hook in hooks:
            hook.remove()


def firing_rate_excess(rates: list[Tensor], target: float) -> Tensor:
    """Mean square, over layers, of how far their firing rates lie above the target."""
    return (torch.stack(rates) - target).clamp(min=0).square().mean()


def add_firing_rates(terms: dict[str, Tensor], rates: list[Tensor], share: float, weights: ObjectiveConfig) -> None:
    """Add what firing costs to the loss among these terms, and the term itself; of the layers that learn alone."""
    learned = [rate for rate in rates if rate.requires_grad]
    if learned:
        terms["firing_rate"] = share * firing_rate_excess(learned, weights.firing_rate_target)
        terms["loss"] = terms["loss"] + weights.firing_rate_weight * terms["firing_rate"]


def discriminator_hinge_loss(real_scores: Tensor, fake_scores: Tensor) -> Tensor:
    """The discriminator's loss: scores above 1 for images, below -1 for generated ones cost nothing."""
    return functional.relu(1.0 - real_scores).mean() + functional.relu(1.0 + fake_scores).mean()


def feature_distance(real_features: list[Tensor], fake_features: list[Tensor]) -> Tensor:
    """Mean absolute difference of two sets of feature maps, averaged over the maps' layers."""
    layers = [functional.l1_loss(fake, real.detach()) for real, fake in zip(real_features, fake_features, strict=True)]
    return torch.stack(layers).mean()
