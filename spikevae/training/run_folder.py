"""A run folder: settings, statistics, previews, and the state that an interrupted run goes on from."""

from __future__ import annotations

import json
import logging
import platform
import shlex
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import accelerate
import torch
from torch import Tensor

import spikevae
from spikevae.config import RunConfig, from_dict, to_dict
from spikevae.data.images import save_images
from spikevae.hub.checkpoints import write_atomically
from spikevae.runtime import machine

log = logging.getLogger(__name__)

STATE_NAME = "state.pt"
RUN_NAME = "run.json"
STATS_NAME = "stats.jsonl"
LOCK_NAME = "lock"
_FORMER_PARTS = {"discriminator": "critic", "discriminator_optimizer": "critic_optimizer"}  # names in a saved state


class TrainingError(RuntimeError):
    """Training cannot go on; the message says why and what is kept."""


@dataclass
class Progress:
    """How far a run has come."""

    epoch: int = 0
    """Epochs done."""
    batches_done: int = 0
    """Batches done of the epoch after them."""
    images_seen: int = 0
    seconds: float = 0.0
    """Time that training took, over all sittings."""


def library_versions() -> dict[str, str]:
    """Versions that a run depends on."""
    return {
        "spikevae": spikevae.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "accelerate": accelerate.__version__,
    }


def describe_run(config: RunConfig, run: Path) -> None:
    """Write what a run folder needs to explain itself: settings, versions and the command."""
    run.mkdir(parents=True, exist_ok=True)
    record = {
        "config": to_dict(config),
        "command": shlex.join(["spikevae", *sys.argv[1:]]),
        "machine": machine(),
        "versions": library_versions(),
    }
    text = json.dumps(record, indent=2) + "\n"
    write_atomically(run / RUN_NAME, lambda path: path.write_text(text, encoding="utf-8"))


def read_run(run: Path) -> RunConfig:
    """The settings of a run folder.

    Raises:
        FileNotFoundError: if it holds no run.
        ValueError: if its settings are not what this version writes.
    """
    path = run / RUN_NAME
    if not path.is_file():
        raise FileNotFoundError(f"{run} holds no run to resume: {RUN_NAME} is missing")
    try:
        return from_dict(RunConfig, json.loads(path.read_text(encoding="utf-8"))["config"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: {error}") from None


# ---------------------------------------------------------------- statistics


def append_statistics(run: Path, entry: Mapping[str, Any]) -> None:
    """Add a line to the statistics."""
    with (run / STATS_NAME).open("a", encoding="utf-8") as stats:
        stats.write(json.dumps(entry) + "\n")


def drop_statistics_after(run: Path, progress: Progress) -> None:
    """Drop the lines of what was done after the last state was saved, since it is done again."""
    path = run / STATS_NAME
    if not path.exists():
        return
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = "".join(line for line in lines if _is_done(line, progress))
    if kept != "".join(lines):
        write_atomically(path, lambda new: new.write_text(kept, encoding="utf-8"))


def _is_done(line: str, progress: Progress) -> bool:
    try:
        entry = json.loads(line)
    except ValueError:  # a power cut left half of it
        return False
    return bool(entry.get("images_seen", 0) <= progress.images_seen and entry.get("epoch", 0) <= progress.epoch)


# ---------------------------------------------------------------- previews


def save_previews(run: Path, epoch: int, samples: Tensor, originals: Tensor, reconstructions: Tensor) -> None:
    """Write a picture of samples, and one of held-out images, each beside its reconstruction."""
    folder = run / "previews"
    folder.mkdir(exist_ok=True)
    save_images(samples, folder / f"samples-{epoch:04d}.png")
    save_images(reconstructions, folder / f"reconstructions-{epoch:04d}.png", originals)


# ---------------------------------------------------------------- saved state


def save_state(run: Path, networks: Mapping[str, Any], progress: Progress) -> None:
    """Write what a run goes on from: the states of its networks and optimizers, and how far it has come."""
    state = {**networks, **asdict(progress)}
    write_atomically(run / STATE_NAME, lambda path: torch.save(state, path))


def load_state(run: Path) -> tuple[dict[str, Any], Progress] | None:
    """What :func:`save_state` wrote; None if there is none yet.

    Raises:
        TrainingError: if the file is damaged. Nothing in it is executed.
    """
    path = run / STATE_NAME
    if not path.exists():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        progress = Progress(**{name: state.pop(name) for name in Progress.__dataclass_fields__})
        networks = {name: state.pop(former) for name, former in _FORMER_PARTS.items() if former in state}
    except Exception as error:
        raise damaged_state(run, error) from error
    log.info("resumed %s after %d images", run, progress.images_seen)
    return state | networks, progress


def damaged_state(run: Path, error: Exception) -> TrainingError:
    """What to say of a state that cannot be gone on from."""
    reason = next(iter(str(error).splitlines()), type(error).__name__)
    return TrainingError(f"{run / STATE_NAME} is damaged or of another model and cannot be resumed: {reason}")
