"""What the commands share: the model and the images that they are given. Imports torch."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from spikevae.config import ModelConfig, Split, own_place
from spikevae.console import progress
from spikevae.data.division import some
from spikevae.data.events.eventset import EventSet
from spikevae.data.images import is_light
from spikevae.distributed import shared_batches, together, world_size
from spikevae.files import check_is_not_inside, check_is_not_read
from spikevae.hub.checkpoints import load, load_generator, model_folder, read_config
from spikevae.hub.run_settings import data_divided_for, require_same_division
from spikevae.labels import class_numbers
from spikevae.nn.event_vae import SpikingEventVAE
from spikevae.nn.networks import Network
from spikevae.nn.vae import SpikingVAE
from spikevae.options import check_data_root
from spikevae.runtime import check_memory, chosen_device, reuse_freed_memory

if TYPE_CHECKING:
    from spikevae.data.events.files import RecordingFile
    from spikevae.data.sets import ImageSet

log = logging.getLogger(__name__)

_BATCH = 64  # images computed together


def load_model(model: str, device: str | None) -> Network:
    """The model of this name or folder, on the device that was asked for, or else the best that is there.

    Raises:
        ValueError: if there is no such device, or the model is damaged.
        FileNotFoundError: if there is no such model.
    """
    reuse_freed_memory()
    network: Network = load(model, device=chosen_device(device))
    return network


def is_event_vae(model: str) -> bool:
    """Whether the model of this name or folder makes event recordings; where it cannot be read, no."""
    try:
        return read_config(model_folder(model)).network == "event-vae"
    except (OSError, ValueError):
        return False


def load_event_vae(model: str, device: str | None) -> SpikingEventVAE:
    """:func:`load_model` where :func:`is_event_vae` said yes."""
    network = load_model(model, device)
    assert isinstance(network, SpikingEventVAE)
    return network


def load_decoder(model: str, device: str | None) -> SpikingVAE:
    """:func:`load_model` for a command that makes images.

    Raises:
        ValueError: also if the model is a classifier.
    """
    reuse_freed_memory()
    return load_generator(model, device=chosen_device(device))


def read_inputs(
    model: str,
    network: Network,
    files: Sequence[Any],
    data: str | None,
    split: Split | None,
    count: int | None,
    root: str | None,
    *,
    is_compared: bool = False,
) -> Any:
    """The images that a command was given, as an ``ImageSet``, or the recordings, as an ``EventSet``.

    Args:
        model: the name or folder of ``network``.
        files: image files, or recordings.
        data: a data set, in place of files.
        split: part of the data set; otherwise test.
        count: only so many of its images: the first ones, or of every class where they lie class by class.
        root: where data sets lie.
        is_compared: whether the data set's classes must be ones that the model knows.
    """
    from spikevae.data.sets import ImageSet, is_events, load_split

    config = network.config
    kind = "recordings" if config.takes_events else "image files"
    channels: Any = None if config.takes_events else config.image_channels
    if (data is None) == (not files):
        raise ValueError(f"give either {kind} or --data NAME")
    if count is not None and count < 1:
        raise ValueError(f"--count {count}: expected at least 1")
    if count is not None and data is None:
        raise ValueError(f"--count {count} goes with --data; of files, name those that are wanted")
    if split is not None and data is None:
        raise ValueError(f"--split {split} goes with --data; files are in no part, leave it out")
    if root is not None and data is None:
        raise ValueError(f"--data-root {root} goes with --data; files lie where their paths say, leave it out")
    check_data_root(root, data or "")
    if data is None and config.takes_events:
        return _event_set(files, config)
    if data is None:
        return ImageSet(torch.stack([file.read(channels, config.image_size) for file in files]), name="", split="test")
    divided = data_divided_for(model, data, unlabelled=not network.config.classes)
    settings = replace(divided, data_root=root).taken_by(config)
    if is_events(settings) != config.takes_events:
        raise ValueError(f"{model} takes {kind}, and {data} holds others; choose another data set or model")
    images = load_split(settings, split or "test", image_channels=channels)
    require_same_division(model, images)
    is_compared = is_compared and config.classes > 0
    if is_compared:
        if not images.class_names or images.labels is None or not (images.labels >= 0).any():
            raise ValueError(f"{data} has no labels to compare with; give {kind} or their folder instead")
        class_numbers(images.class_names, config.class_names, data, may_lack=True)  # refuses others
    if count is None:
        return images
    chosen = some(images, count)
    if is_compared and not (chosen.labels >= 0).any():
        raise ValueError(f"none of the images that --count {count} takes has a label; raise it, or leave it out")
    return chosen


def list_files(paths: Sequence[Path], *, events: bool = False, written: Path | None = None) -> list[Any]:
    """Each image file or recording, and in place of a folder, an archive or an array file all those in it.

    Raises:
        ValueError: if there is none, or ``written``, the place of the result, is one of them.
    """
    files = _files_in(paths, are_recordings=events)
    if written is not None:
        check_is_not_read(written, (file.path for file in files))
    return files


def check_is_not_in(out: Path | None, data: str | None) -> None:
    """Refuse to write a result over a file of one's own data.

    Raises:
        ValueError: if there is a file at ``out``, inside the folder that ``data`` names.
    """
    place = own_place(data or "")
    if out is not None and data is not None and place:
        check_is_not_inside(out, Path(place), data)


def _files_in(paths: Sequence[Path], *, are_recordings: bool) -> list[Any]:
    if are_recordings:
        from spikevae.data.events.files import recordings_in

        found = [recordings_in(path) for path in paths]
        empty = next((path for path, files in zip(paths, found, strict=True) if not files), None)
        if empty is not None:
            raise ValueError(f"{empty} holds no recordings (files such as .bin, .aedat, .npz)")
        return [file for files in found for file in files]
    from spikevae.data.own import list_own

    return [file for path in paths for file in list_own(path)]


def _event_set(files: Sequence[RecordingFile], config: ModelConfig) -> EventSet:
    """Recordings as frames of the model's size; a sensor with fewer pixels stands in their upper left corner."""
    from spikevae.data.events.files import read_all
    from spikevae.data.events.frames import FrameConfig, to_frames

    cut = FrameConfig.taken_by(config)
    frames, guessed, smaller, other = [], [], [], []
    for file, recording in zip(files, read_all(files), strict=True):
        height, width = (max(sides) for sides in zip(recording.size, config.frame_size, strict=True))
        frames.append(to_frames(replace(recording, size=(height, width)), cut))
        if not recording.is_size_known and (height, width) != config.frame_size:
            guessed.append(f"{file.name}, for which {recording.size[0]}x{recording.size[1]} pixels are assumed")
        if recording.is_size_known and (height, width) != recording.size:
            smaller.append(f"{file.name}, {recording.size[0]}x{recording.size[1]}")
        if _is_of_other_length(recording.duration, config):
            other.append(f"{file.name}, {recording.duration:,} µs")
    if smaller:
        log.warning(
            "%d of %d recordings are of a smaller sensor (%s) than this model's %dx%d frames and stand in their "
            "corner; give recordings of the sensor that it learned from",
            len(smaller), len(frames), smaller[0], *config.frame_size,
        )  # fmt: skip
    if guessed:
        log.warning(
            "%d of %d recordings do not say how large their sensor is (%s); if it is larger, "
            "save them as .npz with size (height, width), or their frames are wrong",
            len(guessed), len(frames), guessed[0],
        )  # fmt: skip
    if other:
        log.warning(
            "%d of %d recordings last more than twice or less than half as long (%s) as this model's, %s µs, and are "
            "taken for ones of that length; give some of about that length, or train a model with --model.duration",
            len(other), len(frames), other[0], f"{config.duration:,}",
        )  # fmt: skip
    return EventSet(np.stack(frames), name="", split="test")


