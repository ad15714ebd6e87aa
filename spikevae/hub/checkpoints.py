"""Models on disk: the release folder (config.json, model.safetensors, README.md), read strictly."""

from __future__ import annotations

import json
import logging
import os
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from spikevae.config import ModelConfig, from_dict, to_dict
from spikevae.files import write_atomically, write_text
from spikevae.hub.quantised import SCALE, STORED, dequantise, input_moments, quantise, scale_shape, stored_shape
from spikevae.nn.networks import (
    MOST_WEIGHTS,
    Network,
    build_network,
    require_weights_of_config,
    unwrapped,
    weights_of,
)
from spikevae.nn.vae import SpikingVAE
from spikevae.text import printable

log = logging.getLogger(__name__)

FORMAT = 1  # of config.json
CONFIG_NAME = "config.json"
RUN_NAME = "run.json"  # of the folder of a run, beside its model
WEIGHTS_NAME = "model.safetensors"
CARD_NAME = "README.md"
RELEASED = Path(__file__).parents[1] / "released"
LARGEST_CONFIG = 2**20  # bytes
_LARGEST_HEADER = 2**20  # bytes of a weights file that name its tensors: a hundred of them take some 10,000
LARGEST_WEIGHTS = 4 * MOST_WEIGHTS + _LARGEST_HEADER  # bytes
HUB_PREFIX = "hf:"
Precision = Literal["float16", "int8", "int4"]
"""Kind of number of matrices and kernels in a file."""
_FLOATS, _INTEGERS = ("F16", "BF16", "F32"), ("I32", "I64")  # safetensors' names


def released_models() -> list[str]:
    """Names of the models that come with the package."""
    return sorted(path.parent.name for path in RELEASED.glob(f"*/{CONFIG_NAME}"))


def is_known_anywhere(name: str) -> bool:
    """Whether a model's name means the same on every machine: a bundled one, or one of the hub."""
    return name.startswith(HUB_PREFIX) or name in released_models()


def model_folder(name_or_folder: str | os.PathLike[str], *, revision: str | None = None) -> Path:
    """Where a bundled model, one of the hub (hf:USER/NAME), or a folder that holds one, lies.

    Raises:
        FileNotFoundError: if there is no such model.
        ValueError: if a revision is given for another than one of the hub, or its repository holds something else.
    """
    name = os.fsdecode(name_or_folder)
    if name.startswith(HUB_PREFIX):
        from spikevae.hub.remote import fetch

        return fetch(name, revision)
    if revision is not None:
        raise ValueError(f"revision={printable(revision)!r}: only a model of the hub has one, not {printable(name)!r}")
    folder = Path(name)
    is_given = isinstance(name_or_folder, os.PathLike) and folder.is_dir()  # a path is one, also mnist
    if name in released_models() and not is_given:
        return RELEASED / name
    if not folder.is_dir():
        raise FileNotFoundError(
            f"no model {name!r}: it is neither a bundled model ({', '.join(released_models()) or 'none'}) nor a "
            "folder; one of the Hugging Face hub is hf:USER/NAME"
        )
    for part in (CONFIG_NAME, WEIGHTS_NAME):
        if not (folder / part).is_file():
            place = shlex.quote(str(folder))
            advice = f"Train one with `spikevae train fashion-mnist --out {place}`."
            if (folder / RUN_NAME).is_file():
                advice = f"Its training ended before it wrote one: go on with --resume {place}, or start another."
            raise FileNotFoundError(f"{folder} holds no model: {part} is missing. {advice}")
    return folder


