"""Make the networks that measure: ``python -m spikevae.evaluation.networks.train --data fashion-mnist``.

Interrupt it whenever you like: the same command goes on from the last whole epoch, to the same weights.
"""

from __future__ import annotations

import dataclasses
import logging
import shlex
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import tyro
from torch import Tensor, nn
from tqdm import tqdm
from tyro.conf import arg

from spikevae.config import DataConfig
from spikevae.data.division import some
from spikevae.data.sets import ImageSet, load_split
from spikevae.evaluation.networks.autoencoder import Autoencoder, AutoencoderConfig
from spikevae.evaluation.networks.bundle import BUNDLED, prepared, save_networks
from spikevae.evaluation.networks.classifier import ClassifierConfig, DomainClassifier
from spikevae.evaluation.settings import options_of
from spikevae.hub.checkpoints import write_weights
from spikevae.nn.networks import decaying
from spikevae.runtime import pick_device, prefers_bfloat16, reuse_freed_memory, sleep_while_waiting
from spikevae.versions import library_versions

logger = logging.getLogger(__name__)

Role = Literal["autoencoder", "classifier"]
STATE_NAME = "training.pt"  # in the folder, while a training is not finished
_NOT_MIRRORED = ("mnist",)  # data whose mirror image is something else


@dataclass(frozen=True)
class NetworkTraining:
    """How a domain network is trained: AdamW along one cycle, on the training split less its validation part."""

    data: str = "fashion-mnist"
    """fashion-mnist, mnist, cifar10, celeba, or folder:PATH."""
    data_root: str | None = None
    """Where the data sets lie."""
    image_size: int | None = None
    """Side of the pictures of a folder, in pixels; otherwise 64."""
    out: Path | None = None
    """Folder for the networks; otherwise the package's own."""
    roles: Annotated[tuple[Role, ...], arg(aliases=["--kinds"])] = ("autoencoder", "classifier")
    """Which networks to train; a classifier needs labels."""
    epochs: int = 8
    """Passes over the training images, for each network."""
    batch_size: int = 128
    """Images a step."""
    learning_rate: float = 2e-3
    """Highest rate of the cycle."""
    weight_decay: float = 0.05
    """AdamW's, on the classifier's kernels and matrices."""
    shift: int = 1
    """The classifier sees images moved by up to so many pixels, and mirrored unless they are digits."""
    precision: Literal["auto", "bfloat16", "float32"] = "auto"
    """Arithmetic of convolutions while training; auto: bfloat16 where the hardware multiplies faster in it."""
    seed: int = 0
    """Of weights, order and augmentation."""
    image_limit: int | None = None
    """Use only so many images of each split (for trying things out)."""

    def __post_init__(self) -> None:
        if min(self.epochs, self.batch_size, self.image_limit or 1) < 1:
            raise ValueError(
                f"epochs={self.epochs}, batch_size={self.batch_size}, image_limit={self.image_limit}: "
                "each must be at least 1"
            )

    def command(self) -> str:
        """The command that trains the same network again, wherever data and weights lie."""
        words = ["python", "-m", "spikevae.evaluation.networks.train", "--data", self.data]
        return shlex.join(words + options_of(self, but=("data", "data_root", "out")))


def train_networks(settings: NetworkTraining) -> Path:
    """Train and save the networks; returns their folder.

    Raises:
        ValueError: if a classifier is asked for data without labels, or an unfinished training had other settings.
            Both are found before any work.
    """
    data = DataConfig(dataset=settings.data, data_root=settings.data_root, image_size=settings.image_size)
    train, test = load_split(data, "train"), load_split(data, "test")
    if settings.image_limit is not None:
        train, test = (some(part, settings.image_limit) for part in (train, test))
    if "classifier" in settings.roles:
        for part in (train, test):
            _require_labels(part)
    networks = {role: _new_network(role, train, settings.seed) for role in settings.roles}  # refused before any work
    folder = settings.out if settings.out is not None else BUNDLED / settings.data
    folder.mkdir(parents=True, exist_ok=True)
    states = _read_states(folder / STATE_NAME, settings)
    for role, network in networks.items():
        seconds = _fit(network, train, settings, states, role, folder / STATE_NAME)
        # Scored as it will be stored, in half precision, and read: on the CPU.
        network.half().float().cpu()
        name = "test_mse" if role == "autoencoder" else "test_accuracy"
        score = _test_score(network, test)
        logger.info("%s of %s: %s %.5f after %.0f s", role, settings.data, name, score, seconds)
        training = _describe(settings, role, train, test) | {"seconds": round(seconds), name: round(score, 5)}
        save_networks(folder, {role: network}, {role: training})
    (folder / STATE_NAME).unlink(missing_ok=True)
    return folder


