"""Scores of one set of images against another, in every feature space that is asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from spikevae.evaluation.features import Measure, extract, sharpness
from spikevae.evaluation.metrics.distances import (
    KID_SUBSETS,
    frechet_with_error,
    inception_score,
    kernel_distance,
    precision_recall,
    share_error,
)
from spikevae.evaluation.networks.bundle import meter_folder
from spikevae.evaluation.networks.extractors import (
    Extractor,
    InceptionUnavailableError,
    inception_extractor,
    meter_extractor,
)
from spikevae.evaluation.scores import Score
from spikevae.evaluation.settings import OF_INCEPTION, EvaluationConfig, Metric
from spikevae.evaluation.streams import ImageSource

JACKKNIFE = "standard error, jackknife over the samples in ten groups"
BINOMIAL = "standard error, binomial"
_SCORES_OF: dict[Metric, tuple[str, ...]] = {
    "fad": ("fad",),
    "domain": ("domain_frechet", "domain_kernel", "domain_precision", "domain_recall"),
    "sharpness": ("sharpness",),
    "fid": ("fid",),
    "kid": ("kid",),
    "is": ("inception_score",),
    "precision-recall": ("inception_precision", "inception_recall"),
}


@dataclass(frozen=True)
class Spaces:
    """The networks that are needed, and why some cannot be had."""

    extractors: dict[str, Extractor]
    """By kind: autoencoder, classifier, inception."""
    missing: dict[str, str]
    """By kind: why not."""


def open_spaces(metrics: tuple[Metric, ...], dataset: str | None, config: EvaluationConfig) -> Spaces:
    """Load the networks that the metrics need.

    Args:
        metrics: what will be measured.
        dataset: name of the data whose meters are wanted; None if there is none.
        config: where weights lie.

    Raises:
        FileNotFoundError, ValueError: if a file or folder that was named cannot be used.
    """
    if config.meters is not None:
        meter_folder(dataset or "this data", config.meters)
    makers: dict[str, Callable[[], Extractor]] = {}
    if "fad" in metrics:
        makers["autoencoder"] = lambda: _meter("autoencoder", dataset, config.meters)
    if "domain" in metrics:
        makers["classifier"] = lambda: _meter("classifier", dataset, config.meters)
    if any(metric in OF_INCEPTION for metric in metrics):
        makers["inception"] = lambda: inception_extractor(
            config.inception_weights, config.inception_sha256, resize_to_32=config.protocol == "paper"
        )
    extractors, missing = {}, {}
    for kind, make in makers.items():
        try:
            extractors[kind] = make()
        except InceptionUnavailableError as error:
            missing[kind] = str(error)
        except FileNotFoundError as error:
            if kind == "inception":
                raise
            missing[kind] = str(error)
    return Spaces(extractors, missing)


def _meter(kind: str, dataset: str | None, folder: Path | None) -> Extractor:
    if dataset is None and folder is None:
        raise FileNotFoundError("neither --data nor --meters says which meters to use")
    return meter_extractor(kind, dataset or "this data", folder)


def compare_sets(
    samples: ImageSource, reference: ImageSource, metrics: tuple[Metric, ...], spaces: Spaces, *, seed: int
) -> list[Score]:
    """Every score of the samples against the reference that the metrics name.

    Raises:
        ValueError: if there are too few images, or they cannot be read.
    """
    measures: dict[str, Measure] = dict(spaces.extractors)
    if "sharpness" in metrics:
        measures["sharpness"] = _sharpness_and_size
    ours = extract(samples, measures) if measures else {}
    theirs = extract(reference, measures) if measures else {}
    comparison = _Comparison(samples, reference, spaces, ours, theirs, seed)
    scores = []
    with tqdm(metrics, desc="distances", leave=False, delay=2) as progress:
        for metric in progress:
            scores += comparison.scores(metric)
    return scores


def _sharpness_and_size(images: Tensor) -> dict[str, Tensor]:
    return sharpness(images) | {"side": torch.full((len(images),), images.shape[-1])}


@dataclass(frozen=True)
class _Comparison:
    samples: ImageSource
    reference: ImageSource
    spaces: Spaces
    ours: dict[str, dict[str, Tensor]]
    theirs: dict[str, dict[str, Tensor]]
    seed: int

    def scores(self, metric: Metric) -> list[Score]:
        kind = {"fad": "autoencoder", "domain": "classifier", "sharpness": "sharpness"}.get(metric, "inception")
        if kind in self.spaces.missing:
            return [Score(name, None, note=self.spaces.missing[kind]) for name in _SCORES_OF[metric]]
        if metric == "sharpness":
            return [self._sharpness()]
        if metric == "fad":
            return [self._frechet("fad", kind, "latent")]
        if metric == "domain":
            kernel = self._kernel("domain_kernel", kind, "features")
            return [
                self._frechet("domain_frechet", kind, "features"),
                kernel,
                *self._precision_recall("domain", kind, "features"),
            ]
        if metric == "fid":
            return [self._frechet("fid", kind, "2048")]
        if metric == "kid":
            return [self._kernel("kid", kind, "2048")]
        if metric == "is":
            return [self._inception_score()]
        return self._precision_recall("inception", kind, "2048")

    def _score(self, metric: str, kind: str, value: float, error: float, error_is: str, better: str) -> Score:
        extractor = self.spaces.extractors[kind]
        return Score(
            metric,
            value,
            error,
            error_is,
            better,
            extractor=extractor.name,
            weights_hash=extractor.weights_hash,
            samples=self.samples.count,
            reference=self.reference.name,
            reference_count=self.reference.count,
            image_size=extractor.resizing,
        )

    def _frechet(self, metric: str, kind: str, layer: str) -> Score:
        value, error = frechet_with_error(self.ours[kind][layer], self.theirs[kind][layer])
        return self._score(metric, kind, value, error, JACKKNIFE, "lower")

    def _kernel(self, metric: str, kind: str, layer: str) -> Score:
        value, spread, size = kernel_distance(self.ours[kind][layer], self.theirs[kind][layer], seed=self.seed)
        error_is = f"standard deviation over {KID_SUBSETS} subsets of {size}"
        return self._score(metric, kind, value, spread, error_is, "lower")

    def _precision_recall(self, space: str, kind: str, layer: str) -> list[Score]:
        ours, theirs = self.ours[kind][layer], self.theirs[kind][layer]
        count = min(len(ours), len(theirs))
        precision, recall = precision_recall(
            ours[chosen(len(ours), count, self.seed)], theirs[chosen(len(theirs), count, self.seed)]
        )
        found = []
        for name, value in (("precision", precision), ("recall", recall)):
            score = self._score(f"{space}_{name}", kind, value, share_error(value, count), BINOMIAL, "higher")
            found.append(_with_counts(score, count))
        return found

    def _inception_score(self) -> Score:
        value, spread = inception_score(self.ours["inception"]["logits_unbiased"], seed=self.seed)
        score = self._score(
            "inception_score", "inception", value, spread, "standard deviation over 10 splits", "higher"
        )
        return _with_counts(score, None)

    def _sharpness(self) -> Score:
        ours, theirs = (table["sharpness"]["laplacian"].double() for table in (self.ours, self.theirs))
        sides = [int(table["sharpness"]["side"][0]) for table in (self.ours, self.theirs)]
        if sides[0] != sides[1]:
            note = f"the images are {sides[0]} pixels wide, the reference {sides[1]}; sharpness needs equal sizes"
            return Score("sharpness", None, note=note)
        real = float(theirs.mean())
        return Score(
            "sharpness",
            float(ours.mean()) / real if real > 0 else float("nan"),
            float(ours.std()) / len(ours) ** 0.5 / real if real > 0 else None,
            "standard error over the samples",
            "1",
            samples=self.samples.count,
            reference=self.reference.name,
            reference_count=self.reference.count,
            image_size=f"{sides[0]}x{sides[0]}, as they are",
        )


def chosen(count: int, wanted: int, seed: int) -> Tensor:
    """Numbers of ``wanted`` of ``count`` images, by a permutation that the seed determines; all in order if equal."""
    if wanted == count:
        return torch.arange(count)
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))[:wanted]


def _with_counts(score: Score, count: int | None) -> Score:
    values = vars(score) | {"samples": count or score.samples, "reference_count": count}
    if count is None:
        values["reference"] = ""
    return Score(**values)
