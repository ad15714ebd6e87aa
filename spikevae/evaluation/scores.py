"""What an evaluation gives back: values with all that a reader needs to trust them, as JSON and as a table."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from spikevae.hub.checkpoints import write_atomically

LABELS = {
    "fad": "FAD (autoencoder)",
    "domain_frechet": "Fréchet distance, domain classifier",
    "domain_kernel": "kernel distance, domain classifier",
    "domain_precision": "precision, domain classifier",
    "domain_recall": "recall, domain classifier",
    "fid": "FID",
    "kid": "KID",
    "inception_score": "Inception score",
    "inception_precision": "precision, Inception",
    "inception_recall": "recall, Inception",
    "sharpness": "sharpness over real",
    "label_agreement": "label agreement",
    "reconstruction_mse": "reconstruction MSE",
    "reconstruction_mse_32": "reconstruction MSE at 32x32",
    "psnr": "reconstruction PSNR (dB)",
    "ssim": "reconstruction SSIM",
    "accuracy": "classification accuracy",
    "copies_pixels": "near-copies, pixels",
    "copies_features": "near-copies, features",
    "firing_rate": "firing rate",
    "encode_energy": "energy of encoding (µJ)",
    "decode_energy": "energy of decoding (µJ)",
    "sample_energy": "energy of a sample (µJ)",
    "classify_energy": "energy of a classification (µJ)",
}


@dataclass(frozen=True)
class Score:
    """One number, and how it came about."""

    metric: str
    """A key of LABELS."""
    value: float | None
    """None where it was not computed; ``note`` says why."""
    error: float | None = None
    """Uncertainty, in the value's unit."""
    error_is: str = ""
    """What the uncertainty is."""
    better: str = ""
    """lower, higher, or the value that is best."""
    extractor: str = ""
    """The network whose features were compared."""
    weights_hash: str = ""
    """SHA-256 of its weights."""
    samples: int | None = None
    """Images measured."""
    reference: str = ""
    """What they were compared with."""
    reference_count: int | None = None
    """How many images that was."""
    image_size: str = ""
    """Size of the images, and what was done to it."""
    note: str = ""


@dataclass(frozen=True)
class Floor:
    """The same measure for images that are as good, or as bad, as they come."""

    what: str
    metric: str
    value: float
    error: float | None
    samples: int
    reference: str
    weights_hash: str
    image_size: str = ""


@dataclass(frozen=True)
class Scores:
    """Everything about one evaluation."""

    subject: str
    """The model's name or the images' path."""
    subject_hash: str
    """SHA-256 of the model's weights; empty for images."""
    data: str
    protocol: str
    seed: int
    command: str
    """What to run to get the same numbers again."""
    versions: dict[str, str]
    scores: tuple[Score, ...]
    floors: tuple[Floor, ...] = ()
    details: dict[str, Any] = field(default_factory=dict)
    """Tables: per class, confusion matrix, firing rates, operations, nearest neighbours."""

    def __getitem__(self, metric: str) -> Score:
        for score in self.scores:
            if score.metric == metric:
                return score
        raise KeyError(metric)

    def value(self, metric: str) -> float | None:
        """The value of a metric, or None if it was not computed or not asked for."""
        return next((score.value for score in self.scores if score.metric == metric), None)


def write_scores_json(scores: Scores, path: Path) -> None:
    """Write everything to a JSON file, whole or not at all."""
    values = _without_nan(asdict(scores))
    for score in values["scores"]:
        score["name"] = LABELS[score["metric"]]
    text = json.dumps(values, indent=1, ensure_ascii=False) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def read_scores_json(path: Path) -> Scores:
    """Read what ``write_scores_json`` wrote.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not such a file.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        for score in values["scores"]:
            del score["name"]
        values["scores"] = tuple(Score(**score) for score in values["scores"])
        values["floors"] = tuple(Floor(**floor) for floor in values["floors"])
        return Scores(**values)
    except (json.JSONDecodeError, TypeError, KeyError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} holds no scores: write it with `spikevae evaluate … --json {path}`") from error


def table_text(scores: Scores) -> str:
    """A table for a terminal, one line per metric, with floors below and what was not computed last."""
    lines = [f"{scores.subject} on {scores.data}, protocol {scores.protocol}, seed {scores.seed}"]
    rows = [("metric", "value", "compared with", "features and image size")]
    rows += [
        (LABELS[score.metric], value_text(score), comparison_text(score), extractor_text(score))
        for score in scores.scores
        if score.value is not None
    ]
    lines += _columns(rows)
    bounds = bounds_by_metric(scores)
    if bounds:
        lines += ["", "the same measures for"]
        names = list(dict.fromkeys(floor.what for floor in scores.floors))
        head = ("metric", *names)
        lines += _columns(
            [head, *((LABELS[metric], *(found.get(name, "") for name in names)) for metric, found in bounds.items())]
        )
    missing = [score for score in scores.scores if score.value is None]
    if missing:
        lines += ["", *(f"{LABELS[score.metric]}: not computed: {score.note}" for score in missing)]
    return "\n".join([*lines, "", f"again: {scores.command}"])


def bounds_by_metric(scores: Scores) -> dict[str, dict[str, str]]:
    """For each metric that was computed, the floors' values as text, by what was measured."""
    found: dict[str, dict[str, str]] = {}
    for score in scores.scores:
        for floor in scores.floors:
            if floor.metric == score.metric and score.value is not None:
                found.setdefault(score.metric, {})[floor.what] = number_text(floor.value, floor.error)
    return found


def value_text(score: Score) -> str:
    """A value with its uncertainty."""
    return "not computed" if score.value is None else number_text(score.value, score.error)


def number_text(value: float, error: float | None) -> str:
    """A number with as many digits as its uncertainty allows (two digits of that), else four digits."""
    if error is None or not math.isfinite(error) or error <= 1e-9 * abs(value):  # of equal images it is rounding
        return f"{value:.4g}"
    digits = max(0, 1 - math.floor(math.log10(error)))
    return f"{value:.{digits}f} ± {error:.{digits}f}"


def cost_rows(costs: dict[str, Any]) -> list[tuple[str, ...]]:
    """``details["costs"]`` as rows: call, AC, MAC, µJ, then MAC and µJ of the same layers as an ANN."""
    return [
        (
            call,
            f"{cost['accumulates']:,.0f}",
            f"{cost['multiply_accumulates']:,.0f}",
            f"{cost['microjoule']:.3g}",
            f"{cost['ann_multiply_accumulates']:,.0f}",
            f"{cost['ann_microjoule']:.3g}",
        )
        for call, cost in costs.items()
    ]


def comparison_text(score: Score) -> str:
    """How many images were compared with which."""
    if score.samples is None:
        return ""
    against = f" with {score.reference_count:,} of {score.reference}" if score.reference_count else ""
    return f"{score.samples:,}{against or (' of ' + score.reference if score.reference else '')}"


def extractor_text(score: Score) -> str:
    """The network and its weights, and what was done to the images' size."""
    named = f"{score.extractor} {score.weights_hash[:8]}" if score.extractor else ""
    return "; ".join(part for part in (named, score.image_size) if part)


def _columns(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return [lines[0], "  ".join("-" * width for width in widths), *lines[1:]]


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
