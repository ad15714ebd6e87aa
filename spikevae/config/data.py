"""Which data to learn from."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

from tyro.conf import Suppress, arg

from spikevae.config.checks import require_types
from spikevae.config.model import ModelConfig, SliceBy

Split = Literal["train", "validation", "test"]


@dataclass(frozen=True)
class DataConfig:
    """Which images to learn from."""

    dataset: Suppress[str] = "fashion-mnist"  # the command line's own argument
    """fashion-mnist, mnist, cifar10, celeba, another one that was registered, or folder:PATH for one's own pictures;
    n-mnist and other event data (docs/events.md), or events:FOLDER for one's own recordings."""
    data_root: Suppress[str | None] = None  # likewise
    """Where the data sets lie or are downloaded to; otherwise $SPIKEVAE_DATA, otherwise the user's cache folder."""
    image_size: int | None = None
    """Height and width that images are cropped and resized to; otherwise the data set's own (folders: 64)."""
    image_width: Suppress[int | None] = field(default=None, metadata={"before": None})  # in a run the model's, as below
    """Width of event frames that are not square; otherwise the image size."""
    time_steps: Suppress[int | None] = field(default=None, metadata={"before": None})
    """T, frames that an event recording is cut into; otherwise 10."""
    slice_by: Suppress[SliceBy | None] = field(default=None, metadata={"before": None})
    """Frames with equally many events ("number", also if None), or of equal duration ("time")."""
    also: str | None = field(default=None, metadata={"before": None})
    """Another event data set of the same classes, whose training split is learned from too: sim-n-mnist, of n-mnist."""
    validation_share: float = 0.05
    """Share of the training split that is held out of training, for choosing between models."""
    unlabelled: Annotated[bool, arg(aliases=("--unlabelled",))] = field(default=False, metadata={"before": True})
    """Ignore that the subfolders of a folder:PATH are classes."""

    def __post_init__(self) -> None:
        require_types(self)
        if not 0 <= self.validation_share < 1:
            raise ValueError(f"validation_share={self.validation_share} is outside [0, 1)")
        if self.image_size is not None and self.image_size < 4:
            raise ValueError(f"image_size={self.image_size} is smaller than 4 pixels")

    def taken_by(self, model: ModelConfig) -> DataConfig:
        """The same data set in the sizes of a network; recordings in its frames."""
        fitted = replace(self, image_size=model.image_size)
        if not model.takes_events:
            return fitted
        return replace(fitted, image_width=model.image_width, time_steps=model.time_steps, slice_by=model.slice_by)


def own_place(dataset: str) -> str | None:
    """The path behind ``folder:`` or ``events:``, as it was given; None for a data set with a name."""
    kind, colon, place = dataset.partition(":")
    return place if colon and kind in ("folder", "events") else None
