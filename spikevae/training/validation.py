"""What a run measures after an epoch: held-out images, and the density of the latents that new images come from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from spikevae.data.division import sample
from spikevae.data.events.eventset import EventSet
from spikevae.data.own import too_few
from spikevae.data.sets import ImageSet
from spikevae.nn.classifiers import SpikingClassifier
from spikevae.nn.event_vae import SpikingEventVAE
from spikevae.nn.networks import Network
from spikevae.training.learner import Learner
from spikevae.training.losses import event_error, reconstruction_error

_BATCH = 256
_MOST_POTENTIALS = 2**28  # behind a density; each takes 32 bytes while it is fitted
_LEAST_IMAGES = 5_000

Stoppable = Callable[[Iterable[tuple[Tensor, Tensor]]], Iterator[tuple[Any, Any]]]
"""Passes batches on; it may stop between two of them."""


@torch.inference_mode()
def validate(model: Network, images: ImageSet | EventSet, stoppable: Stoppable) -> dict[str, float]:
    """Reconstruction error of a VAE, and accuracy where there are labels, on held-out images or event frames."""
    model.eval()
    errors, right, labelled = 0.0, 0, 0
    for x, labels in stoppable(images.batches(_BATCH)):
        x, labels = x.to(model.device), labels.to(model.device)
        if not isinstance(model, SpikingClassifier):
            measure = event_error if isinstance(model, SpikingEventVAE) else reconstruction_error
            errors += float(measure(model.reconstruct(x, batch_size=_BATCH), x)) * len(labels)
        if model.config.classes:
            right += int((model.classify(x, batch_size=_BATCH).argmax(dim=1) == labels).sum())
            labelled += int((labels >= 0).sum())
    scores = {} if isinstance(model, SpikingClassifier) else {"reconstruction_error": errors / max(len(images), 1)}
    return scores | ({"accuracy": right / labelled} if labelled else {})


def check_own_classes(learner: Learner, images: ImageSet | EventSet, held_out: ImageSet | EventSet) -> None:
    """Refuse, before a training begins, a class of one's own pictures that is too small for each part to have some.

    Raises:
        ValueError: if there is one.
    """
    origins, labels = images.origins, [part.labels for part in (images, held_out) if part.labels is not None]
    if isinstance(images, EventSet) or origins is None or held_out.origins != origins or len(labels) < 2:
        return
    if learner.config.train.image_limit is not None:  # then few may be left of a class that is large enough
        return
    model, is_drawn = learner.plain_model, origins["validation"] != "own"
    latent = None if isinstance(model, SpikingClassifier) else model.latent
    least = 2 if latent is not None and latent.has_density and latent.is_conditional else 1
    for label, name in enumerate(images.class_names):
        learned, validated = (int((own == label).sum()) for own in labels)
        if learned + is_drawn * validated < least + is_drawn:
            found = f"the subfolder {name!r} has {learned} to learn from and {validated} for validation"
            drawn = sum(origin != "own" for origin in origins.values())
            raise ValueError(too_few(images.name, found, least, drawn))


def check_classes(learner: Learner, images: ImageSet | EventSet, held_out: ImageSet | EventSet) -> None:
    """Refuse, before anything is learned, images of which no density could be fitted afterwards, nor any be painted.

    Raises:
        ValueError: if a class has fewer than two, or one has no class and adversarial fine-tuning needs it, or a
            classifier is given none with a class.
    """
    model, settings = learner.plain_model, learner.config.train
    if isinstance(model, SpikingClassifier):
        for part in (images, held_out):
            if part.labels is None or not bool((part.labels >= 0).any()):
                raise ValueError(
                    f"{part.name}: none of the {len(part)} {part.split} images has a class, and a classifier needs "
                    "them; give labels"
                )
        return
    if not model.latent.has_density:
        return
    if len(images) < 2:
        raise ValueError(
            f"{images.name}: a density needs two training images or more, and there is {len(images)}; add some"
        )
    if not model.latent.is_conditional:
        return
    labels = torch.full((len(images),), -1) if images.labels is None else images.labels
    without = int((labels < 0).sum())
    if without and settings.adversarial_epochs:
        raise ValueError(
            f"{images.name}: {without} of the {len(images)} training images have no class (label -1), and adversarial "
            "fine-tuning needs one of each; give them one, leave them out, or set --train.adversarial-share 0"
        )
    for label, name in enumerate(images.class_names):
        count = int((labels == label).sum())
        if count < 2:
            raise ValueError(
                f"{images.name}: the class {name!r} has {count} of the {len(images)} training images, and a density "
                "needs two or more of each; add some, or leave the class out"
            )


@torch.inference_mode()
def fit_density(learner: Learner, images: ImageSet | EventSet, stoppable: Stoppable, count: int | None = None) -> None:
    """Fit the averaged model's density of the latents to images: ex-post density estimation (Ghosh et al., ICLR 2020).

    Where the settings call images symmetric, to their mirror images as well. At most ``count`` images are taken, of
    every class in its share; of a large set never all: all potentials are in memory at once.

    A network whose latents have none, or that has no latents, is left as it is.

    Raises:
        FloatingPointError: if the latents are no longer finite.
        ValueError: if the latent's posterior has no potentials.
    """
    model = learner.averaged_model
    if isinstance(model, SpikingClassifier) or not model.latent.has_density:
        return
    model.eval()
    is_symmetric = learner.config.train.symmetric
    potentials_each = (1 + is_symmetric) * model.config.time_steps * model.config.latent_size
    most = max(_MOST_POTENTIALS // potentials_each, _LEAST_IMAGES)
    if len(images) > (count := min(count or most, most)):
        images = images.chosen(sample(len(images), count, images.labels))
    potentials, labels = [], []
    for x, y in stoppable(images.batches(_BATCH)):
        for view in [x, x.flip(-1)] if is_symmetric else [x]:
            potential = model.encode(view.to(model.device)).potential
            if potential is None:
                raise ValueError(
                    f"the latent {model.config.latent!r} says has_density, and its posterior has no potential that a "
                    "density could be fitted to; give it one, or set has_density = False"
                )
            potentials.append(potential.transpose(0, 1).flatten(1).cpu())
            labels.append(y)
    everything = torch.cat(potentials)
    if not bool(everything.isfinite().all()):
        raise FloatingPointError("latent potentials are no longer finite")
    model.latent.fit(everything, torch.cat(labels))
