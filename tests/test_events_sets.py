"""Event data sets are found in the layouts of their archives, divided as stated, and missed in one line."""

from __future__ import annotations

import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from spikevae.config import CIFAR10_CLASSES, DVS128_CLASSES, DataConfig, Split
from spikevae.data.events.augment import EventAugmentation
from spikevae.data.events.eventset import EventSet
from spikevae.data.events.files import list_recordings
from spikevae.data.events.frames import FrameConfig, to_frames
from spikevae.data.events.sets import load_events, load_recordings
from spikevae.data.events.writers import encode_atis, save_recordings
from spikevae.data.sets import load_split
from spikevae.presets import preset_for
from spikevae.training.sets import load_sets
from tests.made_events import encode_aedat2, encode_aedat3, made_recording, write_dvs128, write_files, write_n_mnist

FRAMES = FrameConfig(4)


def load(name: str, root: Path, split: Split = "train", share: float = 0.0) -> EventSet:
    """A split, with its frames kept beside the data root."""
    kept = root.with_name(f"{root.name}-frames")
    return load_events(name, split, root=root, frames=FRAMES, validation_share=share, frames_folder=kept)


@pytest.mark.parametrize("packed", [True, False])
def test_n_mnist_is_read_from_its_archives_and_from_the_folders_in_them(packed: bool, tmp_path: Path) -> None:
    write_n_mnist(tmp_path / "root", packed=packed)
    train, test = load("n-mnist", tmp_path / "root"), load("n-mnist", tmp_path / "root", "test")
    assert (len(train), len(test)) == (40, 10)
    assert train.labels is not None
    assert train.labels.tolist() == [number % 10 for number in range(40)]  # the order of MNIST
    assert np.array_equal(train.frames(17, 1)[0], to_frames(made_recording(seed=17), FRAMES))
    assert train.class_names == tuple("0123456789")


def test_validation_and_training_parts_share_no_recording(tmp_path: Path) -> None:
    write_n_mnist(tmp_path / "root")
    parts = [load("n-mnist", tmp_path / "root", split, 0.2) for split in ("train", "validation")]
    assert [len(part) for part in parts] == [32, 8]
    assert len(torch.cat([part.frames() for part in parts]).unique(dim=0)) == 40


def test_augmentation_is_for_the_training_part_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    write_n_mnist(tmp_path / "root")
    preset = preset_for("n-mnist")
    data = replace(preset.data, data_root=str(tmp_path / "root"), validation_share=0.2)
    train, validation = load_sets(replace(preset, data=data), None, None)
    assert train.augmentation.shear == preset.train.shear > 0
    for part in (validation, load("n-mnist", tmp_path / "root", "test")):
        assert part.augmentation == EventAugmentation()


def test_a_replaced_archive_has_frames_of_its_own(tmp_path: Path) -> None:
    write_n_mnist(tmp_path / "root")
    before = load("n-mnist", tmp_path / "root", "test").frames()
    write_files(tmp_path / "root" / "NMNIST", {"Test/3/00001.bin": encode_atis(made_recording(9))}, archive="Test.zip")
    assert load("n-mnist", tmp_path / "root", "test").frames().shape[0] == 1 != len(before)


@pytest.mark.parametrize("packed", [True, False])
def test_cifar10_dvs_keeps_the_first_nine_tenths_of_every_class_for_training(packed: bool, tmp_path: Path) -> None:
    for label, name in enumerate(CIFAR10_CLASSES):
        files = {
            f"{name}/cifar10_{name}_{number}.aedat": encode_aedat2(
                made_recording(50, size=(128, 128), seed=20 * label + number)
            )
            for number in range(10)
        }
        write_files(tmp_path / "root" / "CIFAR10DVS", files, archive=f"{name}.zip" if packed else None)
    train, test = (load("cifar10-dvs", tmp_path / "root", split) for split in ("train", "test"))
    assert train.labels is not None
    assert test.labels is not None
    assert (len(train), test.labels.tolist()) == (90, list(range(10)))
    assert train.labels.bincount().tolist() == [9] * 10
    assert np.array_equal(test.frames(2, 1)[0], to_frames(made_recording(50, size=(128, 128), seed=49), FRAMES))


