"""The settings that made the released models, by name. No torch."""

from __future__ import annotations

import dataclasses

from spikevae.config import (
    CIFAR10_CLASSES,
    CLASS_NAMES,
    FASHION_MNIST_CLASSES,
    MNIST_CLASSES,
    DataConfig,
    ModelConfig,
    ObjectiveConfig,
    RunConfig,
    TrainConfig,
)

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
}


def preset_for(dataset: str, preset: str | None = None) -> RunConfig:
    """The settings to start from for a data set: a preset's, with the data set's own name, channels and classes.

    For a folder, and for a data set that no preset was made for, the lengths of a run are left open: they follow from
    the number of images.

    Args:
        dataset: as :attr:`DataConfig.dataset`.
        preset: a name of ``PRESETS``; None takes the one made for the data set, and "faces" for CelebA and folders.
    """
    start = PRESETS[preset] if preset is not None else PRESETS.get(dataset, PRESETS["faces"])
    is_digits = dataset == "mnist"
    train = dataclasses.replace(start.train, flip=start.train.flip and not is_digits)
    if dataset not in (*PRESETS, "celeba"):
        train = dataclasses.replace(train, epochs=0, batch_size=0, warmup_images=0, ema_images=0)
    return dataclasses.replace(
        start,
        model=dataclasses.replace(
            start.model,
            image_channels=1 if dataset in ("fashion-mnist", "mnist") else 3,
            class_names=CLASS_NAMES.get(dataset, ()),
            classify_mirrored=start.model.classify_mirrored and not is_digits,
        ),
        data=dataclasses.replace(start.data, dataset=dataset),
        train=train,
    )