def _read_states(path: Path, settings: NetworkTraining) -> dict[str, Any]:
    """What an interrupted training left: its command, and for each network begun its state after the last epoch."""
    if not path.is_file():
        return {"command": settings.command()}
    states: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    if states["command"] != settings.command():
        raise ValueError(
            f"{path} is left from `{states['command']}`; go on with that command, or delete the file to start anew"
        )
    return states


def _require_labels(images: ImageSet) -> None:
    if not images.class_names or images.labels is None:
        raise ValueError(f"{images.name} has no labels, so there is nothing to classify; use --roles autoencoder")
    unknown = int((images.labels < 0).sum())
    if unknown:
        raise ValueError(
            f"{images.name}: {unknown} of {len(images)} images of the {images.split} part have no label (-1); "
            "leave them out, or use --roles autoencoder"
        )


def _new_network(role: Role, train: ImageSet, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    channels = train.image_channels
    if role == "autoencoder":
        large = train.image_size > 32
        return Autoencoder(
            AutoencoderConfig(
                image_channels=channels,
                image_size=64 if large else 32,
                latent_size=64 if channels == 1 else 128,
                widths=(32, 64, 128, 256, 512) if large else (32, 64, 128, 256),
            )
        )
    return DomainClassifier(
        ClassifierConfig(image_channels=channels, image_size=train.image_size, classes=len(train.class_names))
    )


def _fit(
    network: nn.Module, train: ImageSet, settings: NetworkTraining, states: dict[str, Any], role: Role, path: Path
) -> float:
    """Train to the last epoch, from wherever ``states`` is; returns the seconds that all epochs took."""
    device = pick_device()
    network.train().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    decay = settings.weight_decay if role == "classifier" else 0.0
    optimizer = torch.optim.AdamW(decaying(network.parameters(), decay))
    steps = settings.epochs * -(-len(train) // settings.batch_size)
    # The cycle needs a few steps for its way up.
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings.learning_rate, total_steps=max(8, steps), pct_start=0.2
    )
    state = states.get(role, {"epoch": 0, "seconds": 0.0})
    if state["epoch"]:
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
    first, seconds = state["epoch"], state["seconds"]
    with tqdm(
        total=settings.epochs * len(train),
        initial=first * len(train),
        unit="images",
        desc=f"{role} of {settings.data}",
        disable=None,
    ) as progress:
        for epoch in range(first, settings.epochs):
            begin = time.monotonic()
            _run_epoch(network, train, settings, epoch, optimizer, schedule, progress)
            seconds += time.monotonic() - begin
            states[role] = {
                "epoch": epoch + 1,
                "seconds": seconds,
                "network": network.state_dict(),
                "optimizer": optimizer.state_dict(),
                "schedule": schedule.state_dict(),
            }
            write_weights(path, lambda file: torch.save(states, file))
    network.eval()
    return float(seconds)


def _run_epoch(
    network: nn.Module,
    train: ImageSet,
    settings: NetworkTraining,
    epoch: int,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    progress: Any,
) -> None:
    is_classifier = isinstance(network, DomainClassifier)
    torch.manual_seed(settings.seed + epoch)  # of dropout, so that a resumed training goes on as it would have
    batches = train.batches(
        settings.batch_size,
        seed=settings.seed,
        epoch=epoch,
        flip=is_classifier and settings.data not in _NOT_MIRRORED,
        shift=settings.shift if is_classifier else 0,
    )
    for x, labels in batches:
        loss = _step(network, x, labels, optimizer, settings.precision)
        schedule.step()
        progress.update(len(x))
        progress.set_postfix(loss=f"{loss:.4f}", refresh=False)


def _step(network: Any, x: Tensor, labels: Tensor, optimizer: torch.optim.Optimizer, precision: str) -> float:
    device = next(network.parameters()).device
    x = prepared(x.to(device), network.config.image_channels, network.config.image_size)
    x = x.contiguous(memory_format=torch.channels_last)
    is_half = precision == "bfloat16" or (precision == "auto" and prefers_bfloat16(device))
    with torch.autocast(device.type, torch.bfloat16, enabled=is_half):
        loss: Tensor = network.loss(x, labels.to(device))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def _test_score(network: Any, test: ImageSet) -> float:
    total = 0.0
    with torch.inference_mode():
        for x, labels in test.batches(256):
            x = prepared(x, network.config.image_channels, network.config.image_size)
            total += network.test_score(x, labels).sum().item()
    return total / len(test)


def _describe(settings: NetworkTraining, role: Role, train: ImageSet, test: ImageSet) -> dict[str, Any]:
    return {
        "command": dataclasses.replace(settings, roles=(role,)).command(),
        "data": train.name,
        "class_names": list(train.class_names),
        "training_images": len(train),
        "test_images": len(test),
        "epochs": settings.epochs,
        "seed": settings.seed,
        "versions": library_versions(pick_device()),
    }


if __name__ == "__main__":
    sleep_while_waiting()
    reuse_freed_memory()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        train_networks(tyro.cli(NetworkTraining, description=__doc__))
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("stopped; the same command goes on")