def test_n_caltech101_has_the_classes_of_its_folders(tmp_path: Path) -> None:
    files = {
        f"Caltech101/{name}/image_{number:04}.bin": encode_atis(made_recording(50, size=(180, 240), seed=number))
        for name in ("BACKGROUND_Google", "accordion", "yin_yang")
        for number in range(1, 21)
    }
    files["__MACOSX/Caltech101/accordion/._image_0001.bin"] = b"not a recording"
    write_files(tmp_path / "root" / "NCaltech101", files, archive="Caltech101.zip")
    train, test = (load("n-caltech101", tmp_path / "root", split) for split in ("train", "test"))
    assert train.class_names == ("BACKGROUND_Google", "accordion", "yin_yang")
    assert (len(train), len(test)) == (54, 6)
    assert train.frame_size == (180, 240)


def test_dvs128_gesture_is_cut_where_its_labels_say(tmp_path: Path) -> None:
    write_dvs128(tmp_path / "root", "class,startTime_usec,endTime_usec\n1,0,100000\n11,150000,250000\n")
    train = load("dvs128-gesture", tmp_path / "root")
    assert train.labels is not None
    assert (train.labels.tolist(), train.class_names) == ([0, 10], DVS128_CLASSES)
    whole = made_recording(900, size=(128, 128))
    assert np.array_equal(train.frames(1)[0], to_frames(whole.between(150_000, 250_000), FRAMES))


def test_a_gesture_ends_where_the_next_begins(tmp_path: Path) -> None:
    write_dvs128(tmp_path / "root", "class,startTime_usec,endTime_usec\n9,0,190000\n10,120000,250000\n")
    train = load("dvs128-gesture", tmp_path / "root")
    whole = made_recording(900, size=(128, 128))
    assert np.array_equal(train.frames(0, 1)[0], to_frames(whole.between(0, 120_000), FRAMES))


@pytest.mark.parametrize("line", ["12,0,100", "1,200,100", "1,0", "one,0,100", "1,900000000,900000001"])
def test_labels_that_cannot_be_right_are_refused_with_their_file(line: str, tmp_path: Path) -> None:
    write_dvs128(tmp_path / "root", f"class,startTime_usec,endTime_usec\n{line}\n")
    with pytest.raises(ValueError, match="user01_fluorescent") as refusal:
        load("dvs128-gesture", tmp_path / "root")
    assert "\n" not in str(refusal.value)


