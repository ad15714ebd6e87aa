"""A simulated event camera: what it reports of an image that moves in front of it.

Each pixel remembers the log intensity of its last event. It reports ON or OFF where the present one is higher or lower
by its threshold, and remembers the present one; so between two simulated steps it reports once at most, which is the
refractory period. Thresholds differ a little from pixel to pixel, and each pixel also reports at random (Lichtsteiner,
Posch and Delbruck, "A 128x128 120 dB 15 µs latency asynchronous temporal contrast vision sensor", JSSC 2008).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float32, UInt8

from spikevae.data.events.recording import Recording, Size

SIMULATION_VERSION = 1
"""Another number wherever equal seeds give other recordings, so that frames that were kept are made anew."""

_BATCH = 64  # recordings that are simulated at once
_BLACK = 0.15  # of the screen; its white is 1


@dataclass(frozen=True)
class SensorConfig:
    """The simulated camera."""

    size: Size = (34, 34)
    """Height and width, in pixels."""
    threshold: float = 0.25
    """Change of the log intensity that makes an event."""
    mismatch: float = 0.1
    """Standard deviation of the logarithm of the pixels' thresholds."""
    drift: float = 0.0
    """Standard deviation of the logarithm of all thresholds together, from recording to recording."""
    noise_rate: float = 1.0
    """Events that a pixel reports without cause, per second."""
    latency: float = 0.0
    """Time constant of a pixel's low-pass filter, in microseconds (0: none)."""
    step: int = 1000
    """Microseconds between two simulated states."""

    def __post_init__(self) -> None:
        if not self.threshold > 0 or min(self.mismatch, self.drift, self.noise_rate, self.latency) < 0 or self.step < 1:
            raise ValueError(f"{self}: expected a positive threshold and step, and nothing negative")


@dataclass(frozen=True)
class Movement:
    """Where images are at each of F times: an object's point (v, u), counted from its centre, is seen at
    ``centre + (y, x) + zoom * (v, u)`` of the sensor."""

    y: Float32[np.ndarray, "n F"]
    x: Float32[np.ndarray, "n F"]
    zoom: Float32[np.ndarray, "n F"]


def record(
    brightness: Float32[np.ndarray, "n h w"], movement: Movement, config: SensorConfig, rng: np.random.Generator
) -> list[Recording]:
    """What the camera reports of each image while it moves; the first event comes after time 0.

    Args:
        brightness: log intensity of each image above its surroundings (negative: darker).
        movement: a row for each image, or one row for all.
        config: the camera.
        rng: of thresholds, times within a step, and noise.
    """
    count, (H, W) = len(brightness), config.size
    steps = movement.y.shape[1]
    deviation = config.mismatch * rng.standard_normal((count, H, W)) + config.drift * rng.standard_normal((count, 1, 1))
    threshold = np.float32(config.threshold) * np.exp(deviation, dtype=np.float32, casting="same_kind")
    share = np.float32(1 - np.exp(-config.step / config.latency) if config.latency else 1)
    seen = remembered = _seen(brightness, movement, 0, config.size)
    places, times = [], []
    for step in range(1, steps):
        present = _seen(brightness, movement, step, config.size)
        seen = seen + share * (present - seen) if config.latency else present
        change = seen - remembered
        fires = np.flatnonzero(np.abs(change) >= threshold)
        remembered = remembered.copy()
        remembered.flat[fires] = seen.flat[fires]
        places.append(2 * fires + (change.flat[fires] > 0))
        times.append((step - 1) * config.step + rng.integers(0, config.step, len(fires)))
    duration = (steps - 1) * config.step
    noise = rng.poisson(count * H * W * config.noise_rate * duration * 1e-6)
    places.append(rng.integers(0, 2 * count * H * W, noise))
    times.append(rng.integers(0, duration, noise))
    return _divided(np.concatenate(places), np.concatenate(times), count, config.size)


