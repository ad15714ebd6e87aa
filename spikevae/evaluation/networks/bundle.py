"""Domain networks on disk: where the bundled ones lie, how a folder of them is read and written."""

from __future__ import annotations

import json
import shlex
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
from spikevae.files import hash_file, write_text
from spikevae.hub.checkpoints import write_weights

BUNDLED = Path(__file__).parent / "bundled"
CONFIG_NAME = "config.json"
ROLES: dict[str, tuple[type[Any], type[Any]]] = {
    "autoencoder": (Autoencoder, AutoencoderConfig),
    "classifier": (DomainClassifier, ClassifierConfig),
}


class NoNetworkError(FileNotFoundError):
    """There is no domain network for these images; the message says how to make one."""


@dataclass(frozen=True)
class DomainNetwork:
    """An ordinary network trained on the data that is compared with, in eval mode, and where it came from."""

    role: str
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


def bundled_networks() -> tuple[str, ...]:
    """The data sets whose domain networks come with the package."""
    return tuple(sorted(path.parent.name for path in BUNDLED.glob(f"*/{CONFIG_NAME}")))


@dataclass(frozen=True)
class Domain:
    """Which domain networks to compare in."""

    name: str
    """The data that they were trained on."""
    folder: Path | None = None
    """Where they lie; None for the bundled ones."""


def networks_folder(domain: Domain) -> Path:
    """Where the networks of a domain lie.

    Raises:
        NoNetworkError: if there are none, with how to train them.
    """
    found = domain.folder if domain.folder is not None else BUNDLED / domain.name
    if not (found / CONFIG_NAME).is_file():
        missing = "" if domain.folder is None else f"{found / CONFIG_NAME} is missing; "
        raise NoNetworkError(
            f"no domain networks for {domain.name}: {missing}bundled are "
            f"{', '.join(bundled_networks())}, others are made by `python -m spikevae.evaluation.networks.train "
            f"--data {shlex.quote(domain.name)} --out FOLDER` and named by --networks FOLDER"
        )
    return found


def load_network(folder: Path, role: str) -> DomainNetwork:
    """Read one network of a folder, strictly. It stays in memory until the folder holds another one.

    Raises:
        NoNetworkError: if the folder holds no network for this role.
        ValueError: if config.json or the weights are damaged or do not fit each other.
    """
    files = (folder / CONFIG_NAME, folder / f"{role}.safetensors")
    return _load_network(folder, role, tuple(file.stat().st_mtime_ns for file in files if file.is_file()))


@lru_cache(maxsize=8)
def _load_network(folder: Path, role: str, changed: tuple[int, ...]) -> DomainNetwork:
    """Read it; ``changed`` is when its files were written, so that others in their place are read anew."""
    config = folder / CONFIG_NAME
    try:
        settings = json.loads(config.read_text(encoding="utf-8"))
        if role not in settings:
            shown = f"the bundled folder {folder.name}" if folder.parent == BUNDLED else folder
            raise NoNetworkError(f"{shown} holds no {role}; `--roles {role}` of the networks' training makes one")
        network_class, config_class = ROLES[role]
        network = network_class(from_dict(config_class, settings[role]["network"]))
        training = dict(settings[role]["training"])
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{config} is damaged: {error}; train the networks anew") from error
    file = folder / f"{role}.safetensors"
    try:
        weights = safetensors.torch.load_file(file)
        network.load_state_dict({name: _stored_as(weight) for name, weight in weights.items()})
    except (SafetensorError, RuntimeError) as error:
        raise ValueError(f"{file} is damaged or belongs to another {role}: {str(error).splitlines()[0]}") from error
    network.eval().requires_grad_(False)
    return DomainNetwork(role, network, hash_file(file), training)


def _stored_as(weight: Tensor) -> Tensor:
    return weight.float() if weight.is_floating_point() else weight


def save_networks(folder: Path, networks: dict[str, nn.Module], training: dict[str, dict[str, Any]]) -> None:
    """Write networks by role, in half precision, with what is known of their training."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / CONFIG_NAME
    settings = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    for role, network in networks.items():
        weights = {
            name: (weight.half() if weight.is_floating_point() else weight).contiguous()
            for name, weight in network.state_dict().items()
        }
        write_weights(folder / f"{role}.safetensors", partial(safetensors.torch.save_file, weights))
        settings[role] = {"network": to_dict(network.config), "training": training[role]}
    write_text(path, json.dumps(settings, indent=2) + "\n")


def prepared(x: Tensor, image_channels: int, image_size: int, *, antialias: bool = False) -> Tensor:
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
        x = interpolate(x, size=(image_size, image_size), mode="bilinear", align_corners=False, antialias=antialias)
    return x
