"""Make a run a released model: ``python -m spikevae.release runs/garments fashion-mnist``."""

from __future__ import annotations

import dataclasses
import json
import logging
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import tyro
from tyro.conf import Positional

from spikevae.evaluation.scores import read_scores_json
from spikevae.files import write_text
from spikevae.hub.card_metadata import ShownScore
from spikevae.hub.checkpoints import CARD_NAME, RELEASED, RUN_NAME, WEIGHTS_NAME, Precision, load, save_release
from spikevae.hub.measured import beside, measured_scores
from spikevae.hub.model_card import Training, model_card
from spikevae.hub.run_settings import read_run
from spikevae.text import printable
from spikevae.training.run_folder import STATS_NAME

log = logging.getLogger(__name__)
_LARGEST = 12_000_000  # bytes of a weights file


@dataclass(frozen=True)
class Release:
    """Copy the model of a finished run to the bundled ones, with a card. Run it again once ``scores.json`` is there."""

    run: Positional[Path]
    """Folder of the run."""
    name: Positional[str]
    """Name of the released model."""
    dataset: str | None = None
    """Data set to name, where the run read it from a folder."""
    note: str | None = None
    """What the card shall say of the training besides."""
    weights: Precision = "float16"
    """Kind of number of matrices and kernels: int8, with a scale for each row, halves the file; int4 has large matrices
    in 4 bits."""


def release(settings: Release, *, released: Path = RELEASED) -> Path:
    """Write a released model's folder and return it.

    Raises:
        FileNotFoundError: if the run holds no model.
        ValueError: if the name is no plain name, the run is not finished, or its weights are too large to be bundled.
            What was released before stays as it was.
    """
    config = read_run(settings.run)
    record = json.loads((settings.run / RUN_NAME).read_text(encoding="utf-8"))
    last = _last_epoch(settings.run / STATS_NAME)
    if last["epoch"] != config.train.epochs:
        raise ValueError(f"{settings.run} stands at epoch {last['epoch']} of {config.train.epochs}; finish it first")
    if settings.dataset is not None:
        config = dataclasses.replace(config, data=dataclasses.replace(config.data, dataset=settings.dataset))
    folder = _folder_of(settings.name, released)
    card = partial(
        model_card,
        config,
        Training(
            train_images=last["train_images"],
            validation_images=last["validation_images"],
            epoch=last["epoch"],
            seconds=float(last["seconds"]),
            machine=record["machine"],
            versions=record["versions"],
            validation=last["validation"],
        ),
        name=settings.name,
        commit=_commit(),
        note=settings.note,
    )
    released.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".", dir=released) as place:
        new = Path(place, settings.name)
        if folder.is_dir():
            shutil.copytree(folder, new)  # with what else is in it, such as its scores
        save_release(load(settings.run), new, dataset=config.data.dataset, card=card(), weights=settings.weights)
        if scores := measured_scores(folder, new / WEIGHTS_NAME):
            write_text(new / CARD_NAME, card(scores=_shown_scores(scores)))
        size = (new / WEIGHTS_NAME).stat().st_size
        if size > _LARGEST:
            raise ValueError(f"the weights take {size:,} bytes; a bundled model may take {_LARGEST:,}")
        load(new)  # it can be read
        _swap(new, folder, Path(place, "before"))
    return folder


def _folder_of(name: str, released: Path) -> Path:
    """Where a model of this name belongs; a name is no path."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
        raise ValueError(
            f"{printable(name)!r} is no name of a model; give letters, digits, dots, dashes, such as mnist-2"
        )
    folder = released / name
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise ValueError(f"{folder} is no folder; remove it, or give another name")
    return folder


def _swap(new: Path, folder: Path, aside: Path) -> None:
    """Put a whole folder in the place of another; where that fails, the other stays."""
    had_one = folder.exists()
    if had_one:
        folder.rename(aside)
    try:
        new.rename(folder)
    except OSError:
        if had_one:
            aside.rename(folder)
        raise


def _last_epoch(stats: Path) -> dict[str, Any]:
    lines = [json.loads(line) for line in stats.read_text(encoding="utf-8").splitlines()]
    epochs: list[dict[str, Any]] = [line for line in lines if "epoch" in line]
    if not epochs:
        raise ValueError(f"{stats} tells of no finished epoch")
    return epochs[-1]


def _shown_scores(path: Path) -> list[ShownScore]:
    """What the card shows: scores on a test split, none of other images."""
    measured = read_scores_json(path)
    if measured.split != "test":
        other = "the validation part" if measured.split else measured.data
        log.warning("%s compares with %s and no test split, so the card leaves it out", path, other)
        return []
    costs = measured.details.get("costs", {})
    return [
        ShownScore(
            score.metric,
            score.name or score.metric,
            f"{score.value:.4g}"
            + (f" ± {score.error:.2g}" if score.error else "")
            + beside(dataclasses.asdict(score), costs),
        )
        for score in measured.scores
        if score.value is not None and not score.has_other_weights
    ]


def _commit() -> str | None:
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


if __name__ == "__main__":
    try:
        made = release(tyro.cli(Release, prog="python -m spikevae.release"))
    except (ValueError, OSError) as error:
        sys.exit(f"spikevae: {printable(error, 1000)}")
    print(f"{made} is written ({', '.join(sorted(path.name for path in made.iterdir()))})")
