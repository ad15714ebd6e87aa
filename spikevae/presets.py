"""The settings that made the released models, by name. No torch."""

from __future__ import annotations

import dataclasses

from spikevae.config import (
    CIFAR10_CLASSES,
    CIFAR100_CLASSES,
    CLASS_NAMES,
    DVS128_CLASSES,
    EVENT_DATASET_NAMES,
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
_VGG = (
    "conv64 conv128{} avgpool2 conv256 conv256 avgpool2 conv512 conv512{} avgpool2 conv512 conv512{} avgpool2 readout"
)
_MS_RESNET18 = (
    "stem64 res64+attention res64+attention res128/2+attention res128+attention res256/2+attention res256+attention "
    "res512/2+attention res512+attention fire avgpool readout"
)


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


_NEUROMORPHIC = dataclasses.replace(
    _classifier_training(200), flip=True, shift=5, rotation=15.0, shear=8.0, cutout=8, mixup=0.5
)
"""Augmentation of the authors of TCJA, after Li et al. (ECCV 2022)."""

PRESETS: dict[str, RunConfig] = {
    "fashion-mnist": RunConfig(
        model=ModelConfig(class_names=FASHION_MNIST_CLASSES, classify_mirrored=True),
        objective=ObjectiveConfig(adversarial_weight=0.033),
        train=TrainConfig(epochs=17, batch_size=64, deterministic_share=5 / 17, adversarial_share=3 / 17),
    ),
    "mnist": RunConfig(
        model=ModelConfig(class_names=MNIST_CLASSES),
        data=DataConfig(dataset="mnist"),
        train=TrainConfig(
            epochs=7, batch_size=64, deterministic_share=2 / 7, adversarial_share=1 / 7, flip=False, shift=1
        ),
    ),
    "faces": RunConfig(
        model=ModelConfig(
            image_size=64,
            image_channels=3,
            encoder_widths=(32, 64, 128, 160),
            decoder_widths=(128, 64, 32, 16),
            prior_rank=128,
        ),
        data=DataConfig(dataset="celeba"),
        train=TrainConfig(
            epochs=20,
            deterministic_share=5 / 20,
            adversarial_share=1 / 20,
            batch_size=32,
            warmup_images=10_000,
            ema_images=10_000,
        ),
    ),
    "cifar10": RunConfig(
        model=ModelConfig(
            image_size=32,
            image_channels=3,
            class_names=CIFAR10_CLASSES,
            decoder_widths=(128, 64, 32),
            latent_size=384,
            classify_mirrored=True,
        ),
        data=DataConfig(dataset="cifar10"),
        train=TrainConfig(epochs=14, batch_size=64),
    ),
    "paper": RunConfig(
        model=ModelConfig(
            image_size=32,
            class_names=FASHION_MNIST_CLASSES,
            time_steps=16,
            encoder_widths=(32, 64, 128, 256),
            decoder_widths=(256, 128, 64, 32, 32),
            upsampling="transposed",
            neuron="lif",
            latent="autoregressive",
            latent_size=128,
            latent_synapses="instant",
            read_out="membrane",
        ),
        data=DataConfig(image_size=32),
        objective=ObjectiveConfig(divergence_weight=1.0),
        train=TrainConfig(
            epochs=3,
            batch_size=64,
            warmup_images=20_000,
            ema_images=50_000,
            learning_rate=2e-3,
            deterministic_share=0.0,
            adversarial_share=0.0,
        ),
    ),
    "n-mnist": RunConfig(
        model=ModelConfig(
            network="event-vae",
            image_size=34,
            image_channels=2,
            class_names=MNIST_CLASSES,
            time_steps=10,
            slice_by="time",
            duration=308_000,
            encoder_widths=(32, 64, 128),
            decoder_widths=(64, 32, 16),
            latent_size=64,
            prior_rank=32,
            prior_components=4,
        ),
        data=DataConfig(dataset="n-mnist", validation_share=0.2),
        objective=ObjectiveConfig(classification_weight=0.5),
        train=TrainConfig(
            epochs=40,
            batch_size=32,
            deterministic_share=0.25,
            adversarial_share=0.0,
            warmup_images=3_200,
            ema_images=3_200,
            flip=False,
            shift=3,
            rotation=10.0,
            shear=10.0,
        ),
    ),
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
        model=ModelConfig(
            network="classifier",
            layers=(
                "conv128 maxpool2 conv128 maxpool2 conv128 maxpool2 conv128+attention maxpool2 conv128+attention "
                "maxpool2 dropout0.5 linear512 dropout0.5 vote10"
            ),
            image_size=128,
            image_channels=2,
            class_names=DVS128_CLASSES,
            time_steps=20,
            temporal_kernel=4,
            channel_kernel=4,
            neuron="lif",
        ),
        data=DataConfig(dataset="dvs128-gesture"),
        objective=ObjectiveConfig(classification_loss="rate-mse"),
        train=dataclasses.replace(_NEUROMORPHIC, flip=False),
    ),
    "tcja-n-caltech101": RunConfig(
        model=ModelConfig(
            network="classifier",
            layers=(
                "conv64 maxpool2 conv128 maxpool2 conv256 maxpool2 conv256+attention maxpool2 conv512+attention "
                "maxpool2 dropout0.5 linear1024 dropout0.5 readout"
            ),
            image_size=180,
            image_width=240,
            image_channels=2,
            time_steps=14,
            temporal_kernel=4,
            channel_kernel=4,
            neuron="lif",
        ),
        data=DataConfig(dataset="n-caltech101"),
        train=_NEUROMORPHIC,
    ),
    "tcja-cifar10-dvs": RunConfig(
        model=ModelConfig(
            network="classifier",
            layers=_VGG.format("", "+attention", "+attention"),
            image_size=48,
            image_channels=2,
            class_names=CIFAR10_CLASSES,
            time_steps=10,
            temporal_kernel=4,
            channel_kernel=4,
            neuron="lif",
        ),
        data=DataConfig(dataset="cifar10-dvs"),
        train=_NEUROMORPHIC,
    ),
    "tcja-cifar10-dvs-tet": RunConfig(
        model=ModelConfig(
            network="classifier",
            layers=_VGG.format("+attention", "", ""),
            image_size=48,
            image_channels=2,
            class_names=CIFAR10_CLASSES,
            time_steps=10,
            temporal_kernel=2,
            channel_kernel=2,
            neuron="lif",
        ),
        data=DataConfig(dataset="cifar10-dvs"),
        objective=ObjectiveConfig(classification_loss="tet"),
        train=_NEUROMORPHIC,
    ),
    "tcja-fashion-mnist": RunConfig(
        model=ModelConfig(network="classifier", layers=_MS_RESNET18, class_names=FASHION_MNIST_CLASSES, neuron="lif"),
        train=dataclasses.replace(_classifier_training(60, batch_size=64), flip=True, shift=2),
    ),
    "tcja-cifar10": RunConfig(
        model=ModelConfig(
            network="classifier",
            layers=_MS_RESNET18,
            image_size=32,
            image_channels=3,
            class_names=CIFAR10_CLASSES,
            neuron="lif",
        ),
        data=DataConfig(dataset="cifar10"),
        train=dataclasses.replace(_classifier_training(200, batch_size=64), flip=True, shift=4),
    ),
    "tcja-cifar100": RunConfig(
        model=ModelConfig(
            network="classifier",
            layers=_MS_RESNET18,
            image_size=32,
            image_channels=3,
            class_names=CIFAR100_CLASSES,
            neuron="lif",
        ),
        data=DataConfig(dataset="cifar100"),
        train=dataclasses.replace(_classifier_training(200, batch_size=64), flip=True, shift=4),
    ),
}
"""The networks of the paper's classifiers begin with ``tcja-``; how long and how they are trained is ours."""

