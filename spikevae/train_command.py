"""The command that trains a model, whose defaults are those of a preset."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import io
import itertools
import logging
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import Positional, arg

from spikevae.config import RunConfig
from spikevae.console import say
from spikevae.options import DataRoot
from spikevae.presets import PRESETS, preset_for


def train_command(default: RunConfig) -> Callable[..., None]:
    """The train command with a preset's settings as its defaults."""

    def train(
        dataset: Positional[Annotated[str, arg(metavar="DATASET")]],
        *,
        preset: Annotated[Literal[tuple(PRESETS)], arg(metavar="P")] | None = None,  # type: ignore[valid-type]
        out: Path | None = None,
        resume: Path | None = None,
        data_root: DataRoot = None,
        settings: Annotated[RunConfig, arg(name="")] = default,
    ) -> None:
        """Train a model. Interrupt it whenever you like; --resume goes on.

        Examples:
            spikevae train fashion-mnist --out runs/garments
            spikevae train fashion-mnist --resume runs/garments
            spikevae train folder:pictures --out runs/mine --train.epochs 50

        Args:
            dataset: fashion-mnist, mnist, cifar10, celeba, or folder:PATH for any folder of images; n-mnist and other
                event data, or events:FOLDER for recordings.
            preset: Settings to start from; otherwise those made for the data set. The defaults below are its.
            out: Folder for weights, settings, statistics and pictures; otherwise runs/DATASET.
            resume: Folder of a run to go on with, with the settings it was started with.
            settings: All settings.
        """
        from spikevae.hub.run_settings import is_same_data, read_run
        from spikevae.runtime import reuse_freed_memory
        from spikevae.training.loop import train as run_training
        from spikevae.training.run_folder import STATE_NAME, check_run_place

        reuse_freed_memory()
        run = resume or out or default_run(dataset)
        if resume is None:
            check_run_place(run)
            settings = _with_one_size(settings, default)
        else:
            if out is not None and out.resolve() != resume.resolve():
                raise ValueError(f"--out {out}: a resumed run stays in its folder, {resume}; leave out --out")
            if settings != default or preset is not None:
                raise ValueError("a resumed run keeps its settings; leave them out, or start a new run with --out")
            settings = read_run(run)
            if not is_same_data(settings.data.dataset, dataset):
                raise ValueError(f"{run} was trained on {settings.data.dataset}, not on {dataset}")
        settings = dataclasses.replace(settings, data=dataclasses.replace(settings.data, data_root=data_root))
        logging.getLogger("spikevae").setLevel(logging.INFO)
        try:
            scores = run_training(settings, run, is_new=resume is None)
        except KeyboardInterrupt:
            if (run / STATE_NAME).is_file():
                say(f"go on with: {shlex.join(['spikevae', 'train', dataset, '--resume', str(run)])}")
            raise
        say(f"{run} is trained: " + ", ".join(f"{name} {value:.4f}" for name, value in scores.items()))

    return train


def _with_one_size(settings: RunConfig, default: RunConfig) -> RunConfig:
    """The settings with images of the network's size: where one of the two was changed alone, the other follows."""
    data, model = settings.data.image_size, settings.model.image_size
    has_data, has_model = data != default.data.image_size, model != default.model.image_size
    if has_data and data is not None and not has_model:
        return dataclasses.replace(settings, model=dataclasses.replace(settings.model, image_size=data))
    if has_model and not has_data:
        return dataclasses.replace(settings, data=dataclasses.replace(settings.data, image_size=model))
    return settings


def _settings_of(model: str, dataset: str) -> RunConfig:
    """The settings that begin from a trained model: its network, with the classes of the data set."""
    from spikevae.hub.checkpoints import model_folder, read_config

    network = read_config(model_folder(model))
    settings = preset_for(dataset, model if model in PRESETS else None)
    data = dataclasses.replace(settings.data, image_size=network.image_size)
    kept = {name: getattr(settings.model, name) for name in ("class_names", "classify_mirrored")}
    return dataclasses.replace(settings, model=dataclasses.replace(network, **kept), data=data)


def default_run(dataset: str) -> Path:
    """runs/NAME, of a data set or of a folder of pictures."""
    kind, _, path = dataset.partition(":")
    return Path("runs") / (Path(path).expanduser().resolve().name if kind in ("folder", "events") and path else dataset)


def preset_asked_for(arguments: Sequence[str]) -> RunConfig:
    """The settings that `train` starts from: its options' defaults depend on data set and --preset.

    Options may stand before the data set's name, so the words are first read with any preset's defaults.
    """
    import tyro

    command = train_command(RunConfig())

    @functools.wraps(command)
    def asked_for(dataset: str, *, settings: RunConfig, preset: str | None = None, **_: Any) -> RunConfig:
        start_from = settings.train.start_from
        if start_from is None or preset is not None:
            return preset_for(dataset, preset)
        return _settings_of(start_from, dataset)

    words = [word for word in arguments if word not in ("-h", "--help")]
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # where tyro complains of values all the same
            asked: RunConfig = tyro.cli(asked_for, args=words, console_outputs=False)
    except SystemExit:  # wrong or too few words, of which the command itself tells
        dataset = next((word for word in words if not word.startswith("-")), "fashion-mnist")
        preset = next((after for word, after in itertools.pairwise(words) if word == "--preset"), None)
        return preset_for(dataset, preset if preset in PRESETS else None)
    return asked
