"""Event data sets that are made: recordings of pictures by the simulated camera."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from spikevae.config import GESTURE_CLASSES, MNIST_CLASSES
from spikevae.data.events.gestures import (
    GESTURE_SENSOR,
    gesture_labels,
    made_shapes,
    record_gestures,
)
from spikevae.data.events.simulate import NMNIST_SENSOR, SIMULATION_VERSION, record_digits
from spikevae.data.events.sources import EventSource
from spikevae.data.readers import read_mnist_family

_SIMULATED_DIGITS = (10_000, 1_000)  # for training and for testing
_SIMULATED_GESTURES = (6_000, 1_000)
_REAL_DIGITS = (1_000, 100)  # recordings that others may have: the same digits are never simulated


def simulated_digits(root: Path, is_test: bool) -> EventSource:
    """Digits of MNIST that are not among N-MNIST's first recordings, seen by the simulated camera."""
    pixels, labels = read_mnist_family("MNIST", root, is_test)
    first, count = _REAL_DIGITS[is_test], _SIMULATED_DIGITS[is_test]
    images = pixels[first : first + count, 0].numpy()
    key = ["sim-n-mnist", SIMULATION_VERSION, is_test, images.sum(dtype=np.int64).item(), asdict(NMNIST_SENSOR)]
    return EventSource(
        len(images),
        lambda: record_digits(images, seed=int(is_test)),
        key,
        labels[first : first + count],
        MNIST_CLASSES,
    )


def simulated_gestures(root: Path, is_test: bool) -> EventSource:
    """Moving digits and garments; those of the test split are of the test images."""
    both = [read_mnist_family(folder, root, is_test)[0][:, 0].numpy() for folder in ("MNIST", "FashionMNIST")]
    return _gestures(np.concatenate(both), is_test, "images")


def simulated_shapes(root: Path, is_test: bool) -> EventSource:
    """The same movements of made shapes, for a machine without images."""
    return _gestures(made_shapes(_SIMULATED_GESTURES[is_test], seed=1 + is_test), is_test, "shapes")


def _gestures(objects: np.ndarray, is_test: bool, kind: str) -> EventSource:
    count = _SIMULATED_GESTURES[is_test]
    key = [
        "sim-gestures",
        SIMULATION_VERSION,
        kind,
        is_test,
        objects.sum(dtype=np.int64).item(),
        asdict(GESTURE_SENSOR),
    ]
    return EventSource(
        count,
        lambda: record_gestures(objects, count, seed=int(is_test)),
        key,
        torch.from_numpy(gesture_labels(count)),
        GESTURE_CLASSES,
    )
