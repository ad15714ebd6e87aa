"""The settings that a run folder keeps, and how they divided the data."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from spikevae.config import DataConfig, RunConfig, Split, from_dict, own_place
from spikevae.data.parts import parts_of
from spikevae.hub.checkpoints import RELEASED, RUN_NAME, model_folder
from spikevae.presets import PRESETS

_INSTEAD: dict[Split, tuple[Split, ...]] = {
    "train": (),
    "validation": ("validation",),
    "test": ("test", "validation"),
}
"""The parts that serve for each, the first that there is; otherwise it is drawn from the part for training."""


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
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{path}: {error}") from None


def anywhere(config: RunConfig) -> RunConfig:
    """The settings, wherever the data lies."""
    return replace(config, data=replace(config.data, data_root=None))


def data_divided_for(
    name_or_folder: str | os.PathLike[str] | None, dataset: str, *, unlabelled: bool = False
) -> DataConfig:
    """A data set, divided as it was for the training of a model: by its run folder, or a bundled model's preset.

    So what was held out of training is what a split for validation gives, and no other split holds what was learned.

    Args:
        name_or_folder: a bundled name, or a release or run folder; None for a model in memory.
        dataset: as the command line names it; another one than the model's is divided as usual.
        unlabelled: of a data set that the model was not trained on, or not known to be.
    """
    trained = None if name_or_folder is None else trained_as(model_folder(name_or_folder))
    trained_on = None if trained is None else trained.data
    if trained_on is not None and is_same_data(trained_on.dataset, dataset):
        return replace(trained_on, dataset=dataset)
    return DataConfig(dataset=dataset, unlabelled=unlabelled)


def require_same_division(name_or_folder: str | os.PathLike[str] | None, part: Any) -> None:
    """Refuse a part of a folder that has changed since a model learned from it, and is divided otherwise.

    Args:
        name_or_folder: as in :func:`data_divided_for`.
        part: an ``ImageSet`` or ``EventSet`` that was read with its settings.

    Raises:
        ValueError: if the files that the part is drawn from have other names or another number than they had, or the
            folder had no such part, or did not draw it; or if it lies in the folder that the model learned from, or
            that in it.
    """
    if part.origins is None or name_or_folder is None:
        return
    folder = model_folder(name_or_folder)
    if has_changed(folder, part):
        raise ValueError(
            f"{part.name} has changed since {name_or_folder} was trained on it: files were added, removed or renamed, "
            "or its parts are others. So what is held out now may have been learned; put it back as it was, or put the "
            "new files into another folder and give that"
        )
    trained = trained_as(folder)
    if trained is not None and share_files(trained.data.dataset, part.name, held_out_beside(part.split)):
        raise ValueError(
            f"{part.name} shares files with {trained.data.dataset}, which {name_or_folder} learned from and which is "
            "divided otherwise. So what is held out now may have been learned; give that folder itself, or another "
            "that lies elsewhere"
        )


def has_changed(run: Path, part: Any) -> bool:
    """Whether the folder that a part was read from is divided otherwise than when a run began.

    Of the training part that means either of the others. An older run, and one on other data, say nothing.
    """
    path = run / RUN_NAME
    if part.origins is None or not path.is_file() or not is_same_data(read_run(run).data.dataset, part.name):
        return False
    former = json.loads(path.read_text(encoding="utf-8")).get("origins")
    if not isinstance(former, dict):
        return False
    return any(former.get(split) != part.origins[split] for split in held_out_beside(part.split))


def held_out_beside(split: Split) -> tuple[Split, ...]:
    """The parts on which it depends whether this one may be measured on: itself, or of the training part the others."""
    return ("validation", "test") if split == "train" else (split,)


def is_same_data(first: str, second: str) -> bool:
    """Whether two names on the command line mean the same data; a folder can be spelt in several ways."""
    kinds, paths = zip(*(name.split(":", 1) if ":" in name else (name, "") for name in (first, second)), strict=True)
    if first == second or kinds[0] != kinds[1] or not all(paths):
        return first == second
    places = [_whole_of(path) if kinds[0] == "folder" else path for path in map(_in_home, paths)]
    return os.path.realpath(places[0]) == os.path.realpath(places[1])


def share_files(learned: str, other: str, splits: Iterable[Split]) -> bool:
    """Whether parts of a folder lie in the folder that a model learned from, or that in them; else than the same data.

    Args:
        learned: as on the command line, what the model was trained on.
        other: the folder that the parts are of.
        splits: which of them.
    """
    if is_same_data(learned, other) or learned.partition(":")[0] != other.partition(":")[0]:
        return False
    if not (own_place(learned) and own_place(other)):
        return False
    taught = _places_of(learned, "train")
    return any(
        inner.is_relative_to(outer)
        for split in splits
        for one, another in itertools.product(taught, _places_of(other, split))
        for inner, outer in ((one, another), (another, one))
        if inner.is_dir()
    )


def _places_of(name: str, split: Split) -> tuple[Path, Path]:
    """Where the files of a part stand, and where links lead from there."""
    path = _in_home(own_place(name) or "")
    with contextlib.suppress(OSError):
        found = parts_of(path)[1]
        path = next((found[part] for part in (*_INSTEAD[split], "train") if part in found), path)
    return Path(os.path.abspath(path)), Path(os.path.realpath(path))


def _whole_of(path: Path) -> Path:
    """The folder itself, or if it is named as a part and others lie beside it, the one that they all lie in."""
    with contextlib.suppress(OSError):
        return parts_of(path)[0]
    return path


def _in_home(path: str) -> Path:
    return Path(os.path.expanduser(path))


def trained_as(folder: Path) -> RunConfig | None:
    """How the model of a folder was trained: by its run, or a bundled model's preset; None if neither is there."""
    if (folder / RUN_NAME).is_file():
        return read_run(folder)
    if folder.parent == RELEASED and folder.name in PRESETS:
        return PRESETS[folder.name]
    return None
