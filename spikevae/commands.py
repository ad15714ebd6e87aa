"""What each command does, one function per command, with its options; the only prints of the package."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import logging
import shlex
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import OmitArgPrefixes, Positional, UseAppendAction, arg

from spikevae.config import RunConfig, Split
from spikevae.console import say as _say
from spikevae.evaluation.settings import EvaluationConfig
from spikevae.export_command import export
from spikevae.presets import PRESETS, preset_for
from spikevae.runtime import is_main_process
from spikevae.text import printable

if TYPE_CHECKING:
    from torch import Tensor

Model = Annotated[str, arg(metavar="MODEL", help="A bundled model's name (see `spikevae models`), or a folder of one.")]
Device = Annotated[str | None, arg(metavar="DEVICE", help="cpu, cuda or mps; otherwise the best that is there.")]
DataRoot = Annotated[
    str | None,
    arg(metavar="FOLDER", help="Where the data sets are; otherwise $SPIKEVAE_DATA, otherwise the user's cache folder."),
]
Data = Annotated[
    str | None,
    arg(
        metavar="NAME", help="fashion-mnist, mnist, cifar10, celeba, n-mnist …, or folder:PATH for a folder of images."
    ),
]
Images = Annotated[tuple[Path, ...], arg(metavar="[IMAGE ...]")]


def sample(
    model: Positional[Model],
    *,
    out: Path,
    count: int = 64,
    seed: int = 0,
    label: Annotated[str | None, arg(metavar="CLASS")] = None,
    temperature: float = 1.0,
    size: int | None = None,
    device: Device = None,
) -> None:
    """Draw new images from a model.

    Examples:
        spikevae sample fashion-mnist --out samples.png
        spikevae sample fashion-mnist --label "ankle boot" --count 100 --out boots.npz

    Args:
        out: A .png (one grid), a .npz (arr_0, uint8 [N, H, W, C]), or a folder for one PNG each.
        count: How many.
        seed: The same seed gives the same images.
        label: Name or number of the class of all images; otherwise classes come as often as in the training data.
        temperature: Variety: 1 as learned, less for more typical images.
        size: Height and width to resize to (32 for the papers' protocol); otherwise the model's own.
    """
    from spikevae.data.images import check_save_path, save_images
    from spikevae.inputs import compute, load_decoder, require_memory
    from spikevae.labels import class_index

    check_save_path(out)
    network = load_decoder(model, device)
    if count < 1:
        raise ValueError(f"--count {count}: expected at least 1 image")
    config = network.config
    number = None if label is None else class_index(label, config.class_names)
    side = config.image_size if size is None else size
    require_memory(count, (config.image_channels, side, side))

    def draw(numbers: range) -> Tensor:
        return network.sample(
            len(numbers), seed=seed, label=number, temperature=temperature, size=size, start=numbers.start
        ).cpu()

    images = compute(draw, count, "sample")
    if is_main_process():
        save_images(images, out)
    _say(f"{count} images written to {printable(out)}")


def reconstruct(
    model: Positional[Model],
    images: Positional[Images] = (),
    *,
    data: Data = None,
    split: Split = "test",
    count: int | None = None,
    invert: bool = False,
    out: Path | None = None,
    data_root: DataRoot = None,
    device: Device = None,
) -> None:
    """Pass images through a model's latent spikes and back, and measure what is lost.

    Examples:
        spikevae reconstruct fashion-mnist --data fashion-mnist --count 32 --out pairs.png
        spikevae reconstruct fashion-mnist shoe.png --out shoe-again.png

    Args:
        images: Image files to reconstruct, or folders of them, in place of a data set's.
        split: Part of the data set.
        count: Only the first so many images of the data set.
        invert: Make light dark first, for pictures of dark things on a light ground.
        out: A .png (pairs, each original left of its reconstruction), a .npz (arr_0, and arr_1 with the originals),
            or a folder for one PNG each; otherwise only the error is measured.
    """
    import torch

    from spikevae.data.images import check_save_path, save_images
    from spikevae.evaluation.metrics.reconstruction import compare
    from spikevae.inputs import (
        advise_on_ground,
        batch_of,
        compute,
        list_files,
        load_decoder,
        read_inputs,
        require_memory,
    )

    if out is not None:
        check_save_path(out)
    network = load_decoder(model, device)
    given = read_inputs(model, network, list_files(images), data, split, count, data_root)
    if out is not None:
        require_memory(len(given), (network.config.image_channels, given.image_size, given.image_size), copies=2)
    if not invert:
        advise_on_ground(given, network)

    def pairs(numbers: range) -> Tensor:
        x = batch_of(given, numbers, is_inverted=invert)
        return torch.stack([x, network.reconstruct(x.to(network.device)).cpu()], dim=1)  # [n, 2, C, H, W]

    def errors(both: Tensor) -> Tensor:
        values = compare(*both.unbind(1))
        return torch.stack([values[name] for name in ("reconstruction_mse_32", "psnr", "ssim")], dim=1)  # [n, 3]

    if out is None:
        measured = compute(lambda numbers: errors(pairs(numbers)), len(given), "reconstruct")
    else:
        both = compute(pairs, len(given), "reconstruct")
        measured = torch.cat([errors(part) for part in both.split(64)])
    error, psnr, ssim = measured.double().mean(0).tolist()
    _say(
        f"{len(given):,} images: mean squared error {error:.4f} (on the [-1, 1] scale at 32x32), "
        f"PSNR {psnr:.2f} dB, SSIM {ssim:.3f}"
    )
    if out is not None and is_main_process():
        originals, results = both.unbind(1)
        save_images(results, out, originals)
        _say(f"written to {printable(out)}")


def classify(
    model: Positional[Model],
    images: Positional[Images] = (),
    *,
    data: Data = None,
    split: Split = "test",
    count: int | None = None,
    invert: bool = False,
    json_file: Annotated[Path | None, arg(name="json", metavar="FILE")] = None,
    data_root: DataRoot = None,
    device: Device = None,
) -> None:
    """Name what is on images or event recordings, with a model's classifier.

    Examples:
        spikevae classify fashion-mnist boot.png shirt.jpg
        spikevae classify fashion-mnist --data fashion-mnist --split test
        spikevae classify n-mnist recording.bin

    Args:
        images: Image files or event recordings to classify, or folders of them, in place of a data set's.
        split: Part of the data set.
        count: Only the first so many images of the data set.
        invert: Make light dark first, for pictures of dark things on a light ground.
        json_file: Where to write every image's probabilities, or a data set's accuracy by class.
    """
    from spikevae.files import check_can_write
    from spikevae.inputs import advise_on_ground, batch_of, compute, list_files, load_model, read_inputs

    if json_file is not None:
        check_can_write(json_file)
    network = load_model(model, device)
    names = network.config.class_names
    files = list_files(images, events=network.config.takes_events)
    given = read_inputs(model, network, files, data, split, count, data_root, is_compared=True)
    if not invert:
        advise_on_ground(given, network)
    scores = compute(
        lambda numbers: network.classify(batch_of(given, numbers, is_inverted=invert).to(network.device)).cpu(),
        len(given),
        "classify",
    )
    if not is_main_process():
        return
    record: dict[str, Any]
    if data is not None:
        assert given.labels is not None
        record = _accuracy(scores, given.labels, names)
        kind = "recordings" if network.config.takes_events else "images"
        _say(f"accuracy {record['accuracy']:.2%} of {len(given):,} {kind}")
        for name, share in record["by_class"].items():
            _say(f"  {printable(name):<12} {share:.2%}")
    else:
        record = {}
        for file, row in zip(files, scores, strict=True):
            record[str(file.path)] = dict(zip(names, row.tolist(), strict=True))
            ranked = row.argsort(descending=True)[:3].tolist()
            shares = ", ".join(f"{printable(names[index])} {row[index]:.1%}" for index in ranked)
            _say(f"{printable(file.path)}: {shares}")
    if json_file is not None:
        _write_json(json_file, record)


def models() -> None:
    """List the models that come with the package, with their measured scores."""
    from spikevae.hub.checkpoints import RELEASED, read_config, read_dataset_name, released_models

    names = released_models()
    if not names:
        _say("no model is bundled with this installation; train one with `spikevae train fashion-mnist --out RUN`")
    for name in names:
        config = read_config(RELEASED / name)
        size = f"{config.image_channels}x{config.image_size}x{config.frame_size[1]}"
        kind = "event frames" if config.takes_events else "images"
        what = "a classifier of " if config.network == "classifier" else ""
        _say(f"{name}: {what}{size} {kind} of {read_dataset_name(name)}, T = {config.time_steps}")
        if config.classes:
            _say("  classes: " + ", ".join(f"{index} {label}" for index, label in enumerate(config.class_names)))
        scores = RELEASED / name / "scores.json"
        if scores.is_file():
            for line in _score_lines(json.loads(scores.read_text(encoding="utf-8"))):
                _say(f"  {line}")


def demo(
    models: Positional[Annotated[tuple[str, ...], arg(metavar="[MODEL ...]")]] = (),
    *,
    host: str = "127.0.0.1",
    port: int = 7860,
    auth: str | None = None,
    allow_host: UseAppendAction[tuple[str, ...]] = (),
    allow_origin: UseAppendAction[tuple[str, ...]] = (),
    embed_in: UseAppendAction[tuple[str, ...]] = (),
    root_path: str = "",
    proxy: UseAppendAction[tuple[str, ...]] = (),
) -> None:
    """Open a web page to sample, reconstruct, classify and look inside.

    Examples:
        spikevae demo
        spikevae demo runs/mine fashion-mnist

    Args:
        models: Bundled names or folders of models; otherwise all that are bundled.
        host: Address to listen on; 0.0.0.0 lets other machines in.
        port: Port to listen on.
        auth: user:password that visitors have to give.
        allow_host: A name under which browsers may ask for the page (demo.example.org). Repeat it for several.
        allow_origin: Another site (https://example.org) whose scripts may call the API. Repeat it for several.
        embed_in: Another site (https://example.org) that may show the page in a frame. Repeat it for several.
        root_path: Path (/demo), or whole address, under which a reverse proxy serves the page.
        proxy: Address of a reverse proxy, whose word on a visitor's address is believed. Repeat it for several.
    """
    try:
        from app import launch
    except ModuleNotFoundError as error:
        raise ValueError(f"the demo needs {error.name}: pip install 'spikevae[app]'") from None
    from spikevae.runtime import forget_proxies, reuse_freed_memory

    forget_proxies()
    reuse_freed_memory(stores=2)
    launch(
        host,
        port,
        auth,
        models or None,
        allow_host=allow_host,
        allow_origin=allow_origin,
        embed_in=embed_in,
        root_path=root_path,
        proxy=proxy,
    )


def evaluate(config: OmitArgPrefixes[EvaluationConfig]) -> None:
    """Measure a model, or anybody's images, so that another lab can do it again.

    Examples:
        spikevae evaluate fashion-mnist --metrics fad domain reconstruction accuracy
        spikevae evaluate --images samples/ --data fashion-mnist --json scores.json
    """
    from spikevae.evaluation.command import run
    from spikevae.runtime import reuse_freed_memory

    reuse_freed_memory()
    run(config, print)


def command(name: str, arguments: Sequence[str]) -> Callable[..., None]:
    """The function behind the name of a command, whose defaults may depend on the arguments it is given.

    Raises:
        KeyError: if there is none of this name.
    """
    if name == "train":
        return _train_command(_preset_asked_for(arguments))
    functions: tuple[Callable[..., None], ...] = (sample, reconstruct, classify, evaluate, models, export, demo)
    return {function.__name__: function for function in functions}[name]


def _train_command(default: RunConfig) -> Callable[..., None]:
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
        from spikevae.runtime import reuse_freed_memory
        from spikevae.training.loop import train as run_training
        from spikevae.training.run_folder import STATE_NAME, check_run_place, read_run

        reuse_freed_memory()
        run = resume or out or _default_run(dataset)
        if resume is None:
            check_run_place(run)
        else:
            if settings != default:
                raise ValueError("a resumed run keeps its settings; leave them out, or start a new run with --out")
            settings = read_run(run)
            if settings.data.dataset != dataset:
                raise ValueError(f"{run} was trained on {settings.data.dataset}, not on {dataset}")
        settings = dataclasses.replace(settings, data=dataclasses.replace(settings.data, data_root=data_root))
        logging.getLogger("spikevae").setLevel(logging.INFO)
        _say(f"training in {run}; Ctrl-C stops and saves")
        try:
            scores = run_training(settings, run, is_new=resume is None)
        except KeyboardInterrupt:
            if (run / STATE_NAME).is_file():
                _say(f"go on with: {shlex.join(['spikevae', 'train', dataset, '--resume', str(run)])}")
            raise
        _say(f"{run} is trained: " + ", ".join(f"{name} {value:.4f}" for name, value in scores.items()))

    return train


def _default_run(dataset: str) -> Path:
    """runs/NAME, of a data set or of a folder of pictures."""
    kind, _, path = dataset.partition(":")
    return Path("runs") / (Path(path).expanduser().resolve().name if kind in ("folder", "events") and path else dataset)


def _preset_asked_for(arguments: Sequence[str]) -> RunConfig:
    """The settings that `train` starts from: its options' defaults depend on data set and --preset.

    Options may stand before the data set's name, so the words are first read with any preset's defaults.
    """
    import tyro

    command = _train_command(RunConfig())

    @functools.wraps(command)
    def asked_for(dataset: str, *, preset: str | None = None, **_: Any) -> RunConfig:
        return preset_for(dataset, preset)

    words = [word for word in arguments if word not in ("-h", "--help")]
    try:
        asked: RunConfig = tyro.cli(asked_for, args=words, console_outputs=False)
    except SystemExit:  # wrong or too few words, of which the command itself tells
        dataset = next((word for word in words if not word.startswith("-")), "fashion-mnist")
        preset = next((after for word, after in itertools.pairwise(words) if word == "--preset"), None)
        return preset_for(dataset, preset if preset in PRESETS else None)
    return asked


# ---------------------------------------------------------------- what the commands share


def _accuracy(probabilities: Tensor, labels: Tensor, names: tuple[str, ...]) -> dict[str, Any]:
    right = probabilities.argmax(dim=1) == labels
    by_class = {name: float(right[labels == k].float().mean()) for k, name in enumerate(names) if (labels == k).any()}
    return {"images": len(labels), "accuracy": float(right.float().mean()), "by_class": by_class}


def _score_lines(record: dict[str, Any]) -> Iterator[str]:
    for score in record.get("scores", []):
        if score.get("value") is not None:
            yield f"{score['name']}: {score['value']:.4g}"


def _write_json(path: Path, record: Any) -> None:
    from spikevae.hub.checkpoints import write_atomically

    text = json.dumps(record, indent=2) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    _say(f"written to {printable(path)}")
