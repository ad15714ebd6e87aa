"""The settings that made the released models, by name. No torch."""

from __future__ import annotations

import dataclasses

from spikevae.classifier_presets import CLASSIFIERS
from spikevae.config import (
    CIFAR10_CLASSES,
    CLASS_NAMES,
    EVENT_DATASET_NAMES,
    FASHION_MNIST_CLASSES,
    MNIST_CLASSES,
    DataConfig,
    ModelConfig,
    ObjectiveConfig,
    RunConfig,
    TrainConfig,
)
from spikevae.registry import choose

_FSVAE = RunConfig(
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
)

_FASHION_MNIST = RunConfig(
    model=ModelConfig(
        class_names=FASHION_MNIST_CLASSES,
        encoder_widths=(48, 96, 192),
        encoder_depth=1,
        decoder_widths=(96, 48, 24),
        latent="grid",
        latent_size=588,
        prior_rank=96,
        prior_components=14,
        prior_exemplars=2000,
        gate="pow2",
        classify_mirrored=True,
    ),
    train=TrainConfig(epochs=32, batch_size=128, deterministic_share=8 / 32, adversarial_share=8 / 32),
)

_FACES = RunConfig(
    model=ModelConfig(
        image_size=64,
        image_channels=3,
        encoder_widths=(32, 64, 128),
        encoder_depth=1,
        decoder_widths=(96, 64, 32, 16),
        latent="grid",
        latent_size=1024,
        prior_rank=96,
        prior_components=20,
        gate="pow2",
    ),
    data=DataConfig(dataset="celeba"),
    train=TrainConfig(
        epochs=34,
        deterministic_share=4 / 34,
        adversarial_share=10 / 34,
        batch_size=32,
        warmup_images=10_000,
        ema_images=10_000,
        symmetric=True,
        discriminator_shift=4,
    ),
)

PRESETS: dict[str, RunConfig] = {
    "fashion-mnist": _FASHION_MNIST,
    "mnist": RunConfig(
        model=dataclasses.replace(
            _FASHION_MNIST.model,
            class_names=MNIST_CLASSES,
            prior_rank=80,
            prior_components=20,
            classify_mirrored=False,
        ),
        data=DataConfig(dataset="mnist"),
        train=dataclasses.replace(
            _FASHION_MNIST.train, epochs=17, deterministic_share=5 / 17, adversarial_share=6 / 17, flip=False, shift=1
        ),
    ),
    "faces": _FACES,
    "pictures": RunConfig(
        model=ModelConfig(
            image_size=64,
            image_channels=3,
            encoder_widths=(32, 64, 128, 160),
            decoder_widths=(128, 64, 32, 16),
            prior_rank=128,
        ),
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
        model=dataclasses.replace(
            _FACES.model,
            image_size=32,
            class_names=CIFAR10_CLASSES,
            decoder_widths=(96, 48, 24),
            prior_exemplars=400,
            prior_bandwidth=0.5,
            classify_mirrored=True,
        ),
        data=DataConfig(dataset="cifar10"),
        objective=ObjectiveConfig(label_weight=0.05),
        train=dataclasses.replace(
            _FACES.train,
            epochs=12,
            deterministic_share=1 / 12,
            adversarial_share=6 / 12,
            batch_size=64,
            warmup_images=20_000,
            ema_images=20_000,
            discriminator_shift=2,
        ),
    ),
    "paper": _FSVAE,
    "esvae": dataclasses.replace(
        _FSVAE,
        model=dataclasses.replace(_FSVAE.model, latent="esvae"),
        objective=ObjectiveConfig(divergence_weight=1e-3),
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
    **CLASSIFIERS,
}
"""Of VAEs, and of classifiers without a decoder."""

_FOR_DATASET = {
    "dvs128-gesture": "tcja-dvs128",
    "n-caltech101": "tcja-n-caltech101",
    "cifar10-dvs": "tcja-cifar10-dvs",
    "cifar100": "tcja-cifar100",
    "sim-shapes": "sim-gestures",
    "celeba": "faces",
}
_SYMMETRIC = ("celeba", "cifar10")  # mirror images are as real as images; of a folder only its owner knows
_NO_MIRROR = ("mnist", "n-mnist", "sim-n-mnist", "dvs128-gesture", "sim-gestures", "sim-shapes")


def preset_for(dataset: str, preset: str | None = None) -> RunConfig:
    """The settings to start from for a data set: a preset's, with the data set's own name, channels and classes.

    For a folder, and for a data set that no preset was made for, the lengths of a run are left open: they follow from
    the number of images.

    Args:
        dataset: as :attr:`DataConfig.dataset`.
        preset: a name of ``PRESETS``; None takes the one made for the data set, "faces" for CelebA, "pictures" for
            folders, and "n-mnist" for folders of recordings.

    Raises:
        ValueError: if there is no such preset.
    """
    if preset is None:
        other = "n-mnist" if _has_events(dataset) else "pictures"
        preset = dataset if dataset in PRESETS else _FOR_DATASET.get(dataset, other)
    return settings_for(dataset, choose(PRESETS, "preset", preset))


def _has_events(dataset: str) -> bool:
    return dataset.startswith("events:") or dataset in EVENT_DATASET_NAMES


def settings_for(dataset: str, start: RunConfig) -> RunConfig:
    """Settings for a data set, with its own name, channels and classes, and everything else as in those of another."""
    data = dataclasses.replace(start.data, dataset=dataset)
    if dataset.startswith("folder:"):
        data = dataclasses.replace(data, image_size=start.model.image_size)  # pictures have none of their own
    if dataset != start.data.dataset:
        data = dataclasses.replace(data, validation_share=DataConfig.validation_share)
    never_mirror = dataset in _NO_MIRROR
    train = dataclasses.replace(
        start.train,
        flip=start.train.flip and not never_mirror,
        symmetric=start.train.symmetric and dataset in _SYMMETRIC,
    )
    is_own = dataset not in (*PRESETS, *_FOR_DATASET)
    if is_own:
        train = dataclasses.replace(train, epochs=0, batch_size=0, warmup_images=0, ema_images=0)
    return dataclasses.replace(
        start,
        model=dataclasses.replace(
            start.model,
            image_channels=2 if _has_events(dataset) else 1 if dataset in ("fashion-mnist", "mnist") else 3,
            class_names=CLASS_NAMES.get(dataset, ()),
            classify_mirrored=start.model.classify_mirrored and not never_mirror,
            # It is for oneself to say whether a file keeps codes of single pictures.
            prior_exemplars=0 if is_own else start.model.prior_exemplars,
        ),
        data=data,
        train=train,
    )
