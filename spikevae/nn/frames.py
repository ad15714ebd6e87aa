"""Event frames as networks take them, and recordings from the events that a network expects."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float, Int64
from torch import Tensor

from spikevae.config import ModelConfig
from spikevae.data.events.recording import Recording, Size
from spikevae.nn.images import ends_of, require_tensor


def require_frames(x: Tensor, config: ModelConfig, *, is_training: bool) -> None:
    """Refuse what are no event frames for this network; their values are looked at only in use.

    Raises:
        ValueError: if they are not floats [T, N, 2, H, W] with the sizes of ``config``, finite and at least 0.
    """
    require_tensor("event frames", x)
    sizes = (2, *config.frame_size)
    if x.dim() != 5 or (len(x), *x.shape[2:]) != (config.time_steps, *sizes):
        expected = f"[{config.time_steps}, N, {', '.join(map(str, sizes))}]"
        raise ValueError(f"event frames must be [T, N, 2, H, W] = {expected}, got {list(x.shape)}")
    if not x.is_floating_point():
        raise ValueError(f"event frames must be floats, got {x.dtype}; call .float()")
    ends = ends_of(x, is_training)
    if ends is not None and not (ends[0] >= 0 and ends[1] < math.inf):  # NaN is neither
        raise ValueError(f"event frames are counts of at least 0, these go from {ends[0]:.4g} to {ends[1]:.4g}")


def intensity_of(x: Tensor, config: ModelConfig) -> Float[np.ndarray, "T 2 H W"]:
    """Expected events of one recording, of any type and on any device, as `sample_recording` takes them.

    Raises:
        ValueError: if they are not [T, 2, H, W] with the sizes of ``config``, finite and at least 0.
    """
    require_tensor("expected events", x)
    shape = (config.time_steps, 2, *config.frame_size)
    if tuple(x.shape) != shape:
        raise ValueError(
            f"expected events of a recording must be [T, 2, H, W] = {list(shape)}, got {list(x.shape)}; of a batch "
            "[T, N, 2, H, W], give x_seq.unbind(dim=1)"
        )
    intensity: np.ndarray = x.detach().cpu().double().numpy()
    if not (np.isfinite(intensity) & (intensity >= 0)).all():
        least, most = intensity.min(), intensity.max()
        raise ValueError(f"expected events must be finite and at least 0, these go from {least:.4g} to {most:.4g}")
    return intensity


def sample_recording(intensity: Float[np.ndarray, "T 2 H W"], duration: int, rng: np.random.Generator) -> Recording:
    """Events of a Poisson process in T slices of equal duration.

    The number of a slice's events is Poisson. Within a slice the rate runs linearly from the mean of this intensity and
    the one before to the mean of this one and the next.

    Args:
        intensity: expected events of each slice, polarity (OFF, ON) and pixel.
        duration: microseconds of all slices.
        rng: of their numbers, and of their times within a slice.
    """
    slice_duration = duration // len(intensity)
    rate = intensity.astype(np.float64)
    counts = _poisson_quantiles(rng.random(rate.shape), rate)
    step, p, y, x = (np.repeat(places, counts.ravel()) for places in np.indices(counts.shape).reshape(4, -1))
    padded = np.pad(rate, ((1, 1), (0, 0), (0, 0), (0, 0)), mode="edge")
    borders = (padded[1:] + padded[:-1]) / 2  # [T + 1, 2, H, W]
    within = _times_within(borders[step, p, y, x], borders[step + 1, p, y, x], rng)
    t = step * slice_duration + np.minimum((within * slice_duration).astype(np.int64), slice_duration - 1)
    order = np.argsort(t, kind="stable")
    size: Size = (intensity.shape[2], intensity.shape[3])
    return Recording(t[order], x[order].astype(np.int16), y[order].astype(np.int16), p[order].astype(np.uint8), size)


def _poisson_quantiles(
    u: Float[np.ndarray, "T 2 H W"], mean: Float[np.ndarray, "T 2 H W"]
) -> Int64[np.ndarray, "T 2 H W"]:
    """The least counts whose probability not to be exceeded is at least ``u``: one random number for each count."""
    from scipy.special import pdtr, pdtrik

    counts = np.ceil(pdtrik(u, mean))
    fewer = np.maximum(counts - 1, 0)  # where rounding led one too far
    quantiles: np.ndarray = np.where(pdtr(fewer, mean) >= u, fewer, counts).astype(np.int64)
    return quantiles


def _times_within(
    start: Float[np.ndarray, " n"], end: Float[np.ndarray, " n"], rng: np.random.Generator
) -> Float[np.ndarray, " n"]:
    """Times in [0, 1) whose density runs linearly from ``start`` to ``end``, both above 0."""
    u = rng.random(len(start))
    # The root of start s + (end - start) s^2 / 2 = u (start + end) / 2, in the form that start = end leaves whole.
    times: np.ndarray = u * (start + end) / (start + np.sqrt(start**2 + u * (end**2 - start**2)))
    return times
