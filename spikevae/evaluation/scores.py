"""What an evaluation gives back: values with all that a reader needs to trust them, and how they are kept as JSON."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from filelock import FileLock

from spikevae.files import write_text

_FORMER_KEYS = {"subject": "model", "subject_hash": "weights_hash", "floors": "baselines"}
OTHER_WEIGHTS = "OTHER WEIGHTS"
"""In the name of an extractor whose weights are not the published ones of its name."""
_COLUMNS = ("microjoule", "microjoule_folded", "ann_microjoule")


@dataclass(frozen=True)
class Score:
    """One number, and how it came about."""

    metric: str
    """Its key, the same for all models."""
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
    name: str = ""
    """What a table calls it."""
    command: str = ""
    """What gave this number, where that is not the command of the whole."""

    @property
    def has_other_weights(self) -> bool:
        """Whether other weights than the published ones gave it, so that it compares with no published number."""
        return OTHER_WEIGHTS in self.extractor


@dataclass(frozen=True)
class Baseline:
    """The same metric for images that are as good, or as bad, as they come."""

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

    model: str
    """The model's name, or the path of the images."""
    weights_hash: str
    """SHA-256 of the file of the model's weights; of a model in memory ``memory:`` and that of its weights; empty for
    images."""
    data: str
    """The data set that was compared with, or the images that ``--reference`` names."""
    protocol: str
    seed: int
    command: str
    """What to run to get the same numbers."""
    versions: dict[str, str]
    scores: tuple[Score, ...]
    baselines: tuple[Baseline, ...] = ()
    details: dict[str, Any] = field(default_factory=dict)
    """Tables: per class, confusion matrix, firing rates, operations, nearest neighbours."""
    split: str = "test"
    """The part of the data set; empty where ``--reference`` names the images."""

    def __getitem__(self, metric: str) -> Score:
        for score in self.scores:
            if score.metric == metric:
                return score
        raise KeyError(metric)

    def value(self, metric: str) -> float | None:
        """The value of a metric, or None if it was not computed or not asked for."""
        return next((score.value for score in self.scores if score.metric == metric), None)

    @property
    def costs(self) -> dict[str, dict[str, float]]:
        """Energy of one sample and one classification in microjoule, in three columns (see docs/energy.md)."""
        found = self.details.get("costs", {})
        return {
            call: {column: found[call][column] for column in _COLUMNS if column in found[call]}
            for call in ("sample", "classify")
            if call in found
        }

    def check_goes_with(self, earlier: Scores) -> None:
        """Refuse to merge with scores of something else.

        Raises:
            ValueError: if they are of another model, other weights, other images, other data, another part of it,
                or by another protocol.
        """
        for name in ("weights_hash", "data", "split", "protocol", *(() if self.weights_hash else ("model",))):
            before, now = getattr(earlier, name), getattr(self, name)
            if before != now:
                raise ValueError(f"the scores to be merged with have {name} {before}, these have {now}")

    def merged_into(self, earlier: Scores) -> Scores:
        """The earlier scores, with those that were measured now in their places; what could not be measured stays.

        Raises:
            ValueError: as `check_goes_with`.
        """
        self.check_goes_with(earlier)
        current = {
            score.metric: replace(score, command=self.command)
            for score in self.scores
            if score.value is not None or earlier.value(score.metric) is None
        }
        measured = set(current)
        kept = [current.pop(score.metric, score) for score in earlier.scores]
        return replace(
            earlier,
            scores=(*kept, *current.values()),
            baselines=(*(one for one in earlier.baselines if one.metric not in measured), *self.baselines),
            details={**earlier.details, **self.details},
        )


@contextmanager
def alone_with(path: Path) -> Iterator[None]:
    """Keep other commands from changing a file meanwhile, by a lock beside it that is gone afterwards."""
    lock = path.with_name(f".{path.stem[:40]}.lock")
    with FileLock(lock):
        try:
            yield
        finally:
            with suppress(OSError):  # as where an open file cannot be deleted
                lock.unlink()


def merge_scores_json(scores: Scores, path: Path) -> None:
    """Merge into the scores that a file has by now, whatever other commands merged into it since they were begun.

    Raises:
        ValueError, OSError: as `Scores.check_goes_with`, or if the file cannot be read or written.
    """
    with alone_with(path):
        write_scores_json(scores.merged_into(read_scores_json(path)), path)


def write_scores_json(scores: Scores, path: Path) -> None:
    """Write everything to a JSON file, whole or not at all."""
    values = asdict(scores)
    values["costs"] = scores.costs  # where other programs look for it
    write_text(path, json.dumps(_without_nan(values), indent=1, ensure_ascii=False) + "\n")


def read_scores_json(path: Path) -> Scores:
    """Read what ``write_scores_json`` wrote, also what earlier versions wrote.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not such a file.
    """
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        values = {_FORMER_KEYS.get(key, key): value for key, value in stored.items() if key != "costs"}
        values["scores"] = tuple(Score(**score) for score in values["scores"])
        values["baselines"] = tuple(Baseline(**baseline) for baseline in values["baselines"])
        return Scores(**(values if "split" in values else values | _compared_with(values["command"])))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        command = f"spikevae evaluate … --json {shlex.quote(str(path))}"
        raise ValueError(f"{path} holds no scores: write it with `{command}`") from error


def _compared_with(command: str) -> dict[str, str]:
    """What earlier versions did not write, or wrote wrongly: the part of the data, or the images of ``--reference``."""
    words = shlex.split(command)
    given = dict(pairwise(words))
    if "--reference" in given:
        return {"data": given["--reference"], "split": ""}
    return {"split": given.get("--split", "test")}


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    if hasattr(value, "tolist"):  # tables of metrics of one's own may be tensors, or arrays of numpy
        return _without_nan(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value
