"""The simulated camera sees what a real one would; the label of a simulated gesture lies in time alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import RidgeClassifier

from spikevae.config import GESTURE_CLASSES
from spikevae.data.events.files import Archive, RecordingFile, read_all
from spikevae.data.events.frames import FrameConfig, to_frames
from spikevae.data.events.gestures import gesture_labels, made_shapes, record_gestures, twin
from spikevae.data.events.pictures import animation, coloured, film_strip
from spikevae.data.events.simulate import Movement, SensorConfig, record, record_digits
from spikevae.data.events.statistics import event_statistics
from spikevae.data.events.writers import save_recordings
from spikevae.data.readers import read_mnist_family
from tests.made_events import made_recording

QUIET = SensorConfig(size=(8, 8), threshold=0.25, mismatch=0.0, noise_rate=0.0, step=1000)


def standing(steps: int) -> Movement:
    still = np.zeros((1, steps), np.float32)
    return Movement(still, still, still + 1)


def test_what_stands_still_causes_no_events_without_noise() -> None:
    picture = np.ones((1, 4, 4), np.float32)
    (recording,) = record(picture, standing(50), QUIET, np.random.default_rng(0))
    assert len(recording) == 0


def test_noise_comes_at_its_rate() -> None:
    noisy = replace(QUIET, noise_rate=100.0)
    recordings = record(np.zeros((50, 4, 4), np.float32), standing(101), noisy, np.random.default_rng(0))
    assert sum(map(len, recordings)) == pytest.approx(50 * 64 * 0.1 * 100, rel=0.02)


def test_a_bright_spot_that_moves_one_pixel_is_on_where_it_goes_and_off_where_it_was() -> None:
    spot = np.full((1, 1, 1), 1.0, np.float32)
    x = np.asarray([[0.5, 1.5]], np.float32)  # of the centre between pixels 3 and 4
    move = Movement(np.full_like(x, 0.5), x, np.ones_like(x))
    (recording,) = record(spot, move, QUIET, np.random.default_rng(0))
    assert sorted(zip(recording.x.tolist(), recording.y.tolist(), recording.p.tolist(), strict=True)) == [
        (4, 4, 0),
        (5, 4, 1),
    ]


def test_a_dark_object_has_the_events_of_a_bright_one_with_the_other_polarity() -> None:
    shapes = made_shapes(3, seed=0)[:, ::4, ::4].astype(np.float32) / 100
    x = np.linspace(-2, 2, 20, dtype=np.float32)[None]
    move = Movement(0 * x, x, 0 * x + 1)
    bright, dark = (record(sign * shapes, move, QUIET, np.random.default_rng(0)) for sign in (1, -1))
    for one, other in zip(bright, dark, strict=True):
        assert len(one) > 20
        assert replace(one, p=1 - one.p).is_equal(other)


def test_half_as_high_a_threshold_never_makes_fewer_events() -> None:
    digits = made_shapes(4, seed=0)
    sensor = SensorConfig(noise_rate=0.0, mismatch=0.0)
    few, many = (
        event_statistics(record_digits(digits, seed=0, config=replace(sensor, threshold=threshold)))
        for threshold in (0.4, 0.2)
    )
    assert many.events_mean > 1.5 * few.events_mean


def test_equal_seeds_give_equal_recordings_and_others_do_not() -> None:
    objects = made_shapes(20, seed=0)
    first, again, other = (list(record_gestures(objects, 12, seed=seed)) for seed in (5, 5, 6))
    assert all(a.is_equal(b) for a, b in zip(first, again, strict=True))
    assert not any(a.is_equal(b) for a, b in zip(first, other, strict=True))


def test_simulated_digits_have_the_statistics_of_the_real_recordings(real_data: Path) -> None:
    archive_path = real_data / "NMNIST" / "Train.zip"
    if not archive_path.is_file():
        pytest.skip("no N-MNIST in the data root")
    with Archive(archive_path) as archive:
        members = sorted(archive.recordings(), key=lambda name: name[-9:])[:200]
    real = event_statistics(read_all([RecordingFile(archive_path, member, size=(34, 34)) for member in members]))
    images = read_mnist_family("MNIST", real_data, False)[0][:200, 0].numpy()
    simulated = event_statistics(record_digits(images, seed=0))
    assert simulated.events_mean == pytest.approx(real.events_mean, rel=0.1)
    assert simulated.events_deviation == pytest.approx(real.events_deviation, rel=0.2)
    assert simulated.on_share == pytest.approx(real.on_share, abs=0.02)
    assert simulated.rate_distance(real) < 0.12
    assert simulated.waiting[1] == pytest.approx(real.waiting[1], rel=0.2)


def test_every_gesture_has_a_twin() -> None:
    assert [twin(twin(label)) for label in range(10)] == list(range(10))
    pairs = {frozenset((GESTURE_CLASSES[label], GESTURE_CLASSES[twin(label)])) for label in range(10)}
    assert frozenset(("clockwise", "counter-clockwise")) in pairs
    assert len(pairs) == 5


def gesture_frames(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    recordings = record_gestures(made_shapes(count, seed=seed), count, seed=seed)
    frames = np.stack([to_frames(recording, FrameConfig(8, size=(16, 16))) for recording in recordings])
    return frames.astype(np.float32), gesture_labels(count)


def twins_told_apart(train: np.ndarray, labels: np.ndarray, test: np.ndarray, test_labels: np.ndarray) -> float:
    """Share of the test recordings that a linear classifier of each pair of twins gets right; 1/2 is chance."""
    right = 0
    for pair in range(5):
        own, test_own = labels // 2 == pair, test_labels // 2 == pair
        model = RidgeClassifier(alpha=1000.0).fit(train[own], labels[own])
        right += int((model.predict(test[test_own]) == test_labels[test_own]).sum())
    return right / len(test)


def test_the_sum_over_time_does_not_tell_twins_apart_and_the_order_of_frames_does() -> None:
    (train, labels), (test, test_labels) = gesture_frames(1500, 0), gesture_frames(600, 1)
    sums = [frames.sum(axis=1).reshape(len(frames), -1) for frames in (train, test)]
    assert abs(twins_told_apart(sums[0], labels, sums[1], test_labels) - 0.5) < 0.06
    orders = [frames.sum(axis=2).reshape(len(frames), -1) for frames in (train, test)]  # both polarities together
    assert twins_told_apart(orders[0], labels, orders[1], test_labels) > 0.75


@pytest.mark.parametrize("label", [0, 1, 2, 3])
def test_objects_move_as_their_class_says(label: int) -> None:
    recordings = list(record_gestures(made_shapes(40, seed=0), 400, seed=0))
    for recording in recordings[label::10]:
        frames = to_frames(recording, FrameConfig(4)).sum(axis=1).astype(np.float64)  # [4, H, W]
        axis, sign = ((2, -1), (2, 1), (1, -1), (1, 1))[label]
        places = (frames.sum(axis=3 - axis) * np.arange(32)).sum(axis=1) / frames.sum(axis=(1, 2))
        assert sign * (places[3] - places[0]) > 1


def test_statistics_of_a_made_recording_are_those_that_were_put_in() -> None:
    found = event_statistics([made_recording(3000, seed=seed) for seed in range(12)])
    assert (found.recordings, found.events_mean, found.events_deviation) == (12, 3000, 0)
    assert found.on_share == pytest.approx(0.5, abs=0.02)
    assert np.allclose(found.rate[:30], 1 / 30, atol=0.005)
    assert found.rate_distance(found) == 0


def test_when_a_recording_begins_does_not_matter_to_its_rate_over_time() -> None:
    recordings = [made_recording(3000, seed=seed) for seed in range(3)]
    later = [replace(recording, t=recording.t + 1_000_000) for recording in recordings]
    assert event_statistics(recordings).rate_distance(event_statistics(later)) == 0


def test_the_rate_over_time_covers_the_duration_asked_for() -> None:
    long = event_statistics([made_recording(6400, duration=6_400_000)], 6_400_000)
    assert (len(long.rate), long.bin_width) == (32, 200_000)
    assert np.allclose(long.rate, 1 / 32, atol=0.01)
    short = event_statistics([made_recording(3000, duration=50_000)], 50_000)
    assert np.allclose(short.rate, np.full(5, 1 / 5), atol=0.03)
    with pytest.raises(ValueError, match=r"32 bins of 200,000 µs and 5 of 10,000 µs cannot be compared"):
        long.rate_distance(short)


def test_more_events_are_fuller_and_each_polarity_has_its_colour() -> None:
    frames = np.zeros((2, 1, 4), np.uint8)
    frames[1, 0] = (0, 1, 2, 0)
    frames[0, 0, 3] = 2
    nothing, weak, on, off = coloured(frames, full=2)[0].astype(int)
    assert nothing.tolist() == [255, 255, 255]
    assert (on <= weak).all()
    assert (weak <= nothing).all()
    assert on[0] > on[2]
    assert off[2] > off[0]


def test_pictures_have_a_place_for_every_frame(tmp_path: Path) -> None:
    frames = np.stack([to_frames(made_recording(seed=seed), FrameConfig(6)) for seed in range(5)])
    assert film_strip(frames, enlarge=2).shape == (5 * 69 + 1, 6 * 69 + 1, 3)
    assert animation(frames, enlarge=1).shape == (6, 2 * 35 + 1, 3 * 35 + 1, 3)
    recordings = [made_recording(seed=seed) for seed in range(5)]
    for suffix, pictures in ((".png", 1), (".gif", 6), (".webp", 6)):
        path = tmp_path / f"a{suffix}"
        save_recordings(recordings, path, frames=FrameConfig(6))
        with Image.open(path) as picture:
            assert getattr(picture, "n_frames", 1) == pictures
