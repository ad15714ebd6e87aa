"""Frames count every event once; batches and augmentation depend on nothing but the seed."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from spikevae.data.events.augment import Draws, EventAugmentation, augmented
from spikevae.data.events.eventset import EventSet
from spikevae.data.events.frames import FrameConfig, kept_frames, to_frames
from spikevae.data.events.recording import Recording, recording_of
from tests.made_events import made_recording, spikingjelly_module


@pytest.mark.parametrize("slice_by", ["number", "time"])
@pytest.mark.parametrize("count", [100, 103, 997])
def test_frames_are_those_of_spikingjelly(slice_by: str, count: int) -> None:
    recording = made_recording(count, size=(20, 30))
    events = {name: getattr(recording, name) for name in "txyp"}
    theirs = spikingjelly_module("utils").integrate_events_by_fixed_frames_number(events, slice_by, 7, 20, 30)
    assert np.array_equal(to_frames(recording, FrameConfig(7, slice_by)), theirs)  # type: ignore[arg-type]


@pytest.mark.parametrize("slice_by", ["number", "time"])
@pytest.mark.parametrize("size", [None, (20, 30), (7, 11), (1, 1)])
@pytest.mark.parametrize("count", [0, 1, 3, 400])
def test_no_event_is_lost_or_counted_twice(slice_by: str, size: tuple[int, int] | None, count: int) -> None:
    recording = made_recording(count, size=(20, 30))
    frames = to_frames(recording, FrameConfig(5, slice_by, size))  # type: ignore[arg-type]
    assert frames.sum(dtype=np.int64) == count
    assert frames[:, 1].sum(dtype=np.int64) == recording.p.sum()


def test_frames_by_time_have_slices_of_equal_duration() -> None:
    t = np.asarray([0, 1, 2, 3, 50, 99, 100])
    x = np.arange(7)
    frames = to_frames(recording_of(t, x, 0 * x, 0 * x), FrameConfig(2, "time"))
    assert frames.sum(axis=(1, 2, 3)).tolist() == [4, 3]


def test_events_of_one_moment_make_frames_too() -> None:
    zeros = np.zeros(6, int)
    frames = to_frames(recording_of(zeros, zeros, zeros, zeros), FrameConfig(3, "time"))
    assert frames.sum() == 6


def test_counts_beyond_255_stay_255() -> None:
    zeros = np.zeros(1000, int)
    assert to_frames(recording_of(zeros, zeros, zeros, zeros), FrameConfig(1)).max() == 255


def test_frames_larger_than_the_sensor_are_refused() -> None:
    with pytest.raises(ValueError, match="larger than the sensor's 34x34"):
        to_frames(made_recording(), FrameConfig(size=(35, 34)))


def many(count: int, readings: list[int]) -> Iterator[Recording]:
    for seed in range(count):
        readings.append(seed)
        yield made_recording(seed=seed)


def test_frames_are_made_once_and_mapped_from_the_file_afterwards(tmp_path: Path) -> None:
    readings: list[int] = []
    first, second = (
        kept_frames(lambda: many(9, readings), 9, FrameConfig(4), key="a", name="made", folder=tmp_path)
        for _ in range(2)
    )
    assert readings == list(range(9))
    assert isinstance(second, np.memmap)
    assert np.array_equal(first, second)
    assert np.array_equal(first[3], to_frames(made_recording(seed=3), FrameConfig(4)))


def test_other_settings_and_other_recordings_have_frames_of_their_own(tmp_path: Path) -> None:
    for key, config in (
        ("a", FrameConfig(4)),
        ("b", FrameConfig(4)),
        ("a", FrameConfig(4, "time")),
        ("a", FrameConfig(5)),
    ):
        kept_frames(lambda: many(3, []), 3, config, key=key, name="made", folder=tmp_path)
    assert len(list(tmp_path.glob("*.npy"))) == 4


def test_a_damaged_file_of_frames_is_made_anew(tmp_path: Path) -> None:
    first = np.array(kept_frames(lambda: many(3, []), 3, FrameConfig(4), key="a", name="made", folder=tmp_path))
    (path,) = tmp_path.glob("*.npy")
    path.write_bytes(path.read_bytes()[:500])
    assert np.array_equal(
        kept_frames(lambda: many(3, []), 3, FrameConfig(4), key="a", name="made", folder=tmp_path), first
    )


def test_an_interrupted_file_of_frames_is_not_taken_for_a_whole_one(tmp_path: Path) -> None:
    def broken() -> Iterator[Recording]:
        yield made_recording()
        raise ValueError("odd.bin is truncated")

    with pytest.raises(ValueError, match="is truncated"):
        kept_frames(broken, 3, FrameConfig(4), key="a", name="made", folder=tmp_path)
    assert not list(tmp_path.glob("*.npy"))
    assert not list(tmp_path.glob("*.tmp"))
    assert not list(tmp_path.glob(".*.tmp"))


def test_frames_stay_in_memory_where_no_file_can_be_written(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("in the way")
    frames = kept_frames(
        lambda: many(3, []), 3, FrameConfig(4), key="a", name="made", folder=tmp_path / "file" / "frames"
    )
    assert frames.shape == (3, 4, 2, 34, 34)
    assert "kept in memory" in caplog.text


@pytest.mark.parametrize("room", [100, 25_000])  # bytes: for less than the header, and for two of four recordings
def test_on_a_full_disk_all_frames_are_kept_in_memory_and_no_file_stays(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, room: int
) -> None:
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
    try:
        frames = kept_frames(lambda: many(4, []), 4, FrameConfig(4), key="a", name="made", folder=tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    expected = [to_frames(made_recording(seed=seed), FrameConfig(4)) for seed in range(4)]
    assert np.array_equal(frames, np.stack(expected))
    assert "kept in memory" in caplog.text
    assert [path.suffix for path in tmp_path.iterdir() if path.suffix != ".lock"] == []


def test_a_missing_recording_is_told_and_not_taken_for_a_full_disk(tmp_path: Path) -> None:
    def missing() -> Iterator[Recording]:
        yield made_recording()
        (tmp_path / "data" / "gone.bin").read_bytes()

    with pytest.raises(FileNotFoundError, match=r"gone\.bin"):
        kept_frames(missing, 2, FrameConfig(4), key="a", name="made", folder=tmp_path / "frames")


def test_recordings_of_several_sizes_need_a_size(tmp_path: Path) -> None:
    recordings = [made_recording(), made_recording(size=(20, 20))]
    with pytest.raises(ValueError, match="give a size"):
        kept_frames(lambda: recordings, 2, FrameConfig(4), key="a", name="made", folder=tmp_path)
    smaller = FrameConfig(4, size=(10, 10))
    frames = kept_frames(lambda: recordings, 2, smaller, key="a", name="made", folder=tmp_path)
    assert frames.shape[-1] == 10


def _make(folder: Path) -> tuple[int, int]:
    readings: list[int] = []
    frames = kept_frames(lambda: many(50, readings), 50, FrameConfig(4), key="a", name="made", folder=folder)
    return len(readings), int(frames.sum(dtype=np.int64))


def test_of_several_processes_one_makes_the_frames(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        made = pool.map(_make, [tmp_path] * 3)
    assert sorted(readings for readings, _ in made) == [0, 0, 50]
    assert len({total for _, total in made}) == 1


@pytest.fixture
def event_set() -> EventSet:
    """Frames of 23 recordings, of three classes."""
    frames = np.stack([to_frames(made_recording(seed=seed), FrameConfig(5)) for seed in range(23)])
    return EventSet(frames, torch.arange(23) % 3, name="made", split="train", class_names=("a", "b", "c"))


EVERYTHING = EventAugmentation(flip=True, roll=5, rotation=15.0, shear=10.0, cutout=8, mixup=0.5)


def test_batches_are_sequences_of_counts_with_time_in_front(event_set: EventSet) -> None:
    batches = list(event_set.batches(8))
    assert [tuple(x_seq.shape) for x_seq, _ in batches] == [(5, 8, 2, 34, 34)] * 2 + [(5, 7, 2, 34, 34)]
    assert torch.equal(torch.cat([x_seq for x_seq, _ in batches], dim=1)[:, 7], event_set[7][0])
    assert torch.cat([labels for _, labels in batches]).tolist() == [number % 3 for number in range(23)]


def test_an_epoch_that_was_interrupted_goes_on_with_what_it_would_have_seen(event_set: EventSet) -> None:
    changed = event_set.augmented(EVERYTHING)
    whole = list(changed.batches(8, seed=3, epoch=2))
    rest = list(changed.batches(8, seed=3, epoch=2, skip=1))
    for (x_seq, labels), (x_seq_again, labels_again) in zip(whole[1:], rest, strict=True):
        assert torch.equal(x_seq, x_seq_again)
        assert torch.equal(labels, labels_again)
    assert not torch.equal(whole[0][0], next(changed.batches(8, seed=3, epoch=3))[0])


def test_processes_share_a_batch_without_changing_it(event_set: EventSet) -> None:
    changed = event_set.augmented(EVERYTHING)
    whole = next(changed.batches(8, seed=1))[0]
    for rank in range(2):
        assert torch.equal(next(changed.batches(8, seed=1, rank=rank, world_size=2))[0], whole[:, rank::2])


def test_unshuffled_batches_are_never_augmented(event_set: EventSet) -> None:
    plain, changed = (list(some.batches(8)) for some in (event_set, event_set.augmented(EVERYTHING)))
    assert all(torch.equal(a[0], b[0]) and torch.equal(a[1], b[1]) for a, b in zip(plain, changed, strict=True))


def test_without_augmentation_a_shuffled_epoch_shows_every_recording_once(event_set: EventSet) -> None:
    seen = torch.cat([x_seq for x_seq, _ in event_set.batches(8, seed=0)], dim=1).transpose(0, 1)
    assert sorted(x.flatten().tolist() for x in seen) == sorted(
        event_set[number][0].flatten().tolist() for number in range(23)
    )


def test_all_steps_of_a_recording_are_changed_alike(event_set: EventSet) -> None:
    same = event_set.frames(0, 1).repeat_interleave(5, dim=0)[:, :1].expand(-1, 5, -1, -1, -1)  # one frame, five times
    steady = EventSet(same.numpy(), None, name="made", split="train")
    x_seq, labels = next(steady.augmented(EventAugmentation(roll=5, rotation=15.0, one_of=False)).batches(5, seed=0))
    assert torch.equal(x_seq, x_seq[:1].expand_as(x_seq))
    assert not torch.equal(x_seq[:, 0], x_seq[:, 1])
    assert labels.tolist() == [-1] * 5


def test_flip_mirrors_about_half_of_the_recordings(event_set: EventSet) -> None:
    mirrored = 0
    for number, (x_seq, _) in enumerate(event_set.augmented(EventAugmentation(flip=True)).batches(1, seed=0)):
        order = np.random.default_rng((0, 0)).permutation(23)
        original = event_set[int(order[number])][0].unsqueeze(1)
        mirrored += torch.equal(x_seq, original.flip(-1))
        assert torch.equal(x_seq, original) or torch.equal(x_seq, original.flip(-1))
    assert 4 < mirrored < 19


def test_a_roll_moves_by_whole_pixels_and_what_leaves_is_lost(event_set: EventSet) -> None:
    order = np.random.default_rng((0, 0)).permutation(23)
    for number, (x_seq, _) in enumerate(event_set.batches(1, seed=0, shift=3)):
        original = event_set[int(order[number])][0]
        padded = torch.nn.functional.pad(original, (3, 3, 3, 3))
        moves = [padded[..., row : row + 34, column : column + 34] for row in range(7) for column in range(7)]
        assert any(torch.equal(x_seq[:, 0], moved) for moved in moves)


def test_rotation_by_a_right_angle_is_exact() -> None:
    frames = torch.randint(0, 9, (1, 2, 2, 12, 12), dtype=torch.uint8)
    quarter = torch.tensor([[[0.0, -1.0, 0.0], [1.0, 0.0, 0.0]]])
    draws = Draws(quarter, -torch.ones(1, 2), torch.zeros(1, dtype=torch.int64), torch.ones(1))
    turned = augmented(frames, EventAugmentation(rotation=90.0), draws, torch.tensor([0]))
    assert torch.equal(turned, frames.float().rot90(1, (-2, -1))) or torch.equal(
        turned, frames.float().rot90(3, (-2, -1))
    )


def test_cutout_empties_a_square_of_its_size() -> None:
    full = EventSet(np.ones((40, 2, 2, 20, 30), np.uint8), None, name="made", split="train")
    (x_seq, _), *_ = full.augmented(EventAugmentation(cutout=8)).batches(40, seed=0)
    holes = (x_seq == 0).sum(dim=(0, 2, 3, 4)) // 4  # pixels, of each recording
    assert int(holes.max()) == 64
    assert int(holes.min()) >= 16  # at a corner


def test_mixup_mixes_labels_as_it_mixes_frames() -> None:
    frames = np.zeros((30, 2, 2, 4, 4), np.uint8)
    frames[:, 0, 0, 0, 0] = labels = np.arange(30) % 3
    marked = EventSet(frames, torch.from_numpy(labels), name="made", split="train", class_names=("a", "b", "c"))
    x_seq, shares = next(marked.augmented(EventAugmentation(mixup=1.0)).batches(30, seed=0))
    assert torch.allclose(shares.sum(dim=1), torch.ones(30))
    assert torch.allclose(x_seq[0, :, 0, 0, 0], shares @ torch.tensor([0.0, 1.0, 2.0]), atol=1e-5)
    assert len(shares.unique()) > 5


def test_mixup_of_recordings_without_label_is_refused_in_one_line() -> None:
    labels = torch.tensor([0, 1, -1, 1, -1])
    some = EventSet(np.zeros((5, 2, 2, 4, 4), np.uint8), labels, name="made", split="train", class_names=("a", "b"))
    mixed = some.augmented(EventAugmentation(mixup=0.5))
    with pytest.raises(ValueError, match=r"made: mixup=0.5 mixes labels, and 2 of 5 recordings have none") as refusal:
        mixed.batches(5, seed=0)
    assert "\n" not in str(refusal.value)
    assert len(list(mixed.chosen(torch.tensor([0, 1, 3])).batches(3, seed=0))) == 1
    assert len(list(mixed.batches(5))) == 1  # in order nothing is mixed
    some.labels = None
    with pytest.raises(ValueError, match="5 of 5 recordings have none"):
        some.augmented(EventAugmentation(mixup=0.5)).batches(5, seed=0)


def test_a_subset_and_a_choice_hold_the_recordings_that_they_name(event_set: EventSet) -> None:
    chosen = event_set.chosen(torch.tensor([7, 2, 9])).subset(2)
    assert len(chosen) == 2
    assert torch.equal(chosen[1][0], event_set[2][0])
    assert chosen.labels is not None
    assert chosen.labels.tolist() == [1, 2]
    assert torch.equal(chosen.frames(1)[0].float(), event_set[2][0])


def test_joined_sets_hold_the_recordings_of_both(event_set: EventSet) -> None:
    both = event_set.subset(2).joined(event_set.chosen(torch.tensor([5])))
    assert torch.equal(both[2][0], event_set[5][0])
    with pytest.raises(ValueError, match="cannot be joined"):
        event_set.joined(EventSet(event_set.frames().numpy()[:, :2], None, name="other", split="train"))


def test_frames_larger_than_the_sensor_are_refused_with_the_name_of_the_data_set(tmp_path: Path) -> None:
    recording, large = made_recording(20, size=(32, 32)), FrameConfig(4, size=(34, 34))
    with pytest.raises(ValueError, match=r"^sim-shapes: frames of 34x34 .* larger than the sensor's 32x32"):
        kept_frames(lambda: [recording], 1, large, key="a", name="sim-shapes", folder=tmp_path)


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="time_steps=0"):
        FrameConfig(time_steps=0)
    with pytest.raises(ValueError, match=r"size=\(0, 5\)"):
        FrameConfig(size=(0, 5))
    with pytest.raises(ValueError, match="roll=-1"):
        EventAugmentation(roll=-1)
    with pytest.raises(ValueError, match="mixup=2"):
        EventAugmentation(mixup=2.0)


@pytest.mark.parametrize("name", ["rotation", "shear", "mixup"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_augmentation_by_no_finite_number_is_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"^{name}={value} is no finite number"):
        EventAugmentation(**{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["roll", "cutout"])
def test_augmentation_by_as_many_pixels_as_the_frames_have_is_refused(name: str) -> None:
    some = EventSet(np.zeros((3, 4, 2, 8, 10), np.uint8), None, name="made", split="train")
    some.augmented(EventAugmentation(**{name: 7}))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=f"^made: {name}=8 can leave nothing of frames of 8x10 pixels"):
        some.augmented(EventAugmentation(**{name: 8}))  # type: ignore[arg-type]
