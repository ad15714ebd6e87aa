"""A run folder: settings, statistics, previews, and the state that an interrupted run goes on from."""

from __future__ import annotations

import json
import logging
import os
import shlex
import sys
import zipfile
from collections.abc import Callable, Mapping, Set
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import UInt8
from torch import Tensor

from spikevae.config import RunConfig, to_dict
from spikevae.data.division import some
from spikevae.data.events.frames import FrameConfig
from spikevae.data.events.writers import save_recordings
from spikevae.data.images import save_images
from spikevae.files import files_of_model, refuse_standard_output, write_atomically, write_text
from spikevae.hub.checkpoints import RUN_NAME, WEIGHTS_NAME, save_release, write_weights
from spikevae.hub.model_card import Training, model_card
from spikevae.hub.run_settings import has_changed
from spikevae.nn.event_vae import SpikingEventVAE
from spikevae.nn.networks import Network
from spikevae.nn.vae import SpikingVAE
from spikevae.runtime import machine
from spikevae.versions import library_versions

log = logging.getLogger(__name__)

STATE_NAME = "state.pt"
STATS_NAME = "stats.jsonl"
LOCK_NAME = "lock"
_PREVIEW_COUNT = 32  # held-out images
_STRIPS = 8  # held-out recordings
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


def check_run_place(run: Path) -> None:
    """Refuse a folder that a new run cannot be written to, before work is done for it.

    Raises:
        FileExistsError: if the folder already holds a run, or a file that one would write over.
        OSError: if it cannot be written to.
        ValueError: if it is "-".
    """
    refuse_standard_output(run)
    if (run / RUN_NAME).exists():
        resumed = f"go on with {_resume(run)}"
        raise FileExistsError(f"{run} already holds a run; {resumed}, or choose another --out")
    for path in files_of_model(run):
        if os.path.lexists(path):
            raise FileExistsError(f"{run} holds {path.name}, which a new run would write over; choose another --out")
    existing = next(path for path in (run, *run.absolute().parents) if os.path.lexists(path))
    if not existing.is_dir():
        raise NotADirectoryError(f"{run} cannot be made: {existing} is not a folder; choose another --out")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise PermissionError(f"{run} cannot be written: no permission for {existing}; choose another --out")


def describe_run(
    config: RunConfig, run: Path, counts: Mapping[str, int] | None = None, origins: Mapping[str, str] | None = None
) -> None:
    """Write what a run folder needs to explain itself: settings, versions, command, and which images it has.

    Args:
        config: its settings.
        run: its folder.
        counts: how many images there are, by name.
        origins: as :attr:`ImageSet.origins`.
    """
    record = {
        "config": to_dict(config),
        "command": shlex.join(["spikevae", *sys.argv[1:]]),
        "machine": machine(),
        "versions": library_versions(),
        "images": dict(counts or {}),
        "origins": origins,
    }
    write_text(run / RUN_NAME, json.dumps(record, indent=2) + "\n")


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
    _require_file(path)
    lines = path.read_bytes().splitlines(keepends=True)
    kept = b"".join(line for line in lines if _is_done(line, progress))
    if kept != b"".join(lines):
        write_atomically(path, lambda new: new.write_bytes(kept))


def require_same_images(run: Path, counts: Mapping[str, int], part: Any) -> None:
    """Refuse to go on with a data set that has changed: another division would train on what was held out.

    Args:
        run: its folder, which says what it began with.
        counts: how many images there are now, by the same names.
        part: those to learn from.

    Raises:
        ValueError: if they differ.
    """
    former = _former_counts(run, counts.keys())
    if former and former != dict(counts):
        before, now = (
            ", ".join(f"{value:,} {name.replace('_', ' ')}" for name, value in numbers.items())
            for numbers in (former, counts)
        )
        raise ValueError(
            f"{run} was started with {before}, and now there are {now}; "
            "put back the data and the version of spikevae that it had, or start a new run"
        )
    if has_changed(run, part):
        raise ValueError(
            f"{part.name} has changed since {run} began: files were renamed, or its parts are others; "
            "put it back as it was, or start a new run"
        )


def _former_counts(run: Path, names: Set[str]) -> dict[str, int]:
    """The numbers of images that a run began with; of one that an earlier version began, those of its last epoch."""
    found = json.loads((run / RUN_NAME).read_text(encoding="utf-8")).get("images")
    found = found if isinstance(found, dict) and all(isinstance(count, int) for count in found.values()) else {}
    path = run / STATS_NAME
    entries = (json.loads(line) for line in reversed(path.read_bytes().splitlines() if path.is_file() else []))
    entry: dict[str, int] = found or next((entry for entry in entries if names <= entry.keys()), {})
    return {name: entry[name] for name in names if name in entry}


def _is_done(line: bytes, progress: Progress) -> bool:
    try:
        entry = json.loads(line)
        return bool(entry.get("images_seen", 0) <= progress.images_seen and entry.get("epoch", 0) <= progress.epoch)
    except (ValueError, TypeError, AttributeError, RecursionError):  # half a line after a power cut, or no line of ours
        return False


# ---------------------------------------------------------------- the model


def publish(run: Path, model: Network, config: RunConfig, **progress: Any) -> None:
    """Write the model with its card; ``progress`` is what `Training` says of a run, beside machine and versions."""
    training = Training(machine=machine(), versions=library_versions(), **progress)
    save_release(model, run, dataset=config.data.dataset, card=model_card(config, training))


