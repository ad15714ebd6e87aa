"""sim-gestures: objects that move in ten ways in front of the simulated camera. The label lies in time alone.

The classes are five pairs of twins, each the other's time reversal: left and right, up and down, clockwise and
counter-clockwise, nearer and farther, "to and fro" (stand still, go a little way, come back further) and "twice and
stop" (go a long way, a short one back, stand still; in any direction). Half of the recordings of every class are
recordings of its twin with time reversed. A sum over time does not know which way time ran: whatever is
computed of it is the same for both twins in distribution, so nobody tells them apart by it more often than by chance.
One frame says nothing either: half of the objects are darker than what is behind them, and a dark object that goes to
the left and a bright one that goes to the right cause the same frame.

A stand-in for DVS128 Gesture, which it does not claim to resemble in difficulty.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Int64, UInt8

from spikevae.config import GESTURE_CLASSES
from spikevae.data.events.recording import Recording
from spikevae.data.events.simulate import Movement, SensorConfig, record

GESTURE_SENSOR = SensorConfig(size=(32, 32), threshold=0.3, mismatch=0.1, drift=0.1, noise_rate=0.5, step=4000)

_STEPS = 76  # simulated states of a recording, of 0.3 s
_CHUNK = 64  # recordings that are simulated at once


def twin(label: int) -> int:
    """The class that is this one with time reversed."""
    return label ^ 1


def gesture_labels(count: int) -> Int64[np.ndarray, " {count}"]:
    """Of the recordings that `record_gestures` makes: every class in turn."""
    return np.arange(count, dtype=np.int64) % len(GESTURE_CLASSES)


def record_gestures(objects: UInt8[np.ndarray, "M 28 28"], count: int, *, seed: int) -> Iterator[Recording]:
    """So many recordings, labelled as `gesture_labels` says. Equal seeds and objects give equal recordings.

    Args:
        objects: pictures of things that may move, bright on black; each is shown once before one is shown twice.
        count: recordings.
        seed: of everything that is drawn.
    """
    labels = gesture_labels(count)
    order = np.resize(np.random.default_rng(seed).permutation(len(objects)), count)
    for number, start in enumerate(range(0, count, _CHUNK)):
        rng = np.random.default_rng((seed, number))
        asked = labels[start : start + _CHUNK]
        is_reversed = rng.random(len(asked)) < 0.5
        shown = np.where(is_reversed, asked ^ 1, asked)
        pixels = objects[order[start : start + _CHUNK]].astype(np.float32) / 255
        contrast = rng.uniform(1.2, 2.0, len(asked)) * rng.choice((-1.0, 1.0), len(asked))
        brightness = pixels * contrast[:, None, None].astype(np.float32)
        recordings = record(brightness, movements(shown, rng), GESTURE_SENSOR, rng)
        for recording, is_back in zip(recordings, is_reversed, strict=True):
            yield _reversed(recording) if is_back else recording


def movements(labels: Int64[np.ndarray, " n"], rng: np.random.Generator) -> Movement:
    """A way for each label, with its own place, length, tempo and direction where the class leaves them open."""
    n = len(labels)
    time = np.linspace(0, 1, _STEPS)[None]
    time = time + rng.uniform(-0.6, 0.6, (n, 1)) * np.sin(2 * np.pi * time) / (2 * np.pi)  # tempo; from 0 to 1 still
    y, x = np.repeat(rng.uniform(-3, 3, (2, n, 1)), _STEPS, axis=2)
    zoom = np.repeat(np.exp(rng.uniform(-0.25, 0.1, (n, 1))) * 0.6, _STEPS, axis=1)
    sign = np.where(labels % 2, 1, -1)[:, None]
    reach = rng.uniform(5, 9, (n, 1))
    along = sign * reach * (2 * time - 1)
    x = x + np.where(labels[:, None] // 2 == 0, along, 0)
    y = y + np.where(labels[:, None] // 2 == 1, along, 0)
    turn = 2 * np.pi * (rng.random((n, 1)) - sign * rng.uniform(0.8, 1.2, (n, 1)) * time)
    is_turning = labels[:, None] // 2 == 2
    x = x + np.where(is_turning, 0.7 * reach * np.cos(turn), 0)
    y = y + np.where(is_turning, 0.7 * reach * np.sin(turn), 0)
    zoom = zoom * np.where(labels[:, None] // 2 == 3, np.exp(-sign * rng.uniform(0.4, 0.7, (n, 1)) * (2 * time - 1)), 1)
    stroke = np.where(sign < 0, _to_and_fro(time), _to_and_fro(1 - time)) * reach
    direction = 2 * np.pi * rng.random((n, 1))
    is_stroke = labels[:, None] // 2 == 4
    x = x + np.where(is_stroke, stroke * np.cos(direction), 0)
    y = y + np.where(is_stroke, stroke * np.sin(direction), 0)
    return Movement(*(values.astype(np.float32) for values in (y, x, zoom)))


def _to_and_fro(time: np.ndarray) -> np.ndarray:
    """Still for a quarter, then 0 to 1, then back to -1."""
    place: np.ndarray = np.interp(time, (0, 0.25, 0.5, 1), (0, 0, 1, -1))
    return place


def _reversed(recording: Recording) -> Recording:
    """The last event first. Polarity stays: it is that of an object that is dark where this one was bright."""
    backwards = slice(None, None, -1)
    t = (_STEPS - 1) * GESTURE_SENSOR.step - 1 - recording.t[backwards]
    return Recording(t, recording.x[backwards], recording.y[backwards], recording.p[backwards], recording.size)


def made_shapes(count: int, *, seed: int) -> UInt8[np.ndarray, "{count} 28 28"]:
    """Blobs of random outline, for a machine without pictures: sums of a few waves around a centre, filled."""
    rng = np.random.default_rng(seed)
    v, u = np.meshgrid(*[np.linspace(-1, 1, 28)] * 2, indexing="ij")
    angle, radius = np.arctan2(v, u), np.hypot(v, u)
    waves = np.arange(1, 6)[:, None, None] * angle  # [5, 28, 28]
    sizes = rng.uniform(-0.2, 0.2, (count, 5, 1, 1)) / np.sqrt(np.arange(1, 6))[:, None, None]
    outline = 0.6 + (sizes * np.cos(waves + rng.uniform(0, 2 * np.pi, (count, 5, 1, 1)))).sum(axis=1)
    brightness = np.clip((outline - radius) * 14, 0, 1) * rng.uniform(0.6, 1, (count, 1, 1))
    shapes: np.ndarray = (brightness * 255).round().astype(np.uint8)
    return shapes