def _divided(places: np.ndarray, times: np.ndarray, count: int, size: Size) -> list[Recording]:
    """Recordings from events numbered ((recording * H + y) * W + x) * 2 + p, in the order of time."""
    H, W = size
    recording = places // (2 * H * W)
    order = np.lexsort((times, recording))
    places, times = places[order], times[order].astype(np.int64)
    ends = np.searchsorted(recording[order], np.arange(count + 1))
    p, x, y = (places & 1).astype(np.uint8), places // 2 % W, places // (2 * W) % H
    x, y = x.astype(np.int16), y.astype(np.int16)
    parts = [slice(first, last) for first, last in pairwise(ends)]
    return [Recording(times[part], x[part], y[part], p[part], size) for part in parts]


def _seen(brightness: Float32[np.ndarray, "n h w"], movement: Movement, step: int, size: Size) -> np.ndarray:
    """The images at one time, [n, H, W]: bilinear, averaged where made smaller."""
    h, w = brightness.shape[1:]
    zoom = movement.zoom[:, step]
    rows = _weights(h, size[0], movement.y[:, step], zoom)
    columns = _weights(w, size[1], movement.x[:, step], zoom)
    seen: np.ndarray = rows @ brightness @ columns.transpose(0, 2, 1)
    return seen


def _weights(length: int, side: int, offset: np.ndarray, zoom: np.ndarray) -> np.ndarray:
    """[n, side, length], the share of each point of a line in each pixel, n = 1 for all images alike."""
    centred = np.arange(side, dtype=np.float32) - np.float32((side - 1) / 2)
    source = (centred - offset[:, None]) / zoom[:, None] + np.float32((length - 1) / 2)  # [n, side]
    width = np.maximum(1, 1 / zoom)[:, None, None].astype(np.float32)
    distance = np.abs(source[:, :, None] - np.arange(length, dtype=np.float32))
    weights: np.ndarray = (np.maximum(0, 1 - distance / width) / width).astype(np.float32)
    return weights


NMNIST_SENSOR = SensorConfig(threshold=0.27, mismatch=0.1, drift=0.2, step=2000)
"""Set so that events a recording, polarity and rate over time are those of N-MNIST's first thousand recordings."""

# The camera of N-MNIST moves along a triangle; measured on its first thousand recordings as the way of the centre of
# events, then moved as a whole to where simulated frames correlate best with the real ones of the same digits.
_CORNERS = ((15.1, 13.4), (19.7, 15.7), (15.2, 19.0), (15.0, 14.6))  # y, x in pixels, of a digit's centre
_MIDDLES = (49_000, 150_000, 257_000)  # microseconds, when each saccade is fastest
_SPREADS = (17_000, 20_000, 19_000)  # standard deviation of its speed over time
_NMNIST_DURATION = 308_000


def saccades(config: SensorConfig) -> Movement:
    """The three saccades of N-MNIST, of about 100 ms each: an image's way along a triangle."""
    times = np.arange(0, _NMNIST_DURATION + config.step, config.step)
    corners = np.asarray(_CORNERS) - (np.asarray(config.size) - 1) / 2
    places = np.repeat(corners[:1], len(times), axis=0)
    for before, after, middle, spread in zip(corners[:-1], corners[1:], _MIDDLES, _SPREADS, strict=True):
        speed = np.exp(-0.5 * ((times - middle) / spread) ** 2)
        places += (np.cumsum(speed) / speed.sum())[:, None] * (after - before)
    y, x = places.T.astype(np.float32)
    return Movement(y[None], x[None], np.ones((1, len(times)), np.float32))


def record_digits(
    images: UInt8[np.ndarray, "N 28 28"], *, seed: int, config: SensorConfig = NMNIST_SENSOR
) -> Iterator[Recording]:
    """Recordings like those of N-MNIST, of other images. Equal seeds and images give equal recordings.

    In N-MNIST the polarity is that of a dark digit on a bright screen: the edge that goes ahead is OFF.
    """
    movement = saccades(config)
    for number, start in enumerate(range(0, len(images), _BATCH)):
        pixels = images[start : start + _BATCH].astype(np.float32) / 255
        yield from record(-_log_intensity(pixels), movement, config, np.random.default_rng((seed, number)))


def _log_intensity(pixels: Float32[np.ndarray, "n h w"]) -> Float32[np.ndarray, "n h w"]:
    """Of images in [0, 1] on a screen, whose black shines too."""
    shown: np.ndarray = np.log1p(pixels / np.float32(_BLACK))
    return shown.astype(np.float32)
