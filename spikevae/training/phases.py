"""The phases of a run, as values: when each is, its learning rate, and what a step of it does."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from spikevae.config import RunConfig
from spikevae.training.adversarial import adversarial_step, learn_to_paint
from spikevae.training.learner import Batch, Learner
from spikevae.training.losses import add_firing_rates, classification_loss, vae_objective
from spikevae.training.teacher import add_perceptual_distance


@dataclass(frozen=True)
class Phase:
    """A part of a run. It starts from the moving average of the weights of the one before."""

    name: str
    epochs: range
    peak_rate: float
    """Learning rate after the warm-up; a cosine brings it down to zero at the phase's end."""
    step: Callable[[Learner, Batch], dict[str, Tensor]]
    """One step of learning; returns the named terms of its loss."""
    is_augmented: bool = True
    """Whether images are mirrored and moved as the settings say."""
    samples: bool = False
    """Whether it decodes new images, and so needs the density of the latents, which then stays as it is."""
    prepare: Callable[[Learner], None] | None = None
    """Sets apart what shall not learn, and whatever else the steps rely on; before every epoch."""

    @property
    def rate_setting(self) -> str:
        """The setting of ``--train`` that gives its peak rate."""
        has_own = self.name in ("deterministic", "adversarial")
        return f"{self.name}-learning-rate" if has_own else "learning-rate"

    def learning_rate(self, images_seen: int, batch_size: int, epoch_images: int, warmup_images: int) -> float:
        """Of the next step: a linear warm-up and a cosine to zero, both counted in images."""
        length = len(self.epochs) * epoch_images
        # A run that goes on with more or fewer processes may have had another number of batches an epoch.
        done = min(max(images_seen - self.epochs.start * epoch_images, 0), length)
        warm_up = min(1.0, (done + batch_size) / max(warmup_images, 1))
        return self.peak_rate * warm_up * 0.5 * (1 + math.cos(math.pi * done / max(length, 1)))


def phases_of(config: RunConfig) -> tuple[Phase, ...]:
    """The phases of a run, in their order; one may have no epoch. A classifier has one, whatever its shares say."""
    settings = config.train
    if config.model.network == "classifier":
        return (Phase("classifier", range(settings.epochs), settings.learning_rate, classify_step),)
    adversarial = settings.epochs - settings.adversarial_epochs
    deterministic = adversarial - settings.deterministic_epochs
    return (
        Phase("joint", range(deterministic), settings.learning_rate, joint_step),
        Phase(
            "deterministic",
            range(deterministic, adversarial),
            settings.deterministic_learning_rate,
            partial(joint_step, random=False),
        ),
        Phase(
            "adversarial",
            range(adversarial, settings.epochs),
            settings.adversarial_learning_rate,
            adversarial_step,
            is_augmented=False,  # new images shall look like those of the data, unaltered
            samples=True,
            prepare=learn_to_paint,
        ),
    )


def joint_step(learner: Learner, batch: Batch, *, random: bool = True) -> dict[str, Tensor]:
    """One step of encoder, latent, decoder and classifier together.

    ``random``: whether latent spikes are drawn; otherwise they are the most probable ones.
    """
    weights = learner.config.objective
    with learner.autocast(), learner.firing_rates() as rates:
        outputs = learner.model(batch.x, random=random)
        teacher = None if outputs.logits is None else learner.teacher
        taught = None if teacher is None else teacher.probabilities(batch.x)
    found = vae_objective(
        outputs.reconstruction, batch.x, outputs.divergence, outputs.logits, batch.labels, weights, taught
    )
    share = learner.share(len(batch.labels), batch.total)
    terms = {name: share * value for name, value in found._asdict().items()}
    with learner.autocast():
        add_perceptual_distance(terms, learner.teacher, outputs.reconstruction, batch.x, share, weights)
    return _descend(learner, terms, rates, share)


def classify_step(learner: Learner, batch: Batch) -> dict[str, Tensor]:
    """One step of a classifier."""
    with learner.autocast(), learner.firing_rates() as rates:
        score_seq = learner.model(batch.x)
        taught = None if learner.teacher is None else learner.teacher.probabilities(batch.x)
    share = learner.share(len(batch.labels), batch.total)
    loss = share * classification_loss(score_seq, batch.labels, learner.config.objective, taught)
    return _descend(learner, {"loss": loss}, rates, share)


def _descend(learner: Learner, terms: dict[str, Tensor], rates: list[Tensor], share: float) -> dict[str, Tensor]:
    """Add what firing costs, if it does, and take the step."""
    add_firing_rates(terms, rates, share, learner.config.objective)
    learner.descend(terms["loss"])
    return {name: value.detach() for name, value in terms.items()}
