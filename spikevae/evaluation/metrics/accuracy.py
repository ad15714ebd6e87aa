"""How often a classifier is right, class by class."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from spikevae.console import progress
from spikevae.data.events.eventset import EventSet
from spikevae.data.sets import ImageSet
from spikevae.evaluation.features import BATCH_SIZE
from spikevae.evaluation.inputs import Evaluation
from spikevae.evaluation.metrics.registry import NotComputedError, counted_share, register, share_score
from spikevae.evaluation.model_inputs import ModelEvaluation
from spikevae.evaluation.scores import Score
from spikevae.labels import class_numbers
from spikevae.nn.networks import Network

_NAMES = {"accuracy": "classification accuracy"}


@register("accuracy", _NAMES, needs=("model", "split"), reads=())
def measure_accuracy(evaluation: Evaluation) -> list[Score]:
    """How often the shared classifier is right on the split, with the confusion matrix."""
    if evaluation.model is None or evaluation.reference_set is None:
        raise NotComputedError("only a model can classify a data set's images")
    if evaluation.model.classifier is None:
        raise NotComputedError("this model was trained without labels")
    found = classify_split(evaluation.model, evaluation.reference_set)
    count = int(found.counts.sum())
    evaluation.details |= found.details()
    size, name = evaluation.reference_set.image_size, evaluation.reference.name
    size_text = f"{size}x{size}"
    return [share_score("accuracy", found.accuracy, count, reference=name, image_size=size_text, note=found.note)]


@register("accuracy", _NAMES, of="models", reads=())
def measure_accuracy_of_model(evaluation: ModelEvaluation) -> Iterator[Score]:
    """How often a classifier is right, with an exact interval, by class, and the confusion matrix."""
    if not evaluation.model.config.classes:
        raise NotComputedError("this model was trained without labels")
    found = classify_split(evaluation.model, evaluation.given)
    evaluation.details |= found.details()
    hits, count = int(found.counts.diagonal().sum()), int(found.counts.sum())
    score = counted_share("accuracy", hits, count, evaluation)
    yield replace(score, note="; ".join(filter(None, (score.note, found.note))))


@dataclass(frozen=True)
class Confusion:
    """Counts [K, K] of images by true class (row) and predicted class (column)."""

    counts: Tensor
    class_names: tuple[str, ...]

    @property
    def accuracy(self) -> float:
        """Share of images whose class was found."""
        return int(self.counts.diagonal().sum()) / int(self.counts.sum())

    @property
    def note(self) -> str:
        """What to say beside the accuracy where some classes have no image; otherwise nothing."""
        present = int((self.counts.sum(1) > 0).sum())
        return "" if present == len(self.class_names) else f"images of {present} of {len(self.class_names)} classes"

    def details(self) -> dict[str, Any]:
        """The tables that a report shows."""
        return {
            "confusion": self.counts.tolist(),
            "class_names": list(self.class_names),
            "per_class": self.per_class(),
        }

    def per_class(self) -> list[dict[str, float | str]]:
        """For each class: its images, precision, recall, and F1; 0 where nothing was predicted or present."""
        hits = self.counts.diagonal().double()
        present, predicted = self.counts.sum(1).double(), self.counts.sum(0).double()
        return [
            {
                "class": name,
                "images": int(present[k]),
                "precision": float(hits[k] / predicted[k].clamp(min=1)),
                "recall": float(hits[k] / present[k].clamp(min=1)),
                "f1": float(2 * hits[k] / (present[k] + predicted[k]).clamp(min=1)),
            }
            for k, name in enumerate(self.class_names)
        ]


def confusion(labels: Tensor, predicted: Tensor, class_names: tuple[str, ...]) -> Confusion:
    """Count pairs of true and predicted classes, both int64 [N].

    Raises:
        ValueError: if a label is none of the classes.
    """
    classes = len(class_names)
    for name, values in (("label", labels), ("prediction", predicted)):
        if len(values) and not 0 <= int(values.min()) <= int(values.max()) < classes:
            raise ValueError(f"{name} {int(values.max())} is none of the {classes} classes {', '.join(class_names)}")
    counts = torch.bincount(labels * classes + predicted, minlength=classes**2).reshape(classes, classes)
    return Confusion(counts, class_names)


def classify_split(model: Network, images: ImageSet | EventSet) -> Confusion:
    """Classify every image, or recording, of a split that has a class. The data may have fewer classes, in any order.

    Raises:
        OtherClassesError: if the model or the data has no classes, or the model does not know one of the data's.
        NotComputedError: if no image has a label.
    """
    names = model.config.class_names
    numbers = torch.tensor(class_numbers(images.class_names, names, images.name, may_lack=True))
    if images.labels is None or not (images.labels >= 0).any():
        raise NotComputedError(f"{images.name} has no labels to compare with")
    labels, predicted = [], []
    with progress(len(images), "classification") as done:
        for x, target in images.batches(BATCH_SIZE):
            predicted.append(model.classify(x.to(model.device)).argmax(1).cpu()[target >= 0])
            labels.append(numbers[target[target >= 0]])
            done(len(target))
    return confusion(torch.cat(labels), torch.cat(predicted), names)