def _is_of_other_length(duration: int, config: ModelConfig) -> bool:
    """Whether a recording is far from what a VAE of recordings draws; of other networks the config says no length."""
    return config.network == "event-vae" and not config.duration / 2 <= duration <= 2 * config.duration


# ---------------------------------------------------------------- work


def compute(make: Callable[[range], Tensor], count: int, what: str) -> Tensor:
    """What ``make`` gives for the numbers of all images, along its first axis; processes share the work.

    Args:
        make: from the numbers of some images to a tensor with an entry for each.
        count: images.
        what: the command, for its progress.
    """
    with together(), progress(count, what) as done:
        parts: list[Tensor] = []
        for part in shared_batches(make, count, min(_BATCH, -(-count // world_size()))):
            parts.append(part)
            done(len(part))
        return torch.cat(parts)


def require_memory(count: int, shape: Sequence[int], copies: int = 1, bytes_each: int = 10) -> None:
    """Refuse images that cannot fit the memory, before they are made.

    Args:
        count: images.
        shape: of one.
        copies: how many of each there are.
        bytes_each: bytes of a value: as floats in parts, put together, as bytes, and as they are written.

    Raises:
        ValueError: if the machine has less memory than they need.
    """
    values = count * copies * math.prod(shape)
    what = f"{count:,} images of {'x'.join(map(str, shape))}"
    check_memory(bytes_each * values, what, "ask for fewer (--count) or smaller ones (--size)")


# ---------------------------------------------------------------- grounds


def advise_on_ground(images: ImageSet | EventSet | Tensor, network: Network) -> None:
    """Say so where pictures, or x [N, C, H, W], lie on a light ground, and those a grey VAE knows on a dark one."""
    if isinstance(images, EventSet) or not isinstance(network, SpikingVAE):
        return
    x = images if isinstance(images, Tensor) else images.images(0, _BATCH).float() / 255
    light = int(is_light(x).sum())
    if network.config.image_channels == 1 and 2 * light > len(x) and not is_light(network.sample(16, seed=0)).any():
        log.warning(
            "%d of %d pictures have a light ground, and this model knows dark ones: say --invert "
            "(light things that were cut out are put on black instead)",
            light, len(x),
        )  # fmt: skip


def batch_of(images: ImageSet | EventSet, numbers: range, *, is_inverted: bool = False) -> Tensor:
    """The images of these numbers, float [n, C, H, W] in [0, 1]; inverted, light is dark. Event frames [T, n, …]."""
    if isinstance(images, EventSet):
        return images.frames(numbers.start, len(numbers)).float().transpose(0, 1)
    x = images.images(numbers.start, len(numbers)).float() / 255
    return 1 - x if is_inverted else x
