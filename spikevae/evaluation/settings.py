"""What to measure, and how. No torch, so that a command line can show it at once."""

from __future__ import annotations

import dataclasses
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

Metric = Literal[
    "fad", "domain", "sharpness", "labels", "reconstruction", "accuracy", "spikes", "copies",
    "fid", "kid", "is", "precision-recall",
]  # fmt: skip
Protocol = Literal["paper", "torch-fidelity"]

OF_FEATURES: tuple[Metric, ...] = ("fad", "domain", "sharpness", "fid", "kid", "is", "precision-recall")
OF_INCEPTION: tuple[Metric, ...] = ("fid", "kid", "is", "precision-recall")
OF_MODEL: tuple[Metric, ...] = ("labels", "reconstruction", "accuracy", "spikes")
ALL: tuple[Metric, ...] = (*OF_FEATURES, "copies", *OF_MODEL)


@dataclass(frozen=True)
class EvaluationConfig:
    """Settings of one evaluation.

    Raises:
        ValueError: if it is not one of a model and images that is measured, or a number is out of range.
    """

    model: Positional[str | None] = None
    """A bundled model's name, or the folder of one."""
    images: Path | None = None
    """Instead of a model: a folder of images or an .npz file, of anybody's."""
    data: str | None = None
    """The data set to compare with; otherwise the one that the model was trained on."""
    reference: Path | None = None
    """Instead of a data set's split: a folder of images or an .npz file to compare with."""
    metrics: tuple[Metric, ...] | None = None
    """What to measure; otherwise everything that can be."""
    protocol: Protocol = "paper"
    """paper: 5,000 samples, Inception after 32x32. torch-fidelity: 10,000, or as many as the split has, own size."""
    count: int | None = None
    """Samples; otherwise as the protocol says, or all if there are fewer. Distances shrink as the number grows."""
    split: Literal["test", "validation"] = "test"
    """The part of the data set to compare with. Choose between models on validation only."""
    seed: int = 0
    """Of the samples, and of every subset that is drawn."""
    data_root: str | None = None
    """Where the data sets lie or are downloaded to; otherwise $SPIKEVAE_DATA, otherwise the user's cache folder."""
    meters: Path | None = None
    """Folder with an autoencoder and a classifier, made by spikevae.evaluation.networks.train; else the bundled."""
    inception_weights: Path | None = None
    """torch-fidelity's Inception weights; otherwise its cache or its download."""
    inception_sha256: str | None = None
    """First digits of the SHA-256 that those weights have, if they are other weights than torch-fidelity's."""
    json: Path | None = None
    """Where to write all numbers and how they came about."""
    report: Path | None = None
    """Folder for a page with pictures, report.html."""

    def __post_init__(self) -> None:
        if (self.model is None) == (self.images is None):
            raise ValueError("give either a model or --images PATH to be measured")
        if self.images is not None and self.data is None and self.reference is None:
            raise ValueError("--images needs something to compare with: --data NAME or --reference PATH")
        if self.count is not None and self.count < 10:
            raise ValueError(
                f"count={self.count}: at least 10 images are needed, and distances mean little below 1,000"
            )
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed={self.seed} is outside 0 to 2^32 - 1")
        if self.metrics is not None and not self.metrics:
            raise ValueError(f"metrics is empty; choose from {', '.join(ALL)}")

    def command(self) -> str:
        """The command that does the same again."""
        words = ["spikevae", "evaluate"]
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value == field.default:
                continue
            if field.name == "model":
                words.append(str(value))
            else:
                values = value if isinstance(value, tuple) else (value,)
                words += [f"--{field.name.replace('_', '-')}", *map(str, values)]
        return shlex.join(words)
