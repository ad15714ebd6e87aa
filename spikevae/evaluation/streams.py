"""Where images to be measured come from: a model, a data set, a folder, an .npz file. Always streamed in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad

from spikevae.data.images import IMAGE_SUFFIXES, read_image
from spikevae.data.sets import ImageSet
from spikevae.distributed import shared_batches
from spikevae.nn.vae import SpikingVAE

_CPU_ACTIVATION = 2**26  # bytes of one activation: larger ones only miss the caches more often
_FAILURES = {"noise": "pixel noise", "mean": "the mean image", "blur": "blurred images"}


@dataclass(frozen=True)
class ImageSource:
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


def to_uint8(x: Tensor, name: str) -> Tensor:
    """Images as uint8, rounded to the nearest, after checking them.

    Args:
        x: [N, C, H, W], uint8, or float in [0, 1].
        name: what the images are called in an error.

    Raises:
        ValueError: if the shape, the type or the values are not those of images.
    """
    if x.ndim != 4 or x.shape[1] not in (1, 3):
        raise ValueError(f"{name} has shape {list(x.shape)}; expected [N, C, H, W] with 1 or 3 channels")
    if x.dtype == torch.uint8:
        return x
    if not x.is_floating_point():
        raise ValueError(f"{name} is of type {x.dtype}; expected uint8, or float in [0, 1]")
    if len(x) == 0:
        return x.to(torch.uint8)
    if not torch.isfinite(x).all():
        raise ValueError(f"{name} holds values that are not finite (NaN or infinite); such images cannot be scored")
    low, high = float(x.min()), float(x.max())
    if low < 0 or high > 1:
        raise ValueError(f"{name} ranges from {low:.3g} to {high:.3g}; expected uint8, or float in [0, 1]")
    return (x * 255).round().to(torch.uint8)


def from_tensor(x: Tensor, name: str) -> ImageSource:
    """Images at hand, [N, C, H, W], uint8 or float in [0, 1]."""
    images = to_uint8(x, name)
    return ImageSource(name, len(images), lambda batch_size: iter(images.split(batch_size)))


def from_image_set(images: ImageSet, count: int | None = None, *, seed: int = 0) -> ImageSource:
    """A split of a data set, or ``count`` of its images, chosen by a permutation that the seed determines.

    Raises:
        ValueError: if the split has fewer than ``count`` images.
    """
    name = f"{images.name} {images.split}"
    if count is None or count == len(images):
        return ImageSource(
            name, len(images), lambda size: (images.images(k, size) for k in range(0, len(images), size))
        )
    if count > len(images):
        raise ValueError(f"{name} has {len(images)} images, fewer than the {count} asked for; lower --count")
    # The first images of a split need not be like the rest: MNIST's first half is the easier one.
    chosen = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))[:count].sort().values

    def open_batches(batch_size: int) -> Iterator[Tensor]:
        for part in chosen.split(batch_size):
            yield torch.cat([images.images(int(index), 1) for index in part])

    return ImageSource(name, count, open_batches)


def from_model(
    model: SpikingVAE, count: int, *, seed: int, name: str, labels: Sequence[int] | None = None
) -> ImageSource:
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
        return to_uint8(x.cpu(), f"samples of {name}")

    def open_batches(batch_size: int) -> Iterator[Tensor]:
        return shared_batches(draw, count, min(batch_size, _samples_at_once(model)))

    return ImageSource(f"samples of {name}", count, open_batches)


def _samples_at_once(model: SpikingVAE) -> int:
    """How many images' widest activations, of all time steps, fit what the machine has at hand."""
    config = model.config
    image_bytes = 4 * config.time_steps * config.decoder_widths[-1] * config.padded_size**2
    free = torch.cuda.mem_get_info(model.device)[0] // 32 if model.device.type == "cuda" else _CPU_ACTIVATION
    return max(16, min(1000, free // image_bytes))


def from_path(path: Path) -> ImageSource:
    """A folder of images (searched recursively, in order of name), or an .npz whose first array holds them.

    Arrays are [N, H, W], [N, H, W, 1 or 3] or [N, 1 or 3, H, W], uint8 or float in [0, 1].

    Raises:
        FileNotFoundError: if there is no such file or folder.
        ValueError: if it holds no images, images of several sizes, or something that is not an image.
    """
    if path.is_dir():
        return _from_folder(path)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; give a folder of images or an .npz file")
    try:
        with np.load(path, allow_pickle=False) as archive:
            array = archive["arr_0" if "arr_0" in archive.files else archive.files[0]]
    except (BadZipFile, ValueError, IndexError, OSError, AttributeError, EOFError) as error:
        raise ValueError(f"{path} is not an .npz file of images, [N, H, W, C] in its first array") from error
    return from_tensor(_channels_first(array, path), str(path))


def _channels_first(array: np.ndarray, path: Path) -> Tensor:
    if array.ndim == 3:
        array = array[..., None]
    if array.ndim != 4 or 0 in array.shape:
        raise ValueError(f"{path}: its first array has shape {list(array.shape)}; expected [N, H, W, C]")
    if array.dtype.kind not in "fu" or (array.dtype.kind == "u" and array.dtype.itemsize > 1):
        raise ValueError(f"{path}: its first array is of type {array.dtype}; expected uint8, or float in [0, 1]")
    x = torch.from_numpy(np.ascontiguousarray(array))
    return x.permute(0, 3, 1, 2) if array.shape[-1] in (1, 3) else x  # [N, C, H, W]


def _from_folder(folder: Path) -> ImageSource:
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())
    if not files:
        raise ValueError(f"{folder} holds no images ({', '.join(sorted(IMAGE_SUFFIXES))})")
    side = _square_side(files[0])

    def open_batches(batch_size: int) -> Iterator[Tensor]:
        for start in range(0, len(files), batch_size):
            part = files[start : start + batch_size]
            for file in part:
                if _square_side(file) != side:
                    raise ValueError(
                        f"{folder} mixes images of several sizes: {files[0].name} is {side}x{side}, {file.name} is "
                        f"{_square_side(file)}x{_square_side(file)}; bring them to one size first"
                    )
            # As RGB, so that a folder may mix grey and colour files.
            yield torch.stack([read_image(file, channels=3, size=side) for file in part])

    return ImageSource(str(folder), len(files), open_batches)


def _square_side(file: Path) -> int:
    try:
        with Image.open(file) as image:
            width, height = image.size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{file} cannot be read as an image ({error}); replace or remove it") from error
    if width != height:
        raise ValueError(f"{file} is {width}x{height}; images to be scored must be square")
    return width


def limited(source: ImageSource, count: int | None) -> ImageSource:
    """The first ``count`` images of a source; None for all.

    Raises:
        ValueError: if there are fewer.
    """
    if count is None or count == source.count:
        return source
    if count > source.count:
        raise ValueError(f"{source.name} holds {source.count} images, fewer than --count {count}")

    def open_batches(batch_size: int) -> Iterator[Tensor]:
        left = count
        for x in source.batches(batch_size):
            yield x[:left]
            left -= len(x)
            if left <= 0:
                return

    return ImageSource(source.name, count, open_batches)


def keeping_first(source: ImageSource, count: int) -> ImageSource:
    """The same images, of which the first ``count`` are kept when they are first gone through, and not made again."""
    kept: list[Tensor] = []

    def open_batches(batch_size: int) -> Iterator[Tensor]:
        yield from kept
        to_skip = sum(map(len, kept))
        passed: list[Tensor] = []
        for x in source.batches(batch_size) if to_skip < source.count else ():
            fresh = x[to_skip:]
            to_skip = max(0, to_skip - len(x))
            if not kept:
                passed.append(fresh)
                if sum(map(len, passed)) >= min(count, source.count):
                    kept.extend(passed)
            if len(fresh):
                yield fresh

    return ImageSource(source.name, source.count, open_batches)


def first_images(source: ImageSource, count: int) -> Tensor:
    """The first images of a source, or all if there are fewer: uint8 [n, C, H, W]."""
    return torch.cat(list(limited(source, min(count, source.count)).batches(250)))


def degraded(source: ImageSource, how: str, *, seed: int = 0) -> ImageSource:
    """Obvious failures, to show what a bad score looks like.

    Args:
        source: real images.
        how: noise (uniform pixels), mean (the mean image, every time), blur (the mean of 5x5 pixels).
        seed: of the noise.

    Raises:
        ValueError: if ``how`` is none of these.
    """
    if how not in _FAILURES:
        raise ValueError(f"how={how!r} is none of {', '.join(_FAILURES)}")

    def open_batches(batch_size: int) -> Iterator[Tensor]:
        generator = torch.Generator().manual_seed(seed)
        mean = _mean_image(source) if how == "mean" else None
        for x in source.batches(batch_size):
            if how == "noise":
                yield torch.randint(0, 256, x.shape, generator=generator, dtype=torch.uint8)
            elif mean is not None:
                yield mean.expand_as(x)
            else:
                blurred = avg_pool2d(pad(x.float(), (2, 2, 2, 2), mode="reflect"), 5, stride=1)
                yield blurred.round().to(torch.uint8)

    return ImageSource(_FAILURES[how], source.count, open_batches)


def _mean_image(source: ImageSource) -> Tensor:
    total = torch.zeros(())
    for x in source.batches(500):
        total = total + x.double().sum(0, keepdim=True)
    return (total / source.count).round().to(torch.uint8)
