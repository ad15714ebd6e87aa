"""Make the networks that measure: ``python -m spikevae.evaluation.train_meters --data fashion-mnist``."""

from __future__ import annotations

import logging
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import tyro
from torch import Tensor, nn
from tqdm import tqdm

from spikevae.config import DataConfig
from spikevae.data import ImageSet, load_split
from spikevae.evaluation.autoencoder import Autoencoder, AutoencoderConfig
from spikevae.evaluation.classifier import ClassifierConfig, DomainClassifier
from spikevae.evaluation.meter import BUNDLED, save_meters, to_meter_input

logger = logging.getLogger(__name__)

_NOT_MIRRORED = ("mnist",)  # data whose mirror image is something else


@dataclass(frozen=True)
class MeterTraining:
    """How a meter is trained: AdamW along one cycle, on the training split less its validation part."""

    data: str = "fashion-mnist"
    """fashion-mnist, mnist, cifar10, celeba, or folder:PATH."""
    data_root: str | None = None
    """Where the data sets lie."""
    out: Path | None = None
    """Folder for the networks; otherwise the package's own."""
    kinds: tuple[Literal["autoencoder", "classifier"], ...] = ("autoencoder", "classifier")
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
    precision: Literal["bfloat16", "float32"] = "bfloat16"
    """Arithmetic of convolutions while training."""
    seed: int = 0
    """Of weights, order and augmentation."""


def train_meters(settings: MeterTraining) -> Path:
    """Train and save the networks; returns their folder.

    Raises:
        ValueError: if a classifier is asked for data without labels.
    """
    data = DataConfig(dataset=settings.data, data_root=settings.data_root)
    train, test = load_split(data, "train"), load_split(data, "test")
    folder = settings.out if settings.out is not None else BUNDLED / settings.data
    for kind in settings.kinds:
        network = _new_network(kind, train, settings.seed)
        begin = time.monotonic()
        _fit(network, train, settings)
        seconds = time.monotonic() - begin
        # Scored as it will be stored, in half precision.
        network.half().float()
        name = "test_mse" if kind == "autoencoder" else "test_accuracy"
        score = _test_score(network, test)
        logger.info("%s of %s: %s %.5f after %.0f s", kind, settings.data, name, score, seconds)
        training = _describe(settings, train, test) | {"seconds": round(seconds), name: round(score, 5)}
        save_meters(folder, {kind: network}, {kind: training})
    return folder


def _new_network(kind: str, train: ImageSet, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    channels = train.image_channels
    if kind == "autoencoder":
        large = train.image_size > 32
        return Autoencoder(
            AutoencoderConfig(
                image_channels=channels,
                image_size=64 if large else 32,
                latent_size=64 if channels == 1 else 128,
                widths=(32, 64, 128, 256, 512) if large else (32, 64, 128, 256),
            )
        )
    if not train.class_names:
        raise ValueError(f"{train.name} has no labels, so there is nothing to classify; use --kinds autoencoder")
    return DomainClassifier(
        ClassifierConfig(image_channels=channels, image_size=train.image_size, classes=len(train.class_names))
    )


def _fit(network: nn.Module, train: ImageSet, settings: MeterTraining) -> None:
    is_classifier = isinstance(network, DomainClassifier)
    steps_per_epoch = -(-len(train) // settings.batch_size)
    optimizer = torch.optim.AdamW(
        [
            {
                "params": [weight for weight in network.parameters() if weight.ndim > 1],
                "weight_decay": settings.weight_decay if is_classifier else 0.0,
            },
            {"params": [weight for weight in network.parameters() if weight.ndim <= 1], "weight_decay": 0.0},
        ]
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings.learning_rate, total_steps=settings.epochs * steps_per_epoch, pct_start=0.2
    )
    network.train().to(memory_format=torch.channels_last)
    with tqdm(total=settings.epochs * len(train), unit="images", desc=type(network).__name__) as progress:
        for epoch in range(settings.epochs):
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
    network.eval()


def _step(network: Any, x: Tensor, labels: Tensor, optimizer: torch.optim.Optimizer, precision: str) -> float:
    x = to_meter_input(x, network.config.image_channels, network.config.image_size)
    x = x.contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
        loss: Tensor = network.loss(x, labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def _test_score(network: Any, test: ImageSet) -> float:
    total = 0.0
    with torch.inference_mode():
        for x, labels in test.batches(256):
            x = to_meter_input(x, network.config.image_channels, network.config.image_size)
            total += network.test_score(x, labels).sum().item()
    return total / len(test)


def _describe(settings: MeterTraining, train: ImageSet, test: ImageSet) -> dict[str, Any]:
    return {
        "data": train.name,
        "training_images": len(train),
        "test_images": len(test),
        "epochs": settings.epochs,
        "batch_size": settings.batch_size,
        "learning_rate": settings.learning_rate,
        "shift": settings.shift,
        "precision": settings.precision,
        "seed": settings.seed,
        "torch": torch.__version__,
    }


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        train_meters(tyro.cli(MeterTraining, description=__doc__))
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
