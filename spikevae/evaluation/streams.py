"""Streams of images: from a model, a data set, a folder, an archive or an array, batch by batch."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad

from spikevae.data.arrays import ARRAY_SUFFIXES, read_array
from spikevae.data.decode import FILE_FORMATS
from spikevae.data.folders import list_pictures
from spikevae.data.image_files import ImageFile
from spikevae.data.images import to_uint8
from spikevae.data.names import ARCHIVES
from spikevae.data.sets import ImageSet
from spikevae.distributed import from_all, shared_batches
from spikevae.files import open_regular
from spikevae.nn.vae import SpikingVAE

_CPU_ACTIVATION = 2**26  # bytes of one activation: larger ones only miss the caches more often
_FORMS = "a folder or .zip of images, an .npz or an .npy file"
_FAILURES = {"noise": "pixel noise", "mean": "the mean image", "blur": "blurred images"}


@dataclass(frozen=True)
class ImageStream:
    """Images that can be gone through, in order, as often as wanted, without all being in memory."""

    name: str
    """What they are, in words for a table."""
    count: int
    """How many there are."""
    open_batches: Callable[[int], Iterator[Tensor]]
    """A function of the batch size that begins one pass."""

    def batches(self, batch_size: int) -> Iterator[Tensor]:
        """One pass: uint8 [n, C, H, W] with n up to ``batch_size``."""
        return self.open_batches(batch_size)


def from_tensor(x: Tensor, name: str) -> ImageStream:
    """Images at hand, [N, C, H, W], uint8 or float in [0, 1].

    Raises:
        ValueError: if the shape, the type or the values are not those of images.
    """
    images = _checked(x, name)
    return ImageStream(name, len(images), lambda batch_size: iter(images.split(batch_size)))


def _checked(x: Tensor, name: str) -> Tensor:
    if x.ndim != 4 or x.shape[1] not in (1, 3):
        raise ValueError(f"{name} has shape {list(x.shape)}; expected [N, C, H, W] with 1 or 3 channels")
    if x.dtype == torch.uint8:
        return x
    if not x.is_floating_point():
        raise ValueError(f"{name} is of type {x.dtype}; expected uint8, or float in [0, 1]")
    if not torch.isfinite(x).all():
        raise ValueError(f"{name} holds values that are not finite (NaN or infinite); such images cannot be scored")
    low, high = (float(x.min()), float(x.max())) if len(x) else (0.0, 0.0)
    if low < 0 or high > 1:
        advice = "divide by 255, or give uint8" if low >= 0 and high <= 255 else "expected uint8, or float in [0, 1]"
        raise ValueError(f"{name} ranges from {low:.3g} to {high:.3g}; {advice}")
    return to_uint8(x)


def from_image_set(images: ImageSet, count: int | None = None, *, seed: int = 0) -> ImageStream:
    """A split of a data set, or ``count`` of its images, chosen by a permutation that the seed determines.

    Raises:
        ValueError: if the split has fewer than ``count`` images.
    """
    name = f"{images.name} {images.split}"
    if count is not None and count > len(images):
        raise ValueError(f"{name} has {len(images)} images, fewer than the {count} asked for; lower --count")
    if count is not None and count < len(images):
        # The first images of a split need not be like the rest: MNIST's first half is the easier one.
        images = images.chosen(drawn_numbers(len(images), count, seed).sort().values)
    return ImageStream(name, len(images), lambda size: (images.images(k, size) for k in range(0, len(images), size)))


def drawn_numbers(count: int, wanted: int, seed: int) -> Tensor:
    """Numbers of ``wanted`` of ``count`` images, by a permutation that the seed determines; all in order if equal."""
    if wanted == count:
        return torch.arange(count)
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))[:wanted]


def drawn(stream: ImageStream, count: int | None, *, seed: int) -> ImageStream:
    """``count`` images of a stream, in order, chosen by a permutation that the seed determines; None for all.

    The first ones need not be like the rest: generated images often lie class by class.

    Raises:
        ValueError: if there are fewer.
    """
    if count is None or limited(stream, count) is stream:
        return stream
    is_chosen = torch.zeros(stream.count, dtype=torch.bool)
    is_chosen[drawn_numbers(stream.count, count, seed)] = True

    def open_batches(batch_size: int) -> Iterator[Tensor]:
        start = 0
        for x in stream.batches(batch_size):
            chosen = x[is_chosen[start : start + len(x)]]
            start += len(x)
            if len(chosen):
                yield chosen

    return ImageStream(stream.name, count, open_batches)


def from_model(
    model: SpikingVAE, count: int, *, seed: int, name: str, labels: Sequence[int] | None = None
) -> ImageStream:
    """The first ``count`` samples of a seed, as ``model.sample(count, seed=seed)`` gives them.

    Processes that are connected share the work.

    Args:
        model: in eval mode.
        count: samples.
        seed: of the latents.
        name: of the model.
        labels: class of each sample; None for the mixture of all classes.
    """

    def draw(numbers: range) -> Tensor:
        chosen = None if labels is None else labels[numbers.start : numbers.stop]
        x = model.sample(len(numbers), seed=seed, label=chosen, batch_size=len(numbers), start=numbers.start)
        return to_uint8(x)

    def open_batches(batch_size: int) -> Iterator[Tensor]:
        most = min(from_all(_samples_at_once(model)))  # all processes cut alike, though one GPU has less room
        return shared_batches(draw, count, min(batch_size, most))

    return ImageStream(f"samples of {name}", count, open_batches)


def _samples_at_once(model: SpikingVAE) -> int:
    """How many images' widest activations, of all time steps, fit what the machine has at hand."""
    config = model.config
    image_bytes = 4 * config.time_steps * config.decoder_widths[-1] * config.padded_size**2
    free = torch.cuda.mem_get_info(model.device)[0] // 32 if model.device.type == "cuda" else _CPU_ACTIVATION
    return max(16, min(1000, free // image_bytes))


def from_path(path: Path) -> ImageStream:
    """Images of one size in a folder, .zip or .tar (in order of name), or in an .npy or .npz (its first array).

    Raises:
        FileNotFoundError: if there is no such file or folder.
        ValueError: if it holds no images, images of several sizes, not square ones, or something that is not an image.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; give {_FORMS}")
    if path.is_file() and path.suffix.lower() in ARRAY_SUFFIXES:
        images = read_array(path)
        height, width = images.shape[2:]
        if height != width:
            raise ValueError(f"{path} holds images of {width}x{height}; images to be scored must be square")
        return from_tensor(images, str(path))
    try:
        files = list_pictures(path)
    except ValueError as error:
        if path.is_file() and path.suffix.lower() not in ARCHIVES:
            raise ValueError(f"{path} is a file that holds no set of images; give {_FORMS}") from error
        raise
    side = _square_side(files[0])
    for file in files[1:]:  # before any work; a pass may take hours until it meets the last one
        if (found := _square_side(file)) != side:
            first, other = (one.member or one.path.name for one in (files[0], file))
            raise ValueError(
                f"{path} mixes images of several sizes: {first} is {side}x{side}, {other} is {found}x{found}; "
                "bring them to one size first"
            )

    def open_batches(batch_size: int) -> Iterator[Tensor]:
        for start in range(0, len(files), batch_size):
            # As RGB, so that a folder may mix grey and colour files.
            yield torch.stack([file.read(channels=3, size=side) for file in files[start : start + batch_size]])

    return ImageStream(str(path), len(files), open_batches)


def _square_side(file: ImageFile) -> int:
    with io.BytesIO(file.content()) if file.member else open_regular(file.path) as content:
        try:
            with Image.open(content, formats=FILE_FORMATS) as image:
                width, height = image.size
        except Exception as error:  # a decoder may raise any
            raise ValueError(f"{file.name} cannot be read as an image ({error}); replace or remove it") from error
    if width != height:
        raise ValueError(f"{file.name} is {width}x{height}; images to be scored must be square")
    return width


def limited(stream: ImageStream, count: int | None) -> ImageStream:
    """The first ``count`` images of a stream; None for all.

    Raises:
        ValueError: if there are fewer.
    """
    if count is None or count == stream.count:
        return stream
    if count > stream.count:
        raise ValueError(f"{stream.name} holds {stream.count} images, fewer than --count {count}")

    def open_batches(batch_size: int) -> Iterator[Tensor]:
        left = count
        for x in stream.batches(batch_size):
            yield x[:left]
            left -= len(x)
            if left <= 0:
                return

    return ImageStream(stream.name, count, open_batches)


def keeping_first(stream: ImageStream, count: int) -> ImageStream:
    """The same images, of which the first ``count`` are kept when they are first gone through, and not made again."""
    kept: list[Tensor] = []

    def open_batches(batch_size: int) -> Iterator[Tensor]:
        yield from kept
        to_skip = sum(map(len, kept))
        passed: list[Tensor] = []
        for x in stream.batches(batch_size) if to_skip < stream.count else ():
            fresh = x[to_skip:]
            to_skip = max(0, to_skip - len(x))
            if not kept:
                passed.append(fresh)
                if sum(map(len, passed)) >= min(count, stream.count):
                    kept.extend(passed)
            if len(fresh):
                yield fresh

    return ImageStream(stream.name, stream.count, open_batches)


def first_images(stream: ImageStream, count: int) -> Tensor:
    """The first images of a stream, or all if there are fewer: uint8 [n, C, H, W]."""
    return torch.cat(list(limited(stream, min(count, stream.count)).batches(250)))


def degraded(stream: ImageStream, how: str) -> ImageStream:
    """Obvious failures, to show what a bad score looks like.

    Args:
        stream: real images.
        how: noise (uniform pixels), mean (the mean image, every time), blur (the mean of 5x5 pixels).

    Raises:
        ValueError: if ``how`` is none of these.
    """
    if how not in _FAILURES:
        raise ValueError(f"how={how!r} is none of {', '.join(_FAILURES)}")

    def open_batches(batch_size: int) -> Iterator[Tensor]:
        generator = torch.Generator().manual_seed(0)
        mean = _mean_image(stream) if how == "mean" else None
        for x in stream.batches(batch_size):
            if how == "noise":
                yield torch.randint(0, 256, x.shape, generator=generator, dtype=torch.uint8)
            elif mean is not None:
                yield mean.expand_as(x)
            else:
                blurred = avg_pool2d(pad(x.float(), (2, 2, 2, 2), mode="reflect"), 5, stride=1)
                yield blurred.round().to(torch.uint8)

    return ImageStream(_FAILURES[how], stream.count, open_batches)


def _mean_image(stream: ImageStream) -> Tensor:
    total = torch.zeros(())
    for x in stream.batches(500):
        total = total + x.double().sum(0, keepdim=True)
    return (total / stream.count).round().to(torch.uint8)
