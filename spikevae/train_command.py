"""The command that trains a model, whose defaults are those of a preset."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import io
import itertools
import logging
import shlex
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import Positional, arg

from spikevae.config import CLASS_NAMES, DataConfig, ModelConfig, RunConfig, own_place
from spikevae.console import say
from spikevae.files import in_home
from spikevae.options import DataRoot, check_data_root
from spikevae.presets import PRESETS, preset_for, settings_for


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
            preset: Settings to start from; otherwise those made for the data set. The defaults below are its;
                name a data set or a folder before --help to see those made for it.
            out: Folder for weights, settings, statistics and pictures; otherwise runs/DATASET.
            resume: Folder of a run to go on with, with the settings it was started with.
            settings: All settings.
        """
        from spikevae.hub.run_settings import is_same_data, read_run
        from spikevae.runtime import reuse_freed_memory
        from spikevae.training.loop import train as run_training
        from spikevae.training.run_folder import STATE_NAME, check_run_place

        check_data_root(data_root, dataset)
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
                root = [] if data_root is None else ["--data-root", str(data_root)]
                say(f"go on with: {shlex.join(['spikevae', 'train', dataset, '--resume', str(run), *root])}")
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


def default_run(dataset: str) -> Path:
    """runs/NAME, of a data set or of a folder of pictures."""
    place = own_place(dataset)
    return Path("runs") / (in_home(place).resolve().name if place else dataset)


def check_resumed(arguments: Sequence[str]) -> None:
    """Refuse settings for a run that is resumed, also those that a preset has anyway.

    Raises:
        ValueError: if there are some; it names them.
    """
    if any(word == "--resume" or word.startswith("--resume=") for word in arguments):
        parts = tuple(f"--{part.name}." for part in dataclasses.fields(RunConfig))
        if typed := [word.partition("=")[0] for word in arguments if word.startswith(parts)]:
            raise ValueError(
                f"a resumed run keeps its settings; leave out {', '.join(typed)}, or start a new run with --out"
            )


def preset_asked_for(arguments: Sequence[str]) -> RunConfig:
    """The settings that `train` starts from: its options' defaults depend on data set, --preset and --train.start-from.

    Options may stand before the data set's name, so the words are first read with any defaults that they fit.

    Raises:
        FileNotFoundError: if there is no model of the name to start from.
        ValueError: if it is damaged, or takes other inputs than the data set has.
    """
    import tyro

    words = [word for word in arguments if word not in ("-h", "--help")]
    for default in _defaults_to_try(words):
        command = train_command(default)

        @functools.wraps(command)
        def asked_for(
            dataset: str, *, settings: RunConfig, preset: str | None = None, resume: Path | None = None, **_: Any
        ) -> tuple[str, str | None, str | None]:
            return dataset, preset, None if resume else settings.train.start_from

        try:
            with contextlib.redirect_stderr(io.StringIO()):  # where tyro complains of values all the same
                dataset, preset, start_from = tyro.cli(asked_for, args=words, console_outputs=False)
        except (SystemExit, ValueError):  # wrong or too few words, of which the command itself tells
            continue
        return preset_for(dataset, preset) if start_from is None or preset else _settings_of(start_from, dataset)
    preset, start_from = _value_of("--preset", words), _value_of("--train.start-from", words)
    if start_from is not None and preset is None and _value_of("--resume", words) is None:
        return _settings_of(start_from, _likely_dataset(words))
    return preset_for(_likely_dataset(words), preset if preset in PRESETS else None)


def _defaults_to_try(words: Sequence[str]) -> Iterator[RunConfig]:
    """Settings that the words may change: an option that fits one network may not fit another."""
    start_from, preset = _value_of("--train.start-from", words), _value_of("--preset", words)
    if preset in PRESETS:
        yield PRESETS[preset]
    elif start_from is not None:
        with contextlib.suppress(OSError, ValueError):  # of which _settings_of tells
            yield RunConfig(model=_network_of(start_from))
    yield preset_for(_likely_dataset(words))
    yield RunConfig()


def _value_of(option: str, words: Sequence[str]) -> str | None:
    """What follows an option, as the next word or behind an equals sign."""
    for word, following in itertools.zip_longest(words, words[1:]):
        name, equals, value = word.partition("=")
        if name.replace("_", "-") == option:
            return value if equals else following
    return None


def _likely_dataset(words: Sequence[str]) -> str:
    """The word that is a data set's name; else the first one that is no option."""
    plain = [word for word in words if not word.startswith("-")]
    known = (word for word in plain if word in CLASS_NAMES or own_place(word) is not None)
    return next(known, next(iter(plain), "fashion-mnist"))


def _network_of(model: str) -> ModelConfig:
    """The network of a trained model."""
    from spikevae.hub.checkpoints import model_folder, read_config

    return read_config(model_folder(model))


def _settings_of(model: str, dataset: str) -> RunConfig:
    """The settings that begin from a trained model: its network with the classes of the data set, and its training.

    Lengths are open where the data set is another one than that model's, or how it was trained is not known.

    Raises:
        FileNotFoundError: if there is no such model.
        ValueError: if it is damaged, or takes other inputs.
    """
    from spikevae.hub.checkpoints import model_folder, read_dataset_name
    from spikevae.hub.run_settings import is_same_data, trained_as

    network = _network_of(model)
    _require_inputs(network, preset_for(dataset).model, model, dataset)
    trained = trained_as(model_folder(model))
    is_same = is_same_data(dataset, read_dataset_name(model) if trained is None else trained.data.dataset)
    settings = settings_for(dataset, trained or PRESETS[_preset_like(network)])
    kept = {name: getattr(settings.model, name) for name in ("class_names", "classify_mirrored")}
    if trained is not None and is_same:
        train, data = trained.train, dataclasses.replace(trained.data, dataset=dataset)
    else:
        train = dataclasses.replace(settings.train, epochs=0, batch_size=0, warmup_images=0, ema_images=0)
        data = DataConfig(dataset=dataset)
    if not is_same:
        kept["prior_exemplars"] = 0  # it is for oneself to say whether a file keeps codes of single pictures
    return dataclasses.replace(
        settings,
        model=dataclasses.replace(network, **kept),
        data=dataclasses.replace(data, image_size=network.image_size),
        train=dataclasses.replace(train, start_from=None, teacher=None),
    )


def _require_inputs(network: ModelConfig, expected: ModelConfig, model: str, dataset: str) -> None:
    """Refuse a start of other inputs than the data set has; pictures in a folder are read as a model takes them."""
    found = network.image_channels
    can_be_grey = dataset.startswith("folder:") and found == 1
    if found != expected.image_channels and not can_be_grey:
        inputs = {1: "grey images", 2: "event recordings", 3: "colour images"}
        raise ValueError(
            f"start_from={model!r} takes {inputs[found]}, and {dataset} has {inputs[expected.image_channels]}; "
            "name another model, or leave start_from out"
        )


def _preset_like(network: ModelConfig) -> str:
    """The preset of another model of the same kind."""
    if network.network == "classifier":
        return "n-mnist-classifier" if network.takes_events else "cifar10-classifier"
    return "n-mnist" if network.takes_events else "pictures"
