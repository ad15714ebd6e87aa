"""The settings that a run folder keeps, and how they divided the data."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from spikevae.config import DataConfig, RunConfig, from_dict
from spikevae.hub.checkpoints import RELEASED, RUN_NAME, model_folder
from spikevae.presets import PRESETS


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
            folder had no such part, or did not draw it.
    """
    if part.origins is not None and name_or_folder is not None and has_changed(model_folder(name_or_folder), part):
        raise ValueError(
            f"{part.name} has changed since {name_or_folder} was trained on it: files were added, removed or renamed, "
            "or its parts are others. So what is held out now may have been learned; put it back as it was, or put the "
            "new files into another folder and give that"
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
    splits = ("validation", "test") if part.split == "train" else (part.split,)
    return any(former.get(split) != part.origins[split] for split in splits)


def is_same_data(first: str, second: str) -> bool:
    """Whether two names on the command line mean the same data; a folder can be spelt in several ways."""
    kinds, paths = zip(*(name.split(":", 1) if ":" in name else (name, "") for name in (first, second)), strict=True)
    if first == second or kinds[0] != kinds[1] or not all(paths):
        return first == second
    return bool(os.path.realpath(os.path.expanduser(paths[0])) == os.path.realpath(os.path.expanduser(paths[1])))


def trained_as(folder: Path) -> RunConfig | None:
    """How the model of a folder was trained: by its run, or a bundled model's preset; None if neither is there."""
    if (folder / RUN_NAME).is_file():
        return read_run(folder)
    if folder.parent == RELEASED and folder.name in PRESETS:
        return PRESETS[folder.name]
    return None
