"""The networks that measure: where they are kept, and how they are read and written."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn.functional import interpolate

from spikevae.config import from_dict, to_dict
from spikevae.evaluation.networks.autoencoder import Autoencoder, AutoencoderConfig
from spikevae.evaluation.networks.classifier import ClassifierConfig, DomainClassifier
from spikevae.hub.checkpoints import write_atomically

BUNDLED = Path(__file__).parent / "bundled"
KINDS: dict[str, tuple[type[Any], type[Any]]] = {
    "autoencoder": (Autoencoder, AutoencoderConfig),
    "classifier": (DomainClassifier, ClassifierConfig),
}


@dataclass(frozen=True)
class Meter:
    """A network in eval mode, and where it came from."""

    kind: str
    """autoencoder or classifier."""
    network: nn.Module
    weights_hash: str
    """SHA-256 of the weights' file."""
    training: dict[str, Any]
    """What config.json says about its training, test score included."""

    @property
    def image_size(self) -> int:
        """Height and width that the network takes."""
        size: int = self.network.config.image_size  # type: ignore[union-attr, assignment]
        return size

    @property
    def image_channels(self) -> int:
        """Channels that the network takes."""
        channels: int = self.network.config.image_channels  # type: ignore[union-attr, assignment]
        return channels


def bundled_meters() -> tuple[str, ...]:
    """The data sets whose meters come with the package."""
    return tuple(sorted(path.parent.name for path in BUNDLED.glob("*/config.json")))


def meter_folder(dataset: str, folder: Path | None = None) -> Path:
    """Where the meters of a data set lie.

    Raises:
        FileNotFoundError: if there are none, with how to train them.
    """
    found = folder if folder is not None else BUNDLED / dataset
    if not (found / "config.json").is_file():
        raise FileNotFoundError(
            f"no meters for {dataset}: {found / 'config.json'} is missing; bundled are {', '.join(bundled_meters())}, "
            f"others are made by `python -m spikevae.evaluation.networks.train --data {dataset} --out FOLDER`"
        )
    return found


@lru_cache(maxsize=8)
def load_meter(folder: Path, kind: str) -> Meter:
    """Read one network of a meter folder, strictly.

    Raises:
        FileNotFoundError: if a file is missing, or this network was not trained.
        ValueError: if config.json or the weights are damaged or do not fit each other.
    """
    settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if kind not in settings:
        raise FileNotFoundError(f"{folder} holds no {kind}; `--kinds {kind}` of the meters' training makes one")
    network_class, config_class = KINDS[kind]
    network = network_class(from_dict(config_class, settings[kind]["network"]))
    file = folder / f"{kind}.safetensors"
    try:
        weights = safetensors.torch.load_file(file)
        network.load_state_dict({name: _stored_as(weight, network) for name, weight in weights.items()})
    except (SafetensorError, RuntimeError) as error:
        raise ValueError(f"{file} is damaged or belongs to another {kind}: {str(error).splitlines()[0]}") from error
    network.eval().requires_grad_(False)
    return Meter(kind, network, hash_file(file), settings[kind]["training"])


def _stored_as(weight: Tensor, network: nn.Module) -> Tensor:
    return weight.float() if weight.is_floating_point() else weight


def save_meters(folder: Path, networks: dict[str, nn.Module], training: dict[str, dict[str, Any]]) -> None:
    """Write networks by kind, in half precision, with what is known of their training."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "config.json"
    settings = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    for kind, network in networks.items():
        weights = {
            name: (weight.half() if weight.is_floating_point() else weight).contiguous()
            for name, weight in network.state_dict().items()
        }
        write_atomically(folder / f"{kind}.safetensors", partial(safetensors.torch.save_file, weights))
        settings[kind] = {"network": to_dict(network.config), "training": training[kind]}
    path.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def hash_file(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def to_meter_input(x: Tensor, image_channels: int, image_size: int) -> Tensor:
    """Images as a network takes them: grey is repeated to RGB, RGB averaged to grey, the size changed bilinearly.

    Args:
        x: [N, C, H, W] uint8 in 0 to 255, or float in [0, 1].

    Returns:
        [N, image_channels, image_size, image_size] float32 in [0, 1].
    """
    x = x.float() / 255 if x.dtype == torch.uint8 else x.float()
    if x.shape[1] != image_channels:
        x = x.mean(1, keepdim=True) if image_channels == 1 else x.expand(-1, image_channels, -1, -1)
    if x.shape[-2:] != (image_size, image_size):
        x = interpolate(x, size=(image_size, image_size), mode="bilinear", align_corners=False, antialias=False)
    return x
