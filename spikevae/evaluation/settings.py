"""What to measure, and how. No torch, so that a command line can show it at once."""

from __future__ import annotations

import dataclasses
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import Positional, arg

from spikevae.config.checks import require_types

Protocol = Literal["paper", "torch-fidelity"]
BUILT_IN = (
    "fad", "fid", "fad_papers", "domain", "sharpness", "kid", "is", "precision-recall",
    "copies", "labels", "reconstruction", "accuracy", "spikes",
)  # fmt: skip
"""Names of the metrics that come with the package, for the help; `spikevae.evaluation.metrics.METRICS` has all."""


@dataclass(frozen=True)
class EvaluationConfig:
    """Settings of one evaluation.

    Raises:
        ValueError: if it is not one of a model and images that is measured, or a number is out of range.
    """

    model: Positional[Annotated[str | None, arg(metavar="[MODEL]")]] = None
    """A bundled model's name, hf:USER/NAME of the Hugging Face hub, or the folder of one."""
    images: Path | None = None
    """Instead of a model: a folder or .zip of images, an .npz or an .npy file, made by any program."""
    data: str | None = None
    """The data set to compare with, or folder:PATH; otherwise the one that the model was trained on."""
    reference: Path | None = None
    """Instead of a data set's split: images to compare with, in the same forms as --images."""
    metrics: Annotated[tuple[str, ...] | None, arg(metavar="{" + ",".join(BUILT_IN) + "} [...]")] = None
    """What to measure; otherwise everything that can be. Of recordings: accuracy, spikes, reconstruction, domain,
    statistics."""
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
    networks: Annotated[Path | None, arg(aliases=["--meters"])] = None
    """Domain networks to compare in: a folder made by spikevae.evaluation.networks.train; otherwise the bundled ones
    of the data set, or of the data that the model was trained on."""
    fad_autoencoder: Path | None = None
    """The papers' FAD: weights of FSVAE's autoencoder (fashion_64.pth or mnist_64.pth of its repository)."""
    fad_statistics: Path | None = None
    """The papers' FAD: FSVAE's statistics of the test split (fashion_test_64.npz or mnist_test_64.npz)."""
    inception_weights: Path | None = None
    """torch-fidelity's Inception weights; otherwise its cache or its download."""
    inception_sha256: str | None = None
    """First digits of the SHA-256 that those weights have, if they are other weights than torch-fidelity's."""
    device: str | None = None
    """cpu, cuda or mps; otherwise the best that is there."""
    json: Path | None = None
    """Where to write all numbers and how they came about; without it no file is written."""
    merge: bool = False
    """Keep what the --json file holds of the same model, and replace only what is measured now."""
    report: Path | None = None
    """Folder for a page with pictures, report.html."""

    def __post_init__(self) -> None:
        require_types(self)
        if (self.model is None) == (self.images is None):
            raise ValueError("give either a model or --images PATH to be measured")
        if self.images is not None and self.data is None and self.reference is None:
            raise ValueError("--images needs something to compare with: --data NAME or --reference PATH")
        if self.reference is not None and self.split != "test":
            raise ValueError(
                f"--split {self.split} goes with --data; all of --reference is compared with, leave one out"
            )
        if (self.fad_autoencoder is None) != (self.fad_statistics is None):
            raise ValueError("--fad-autoencoder and --fad-statistics go together; give both files")
        if self.merge and (self.json is None or not self.json.is_file()):
            raise ValueError("--merge needs --json with a file of scores that is there")
        if self.count is not None and self.count < 10:
            raise ValueError(
                f"count={self.count}: at least 10 images are needed, and distances mean little below 1,000"
            )
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed={self.seed} is outside 0 to 2^32 - 1")
        if self.metrics is not None and not self.metrics:
            raise ValueError(f"metrics is empty; choose from {', '.join(BUILT_IN)}")

    def command(self) -> str:
        """The command that does the same."""
        model = [] if self.model is None else [str(self.model)]
        return shlex.join(["spikevae", "evaluate", *model, *options_of(self, but=("model",))])


def options_of(settings: Any, but: tuple[str, ...]) -> list[str]:
    """Words of a command line for the settings that are not their defaults, less those that ``but`` names."""
    words = []
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if field.name in but or value == field.default:
            continue
        words.append(f"--{field.name.replace('_', '-')}")
        if value is not True:
            words += map(str, value if isinstance(value, tuple) else (value,))
    return words