def save_previews(run: Path, model: Network, epoch: int, held_out: Any) -> None:
    """Write pictures of new images or recordings, and of held-out ones with their reconstructions, if there are any."""
    if isinstance(model, SpikingVAE):
        _save_grids(run, model, epoch, some(held_out, _PREVIEW_COUNT).images())
    elif isinstance(model, SpikingEventVAE):
        _save_strips(run, model, epoch, some(held_out, _STRIPS).frames())


def _save_grids(run: Path, model: SpikingVAE, epoch: int, originals: UInt8[Tensor, "N C H W"]) -> None:
    """Write a picture of samples, and one of held-out images beside their reconstructions."""
    folder = run / "previews"
    folder.mkdir(exist_ok=True)
    x = originals.float() / 255
    save_images(model.sample(64, seed=0).cpu(), folder / f"samples-{epoch:04d}.png")
    reconstructions = model.reconstruct(x.to(model.device)).cpu()
    save_images(reconstructions, folder / f"reconstructions-{epoch:04d}.png", x)


def _save_strips(run: Path, model: SpikingEventVAE, epoch: int, originals: UInt8[Tensor, "N T 2 H W"]) -> None:
    """Write film strips: of samples, and of held-out recordings each above its reconstruction."""
    folder = run / "previews"
    folder.mkdir(exist_ok=True)
    frames = FrameConfig.taken_by(model.config)
    save_recordings(model.sample_events(2 * len(originals)), folder / f"samples-{epoch:04d}.png", frames=frames)
    expected = model.reconstruct(originals.transpose(0, 1).float().to(model.device)).cpu()
    made = model.recordings(expected.unbind(1))
    save_recordings(made, folder / f"reconstructions-{epoch:04d}.png", frames=frames, originals=originals.numpy())


# ---------------------------------------------------------------- saved state


def save_state(run: Path, networks: Mapping[str, Any], progress: Progress) -> None:
    """Write what a run goes on from: the states of its networks and optimizers, and how far it has come."""
    state = {**networks, **asdict(progress)}
    write_weights(run / STATE_NAME, lambda path: torch.save(state, path))


def load_state(run: Path) -> tuple[dict[str, Any], Progress] | None:
    """What :func:`save_state` wrote; None if there is none yet.

    Raises:
        TrainingError: if the file is damaged, or missing beside a trained model. Nothing in it is executed.
    """
    path = run / STATE_NAME
    if not os.path.lexists(path):
        if (run / WEIGHTS_NAME).exists() and (run / STATS_NAME).exists():
            raise TrainingError(
                f"{path} is missing; without it training would start anew and write over the model in {run}. "
                "Put it back if there is a copy; otherwise start a new run with another --out"
            )
        return None
    _require_file(path)
    try:
        with zipfile.ZipFile(path) as archive:  # torch writes checksums, but does not look at them
            damaged = archive.testzip()
        if damaged is not None:
            raise ValueError(f"the checksum of {damaged} is wrong")
        state = torch.load(path, map_location="cpu", weights_only=True)
        progress = _progress_of(state)
        networks = {name: state.pop(former) for name, former in _FORMER_PARTS.items() if former in state}
    except Exception as error:
        raise _damaged_state(run, error) from error
    log.info("resumed %s after %d images", run, progress.images_seen)
    return state | networks, progress


def resume(run: Path, take: Callable[[dict[str, Any]], None]) -> Progress:
    """Give the saved state of networks and optimizers to ``take``, if there is one; how far the run has come.

    Raises:
        TrainingError: as for :func:`load_state`, and if they do not take it.
    """
    found = load_state(run)
    if found is None:
        return Progress()
    state, progress = found
    try:
        take(state)
    except Exception as error:
        raise _damaged_state(run, error) from error
    return progress


def what_is_kept(run: Path, *, may_go_on: bool = True) -> str:
    """What to say of a training that ended early; ``may_go_on``: whether it would not end so again."""
    if not (run / STATE_NAME).is_file():
        return "no state was saved yet"
    return "the last saved state is kept" + (f", go on with {_resume(run)}" if may_go_on else "")


def _resume(run: Path) -> str:
    """The words of a command that goes on with it, as a shell takes them."""
    return shlex.join(["--resume", str(run)])


def _progress_of(state: dict[str, Any]) -> Progress:
    """Take how far a run has come out of its saved state."""
    found: dict[str, Any] = {}
    for name, kind in (("epoch", int), ("batches_done", int), ("images_seen", int), ("seconds", float)):
        value = state.pop(name, None)
        if type(value) is not kind or not 0 <= value < 2**63:
            raise ValueError(f"{name}={value!r} is not a number of type {kind.__name__}")
        found[name] = value
    return Progress(**found)


def _require_file(path: Path) -> None:
    """Refuse a device or a pipe, whose reading may never end."""
    if not path.is_file():
        raise TrainingError(f"{path} is not a regular file; remove it, or go on with a copy of the run")


def _damaged_state(run: Path, error: Exception) -> TrainingError:
    """What to say of a state that cannot be gone on from."""
    reason = next(iter(str(error).splitlines()), type(error).__name__)
    return TrainingError(f"{run / STATE_NAME} is damaged or of another model and cannot be resumed: {reason}")
