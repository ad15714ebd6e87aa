"""The settings of classifiers without a decoder, by name. No torch."""

from __future__ import annotations

import dataclasses

from spikevae.config import (
    CIFAR10_CLASSES,
    CIFAR100_CLASSES,
    DVS128_CLASSES,
    FASHION_MNIST_CLASSES,
    GESTURE_CLASSES,
    MNIST_CLASSES,
    DataConfig,
    ModelConfig,
    ObjectiveConfig,
    RunConfig,
    TrainConfig,
)

_SMALL = "conv32/2+attention conv64/2+attention conv128/2+attention dropout0.2 readout"
_SEVEN = (  # a CIFAR10 network that two cores can train
    "conv64 conv64/2+attention conv128+attention conv256/2+attention conv256+attention conv256/2+attention "
    "conv256+attention avgpool readout"
)
_VGG = (
    "conv64 conv128{} avgpool2 conv256 conv256 avgpool2 conv512 conv512{} avgpool2 conv512 conv512{} avgpool2 readout"
)
_MS_RESNET18 = (
    "stem{0} res{0}+attention res{0}+attention res{1}/2+attention res{1}+attention res{2}/2+attention res{2}+attention "
    "res{3}/2+attention res{3}+attention fire avgpool readout"
)
_WIDE = _MS_RESNET18.format(64, 128, 256, 512)
_NARROW = _MS_RESNET18.format(16, 48, 96, 192)  # an eighth of the multiplications, for training without a GPU


def _classifier_training(epochs: int, *, batch_size: int = 16, learning_rate: float = 1e-3) -> TrainConfig:
    """The training of a classifier, which has one phase."""
    return TrainConfig(
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        deterministic_share=0.0,
        adversarial_share=0.0,
        flip=False,
    )


def _seven_convolutions(
    epochs: int, *, learning_rate: float, label_smoothing: float, network: ModelConfig
) -> RunConfig:
    """The training of a network of seven convolutions on CIFAR10."""
    train = _classifier_training(epochs, batch_size=64, learning_rate=learning_rate)
    return RunConfig(
        model=dataclasses.replace(
            network, image_size=32, image_channels=3, class_names=CIFAR10_CLASSES, classify_mirrored=True
        ),
        data=DataConfig(dataset="cifar10"),
        objective=ObjectiveConfig(label_smoothing=label_smoothing),
        train=dataclasses.replace(train, optimizer="muon", weight_decay=0.15, flip=True, shift=3),
    )


def _of_events(
    layers: str,
    *,
    size: tuple[int, int],
    time_steps: int,
    kernel: int = 4,
    class_names: tuple[str, ...] = (),
) -> ModelConfig:
    """A network of the TCJA paper for event recordings: height and width of its frames, and both attention kernels."""
    height, width = size
    return ModelConfig(
        network="classifier",
        layers=layers,
        image_size=height,
        image_width=None if width == height else width,
        image_channels=2,
        class_names=class_names,
        time_steps=time_steps,
        temporal_kernel=kernel,
        channel_kernel=kernel,
        neuron="lif",
    )


_NEUROMORPHIC = dataclasses.replace(
    _classifier_training(200), flip=True, shift=5, rotation=15.0, shear=8.0, cutout=8, mixup=0.5
)
"""Augmentation of the authors of TCJA, after Li et al. (ECCV 2022)."""

_TCJA_CIFAR10 = RunConfig(
    model=ModelConfig(
        network="classifier",
        layers=_WIDE,
        image_size=32,
        image_channels=3,
        class_names=CIFAR10_CLASSES,
        neuron="lif",
    ),
    data=DataConfig(dataset="cifar10"),
    train=dataclasses.replace(_classifier_training(200, batch_size=64), flip=True, shift=4),
)

