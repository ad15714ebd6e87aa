"""The images of a run, and the settings that follow from them."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from spikevae.config import RunConfig, Split
from spikevae.data.division import divide
from spikevae.data.sets import ImageSet, load_split


def load_sets(
    config: RunConfig, train_set: ImageSet | None, validation_set: ImageSet | None
) -> tuple[ImageSet, ImageSet]:
    """Training and validation part: what the settings name, or images of one's own.

    Raises:
        ValueError: if there are too few images for two parts.
    """
    if train_set is None:
        train_set, validation_set = load_split(config.data, "train"), load_split(config.data, "validation")
    elif validation_set is None:
        kept, held_out = divide(len(train_set), config.data.validation_share, train_set.labels)
        train_set, validation_set = _part(train_set, kept, "train"), _part(train_set, held_out, "validation")
    if config.train.image_limit is not None:
        train_set = train_set.subset(config.train.image_limit)
    return train_set, validation_set


def _part(images: ImageSet, indices: Tensor, split: Split) -> ImageSet:
    if len(indices) == 0:
        raise ValueError(f"{images.name}: {len(images)} images leave none for the {split} part; give a validation_set")
    labels = None if images.labels is None else images.labels[indices]
    return ImageSet(images.images()[indices], labels, name=images.name, split=split, class_names=images.class_names)


def fitted_to(config: RunConfig, train_set: ImageSet) -> RunConfig:
    """The settings with what they leave open: lengths from the number of images, and the classes of one's own images.

    Raises:
        ValueError: if data and network do not fit.
    """
    model, data = config.model, config.data
    is_own = data.dataset.startswith("folder:") or train_set.name != data.dataset
    if is_own and not model.class_names:
        model = replace(model, class_names=train_set.class_names)
    fitted = replace(
        config,
        model=model,
        data=replace(data, dataset=train_set.name),
        train=config.train.fitted_to(len(train_set)),
    )
    _check_fit(fitted, train_set)
    return fitted


def _check_fit(config: RunConfig, train_set: ImageSet) -> None:
    model = config.model
    if (train_set.image_size, train_set.image_channels) != (model.image_size, model.image_channels):
        raise ValueError(
            f"{config.data.dataset} has {train_set.image_channels}x{train_set.image_size}x{train_set.image_size} "
            f"images, the model is for {model.image_channels}x{model.image_size}x{model.image_size}; "
            f"set --data.image-size, --model.image-size and --model.image-channels alike"
        )
    if model.classes and train_set.class_names != model.class_names:
        raise ValueError(f"{config.data.dataset} has the classes {train_set.class_names}, not {model.class_names}")
