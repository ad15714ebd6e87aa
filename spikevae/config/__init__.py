"""Every setting of a model, its data and its training. No torch."""

from __future__ import annotations

from dataclasses import dataclass, field

from spikevae.config.checks import require_types
from spikevae.config.classes import (
    CIFAR10_CLASSES,
    CIFAR100_CLASSES,
    CLASS_NAMES,
    DVS128_CLASSES,
    EVENT_DATASET_NAMES,
    FASHION_MNIST_CLASSES,
    GESTURE_CLASSES,
    MNIST_CLASSES,
)
from spikevae.config.data import DataConfig, Split, own_place
from spikevae.config.model import ModelConfig, ReadOut, SliceBy, Synapses
from spikevae.config.objective import ObjectiveConfig
from spikevae.config.reading import Config, from_dict, to_dict
from spikevae.config.train import TrainConfig

__all__ = [
    "CIFAR10_CLASSES",
    "CIFAR100_CLASSES",
    "CLASS_NAMES",
    "DVS128_CLASSES",
    "EVENT_DATASET_NAMES",
    "FASHION_MNIST_CLASSES",
    "GESTURE_CLASSES",
    "MNIST_CLASSES",
    "Config",
    "DataConfig",
    "ModelConfig",
    "ObjectiveConfig",
    "ReadOut",
    "RunConfig",
    "SliceBy",
    "Split",
    "Synapses",
    "TrainConfig",
    "from_dict",
    "own_place",
    "to_dict",
]


@dataclass(frozen=True)
class RunConfig:
    """All settings of a training run, as written to its folder."""

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    train: TrainConfig = field(default_factory=TrainConfig)

    def __post_init__(self) -> None:
        require_types(self)
        for name in ("shift", "discriminator_shift"):
            if not getattr(self.train, name) < min(self.model.frame_size):
                raise ValueError(
                    f"{name}={getattr(self.train, name)} moves images of {self.model.image_size} pixels out of sight; "
                    f"give less than {min(self.model.frame_size)}"
                )
        if not self.train.cutout < min(self.model.frame_size):
            raise ValueError(
                f"cutout={self.train.cutout} can cover images of {self.model.image_size} pixels whole; "
                f"give less than {min(self.model.frame_size)}"
            )
