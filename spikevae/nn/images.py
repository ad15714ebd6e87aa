"""Images as networks take and give them: what is refused, the border around them, and the numbers of new ones."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import SupportsIndex

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, bfloat16, float16, float32, float64, strided
from torch.nn import functional

from spikevae.config import ModelConfig
from spikevae.ops import is_traced, is_transformed

_FLOATS = (float16, bfloat16, float32, float64)
_ROUNDING = 1e-2  # of spikes that carry a gradient: s + p - p
_SLACK = 0.5  # how far beyond [0, 1] an image may go: enlarging and shrinking overshoot, other scales go further


def require_images(x: Tensor, config: ModelConfig, *, is_training: bool) -> None:
    """Refuse what are no images for this network; their range is looked at only in use.

    Raises:
        ValueError: if they are not floats [N, C, H, W] in [0, 1] with the sizes of ``config``.
    """
    require_tensor("images", x)
    expected = (config.image_channels, *config.frame_size)
    if x.dim() != 4 or tuple(x.shape[1:]) != expected:
        raise ValueError(f"images must be [N, C, H, W] = [N, {', '.join(map(str, expected))}], got {list(x.shape)}")
    if not x.is_floating_point():
        raise ValueError(f"images must be floats in [0, 1], got {x.dtype}; call .float(), and divide bytes by 255")
    if (ends := ends_of(x, is_training)) is None:
        return
    least, most = ends
    if not (math.isfinite(least) and math.isfinite(most)):
        raise ValueError("images must be floats in [0, 1]; some values are not finite (NaN or infinite)")
    if least < -_SLACK or most > 1 + _SLACK:
        raise ValueError(
            f"images must be floats in [0, 1], these go from {least:.4g} to {most:.4g}; divide bytes by 255, "
            "and undo any other scaling"
        )


def require_spikes(z_seq: Tensor, *, is_training: bool) -> None:
    """Refuse what are no latent spikes, as the potentials that they fire from; values are looked at only in use.

    Raises:
        ValueError: if it is no tensor, or a value is not a number from 0 to 1.
    """
    require_tensor("latent spikes", z_seq)
    ends = ends_of(z_seq, is_training)
    if ends is not None and not (ends[0] > -_ROUNDING and ends[1] < 1 + _ROUNDING):  # NaN is neither
        raise ValueError(
            f"latent spikes are 0 or 1, these go from {ends[0]:.4g} to {ends[1]:.4g}; "
            "of potentials, decode (potential > 0).float()"
        )


def ends_of(x: Tensor, is_training: bool) -> tuple[float, float] | None:
    """The least and the largest value, NaN if one is; None where values are not looked at."""
    if is_training or x.numel() == 0 or x.is_meta or is_traced() or is_transformed():
        return None
    if x.is_cuda and torch.cuda.is_current_stream_capturing():  # which may not wait for a value
        return None
    least, most = x.detach().aminmax()
    return float(least), float(most)


def require_tensor(what: str, x: object) -> None:
    """Refuse what is no tensor of torch, as an array of numpy, and tensors that no layer computes with.

    Raises:
        ValueError: if it is none, or sparse, or of a kind of number with fewer than 16 bits beside whole numbers.
    """
    if not isinstance(x, Tensor):
        found = f"{type(x).__module__}.{type(x).__qualname__}".removeprefix("builtins.")
        raise ValueError(f"{what} must be a tensor of torch, got {found}; for an array say torch.as_tensor(x)")
    if x.layout is not strided:
        raise ValueError(f"{what} must be a dense tensor, got a sparse one; call .to_dense()")
    if x.is_floating_point() and x.dtype not in _FLOATS:
        raise ValueError(f"{what} must be floats of 16 bits or more, got {x.dtype}; call .float()")


def require_at_least_one(unit: str, **numbers: SupportsIndex) -> None:
    """Refuse counts below 1.

    Raises:
        ValueError: if there is one, or one is no whole number; the message calls it by its keyword.
    """
    for name, number in numbers.items():
        if whole_number(name, number) < 1:
            raise ValueError(f"{name}={number}: expected at least 1 {unit}")


def whole_number(name: str, number: SupportsIndex) -> int:
    """A whole number of Python, numpy or torch as one of Python.

    Raises:
        ValueError: if it is none; the message calls it by its name.
    """
    try:
        return int(operator.index(number))
    except TypeError:
        raise ValueError(f"{name}={number!r}: expected a whole number") from None


def first_number(start: SupportsIndex) -> int:
    """The number of a first image.

    Raises:
        ValueError: if it is none.
    """
    number = whole_number("start", start)
    if not 0 <= number < 2**62:
        raise ValueError(f"start={start}: expected a whole number from 0 to 2^62 - 1")
    return number


def in_batches(x: Tensor, batch_size: SupportsIndex, unit: str, *, dim: int = 0) -> tuple[Tensor, ...]:
    """Parts of so many images, recordings or other inputs, along this axis.

    Raises:
        ValueError: if ``x`` is no tensor, or ``batch_size`` below 1.
    """
    require_tensor("images" if unit == "image" else "event frames", x)
    require_at_least_one(unit, batch_size=batch_size)
    if x.dim() <= dim:
        return (x,)  # which the network refuses
    parts: tuple[Tensor, ...] = x.split(operator.index(batch_size), dim=dim)
    return parts


def pad(x: Float[Tensor, "*T N C H W"], size: int, border: float = -1.0) -> Float[Tensor, "*T N C S S"]:
    """Centred images in [-1, 1] with a border of -1, or others with theirs, up to so many pixels."""
    extra = size - x.shape[-1]
    before = extra // 2
    return functional.pad(x, (before, extra - before, before, extra - before), value=border) if extra else x


def crop(x: Float[Tensor, "*T N C S S"], size: int) -> Float[Tensor, "*T N C H W"]:
    """Images without the border of :func:`pad`."""
    start = (x.shape[-1] - size) // 2
    return x[..., start : start + size, start : start + size]


def resized(x: Float[Tensor, "N C H W"], size: int | None) -> Float[Tensor, "N C S S"]:
    """Images of so many pixels each way, enlarged or shrunk bilinearly; None leaves them."""
    if size is None or size == x.shape[-1]:
        return x
    return functional.interpolate(x, size=(int(size), int(size)), mode="bilinear", align_corners=False)


@contextmanager
def cpu_by_default() -> Iterator[None]:
    """Make new tensors on the CPU, as random numbers are, also where a caller has set another default device."""
    if torch.get_default_device().type == "cpu":
        yield
    else:
        with torch.device("cpu"):
            yield


def image_rngs(seed: SupportsIndex, indices: Sequence[int]) -> list[np.random.Generator]:
    """The random numbers of each image of a seed (a counter-based generator: cheap to start anywhere).

    Raises:
        ValueError: if the seed, or the number of an image, is out of range.
    """
    number = _key("seed", seed)
    return [np.random.Generator(np.random.Philox(key=[number, _key("index", index)])) for index in indices]


def _key(name: str, number: SupportsIndex) -> int:
    key = whole_number(name, number)
    if not 0 <= key < 2**63:
        raise ValueError(f"{name}={number}: expected a whole number from 0 to 2^63 - 1")
    return key
