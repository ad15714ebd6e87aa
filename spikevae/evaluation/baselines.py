"""What a number means: the same measures for real images, which no model beats, and for obvious failures.

Made by ``python -m spikevae.evaluation.baselines --data fashion-mnist`` and kept as baselines.json beside the networks.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import torch
import tyro

from spikevae.config import DataConfig, Split
from spikevae.data.sets import load_split
from spikevae.evaluation.features import BATCH_SIZE
from spikevae.evaluation.inputs import Evaluation
from spikevae.evaluation.metrics import METRICS
from spikevae.evaluation.metrics.reconstruction import compare, reconstruction_scores
from spikevae.evaluation.networks.bundle import Domain, load_network, networks_folder
from spikevae.evaluation.reports.tables import value_text
from spikevae.evaluation.scores import Baseline, Score, alone_with
from spikevae.evaluation.settings import EvaluationConfig, Protocol
from spikevae.evaluation.streams import ImageStream, degraded, from_image_set
from spikevae.files import write_text
from spikevae.runtime import pick_device

logger = logging.getLogger(__name__)


_FILE_NAMES = ("baselines.json", "floors.json")  # now, and in earlier versions
_SAME = ("what", "metric", "weights_hash", "image_size", "samples", "reference")  # the same measurement, made anew


@dataclass(frozen=True)
class BaselineSettings:
    """Which baselines to measure."""

    data: str = "fashion-mnist"
    """Data set, or folder:PATH, that has domain networks."""
    data_root: str | None = None
    """Where the data sets lie."""
    image_size: int | None = None
    """Side of the pictures of a folder, in pixels; otherwise 64."""
    networks: Path | None = None
    """Folder of the domain networks; otherwise the bundled ones."""
    metrics: tuple[str, ...] = ("fad", "domain", "sharpness", "reconstruction", "accuracy")
    """What to measure; fid, kid, is and precision-recall need Inception's weights, and hours on a CPU."""
    protocol: Protocol = "paper"
    """As of `spikevae evaluate`: what is done to the images' size before Inception."""
    inception_weights: Path | None = None
    """torch-fidelity's Inception weights; otherwise its cache or its download."""
    counts: tuple[int, ...] = (5_000, 10_000)
    """Numbers of samples, each measured against the test split."""
    validation_counts: tuple[int, ...] = (5_000,)
    """Numbers of samples, each measured against the validation part."""


def measure_baselines(settings: BaselineSettings) -> Path:
    """Measure real training images, blurred ones, the mean image and noise; returns the file that was written.

    What the file held of other metrics, networks, sizes, counts and references stays.

    Raises:
        ValueError, OSError: if there are no such metrics or data, no networks for them, too few images, or the file is
            damaged.
    """
    unknown = [name for name in settings.metrics if name not in METRICS]
    if unknown:
        raise ValueError(f"there is no metric {unknown[0]!r}; use {', '.join(METRICS)}")
    domain = Domain(settings.data, settings.networks)
    folder = networks_folder(domain)
    _read_baselines(folder)  # refuses a damaged file before any work
    _check_counts(settings)
    found: list[Baseline] = []
    for count in settings.counts:
        found += _baselines_at(settings, domain, count, "test")
    for count in settings.validation_counts:
        found += _baselines_at(settings, domain, count, "validation")
    found += _failed_reconstructions(settings)
    found += _label_baseline(folder)
    path = folder / _FILE_NAMES[0]
    with alone_with(path):  # what others measured meanwhile stays too
        found = _read_baselines(folder) + found
        latest = {tuple(getattr(one, name) for name in _SAME): one for one in found}
        write_text(path, json.dumps([asdict(baseline) for baseline in latest.values()], indent=1) + "\n")
    return path


def _check_counts(settings: BaselineSettings) -> None:
    there = len(load_split(_data_of(settings), "train"))
    for option, counts in (("--counts", settings.counts), ("--validation-counts", settings.validation_counts)):
        if max(counts, default=0) > there:
            raise ValueError(
                f"{settings.data} train has {there} images, fewer than the {max(counts)} asked for; lower {option}"
            )


