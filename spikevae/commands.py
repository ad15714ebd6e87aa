"""What each command does, one function per command, with its options."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import OmitArgPrefixes, Positional, UseAppendAction, arg

from spikevae.config import Split, own_place
from spikevae.console import say as _say
from spikevae.evaluation.settings import EvaluationConfig
from spikevae.export_command import export
from spikevae.inpaint_command import inpaint
from spikevae.options import Data, DataRoot, Device, Images, Model
from spikevae.push_command import push
from spikevae.reconstruct_command import reconstruct
from spikevae.runtime import is_main_process
from spikevae.text import printable
from spikevae.train_command import check_resumed, preset_asked_for, train_command

if TYPE_CHECKING:
    from torch import Tensor

    from spikevae.data.events.eventset import EventSet
    from spikevae.data.sets import ImageSet


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
    """Draw new images, or event recordings, from a model.

    Examples:
        spikevae sample fashion-mnist --out samples.png
        spikevae sample n-mnist --count 10 --out digits.gif
        spikevae sample fashion-mnist --label "ankle boot" --count 100 --out boots.npz

    Args:
        out: A .png (one grid), a .npz (arr_0, uint8 [N, H, W, C]), or a folder for one PNG each. Of recordings a .gif,
            .webp or .png (film strips), a .npz (t, x, y, p and offsets), a .bin (one), or a folder for one .bin each.
        count: How many.
        seed: The same seed gives the same images.
        label: Name or number of the class of all images; otherwise classes come as often as in the training data.
        temperature: Variety: 1 as learned, less for more typical images.
        size: Height and width to resize to (32 for the papers' protocol); otherwise the model's own.
    """
    from spikevae.data.images import check_save_path, save_images
    from spikevae.inputs import compute, is_event_vae, load_decoder, require_memory
    from spikevae.labels import class_index

    if is_event_vae(model):
        from spikevae.event_commands import sample_recordings

        if size is not None:
            raise ValueError(f"--size {size}: recordings have the size of their sensor; leave it out")
        return sample_recordings(model, device, out, count=count, seed=seed, label=label, temperature=temperature)
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


def classify(
    model: Positional[Model],
    images: Positional[Images] = (),
    *,
    data: Data = None,
    split: Split | None = None,
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
        images: Image files or event recordings to classify, or folders of them, in place of a data set's; also .zip and
            .tar of images, and .npy and .npz arrays.
        split: Part of the data set; otherwise test.
        count: Only so many images of the data set: the first ones, or of every class where they lie class by class.
        invert: Make light dark first, for pictures of dark things on a light ground.
        json_file: Where to write every image's probabilities, or a data set's accuracy by class.
    """
    from spikevae.data.own import check_is_not_among
    from spikevae.files import check_can_write, files_of_model, write_text
    from spikevae.inputs import advise_on_ground, batch_of, compute, list_files, load_model, read_inputs

    if json_file is not None:
        check_is_not_among(check_can_write(json_file), [own_place(data or ""), *files_of_model(model)])
    network = load_model(model, device)
    if invert and network.config.takes_events:
        raise ValueError("--invert: recordings are neither light nor dark; leave it out")
    names = network.config.class_names
    files = list_files(images, events=network.config.takes_events, written=json_file)
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
    if data is not None:
        kind = "recordings" if network.config.takes_events else "images"
        record: dict[str, Any] = _say_accuracy(scores, given, names, kind)
    else:
        shown = [getattr(file, "name", str(file.path)) for file in files]
        record = {name: _say_answer(name, row, names) for name, row in zip(shown, scores, strict=True)}
    if json_file is not None:
        write_text(json_file, json.dumps(record, indent=2) + "\n")
        _say(f"written to {printable(json_file)}")


def models() -> None:
    """List the models that come with the package, with their measured scores."""
    from spikevae.hub.checkpoints import RELEASED, read_config, read_dataset_name, released_models
    from spikevae.hub.measured import measured_scores

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
        if scores := measured_scores(RELEASED / name):
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
    browser: bool = True,
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
        proxy: Address of a reverse proxy, or a network of them (10.0.0.0/8), whose word on a visitor's address is
            believed; * for all. Repeat it for several.
        browser: Open the page in the default browser, where a person sits at this machine's screen.
    """
    from spikevae.runtime import forget_proxies, reuse_freed_memory
    from spikevae.web import page

    try:
        launch = page().launch
    except ModuleNotFoundError as error:
        raise ValueError(f"the demo needs {error.name}: pip install 'spikevae[app]'") from None
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
        browser=browser,
    )


def evaluate(config: OmitArgPrefixes[EvaluationConfig]) -> None:
    """Measure a model or a folder of images, and record everything needed to repeat it.

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
        check_resumed(arguments)
        return train_command(preset_asked_for(arguments))
    functions: tuple[Callable[..., None], ...] = (
        sample,
        reconstruct,
        classify,
        evaluate,
        inpaint,
        models,
        export,
        push,
        demo,
    )
    return {function.__name__: function for function in functions}[name]


# ---------------------------------------------------------------- what the commands share


def _say_accuracy(
    probabilities: Tensor, given: ImageSet | EventSet, names: tuple[str, ...], kind: str
) -> dict[str, Any]:
    """Print the accuracy on a labelled data set, of all and by class, and return it."""
    import torch

    from spikevae.labels import class_numbers

    assert given.labels is not None  # read_inputs saw to it
    numbers = torch.tensor(class_numbers(given.class_names, names, given.name, may_lack=True))
    has_label = given.labels >= 0
    labels = numbers[given.labels[has_label]]
    right = probabilities[has_label].argmax(dim=1) == labels
    of_class = {name: right[labels == k] for k, name in enumerate(names)}
    by_class = {name: int(of.sum()) / len(of) for name, of in of_class.items() if len(of)}
    record = {"images": len(right), "accuracy": int(right.sum()) / len(right), "by_class": by_class}
    _say(f"accuracy {record['accuracy']:.2%} of {len(right):,} {kind}")
    for name, share in by_class.items():
        _say(f"  {printable(name):<12} {share:.2%}")
    return record


def _say_answer(name: str, probabilities: Tensor, names: tuple[str, ...]) -> dict[str, float]:
    """Print the three most probable classes of a file, and return the probabilities of all."""
    ranked = probabilities.argsort(descending=True)[:3].tolist()
    shares = ", ".join(f"{printable(names[index])} {probabilities[index]:.1%}" for index in ranked)
    _say(f"{printable(name)}: {shares}")
    return dict(zip(names, probabilities.tolist(), strict=True))


def _score_lines(record: dict[str, Any]) -> Iterator[str]:
    from spikevae.hub.measured import beside

    costs = record.get("details", {}).get("costs", {})
    for score in record.get("scores", []):
        if score.get("value") is not None:
            yield f"{score['name']}: {score['value']:.4g}{beside(score, costs)}"