_FOR_DATASET = {
    "dvs128-gesture": "tcja-dvs128",
    "n-caltech101": "tcja-n-caltech101",
    "cifar10-dvs": "tcja-cifar10-dvs",
    "cifar100": "tcja-cifar100",
    "sim-shapes": "sim-gestures",
}
_NO_MIRROR = ("mnist", "n-mnist", "sim-n-mnist", "dvs128-gesture", "sim-gestures", "sim-shapes")


def preset_for(dataset: str, preset: str | None = None) -> RunConfig:
    """The settings to start from for a data set: a preset's, with the data set's own name, channels and classes.

    For a folder, and for a data set that no preset was made for, the lengths of a run are left open: they follow from
    the number of images.

    Args:
        dataset: as :attr:`DataConfig.dataset`.
        preset: a name of ``PRESETS``; None takes the one made for the data set, "faces" for CelebA and folders, and
            "n-mnist" for folders of recordings.
    """
    has_events = dataset.startswith("events:") or dataset in EVENT_DATASET_NAMES
    if preset is None:
        preset = dataset if dataset in PRESETS else _FOR_DATASET.get(dataset, "n-mnist" if has_events else "faces")
    start = PRESETS[preset]
    data = dataclasses.replace(start.data, dataset=dataset)
    if dataset != start.data.dataset:
        data = dataclasses.replace(data, validation_share=DataConfig.validation_share)
    never_mirror = dataset in _NO_MIRROR
    train = dataclasses.replace(start.train, flip=start.train.flip and not never_mirror)
    if dataset not in (*PRESETS, *_FOR_DATASET, "celeba"):
        train = dataclasses.replace(train, epochs=0, batch_size=0, warmup_images=0, ema_images=0)
    return dataclasses.replace(
        start,
        model=dataclasses.replace(
            start.model,
            image_channels=2 if has_events else 1 if dataset in ("fashion-mnist", "mnist") else 3,
            class_names=CLASS_NAMES.get(dataset, ()),
            classify_mirrored=start.model.classify_mirrored and not never_mirror,
        ),
        data=data,
        train=train,
    )
