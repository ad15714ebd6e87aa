"""What a number means: the same measures for real images, which no model beats, and for obvious failures.

Made by ``python -m spikevae.evaluation.floors --data fashion-mnist`` and kept beside the meters, in floors.json.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import tyro

from spikevae.checkpoints import write_atomically
from spikevae.config import DataConfig, Split
from spikevae.data import load_split
from spikevae.evaluation.comparison import compare_sets, open_spaces
from spikevae.evaluation.meter import load_meter, meter_folder
from spikevae.evaluation.scores import Floor, Score
from spikevae.evaluation.settings import EvaluationConfig, Metric
from spikevae.evaluation.sources import degraded, from_image_set

logger = logging.getLogger(__name__)

_METRICS: tuple[Metric, ...] = ("fad", "domain", "sharpness")


@dataclass(frozen=True)
class FloorSettings:
    """Which floors to measure."""

    data: str = "fashion-mnist"
    """Data set that has meters."""
    data_root: str | None = None
    """Where the data sets lie."""
    meters: Path | None = None
    """Folder of the meters; otherwise the bundled ones."""
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
    floors.append(_label_floor(settings, folder))
    text = json.dumps([asdict(floor) for floor in floors], indent=1) + "\n"
    write_atomically(folder / "floors.json", lambda path: path.write_text(text, encoding="utf-8"))
    return folder / "floors.json"


def load_floors(dataset: str, meters: Path | None, scores: Sequence[Score], reference: str) -> tuple[Floor, ...]:
    """The floors that can stand beside some scores: same weights, same number of samples, same reference."""
    try:
        path = meter_folder(dataset, meters) / "floors.json"
        floors = [Floor(**values) for values in json.loads(path.read_text(encoding="utf-8"))]
    except FileNotFoundError:
        return ()
    wanted = {(score.metric, score.weights_hash): score for score in scores}
    return tuple(
        floor
        for floor in floors
        if (score := wanted.get((floor.metric, floor.weights_hash))) is not None
        and (floor.metric == "label_agreement" or (floor.reference, floor.samples) == (reference, score.samples))
    )


def _floors_at(settings: FloorSettings, count: int, split: Split) -> list[Floor]:
    data = DataConfig(dataset=settings.data, data_root=settings.data_root)
    real = from_image_set(load_split(data, "train"), count)
    reference = from_image_set(load_split(data, split))
    config = EvaluationConfig(images=Path("-"), data=settings.data, meters=settings.meters)
    spaces = open_spaces(_METRICS, settings.data, config)
    subjects = {
        "real training images": real,
        "blurred images": degraded(real, "blur"),
        "the mean image": degraded(real, "mean"),
        "pixel noise": degraded(real, "noise"),
    }
    floors = []
    for what, source in subjects.items():
        for score in compare_sets(source, reference, _METRICS, spaces, seed=0):
            logger.info("%s %s, %d with %s: %s", what, score.metric, count, reference.name, score.value)
            if score.value is not None and score.samples is not None:
                floors.append(
                    Floor(
                        what, score.metric, score.value, score.error, score.samples, score.reference, score.weights_hash
                    )
                )
    return floors


def _label_floor(settings: FloorSettings, folder: Path) -> Floor:
    meter = load_meter(folder, "classifier")
    accuracy, count = meter.training["test_accuracy"], meter.training["test_images"]
    return Floor("real test images", "label_agreement", accuracy, None, count, "their labels", meter.weights_hash)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        logger.info("wrote %s", measure_floors(tyro.cli(FloorSettings, description=__doc__)))
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
