"""Event data sets by name: where their recordings lie or how they are made, and how they are divided."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from spikevae.config import Split
from spikevae.data.checks import check_split
from spikevae.data.division import divide, sample
from spikevae.data.events.eventset import EventSet
from spikevae.data.events.files import read_all
from spikevae.data.events.frames import FrameConfig, kept_frames
from spikevae.data.events.made import simulated_digits, simulated_gestures, simulated_shapes
from spikevae.data.events.recording import Recording
from spikevae.data.events.sources import EventSource, cifar10_dvs, dvs128_gesture, from_folder, n_caltech101, n_mnist
from spikevae.files import in_home
from spikevae.text import did_you_mean

log = logging.getLogger(__name__)


def load_events(
    name: str,
    split: Split,
    *,
    root: Path | str,
    frames: FrameConfig | None = None,
    validation_share: float = 0.05,
    frames_folder: Path | None = None,
) -> EventSet:
    """One part of an event data set, cut into frames (the first time, which takes a while; then they are kept).

    The validation part is held out of the training split by a fixed permutation, the same for every training seed; a
    folder with a validation part brings its own.

    Args:
        name: one of `EVENT_DATASETS`, or ``events:FOLDER``.
        split: which part.
        root: where the data sets lie.
        frames: how recordings are cut.
        validation_share: share of the training split that is held out.
        frames_folder: where frames are kept; otherwise in the user's cache folder.

    Raises:
        ValueError: if data set or part is unknown, or it is too small, or a recording is not what its name says.
        OSError: if a file is missing or cannot be read.
    """
    check_split(split)
    source = _find(name)(Path(root), split == "test")
    kept = kept_frames(
        source.read, source.count, frames or FrameConfig(), key=source.key, name=name, folder=frames_folder
    )
    part = EventSet(kept, source.labels, name=name, split=split, class_names=source.class_names)
    part.origins = source.origins
    if split != "test":
        rows = _divided(source, validation_share)[0 if split == "train" else 1]
        if not len(rows):
            raise ValueError(
                f"{name}: {source.count} training recordings with validation_share={validation_share} leave none for "
                f"the {split} part; raise validation_share or add recordings"
            )
        if split == "train":
            _tell_of_lost_classes(source, rows, name)
        part = part.chosen(rows)
    return part


def _tell_of_lost_classes(source: EventSource, rows: Tensor, name: str) -> None:
    """Say so where all recordings of a class are held out, which happens to rare ones."""
    if source.labels is None:
        return
    left = set(source.labels[rows].tolist())
    lost = [class_name for label, class_name in enumerate(source.class_names) if label not in left]
    if lost:
        log.warning("%s: no recording of %s is left to learn from; add recordings", name, ", ".join(lost))


def _divided(source: EventSource, validation_share: float) -> tuple[Tensor, Tensor]:
    """Which recordings of a training split are its training part, and which its validation part."""
    if source.held_out:
        rows = torch.arange(source.count)
        return rows[: -source.held_out], rows[-source.held_out :]
    return divide(source.count, validation_share)


def load_recordings(name: str, split: Split, *, root: Path | str, count: int) -> list[tuple[Recording, int]]:
    """So many recordings of the training or the test split, or all, with their labels (-1 where there are none).

    They are drawn from all of them by `spikevae.data.division.sample`, since files of one class lie side by side.
    """
    check_split(split)
    source = _find(name)(Path(root), split == "test")
    rows = sample(source.count, count, source.labels).tolist()
    labels = [-1] * len(rows) if source.labels is None else source.labels[rows].tolist()
    if source.files:
        read = read_all([source.files[row] for row in rows])
    else:
        chosen = set(rows)
        read = (recording for row, recording in enumerate(source.read()) if row in chosen)
    return list(zip(read, labels, strict=True))


def _find(name: str) -> Callable[[Path, bool], EventSource]:
    if name.startswith("events:"):
        folder = in_home(name.removeprefix("events:"))
        return lambda root, is_test: from_folder(folder, is_test)
    if name in EVENT_DATASETS:
        return EVENT_DATASETS[name]
    known = [*EVENT_DATASETS, "events:FOLDER"]
    advice = did_you_mean(name, known) or f"use {', '.join(known)}"
    raise ValueError(f"there is no event data set {name!r}; {advice}")


EVENT_DATASETS: dict[str, Callable[[Path, bool], EventSource]] = {
    "n-mnist": n_mnist,
    "dvs128-gesture": dvs128_gesture,
    "cifar10-dvs": cifar10_dvs,
    "n-caltech101": n_caltech101,
    "sim-n-mnist": simulated_digits,
    "sim-gestures": simulated_gestures,
    "sim-shapes": simulated_shapes,
}
"""The training or the test split of each, read from a data root."""