@torch.inference_mode(False)  # which would keep the weights from ever being learned
def load(
    name_or_folder: str | os.PathLike[str],
    *,
    device: str | torch.device = "cpu",
    revision: str | None = None,
) -> Any:
    """Read a ``SpikingVAE``, ``SpikingEventVAE`` or ``SpikingClassifier``, in eval mode and with frozen weights.

    Args:
        name_or_folder: a bundled name (such as "fashion-mnist" or "cifar10-classifier"), a release or run folder, or
            "hf:USER/NAME" of the Hugging Face hub, which is kept in its cache.
        device: where it computes.
        revision: of a model of the hub: a branch, a tag or a commit.

    Raises:
        FileNotFoundError: if there is no such model.
        ValueError: if a file is damaged, foreign, or its weights do not fit its config. Nothing in it is executed.
    """
    folder = model_folder(name_or_folder, revision=revision)
    _warn_of_namesake(os.fsdecode(name_or_folder), folder)
    config = read_config(folder)
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, TypeError) as error:  # torch's words for a device that is not there
        raise ValueError(f"device={device!r}: PyTorch has no such device here: {str(error).splitlines()[0]}") from None
    try:
        expected = weights_of(config)  # no memory: a config cannot make us allocate what the file does not hold
    except ValueError as error:  # a part that is not there, or too many weights
        raise ValueError(f"{folder / CONFIG_NAME}: {error}") from None
    except (RuntimeError, OverflowError) as error:  # even the number of bytes does not fit 64 bits
        raise ValueError(f"{folder / CONFIG_NAME} asks for a network larger than any memory: {error}") from None
    state = _read_weights(folder / WEIGHTS_NAME, expected)
    with torch.device("cpu"):  # whatever device the program makes its tensors on
        model = build_network(config)
    model.load_state_dict(state, strict=True)
    return model.to(device).eval().requires_grad_(False)


def _warn_of_namesake(name: str, folder: Path) -> None:
    """Say so where a bundled model is taken, and a folder of its name holds another."""
    other, taken = Path(name, CONFIG_NAME), folder / CONFIG_NAME
    if folder == RELEASED / name and other.is_file() and not other.samefile(taken):
        log.warning("%s is the bundled model; for the one in the folder of that name say ./%s", name, name)


def load_generator(name_or_folder: str | os.PathLike[str], *, device: str | torch.device = "cpu") -> SpikingVAE:
    """:func:`load` for a use that needs a VAE of images.

    Raises:
        ValueError: also if the model is a classifier, or a VAE of event recordings.
    """
    faults = {
        "classifier": "a classifier, which neither draws nor reconstructs; use a model with a decoder",
        "event-vae": "a VAE of event recordings; use one of images",
    }
    if fault := faults.get(read_config(model_folder(name_or_folder)).network):
        known = [other for other in released_models() if read_config(RELEASED / other).network == "vae"]
        raise ValueError(f"{os.fspath(name_or_folder)} is {fault}: {', '.join(known) or 'none is bundled'}")
    model: SpikingVAE = load(name_or_folder, device=device)
    return model


def read_dataset_name(name_or_folder: str | os.PathLike[str]) -> str:
    """The data set that a model was trained on, as the command line names it."""
    return str(_read_json(model_folder(name_or_folder) / CONFIG_NAME)["dataset"])


def read_config(folder: Path) -> ModelConfig:
    """The network that a release folder describes.

    Raises:
        ValueError: if config.json is not what this version writes.
    """
    path = folder / CONFIG_NAME
    values = _read_json(path)
    try:
        return from_dict(ModelConfig, values["model"])
    except ValueError as error:
        raise ValueError(f"{path}: {printable(error, 400)}") from None


def _read_json(path: Path) -> dict[str, Any]:
    if path.stat().st_size > LARGEST_CONFIG:
        raise ValueError(f"{path} is larger than any config that spikevae writes")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # no UTF-8, no JSON, or a number of thousands of digits
        raise ValueError(f"{path} is not a JSON file: {printable(error)}") from None
    if not isinstance(values, dict) or set(values) != {"format", "dataset", "model"}:
        raise ValueError(f"{path} is not a model's config: expected the entries format, dataset and model")
    if values["format"] != FORMAT or isinstance(values["format"], bool):
        raise ValueError(
            f"{path} has format {printable(repr(values['format']))}; this version of spikevae reads format {FORMAT}"
        )
    if not isinstance(values["dataset"], str):
        raise ValueError(f"{path}: dataset={printable(repr(values['dataset']))} is not a name")
    return values