CLASSIFIERS: dict[str, RunConfig] = {
    "n-mnist-classifier": RunConfig(
        model=ModelConfig(
            network="classifier",
            layers=_SMALL,
            image_size=34,
            image_channels=2,
            class_names=MNIST_CLASSES,
            time_steps=10,
            slice_by="time",
        ),
        data=DataConfig(dataset="n-mnist", validation_share=0.2),
        train=dataclasses.replace(
            _classifier_training(40, batch_size=32, learning_rate=4e-3),
            warmup_images=3_200,
            ema_images=3_200,
            shift=5,
            rotation=15.0,
            shear=15.0,
            cutout=8,
        ),
    ),
    "sim-gestures": RunConfig(
        model=ModelConfig(
            network="classifier",
            layers=_SMALL,
            image_size=32,
            image_channels=2,
            class_names=GESTURE_CLASSES,
            time_steps=10,
        ),
        data=DataConfig(dataset="sim-gestures"),
        train=dataclasses.replace(_classifier_training(8, batch_size=32, learning_rate=4e-3), shift=3),
    ),
    "tcja-dvs128": RunConfig(
        model=_of_events(
            "conv128 maxpool2 conv128 maxpool2 conv128 maxpool2 conv128+attention maxpool2 conv128+attention "
            "maxpool2 dropout0.5 linear512 dropout0.5 vote10",
            size=(128, 128),
            time_steps=20,
            class_names=DVS128_CLASSES,
        ),
        data=DataConfig(dataset="dvs128-gesture"),
        objective=ObjectiveConfig(classification_loss="rate-mse"),
        train=dataclasses.replace(_NEUROMORPHIC, flip=False),
    ),
    "tcja-n-caltech101": RunConfig(
        model=_of_events(
            "conv64 maxpool2 conv128 maxpool2 conv256 maxpool2 conv256+attention maxpool2 conv512+attention "
            "maxpool2 dropout0.5 linear1024 dropout0.5 readout",
            size=(180, 240),
            time_steps=14,
        ),
        data=DataConfig(dataset="n-caltech101"),
        train=_NEUROMORPHIC,
    ),
    "tcja-cifar10-dvs": RunConfig(
        model=_of_events(
            _VGG.format("", "+attention", "+attention"), size=(48, 48), time_steps=10, class_names=CIFAR10_CLASSES
        ),
        data=DataConfig(dataset="cifar10-dvs"),
        train=_NEUROMORPHIC,
    ),
    "tcja-cifar10-dvs-tet": RunConfig(
        model=_of_events(
            _VGG.format("+attention", "", ""), size=(48, 48), time_steps=10, kernel=2, class_names=CIFAR10_CLASSES
        ),
        data=DataConfig(dataset="cifar10-dvs"),
        objective=ObjectiveConfig(classification_loss="tet"),
        train=_NEUROMORPHIC,
    ),
    "tcja-fashion-mnist": RunConfig(
        model=ModelConfig(
            network="classifier",
            layers=_NARROW,
            class_names=FASHION_MNIST_CLASSES,
            time_steps=2,
            temporal_kernel=2,
            classify_mirrored=True,
        ),
        objective=ObjectiveConfig(label_smoothing=0.1),
        train=dataclasses.replace(
            _classifier_training(24, batch_size=64, learning_rate=4e-3),
            weight_decay=0.05,
            flip=True,
            shift=2,
            cutout=8,
        ),
    ),
    "fashion-mnist-teacher": RunConfig(
        model=ModelConfig(
            network="classifier",
            layers="conv32 conv32 conv64/2 conv64 conv128/2 conv128 avgpool readout",
            class_names=FASHION_MNIST_CLASSES,
            time_steps=1,
            attention="none",
            temporal_kernel=1,
            neuron="relu",
            classify_mirrored=True,
        ),
        objective=ObjectiveConfig(label_smoothing=0.0),
        train=dataclasses.replace(
            _classifier_training(8, batch_size=64, learning_rate=5e-3),
            optimizer="muon",
            weight_decay=0.15,
            flip=True,
            shift=2,
        ),
    ),
    "cifar10-classifier": _seven_convolutions(
        9,
        learning_rate=2.5e-3,
        label_smoothing=0.1,
        network=ModelConfig(network="classifier", layers=_SEVEN, time_steps=2, temporal_kernel=2, surrogate_slope=1.0),
    ),
    "cifar10-teacher": _seven_convolutions(
        12,
        learning_rate=5e-3,
        label_smoothing=0.0,
        network=ModelConfig(network="classifier", layers=_SEVEN, time_steps=1, attention="none", neuron="relu"),
    ),
    "tcja-cifar10": _TCJA_CIFAR10,
    "tcja-cifar100": dataclasses.replace(
        _TCJA_CIFAR10,
        model=dataclasses.replace(_TCJA_CIFAR10.model, class_names=CIFAR100_CLASSES),
        data=DataConfig(dataset="cifar100"),
    ),
}
"""The networks of the paper's classifiers begin with ``tcja-``; how long and how they are trained is ours."""
