"""The images of a run, and the settings that follow from them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import Tensor

from spikevae.config import CLASS_NAMES, DataConfig, RunConfig, Split, own_place
from spikevae.data.division import divide, some
from spikevae.data.events.augment import EventAugmentation
from spikevae.data.events.eventset import EventSet
from spikevae.data.sets import ImageSet, is_events, load_split, wanted_channels
from spikevae.labels import are_read_alike


def load_sets(
    config: RunConfig, train_set: ImageSet | EventSet | None, validation_set: ImageSet | EventSet | None
) -> tuple[Any, Any]:
    """Training and validation part, each an ``ImageSet`` or ``EventSet``: what the settings name, or one's own.

    Raises:
        ValueError: if there are too few images for two parts, or these differ in size or classes; or if one is no set.
    """
    for name, part in (("train_set", train_set), ("validation_set", validation_set)):
        if not isinstance(part, ImageSet | EventSet | None):
            raise ValueError(
                f"{name} must be an ImageSet or an EventSet, got {type(part).__qualname__}; of tensors say "
                "spikevae.ImageSet(pixels, labels, name='mine', split='train', class_names=('cat', 'dog'))"
            )
    if train_set is None:
        data = _data_of(config)
        if validation_set is not None:
            data = replace(data, validation_share=0.0)
        channels = wanted_channels(data.dataset, config.model.image_channels)
        train_set = load_split(data, "train", image_channels=channels)
        if validation_set is None:
            validation_set = load_split(data, "validation", image_channels=channels)
        if data.also is not None:
            train_set = _with_another(train_set, data)
    elif validation_set is None:
        kept, held_out = divide(len(train_set), config.data.validation_share, train_set.labels)
        train_set, validation_set = _part(train_set, kept, "train"), _part(train_set, held_out, "validation")
    _require_alike(train_set, validation_set)
    if config.train.image_limit is not None:
        train_set = some(train_set, config.train.image_limit)
    return _augmented(train_set, config), validation_set


def require_readable(*parts: ImageSet | EventSet) -> None:
    """Read every file of images once; recordings were read when their frames were made.

    Raises:
        ValueError: if some cannot be read; it names them.
    """
    for part in parts:
        if isinstance(part, ImageSet):
            part.require_readable()


def _require_alike(train_set: Any, validation_set: Any) -> None:
    """Refuse held-out images that a model of the others could not be validated on, which it would be hours later."""
    for name, part in (("train_set", train_set), ("validation_set", validation_set)):
        if len(part) == 0:
            raise ValueError(f"{name}: {part.name} holds no images; give some, or leave {name} out")
    learned, held_out = _frame_of(train_set), _frame_of(validation_set)
    if learned != held_out:
        raise ValueError(f"validation_set has {held_out}, and the training set {learned}; give both in one size")
    learned, held_out = train_set.class_names, validation_set.class_names
    if learned and held_out and learned != held_out:
        raise ValueError(
            f"validation_set has the classes {held_out}, and the training set {learned}; give both in one order"
        )


def _frame_of(part: Any) -> str:
    """What a network takes of a set, in words."""
    if isinstance(part, EventSet):
        return "{} event frames of 2x{}x{}".format(part.time_steps, *part.frame_size)
    return f"images of {part.image_channels}x{part.image_size}x{part.image_size}"


def _data_of(config: RunConfig) -> DataConfig:
    """The data that a run names; recordings are cut into the frames that its model takes."""
    data, model = config.data, config.model
    if not is_events(data):
        return data
    return replace(
        data,
        image_size=data.image_size or model.image_size,
        image_width=data.image_width or model.image_width,
        time_steps=data.time_steps or model.time_steps,
        slice_by=data.slice_by or model.slice_by,
    )


def _with_another(train_set: ImageSet | EventSet, data: DataConfig) -> EventSet:
    """The training part and, after it, the whole training split of the other data set that the settings name.

    Raises:
        ValueError: if they do not go together.
    """
    other = load_split(replace(data, dataset=data.also or "", also=None, validation_share=0.0), "train")
    if not isinstance(train_set, EventSet) or not isinstance(other, EventSet):
        raise ValueError(f"also={data.also!r}: only event data sets are joined; leave it out")
    return train_set.joined(other)


def _augmented(train_set: Any, config: RunConfig) -> Any:
    """The training part, with the changes that are its own: recordings know more of them than images.

    Raises:
        ValueError: if they are asked for of what does not know them.
    """
    settings = config.train
    changes = {name: getattr(settings, name) for name in ("rotation", "shear", "mixup")}
    if settings.cutout and config.model.network != "classifier":
        raise ValueError(
            f"cutout={settings.cutout}: a model that draws would learn to draw the holes; "
            "leave it out (a run that has it cannot be resumed), or train a classifier"
        )
    if isinstance(train_set, EventSet):
        return train_set.augmented(EventAugmentation(**changes, cutout=settings.cutout, one_of=settings.one_change))
    if any(changes.values()):
        asked = ", ".join(f"{name}={value}" for name, value in changes.items() if value)
        raise ValueError(f"{asked}: only event recordings are changed so; images know flip, shift and cutout")
    return train_set.with_cutout(settings.cutout)


def _part(images: Any, indices: Tensor, split: Split) -> Any:
    if len(indices) == 0:
        raise ValueError(f"{images.name}: {len(images)} images leave none for the {split} part; give a validation_set")
    part = images.chosen(indices)
    part.split = split
    return part


def fitted_to(config: RunConfig, train_set: Any, *, is_divided: bool = True) -> RunConfig:
    """The settings with what they leave open: lengths from the number of images, and the classes of one's own images.

    ``is_divided``: whether a share of the training split was held out; otherwise all of it teaches.

    Raises:
        ValueError: if data and network do not fit.
    """
    model, data = config.model, config.data
    is_own = own_place(data.dataset) is not None or train_set.name != data.dataset
    is_own = is_own or data.dataset not in CLASS_NAMES
    if is_own and not model.class_names:
        model = replace(model, class_names=train_set.class_names)
    fitted = replace(
        config,
        model=model,
        data=replace(data, dataset=train_set.name, validation_share=data.validation_share if is_divided else 0.0),
        train=config.train.fitted_to(len(train_set)),
    )
    _check_fit(fitted, train_set)
    return fitted


def _check_fit(config: RunConfig, train_set: Any) -> None:
    model = config.model
    if isinstance(train_set, EventSet):
        found, expected = (train_set.time_steps, train_set.frame_size), (model.time_steps, model.frame_size)
        if not model.takes_events or found != expected:
            steps, (height, width) = found
            raise ValueError(
                f"{config.data.dataset} has {steps} event frames of 2x{height}x{width}, the model takes "
                f"{model.time_steps} of {model.image_channels}x{model.image_size}x{model.frame_size[1]}; set "
                "--model.time-steps, --model.image-size and --model.image-channels 2 alike"
            )
    elif (train_set.image_size, train_set.image_channels) != (model.image_size, model.image_channels):
        raise ValueError(
            f"{config.data.dataset} has {train_set.image_channels}x{train_set.image_size}x{train_set.image_size} "
            f"images, the model is for {model.image_channels}x{model.image_size}x{model.image_size}; "
            f"set --data.image-size, --model.image-size and --model.image-channels alike"
        )
    if model.classes and not are_read_alike(train_set.class_names, model.class_names):
        raise ValueError(f"{config.data.dataset} has the classes {train_set.class_names}, not {model.class_names}")