def test_a_folder_of_recordings_in_several_formats_has_a_class_for_each_subfolder(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    for number, (name, content) in enumerate(
        {"a.bin": encode_atis, "b.aedat": encode_aedat2, "c.aedat": encode_aedat3}.items()
    ):
        files = {f"{label}/{name}": content(made_recording(80, seed=number)) for label in ("waving", "clapping")}
        write_files(folder, files)
    save_recordings([made_recording(seed=9)], folder / "waving" / "d.npz")
    (folder / "waving" / ".hidden.bin").write_bytes(b"x")
    (folder / "waving" / "notes.txt").write_text("x")
    train, test = (load(f"events:{folder}", tmp_path / "root", split) for split in ("train", "test"))
    assert (len(train), len(test), train.class_names) == (6, 1, ("clapping", "waving"))
    assert train.frame_size == test.frame_size == (128, 128)


def test_linked_folders_of_recordings_are_read_once_and_loops_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = ("clapping/a.bin", "clapping/b.bin", "waving/a.bin", "waving/b.bin")
    write_files(tmp_path / "disk", {name: encode_atis(made_recording(seed=seed)) for seed, name in enumerate(names)})
    folder = tmp_path / "mine"
    folder.mkdir()
    for name in ("clapping", "waving"):
        (folder / name).symlink_to(tmp_path / "disk" / name)
    (tmp_path / "disk" / "waving" / "back").symlink_to(folder)
    (folder / "x.bin").symlink_to("y.bin")
    (folder / "y.bin").symlink_to("x.bin")  # two that lead to each other are no recordings
    assert [file.path.relative_to(folder).as_posix() for file in list_recordings(folder)] == list(names)
    train = load(f"events:{folder}", tmp_path / "root")
    assert (len(train), train.class_names) == (3, ("clapping", "waving"))
    assert "1 linked folders that were read already" in caplog.text


def test_recordings_of_a_smaller_sensor_than_others_of_their_folder_are_told_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for label, side in (("a", 34), ("b", 60)):
        (tmp_path / "mine" / label).mkdir(parents=True)
        for number in range(3):
            recording = made_recording(size=(side, side), seed=number)
            save_recordings([recording], tmp_path / "mine" / label / f"{number}.npz")
    load(f"events:{tmp_path / 'mine'}", tmp_path / "root")
    assert "3 recordings of a sensor of fewer than 60x60 pixels, as " in caplog.text
    assert f"{Path('a', '0.npz')} (34x34), stand in the corner of their frames" in caplog.text
    caplog.clear()
    shutil.rmtree(tmp_path / "mine" / "a")
    load(f"events:{tmp_path / 'mine'}", tmp_path / "root")
    assert not caplog.text


@pytest.mark.parametrize("side", [34, 30])
def test_frames_may_be_larger_than_the_sensor_of_a_folder_only_where_no_file_says_its_size(
    side: int, tmp_path: Path
) -> None:
    files = {f"{label}/{number}.bin": made_recording(seed=number, size=(25, 30)) for label in "ab" for number in (1, 2)}
    write_files(tmp_path / "mine", {name: encode_atis(recording) for name, recording in files.items()})
    name, frames = f"events:{tmp_path / 'mine'}", FrameConfig(4, size=(34, 34))
    train = load_events(name, "train", root=tmp_path, frames=frames, frames_folder=tmp_path / "frames")
    assert not train.frames()[..., 25:, :].any()
    assert train.frames().sum() == 200 * len(train)
    save_recordings([made_recording(seed=9, size=(side, side))], tmp_path / "mine" / "a" / "sized.npz")
    if side == 34:
        assert len(load_events(name, "train", root=tmp_path, frames=frames, frames_folder=tmp_path / "frames"))
    else:
        with pytest.raises(ValueError, match="frames of 34x34 pixels are larger than the sensor's 30x30"):
            load_events(name, "train", root=tmp_path, frames=frames, frames_folder=tmp_path / "frames")


def test_a_class_of_which_all_recordings_are_held_out_is_told_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    name = write_folders(tmp_path / "mine", {"a": 2, "b": 1, "c": 7})
    test = load(name, tmp_path / "root", "test")
    assert test.labels is not None
    assert test.labels.tolist() == [1]
    assert not caplog.text
    load(name, tmp_path / "root", "train")
    assert "no recording of b is left to learn from; add recordings" in caplog.text


def test_a_folder_with_its_own_split_keeps_it(tmp_path: Path) -> None:
    for part, count in (("train", 4), ("test", 2)):
        save_recordings([made_recording(seed=number) for number in range(count)], tmp_path / "mine" / part / "one")
    train, test = (load(f"events:{tmp_path / 'mine'}", tmp_path / "root", split) for split in ("train", "test"))
    assert (len(train), len(test), test.class_names) == (4, 2, ("one",))


def test_every_recording_of_a_file_of_several_counts(tmp_path: Path) -> None:
    made = [made_recording(seed=number) for number in range(7)]
    save_recordings(made[:4], tmp_path / "mine" / "train" / "one" / "four.npz")
    save_recordings(made[4:6], tmp_path / "mine" / "train" / "two")
    save_recordings(made[6:], tmp_path / "mine" / "test" / "one" / "single.npz")
    train, test = (load(f"events:{tmp_path / 'mine'}", tmp_path / "root", split) for split in ("train", "test"))
    assert (len(train), len(test), train.class_names) == (6, 1, ("one", "two"))
    assert train.labels is not None
    assert train.labels.tolist() == [0, 0, 0, 0, 1, 1]
    expected = [len(recording) for recording in made[:6]]
    assert train.frames().sum(dim=(1, 2, 3, 4), dtype=torch.int64).tolist() == expected
    assert len({frames.numpy().tobytes() for frames in train.frames()}) == 6


def test_recordings_right_in_a_folder_have_no_labels(tmp_path: Path) -> None:
    save_recordings([made_recording(seed=number) for number in range(5)], tmp_path / "mine")
    train = load(f"events:{tmp_path / 'mine'}", tmp_path / "root")
    assert train.class_names == ()
    assert next(train.batches(2))[1].tolist() == [-1, -1]


def write_folders(folder: Path, counts: dict[str, int]) -> str:
    """Write made recordings, all different, into these subfolders; the data set's name."""
    for number, (place, count) in enumerate(counts.items()):
        files = {f"{one}.bin": encode_atis(made_recording(seed=100 * number + one)) for one in range(count)}
        write_files(folder / place, files)
    return f"events:{folder}"


@pytest.mark.parametrize("names", [("train", "validation", "test"), ("training", "val", "Testing")])
def test_parts_of_a_folder_go_by_the_names_of_those_of_pictures(names: tuple[str, ...], tmp_path: Path) -> None:
    counts = {f"{part}/{label}": count for part, count in zip(names, (3, 2, 1), strict=True) for label in "ab"}
    name = write_folders(tmp_path / "mine", counts)
    splits: tuple[Split, ...] = ("train", "validation", "test")
    parts = [load(name, tmp_path / "root", split, 0.2) for split in splits]
    assert [(len(part), part.class_names) for part in parts] == [(6, ("a", "b")), (4, ("a", "b")), (2, ("a", "b"))]
    assert [part.labels.tolist() for part in parts if part.labels is not None] == [
        [0] * 3 + [1] * 3,
        [0, 0, 1, 1],
        [0, 1],
    ]
    assert len(torch.cat([part.frames() for part in parts]).unique(dim=0)) == 12


def test_a_validation_part_serves_for_testing_where_there_is_no_other(tmp_path: Path) -> None:
    counts = {"train/a": 3, "train/b": 3, "valid/a": 2, "valid/b": 2}
    name = write_folders(tmp_path / "mine", counts)
    train, validation, test = (load(name, tmp_path / "root", split) for split in ("train", "validation", "test"))
    assert (len(train), len(validation), train.class_names) == (6, 4, ("a", "b"))
    assert torch.equal(test.frames(), validation.frames())


@pytest.mark.parametrize("place", ["test/c", "test"])
def test_a_test_recording_of_no_class_is_named_with_the_classes(
    place: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    name = write_folders(tmp_path / "mine", {"train/a": 3, "train/b": 3, "test/a": 1, place: 1})
    with pytest.raises(
        ValueError, match=rf"{place}/0\.bin is of no class that there is to learn from \(a, b\)"
    ) as refusal:
        load(name, tmp_path / "root", "test")
    assert "\n" not in str(refusal.value)
    assert len(load(name, tmp_path / "root")) == 6  # it can be learned from
    assert "until it is moved, nothing can be tested" in caplog.text


def test_frames_are_made_anew_where_a_recording_of_another_part_has_a_larger_sensor(tmp_path: Path) -> None:
    name = write_folders(tmp_path / "mine", {"train/a": 3, "test/a": 1})
    assert load(name, tmp_path / "root").frame_size == (34, 34)
    write_files(tmp_path / "mine" / "test" / "a", {"0.bin": encode_atis(made_recording(300, size=(60, 80)))})
    train, test = (load(name, tmp_path / "root", split) for split in ("train", "test"))
    assert train.frame_size == test.frame_size != (34, 34)


def test_a_folder_with_nothing_but_a_training_part_has_the_classes_in_it(tmp_path: Path) -> None:
    name = write_folders(tmp_path / "mine", {"train/a": 5, "train/b": 5, "train/.ipynb_checkpoints": 1})
    train, test = (load(name, tmp_path / "root", split) for split in ("train", "test"))
    assert (len(train), len(test), train.class_names) == (9, 1, ("a", "b"))


def test_a_class_may_be_called_train_where_there_are_no_parts(tmp_path: Path) -> None:
    name = write_folders(tmp_path / "mine", {"train": 5, "tram": 5})
    assert load(name, tmp_path / "root").class_names == ("train", "tram")


@pytest.mark.parametrize("place", ["mine", ".hidden/mine"])
def test_recordings_beside_a_lone_part_are_not_lost(place: str, tmp_path: Path) -> None:
    name = write_folders(tmp_path / place, {"train/a": 5, "train/b": 4, ".": 1})
    assert sum(len(load(name, tmp_path / "root", split)) for split in ("train", "test")) == 10


def test_recordings_beside_subfolders_make_these_no_classes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    name = write_folders(tmp_path / "mine", {"a": 5, "b": 4, ".": 1})
    train = load(name, tmp_path / "root")
    assert (len(train), train.class_names, train.labels) == (9, (), None)
    assert "subfolders are no classes here, since 1 recordings lie in none of them" in caplog.text


def test_a_lone_part_for_testing_is_said_to_be_read_whole(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    name = write_folders(tmp_path / "mine", {"test/a": 5, "test/b": 4})
    assert sum(len(load(name, tmp_path / "root", split)) for split in ("train", "test")) == 9
    assert "holds test and no part for training" in caplog.text


def test_a_part_beside_folders_that_are_no_parts_is_said_to_be_read_with_them(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    name = write_folders(tmp_path / "mine", {"train": 5, "eval": 4})
    assert load(name, tmp_path / "root").class_names == ("eval", "train")
    assert "none for validation or testing, so all of it is for training (train, eval)" in caplog.text


def test_a_recording_that_links_lead_to_counts_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    name = write_folders(tmp_path / "mine", {"train/a": 4, "test/a": 2})
    for part in ("train", "test"):
        (tmp_path / "mine" / part / "a" / "z.bin").symlink_to(next((tmp_path / "mine" / "train" / "a").iterdir()))
    parts = [load(name, tmp_path / "root", split) for split in ("train", "test")]
    assert [len(part) for part in parts] == [4, 2]
    assert "1 links to files that were read already" in caplog.text
    assert "1 recordings that" in caplog.text
    shutil.rmtree(tmp_path / "mine" / "test")
    (tmp_path / "mine" / "test").symlink_to("train")
    with pytest.raises(ValueError, match="test: all of its recordings are links to those of"):
        load(name, tmp_path / "root")


def test_nobodys_home_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^~nobody-here/x: there is no such home folder"):
        load("events:~nobody-here/x", tmp_path)


def test_what_lies_beside_the_parts_of_a_folder_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    name = write_folders(tmp_path / "mine", {"train/a": 2, "test/a": 1, "extra": 1, ".hidden": 1})
    assert len(load(name, tmp_path / "root")) == 2
    assert caplog.messages == [f"{tmp_path / 'mine'}: its parts are read (test, train); left out: extra"]


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("n-mnist", r"NMNIST: put Train\.zip \(1 GB\)"),
        ("dvs128-gesture", r"put DvsGesture\.tar\.gz \(about 3 GB\) into .*DVS128Gesture"),
        ("cifar10-dvs", r"CIFAR10DVS: put the ten archives"),
        ("n-caltech101", r"NCaltech101: put Caltech101\.zip"),
    ],
)
def test_a_missing_data_set_is_told_in_one_line_that_says_what_to_put_where(
    name: str, place: str, tmp_path: Path
) -> None:
    with pytest.raises(FileNotFoundError, match=place) as refusal:
        load(name, tmp_path / "root")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(("name", "message"), [("n-minst", "did you mean 'n-mnist'"), ("x", "use n-mnist, ")])
def test_an_unknown_data_set_is_refused_with_the_nearest_name(name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        load(name, tmp_path)


def test_a_truncated_archive_and_a_damaged_member_are_named(tmp_path: Path) -> None:
    write_n_mnist(tmp_path / "root")
    archive = tmp_path / "root" / "NMNIST" / "Train.zip"
    whole = archive.read_bytes()
    archive.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"Train\.zip is truncated or no zip file"):
        load("n-mnist", tmp_path / "root")
    damaged = bytearray(whole)
    damaged[60:90] = bytes(30)
    archive.write_bytes(damaged)
    with pytest.raises(ValueError, match=r"Train\.zip: Train/0/00001\.bin is damaged"):
        load("n-mnist", tmp_path / "root")


def test_a_damaged_recording_in_an_archive_is_named(tmp_path: Path) -> None:
    write_files(tmp_path / "root" / "NMNIST", {"Test/3/00001.bin": b"1234"}, archive="Test.zip")
    with pytest.raises(ValueError, match=r"Test\.zip: Test/3/00001\.bin cannot be read as a recording"):
        load("n-mnist", tmp_path / "root", "test")


def test_a_recording_outside_the_folders_of_the_classes_is_named(tmp_path: Path) -> None:
    write_files(tmp_path / "root" / "NMNIST", {"Test/ten/1.bin": encode_atis(made_recording())}, archive="Test.zip")
    with pytest.raises(ValueError, match=r"Test/ten/1\.bin is in no folder of a class"):
        load("n-mnist", tmp_path / "root", "test")


def test_some_recordings_of_a_set_are_of_all_its_classes_and_come_with_their_labels(tmp_path: Path) -> None:
    counts = {f"{part}/{label}": 20 for part in ("train", "test") for label in "abc"}
    name = write_folders(tmp_path / "mine", counts)
    some = load_recordings(name, "test", root=tmp_path, count=9)
    every = load_recordings(name, "test", root=tmp_path, count=100)
    assert (len(some), len(every)) == (9, 60)
    assert {label for _, label in some} == {0, 1, 2}
    for recording, label in some:
        assert [other for one, other in every if one.is_equal(recording)] == [label]


def test_the_real_n_mnist_has_the_labels_of_mnist(real_data: Path, tmp_path: Path) -> None:
    if not (real_data / "NMNIST" / "Test.zip").is_file():
        pytest.skip("no N-MNIST in the data root")
    test = load_events("n-mnist", "test", root=real_data, frames_folder=tmp_path)
    assert test.labels is not None
    assert test.labels[:8].tolist() == [7, 2, 1, 0, 4, 1, 4, 9]
    with zipfile.ZipFile(real_data / "NMNIST" / "Test.zip") as archive:
        events = sum(info.file_size for info in archive.infolist()) // 5
    assert sum(int(frames.sum(dtype=torch.int64)) for frames in test.frames()) == events


def test_folders_of_recordings_are_no_classes_where_they_are_asked_not_to_be(tmp_path: Path) -> None:
    for name in ("a", "b"):
        for number in range(3):
            save_recordings([made_recording(seed=number)], tmp_path / "mine" / name / f"{number}.npz")
    found = [
        load_split(DataConfig(dataset=f"events:{tmp_path / 'mine'}", unlabelled=unlabelled), "train")
        for unlabelled in (False, True)
    ]
    assert [(each.class_names, each.labels is None) for each in found] == [(("a", "b"), False), ((), True)]