def load_baselines(domain: Domain, scores: Sequence[Score], reference: str) -> tuple[Baseline, ...]:
    """The baselines that can stand beside some scores: same weights, same number of samples, same reference."""
    try:
        baselines = _read_baselines(networks_folder(domain))
    except FileNotFoundError:
        return ()
    wanted = {(score.metric, score.weights_hash): score for score in scores}
    return tuple(
        baseline
        for baseline in baselines
        if (score := wanted.get((baseline.metric, baseline.weights_hash))) is not None
        and baseline.image_size == score.image_size
        and (
            baseline.metric == "label_agreement" or (baseline.reference, baseline.samples) == (reference, score.samples)
        )
    )


def has_baselines(domain: Domain, metrics: Collection[str], reference: str) -> bool:
    """Whether one of some numbers has a baseline with this reference."""
    try:
        baselines = _read_baselines(networks_folder(domain))
    except FileNotFoundError:
        return False
    return any(baseline.metric in metrics and baseline.reference == reference for baseline in baselines)


def _read_baselines(folder: Path) -> list[Baseline]:
    """All that were measured with the networks of a folder; none if there is no file."""
    path = next((folder / name for name in _FILE_NAMES if (folder / name).is_file()), None)
    if path is None:
        return []
    try:
        return [Baseline(**values) for values in json.loads(path.read_text(encoding="utf-8"))]
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} is damaged ({error}); delete it, and measure the baselines anew") from error


def _data_of(settings: BaselineSettings) -> DataConfig:
    return DataConfig(dataset=settings.data, data_root=settings.data_root, image_size=settings.image_size)


def _baselines_at(settings: BaselineSettings, domain: Domain, count: int, split: Split) -> list[Baseline]:
    data = _data_of(settings)
    real = from_image_set(load_split(data, "train"), count)
    reference_set = load_split(data, split)
    config = EvaluationConfig(
        images=Path("-"), data=settings.data, protocol=settings.protocol, inception_weights=settings.inception_weights
    )
    metrics = [METRICS[name] for name in settings.metrics if METRICS[name].spaces]
    found = []
    for what, stream in ({"real training images": real} | _failures(real)).items():
        evaluation = Evaluation(
            config, what, "", None, stream, from_image_set(reference_set), reference_set, settings.data, data, domain,
            pick_device(),
        )  # fmt: skip
        evaluation.extract(space for metric in metrics for space in metric.spaces)
        for score in (score for metric in metrics for score in metric.run(evaluation)):
            logger.info("%s %s, %d with %s: %s", what, score.metric, count, score.reference, value_text(score))
            found += _baseline(what, score)
    return found


def _failures(real: ImageStream) -> dict[str, ImageStream]:
    streams = (degraded(real, how) for how in ("blur", "mean", "noise"))
    return {stream.name: stream for stream in streams}


def _baseline(what: str, score: Score) -> list[Baseline]:
    if score.value is None or score.samples is None:
        return []
    names = [field.name for field in fields(Baseline) if field.name != "what"]
    return [Baseline(what, **{name: getattr(score, name) for name in names})]


def _failed_reconstructions(settings: BaselineSettings) -> list[Baseline]:
    """What the failures would give as reconstructions and, seeing the mean image only, a classifier."""
    test = load_split(_data_of(settings), "test")
    baselines = []
    if "reconstruction" in settings.metrics:
        real = from_image_set(test)
        for what, stream in _failures(real).items():
            pairs = zip(stream.batches(BATCH_SIZE), real.batches(BATCH_SIZE), strict=True)
            parts = [compare(x.float() / 255, y.float() / 255) for x, y in pairs]
            errors = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
            for score in reconstruction_scores(errors, test):
                logger.info("%s %s: %s", what, score.metric, score.value)
                baselines += _baseline(what, score)
    known = None if test.labels is None else test.labels[test.labels >= 0]
    if "accuracy" in settings.metrics and known is not None and len(known):
        share = float(known.bincount().max() / len(known))
        size = f"{test.image_size}x{test.image_size}"
        baselines.append(Baseline("the mean image", "accuracy", share, None, len(known), f"{test.name} test", "", size))
    return baselines


def _label_baseline(folder: Path) -> list[Baseline]:
    try:
        network = load_network(folder, "classifier")
    except FileNotFoundError:  # of data without labels
        return []
    accuracy, count = network.training["test_accuracy"], network.training["test_images"]
    size = f"bilinear to {network.image_size}x{network.image_size}"
    return [
        Baseline(
            "real test images", "label_agreement", accuracy, None, count, "their labels", network.weights_hash, size
        )
    ]


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        logger.info("wrote %s", measure_baselines(tyro.cli(BaselineSettings, description=__doc__)))
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
