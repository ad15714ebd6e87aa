"""What a number means: the same measures for real images, which no model beats, and for obvious failures.

Made by ``python -m spikevae.evaluation.baselines --data fashion-mnist`` and kept beside the meters, in baselines.json.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import tyro

from spikevae.config import DataConfig, Split
from spikevae.data.sets import load_split
from spikevae.evaluation.features import BATCH_SIZE
from spikevae.evaluation.metrics.frechet import compare_sets, open_spaces
from spikevae.evaluation.metrics.label_agreement import reconstruction_scores
from spikevae.evaluation.metrics.reconstruction import compare
from spikevae.evaluation.networks.bundle import load_meter, meter_folder
from spikevae.evaluation.scores import Floor, Score, value_text
from spikevae.evaluation.settings import OF_FEATURES, EvaluationConfig, Metric, Protocol
from spikevae.evaluation.streams import ImageSource, degraded, from_image_set
from spikevae.hub.checkpoints import write_atomically

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FloorSettings:
    """Which floors to measure."""

    data: str = "fashion-mnist"
    """Data set that has meters."""
    data_root: str | None = None
    """Where the data sets lie."""
    meters: Path | None = None
    """Folder of the meters; otherwise the bundled ones."""
    metrics: tuple[Metric, ...] = ("fad", "domain", "sharpness", "reconstruction", "accuracy")
    """What to measure; fid, kid, is and precision-recall need Inception's weights, and hours on a CPU."""
    protocol: Protocol = "paper"
    """As of `spikevae evaluate`: what is done to the images' size before Inception."""
    inception_weights: Path | None = None
    """torch-fidelity's Inception weights; otherwise its cache or its download."""
    counts: tuple[int, ...] = (5_000, 10_000)
    """Numbers of samples, each measured against the test split."""
    validation_counts: tuple[int, ...] = (5_000,)
    """Numbers of samples, each measured against the validation part."""


def measure_floors(settings: FloorSettings) -> Path:
    """Measure real training images, blurred ones, the mean image and noise; returns the file that was written.

    Raises:
        ValueError, OSError: if there are no such data or no meters for them.
    """
    folder = meter_folder(settings.data, settings.meters)
    floors = []
    for count in settings.counts:
        floors += _floors_at(settings, count, "test")
    for count in settings.validation_counts:
        floors += _floors_at(settings, count, "validation")
    floors += _failed_reconstructions(settings)
    floors += _label_floor(folder)
    text = json.dumps([asdict(floor) for floor in floors], indent=1) + "\n"
    write_atomically(folder / "baselines.json", lambda path: path.write_text(text, encoding="utf-8"))
    return folder / "baselines.json"


def load_floors(dataset: str, meters: Path | None, scores: Sequence[Score], reference: str) -> tuple[Floor, ...]:
    """The floors that can stand beside some scores: same weights, same number of samples, same reference."""
    try:
        path = meter_folder(dataset, meters) / "baselines.json"
        floors = [Floor(**values) for values in json.loads(path.read_text(encoding="utf-8"))]
    except FileNotFoundError:
        return ()
    wanted = {(score.metric, score.weights_hash): score for score in scores}
    return tuple(
        floor
        for floor in floors
        if (score := wanted.get((floor.metric, floor.weights_hash))) is not None
        and floor.image_size == score.image_size
        and (floor.metric == "label_agreement" or (floor.reference, floor.samples) == (reference, score.samples))
    )


def _floors_at(settings: FloorSettings, count: int, split: Split) -> list[Floor]:
    data = DataConfig(dataset=settings.data, data_root=settings.data_root)
    real = from_image_set(load_split(data, "train"), count)
    reference = from_image_set(load_split(data, split))
    config = EvaluationConfig(
        images=Path("-"),
        data=settings.data,
        meters=settings.meters,
        protocol=settings.protocol,
        inception_weights=settings.inception_weights,
    )
    metrics = tuple(metric for metric in settings.metrics if metric in OF_FEATURES)
    spaces = open_spaces(metrics, settings.data, config)
    floors = []
    for what, source in ({"real training images": real} | _failures(real)).items():
        for score in compare_sets(source, reference, metrics, spaces, seed=0):
            logger.info("%s %s, %d with %s: %s", what, score.metric, count, reference.name, value_text(score))
            floors += _floor(what, score)
    return floors


def _failures(real: ImageSource) -> dict[str, ImageSource]:
    return {
        "blurred images": degraded(real, "blur"),
        "the mean image": degraded(real, "mean"),
        "pixel noise": degraded(real, "noise"),
    }


def _floor(what: str, score: Score) -> list[Floor]:
    if score.value is None or score.samples is None:
        return []
    return [
        Floor(
            what,
            score.metric,
            score.value,
            score.error,
            score.samples,
            score.reference,
            score.weights_hash,
            score.image_size,
        )
    ]


def _failed_reconstructions(settings: FloorSettings) -> list[Floor]:
    """What the failures would give as reconstructions and, seeing the mean image only, a classifier."""
    test = load_split(DataConfig(dataset=settings.data, data_root=settings.data_root), "test")
    floors = []
    if "reconstruction" in settings.metrics:
        real = from_image_set(test)
        for what, source in _failures(real).items():
            pairs = zip(source.batches(BATCH_SIZE), real.batches(BATCH_SIZE), strict=True)
            parts = [compare(x.float() / 255, y.float() / 255) for x, y in pairs]
            errors = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
            for score in reconstruction_scores(errors, test):
                logger.info("%s %s: %s", what, score.metric, score.value)
                floors += _floor(what, score)
    if "accuracy" in settings.metrics and test.labels is not None:
        share = float(test.labels.bincount().max() / len(test))
        size = f"{test.image_size}x{test.image_size}"
        floors.append(Floor("the mean image", "accuracy", share, None, len(test), f"{test.name} test", "", size))
    return floors


def _label_floor(folder: Path) -> list[Floor]:
    try:
        meter = load_meter(folder, "classifier")
    except FileNotFoundError:  # of data without labels
        return []
    accuracy, count = meter.training["test_accuracy"], meter.training["test_images"]
    size = f"bilinear to {meter.image_size}x{meter.image_size}"
    return [
        Floor("real test images", "label_agreement", accuracy, None, count, "their labels", meter.weights_hash, size)
    ]


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        logger.info("wrote %s", measure_floors(tyro.cli(FloorSettings, description=__doc__)))
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
