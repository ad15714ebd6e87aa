"""What is measured of a model beyond the features of its samples: one function per metric, all of one form."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from spikevae.config import DataConfig
from spikevae.data.sets import ImageSet, load_split
from spikevae.evaluation.energy import measure_costs, parameter_count
from spikevae.evaluation.features import extract
from spikevae.evaluation.inputs import LOOKED_AT_AGAIN, Subject
from spikevae.evaluation.metrics.accuracy import classify_split
from spikevae.evaluation.metrics.distances import share_error
from spikevae.evaluation.metrics.frechet import BINOMIAL
from spikevae.evaluation.metrics.near_copies import compare_distances, nearest
from spikevae.evaluation.metrics.reconstruction import reconstruction_errors
from spikevae.evaluation.networks.extractors import Extractor, meter_extractor
from spikevae.evaluation.scores import Score
from spikevae.evaluation.settings import Metric
from spikevae.evaluation.streams import ImageSource, first_images, from_image_set, from_model, from_tensor

LABELLED_SAMPLES = 2000
ENERGY_IMAGES = 250

Details = dict[str, Any]
"""Tables by name, ready for JSON, that a measurement adds to."""


def measure_copies(subject: Subject, details: Details) -> list[Score]:
    """Share of samples that lie nearer to a training image than 99 % of test images do, in pixels and in features."""
    if subject.reference_set is None or subject.dataset is None:
        return [Score("copies_pixels", None, note="only a data set has a training split to copy from; give --data")]
    config = subject.config
    size = subject.reference_set.image_size
    data = DataConfig(dataset=subject.dataset, data_root=config.data_root, image_size=size)
    training = from_image_set(load_split(data, "train"))
    count = min(LOOKED_AT_AGAIN, subject.samples.count, subject.reference.count)
    ours = from_tensor(first_images(subject.samples, count), subject.samples.name)
    test = from_image_set(subject.reference_set, count, seed=config.seed)
    spaces: dict[str, Callable[[ImageSource], Iterator[Tensor]]] = {}
    scores = []
    if first_images(ours, 1).shape[-1] == size:
        spaces["copies_pixels"] = _pixel_vectors
    else:
        scores.append(Score("copies_pixels", None, note=f"the images are not {size}x{size} like the training images"))
    try:
        extractor = meter_extractor("classifier", subject.dataset, config.meters)
        spaces["copies_features"] = lambda source: _feature_vectors(source, extractor)
    except FileNotFoundError as error:
        scores.append(Score("copies_features", None, note=str(error)))
    found: Details = {}
    for metric, vectors in spaces.items():
        sets = [torch.cat(list(vectors(source))) for source in (ours, test)]
        near = nearest(torch.cat(sets), vectors(training))
        copies = compare_distances(near.distance[:count], near.distance[count:])
        found[metric] = {
            "share_of_near_copies": copies.share,
            "median_distance_over_that_of_test_images": copies.median_ratio,
            "nearest_training_images": near.index[:24].tolist(),
        }
        scores.append(
            Score(
                metric,
                copies.share,
                share_error(copies.share, count),
                BINOMIAL,
                "at most 0.01",
                samples=count,
                reference=training.name,
                reference_count=training.count,
                image_size=f"{size}x{size}",
                note=f"median distance {copies.median_ratio:.3f} of that of test images",
            )
        )
    details["copies"] = found
    return scores


def _pixel_vectors(source: ImageSource) -> Iterator[Tensor]:
    with tqdm(total=source.count, desc=f"pixels of {source.name}", unit="images", leave=False, delay=2) as progress:
        for x in source.batches(2000):
            yield (x[:, :1] if _is_grey(x) else x).float().flatten(1) / 255
            progress.update(len(x))


def _is_grey(x: Tensor) -> bool:
    return bool((x == x[:, :1]).all())


def _feature_vectors(source: ImageSource, extractor: Extractor) -> Iterator[Tensor]:
    yield extract(source, {"classifier": extractor})["classifier"]["features"]


def measure_label_agreement(subject: Subject, details: Details) -> list[Score]:
    """How often the domain classifier sees the class that a sample was asked for."""
    model, config = subject.model, subject.config
    if model is None or subject.dataset is None:
        return [Score("label_agreement", None, note="only a model can be asked for a class")]
    if not model.config.classes or model.config.latent != "potential":
        return [Score("label_agreement", None, note="this model cannot be asked for a class")]
    try:
        extractor = meter_extractor("classifier", subject.dataset, config.meters)
    except FileNotFoundError as error:
        return [Score("label_agreement", None, note=str(error))]
    count = min(LABELLED_SAMPLES, subject.samples.count)
    labels = torch.arange(count) % model.config.classes
    source = from_model(model, count, seed=config.seed, name=subject.name, labels=labels.tolist())
    logits = extract(source, {"classifier": extractor})["classifier"]["logits"]
    if logits.shape[1] != model.config.classes:
        raise ValueError(
            f"the classifier knows {logits.shape[1]} classes and the model {model.config.classes}; "
            "label agreement needs meters of the model's own data"
        )
    agreed = (logits.argmax(1) == labels).double()
    share = float(agreed.mean())
    details["label_agreement_by_class"] = {
        name: float(agreed[labels == k].mean()) for k, name in enumerate(model.config.class_names)
    }
    return [
        Score(
            "label_agreement",
            share,
            share_error(share, count),
            BINOMIAL,
            "higher",
            extractor=extractor.name,
            weights_hash=extractor.weights_hash,
            samples=count,
            reference="the label asked for",
            image_size=extractor.resizing,
        )
    ]


def measure_reconstruction(subject: Subject, details: Details) -> list[Score]:
    """Errors of reconstructed images of the split."""
    names = ("reconstruction_mse", "reconstruction_mse_32", "psnr", "ssim")
    if subject.model is None or subject.reference_set is None:
        return [Score(name, None, note="only a model can reconstruct a data set's images") for name in names]
    return reconstruction_scores(reconstruction_errors(subject.model, subject.reference_set), subject.reference_set)


def reconstruction_scores(errors: dict[str, Tensor], images: ImageSet) -> list[Score]:
    """Mean errors, from those [N] of each image of a split."""
    return [
        Score(
            name,
            float(values.double().mean()),
            float(values.double().std()) / len(values) ** 0.5,
            "standard error over the images",
            "lower" if name.startswith("reconstruction") else "higher",
            samples=len(values),
            reference=f"{images.name} {images.split}",
            image_size="bilinear to 32x32" if name.endswith("32") else f"{images.image_size}x{images.image_size}",
        )
        for name, values in errors.items()
    ]


def measure_accuracy(subject: Subject, details: Details) -> list[Score]:
    """How often the shared classifier is right on the split, with the confusion matrix."""
    if subject.model is None or subject.reference_set is None:
        return [Score("accuracy", None, note="only a model can classify a data set's images")]
    if subject.model.classifier is None:
        return [Score("accuracy", None, note="this model was trained without labels")]
    confusion = classify_split(subject.model, subject.reference_set)
    count = int(confusion.counts.sum())
    details["confusion"] = confusion.counts.tolist()
    details["class_names"] = list(confusion.class_names)
    details["per_class"] = confusion.per_class()
    return [
        Score(
            "accuracy",
            confusion.accuracy,
            share_error(confusion.accuracy, count),
            BINOMIAL,
            "higher",
            samples=count,
            reference=subject.reference.name,
            image_size=f"{subject.reference_set.image_size}x{subject.reference_set.image_size}",
        )
    ]


def measure_spikes(subject: Subject, details: Details) -> list[Score]:
    """Firing rates, operations and energy of each of the model's calls."""
    if subject.model is None:
        return [Score("firing_rate", None, note="only a model has spikes")]
    config = subject.model.config
    images = first_images(subject.reference, ENERGY_IMAGES)[:, : config.image_channels].float() / 255
    if tuple(images.shape[1:]) != (config.image_channels, config.image_size, config.image_size):
        return [Score("firing_rate", None, note=f"the reference images are not {config.image_size} pixels wide")]
    costs = measure_costs(subject.model, images.to(subject.model.device), seed=subject.config.seed)
    rates = {**costs["encode"].firing_rates, **costs["decode"].firing_rates}
    details["firing_rates"] = rates
    details["costs"] = {call: cost.to_dict() for call, cost in costs.items()}
    details["parameters"] = parameter_count(subject.model)
    common: Details = {"samples": len(images), "reference": subject.reference.name}
    mean_rate = float(torch.tensor([rate for steps in rates.values() for rate in steps]).mean())
    return [
        Score("firing_rate", mean_rate, better="", note="mean over spiking layers and time steps", **common),
        *(
            Score(
                f"{call}_energy",
                cost.microjoule,
                better="lower",
                note=f"{cost.accumulates:,.0f} AC, {cost.multiply_accumulates:,.0f} MAC; "
                f"the same layers as an ANN {cost.ann_microjoule:.3g} µJ",
                **common,
            )
            for call, cost in costs.items()
        ),
    ]


MEASUREMENTS: dict[Metric, Callable[[Subject, Details], list[Score]]] = {
    "copies": measure_copies,
    "labels": measure_label_agreement,
    "reconstruction": measure_reconstruction,
    "accuracy": measure_accuracy,
    "spikes": measure_spikes,
}