def _read_weights(path: Path, expected: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a file, if they have the names, shapes and kinds of number of ``expected``, and are finite."""
    state = {}
    with path.open("rb") as file:
        header = int.from_bytes(file.read(8), "little")
    if header > _LARGEST_HEADER:
        raise ValueError(f"{path} is not a safetensors file, or a foreign one: its header takes {header:,} bytes")
    try:
        with safe_open(path, framework="pt") as weights:
            scaled = {name for name in expected if name + SCALE in weights.keys()}  # noqa: SIM118  # no mapping
            for name in sorted((expected.keys() | {name + SCALE for name in scaled}) ^ set(weights.keys())):
                what = "is missing" if name in expected else "is unknown to this config"
                raise ValueError(f"{path}: the weight {printable(name)} {what}")
            for name, like in expected.items():
                kinds, shape = _FLOATS if like.is_floating_point() else _INTEGERS, tuple(like.shape)
                if name not in scaled:
                    state[name] = _read_tensor(weights, path, name, shape, kinds).to(like.dtype)
                    continue
                slices = weights.get_slice(name)
                stored = stored_shape(name, shape, slices.get_dtype(), len(slices.get_shape()))
                values = _read_tensor(weights, path, name, stored, STORED if like.is_floating_point() else ())
                scale = _read_tensor(weights, path, name + SCALE, scale_shape(name, shape), ("F32",))
                state[name] = dequantise(values, scale, shape)
                if not bool(state[name].isfinite().all()):
                    raise ValueError(f"{path}: the weight {name} is not finite")
    except SafetensorError as error:
        raise ValueError(f"{path} is not a safetensors file, or a damaged one: {printable(error)}") from None
    return state


def _read_tensor(weights: Any, path: Path, name: str, shape: tuple[int, ...], kinds: tuple[str, ...]) -> Tensor:
    """One tensor of a weights file, if it has this shape and one of these kinds of number, and is finite."""
    stored = weights.get_slice(name)
    if tuple(stored.get_shape()) != shape:
        raise ValueError(f"{path}: the weight {name} has shape {stored.get_shape()}, its config asks for {list(shape)}")
    if stored.get_dtype() not in kinds:
        raise ValueError(f"{path}: the weight {name} has numbers of the kind {stored.get_dtype()}")
    tensor: Tensor = weights.get_tensor(name)
    if not bool(tensor.isfinite().all()):
        raise ValueError(f"{path}: the weight {name} is not finite")
    return tensor


def save_release(model: Network, folder: Path, *, dataset: str, card: str, weights: Precision = "float16") -> None:
    """Write a release folder: matrices and kernels as float16 where they fit it, or in fewer bits; the rest as it is.

    Each file is written under a temporary name and renamed, weights last, so that an interruption leaves the old ones.

    Raises:
        ValueError: if it is no model, a weight is not finite, its weights are not those of its config, or there are
            too many: what could not be read back is not written.
    """
    model = unwrapped(model)
    require_weights_of_config(model)
    if not isinstance(dataset, str):
        raise ValueError(f"dataset={dataset!r} is no name of a data set")
    for name, tensor in model.state_dict().items():
        if tensor.is_meta or not bool(tensor.isfinite().all()):
            raise ValueError(f"the weight {name} is not finite, so no model can be read back; nothing is written")
    folder.mkdir(parents=True, exist_ok=True)
    config = {"format": FORMAT, "dataset": dataset, "model": to_dict(model.config)}
    found = ((name, tensor.cpu()) for name, tensor in model.state_dict().items())
    state = {name: tensor.float() if tensor.dtype == torch.float64 else tensor for name, tensor in found}
    if weights == "float16":
        state = {name: _compact(tensor) for name, tensor in state.items()}
    else:
        state = quantise(state, 8) if weights == "int8" else quantise(state, 4, input_moments(model))
    # Copies, as safetensors refuses weights that share memory, as those that several layers have in common do.
    state = {name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in state.items()}

    def write_all(path: Path) -> None:
        save_file(state, path)  # first, under a temporary name, where a full disk ends it
        write_text(folder / CARD_NAME, card)
        write_text(folder / CONFIG_NAME, json.dumps(config, indent=2) + "\n")

    write_weights(folder / WEIGHTS_NAME, write_all)


def _compact(tensor: Tensor) -> Tensor:
    """A matrix or kernel as float16, unless a number of it is too large for that."""
    if not tensor.is_floating_point() or tensor.dim() < 2:
        return tensor
    half = tensor.half()
    return half if bool(half.isfinite().all()) else tensor


def write_weights(path: Path, write: Callable[[Path], Any]) -> None:
    """:func:`spikevae.files.write_atomically` for what torch and safetensors write.

    Raises:
        OSError: if the file cannot be written, for which both have names of their own.
    """

    def write_for_all(temporary: Path) -> None:
        write(temporary)
        temporary.chmod(0o644)  # safetensors lets the owner alone read

    try:
        write_atomically(path, write_for_all)
    except (RuntimeError, SafetensorError) as error:
        raise OSError(f"{path} could not be written (is the disk full?): {str(error).splitlines()[0]}") from error
