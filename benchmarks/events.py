"""The speed, simulated camera and sim-gestures of docs/events.md: ``python -m benchmarks.events ROOT``."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import tyro
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import RidgeClassifier
from tyro.conf import Positional

from spikevae.config import GESTURE_CLASSES
from spikevae.data.events.frames import FrameConfig, to_frames
from spikevae.data.events.gestures import twin
from spikevae.data.events.recording import Recording
from spikevae.data.events.sets import load_events, load_recordings
from spikevae.data.events.simulate import record_digits
from spikevae.data.events.statistics import EventStatistics, event_statistics
from spikevae.data.readers import read_mnist_family


def main(root: Positional[Path], /) -> None:
    """Print what docs/events.md says of speed, of the simulated camera and of sim-gestures.

    Args:
        root: A data root with N-MNIST, MNIST and Fashion-MNIST.
    """
    started = time.process_time()
    recordings = [recording for recording, _ in load_recordings("n-mnist", "train", root=root, count=10**6)]
    frames = [to_frames(recording, FrameConfig()) for recording in recordings]
    print(f"N-MNIST to frames: {len(frames) / (time.process_time() - started):.0f} recordings a CPU second")
    images = read_mnist_family("MNIST", root, False)[0][: len(recordings), 0].numpy()
    started = time.process_time()
    simulated = list(record_digits(images, seed=0))
    print(f"simulated digits: {len(simulated) / (time.process_time() - started):.0f} recordings a CPU second")
    real_statistics = event_statistics(recordings)
    _print_statistics("real", real_statistics)
    _print_statistics("simulated", event_statistics(simulated))
    print(f"rate over time, total variation: {event_statistics(simulated).rate_distance(real_statistics):.3f}")
    print(f"the same images, correlation of events: {_correlation(simulated, recordings):.2f}")
    config = FrameConfig(10, "time")
    pair = [np.stack([to_frames(part, config) for part in parts]).ravel() for parts in (recordings, simulated)]
    print(f"the same images, correlation of frames: {np.corrcoef(pair)[0, 1]:.2f}")
    _print_twins(root)


def _print_statistics(name: str, found: EventStatistics) -> None:
    quartiles = " ".join(f"{value / 1000:.1f}" for value in found.waiting)
    print(
        f"{name}: {found.recordings} recordings, {found.events_mean:.0f} ± {found.events_deviation:.0f} events, "
        f"ON {found.on_share:.1%}, waiting {quartiles} ms"
    )


def _correlation(some: list[Recording], others: list[Recording]) -> float:
    return float(np.corrcoef([len(recording) for recording in some], [len(recording) for recording in others])[0, 1])


def _print_twins(root: Path) -> None:
    """How often classifiers tell the two classes of a pair apart, on test recordings of other objects."""
    config = FrameConfig(8, size=(16, 16))
    train, test = (
        load_events("sim-gestures", split, root=root, frames=config, validation_share=0.0)
        for split in ("train", "test")
    )
    assert train.labels is not None
    assert test.labels is not None
    x, y, test_x, test_y = (values.numpy() for values in (train.frames(), train.labels, test.frames(), test.labels))
    for name, axis in (("sum over time", 1), ("frames in order, polarities added", 2)):
        features, test_features = (
            frames.sum(axis=axis, dtype=np.float32).reshape(len(frames), -1) for frames in (x, test_x)
        )
        linear = ("linear", RidgeClassifier(alpha=1000.0))
        trees = ("boosted trees", HistGradientBoostingClassifier(max_iter=50, random_state=0))
        for kind, model in (linear, trees) if axis == 1 else (linear,):
            shares = []
            for label in range(0, len(GESTURE_CLASSES), 2):
                own, test_own = np.isin(y, (label, twin(label))), np.isin(test_y, (label, twin(label)))
                model.fit(features[own], y[own])
                shares.append(float((model.predict(test_features[test_own]) == test_y[test_own]).mean()))
            each = ", ".join(f"{share:.0%}" for share in shares)
            print(f"twins told apart by {name}, {kind}: {np.mean(shares):.1%} ({each})")


if __name__ == "__main__":
    tyro.cli(main, prog="python -m benchmarks.events")
