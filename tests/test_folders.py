"""One's own pictures: which files of a folder count, what is said of the others, parts and classes."""

from __future__ import annotations

import gc
import logging
import os
import re
import shutil
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from spikevae.config import DataConfig, Split
from spikevae.data.folders import list_pictures
from spikevae.data.images import check_save_path, save_images
from spikevae.data.own import check_is_not_among, class_names, folder_of
from spikevae.data.parts import list_parts
from spikevae.data.sets import load_split

SPLITS: tuple[Split, ...] = ("train", "validation", "test")


def write_pictures(folder: Path, *levels: int) -> None:
    """Grey pictures, each of one level, named by it."""
    folder.mkdir(parents=True, exist_ok=True)
    for level in levels:
        Image.new("L", (20, 16), level).save(folder / f"{level:03}.png")


def as_it_is(folder: Path) -> Path:
    return folder


def as_zip(folder: Path) -> Path:
    return Path(shutil.make_archive(str(folder), "zip", folder.parent, folder.name))


def as_flat_zip(folder: Path) -> Path:
    return Path(shutil.make_archive(str(folder), "zip", folder))


def as_tar(folder: Path) -> Path:
    with tarfile.open(folder.with_suffix(".tar"), "w") as archive:
        archive.add(folder, folder.name)
    return folder.with_suffix(".tar")


PACKED = [as_it_is, as_zip, as_flat_zip, as_tar]


def levels_of(path: Path, split: Split = "train", **settings: object) -> list[int]:
    """The grey levels of a folder's pictures in a part, in order."""
    config = DataConfig(dataset=f"folder:{path}", image_size=8, **settings)  # type: ignore[arg-type]
    levels: list[int] = load_split(config, split).images()[:, 0, 0, 0].tolist()
    return levels


def classes_of(config: DataConfig) -> tuple[str, ...]:
    path = folder_of(config)
    assert path is not None
    return class_names(list_parts(path), config)


def all_levels(path: Path) -> list[int]:
    return sorted(level for split in SPLITS for level in levels_of(path, split))


@pytest.mark.parametrize(
    "place",
    [
        ".ipynb_checkpoints/001-checkpoint.png",
        "__MACOSX/001.png",
        "__MACOSX/deep/._001.png",
        ".Trash/deep/001.png",
        "deep/._001.png",
        ".out.png.3f2a.tmp/0001.png",
        "rec.partial/0001.png",
        "001.png.partial",
        "001.png.tmp",
        "Thumbs.db",
    ],
)
def test_hidden_and_half_written_files_never_count(
    tmp_path: Path, place: str, caplog: pytest.LogCaptureFixture
) -> None:
    write_pictures(tmp_path, *range(12))
    (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (20, 16), 200).save(tmp_path / place, "PNG")
    assert all_levels(tmp_path) == list(range(12))
    assert not caplog.text
    with zipfile.ZipFile(tmp_path.with_suffix(".zip"), "w") as archive:
        for path in sorted(tmp_path.rglob("*")):
            archive.write(path, path.relative_to(tmp_path))
    assert all_levels(tmp_path.with_suffix(".zip")) == list(range(12))


@pytest.mark.parametrize("files", [("run.json",), ("config.json", "model.safetensors")])
def test_runs_and_models_below_a_folder_never_count_and_are_named(
    tmp_path: Path, files: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    write_pictures(tmp_path, *range(12))
    write_pictures(tmp_path / "runs" / "mine" / "previews", 200)
    for name in files:
        (tmp_path / "runs" / "mine" / name).write_text("{}")
    assert all_levels(tmp_path) == list(range(12))
    assert "12 pictures are read; left out: 1 folders of runs and models" in caplog.text


def test_a_run_in_the_folder_itself_costs_it_its_previews_alone(tmp_path: Path) -> None:
    write_pictures(tmp_path, *range(12))
    write_pictures(tmp_path / "previews", 200)
    assert 200 in all_levels(tmp_path)
    (tmp_path / "run.json").write_text("{}")
    assert all_levels(tmp_path) == list(range(12))


@pytest.mark.parametrize("packed", PACKED)
@pytest.mark.parametrize("files", [("run.json",), ("config.json", "model.safetensors")])
def test_runs_and_models_in_an_archive_never_count_and_are_named(
    tmp_path: Path, files: tuple[str, ...], packed: Callable[[Path], Path], caplog: pytest.LogCaptureFixture
) -> None:
    mine = tmp_path / "mine"
    write_pictures(mine, *range(12))
    for run in ("runs/first", "runs/first/second", "runs/third"):
        write_pictures(mine / run / "previews", 200)
        (mine / run / "photo.heic").write_bytes(b"something")
        for name in files:
            (mine / run / name).write_text("{}")
    assert all_levels(packed(mine)) == list(range(12))
    assert "12 pictures are read; left out: 2 folders of runs and models" in caplog.text
    assert ".heic" not in caplog.text


@pytest.mark.parametrize("packed", PACKED)
def test_an_archive_of_a_folder_that_is_a_run_lacks_its_previews_alone(
    tmp_path: Path, packed: Callable[[Path], Path]
) -> None:
    write_pictures(tmp_path / "mine", *range(12))
    write_pictures(tmp_path / "mine" / "previews", 200)
    (tmp_path / "mine" / "run.json").write_text("{}")
    assert all_levels(packed(tmp_path / "mine")) == list(range(12))


def test_originals_written_beside_reconstructions_do_not_count_and_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    levels = (torch.arange(12) / 255).view(12, 1, 1, 1).expand(12, 1, 4, 4)
    save_images(levels, tmp_path / "rec", originals=levels + 100 / 255)
    assert all_levels(tmp_path / "rec") == list(range(12))
    assert "12 originals beside their reconstructions" in caplog.text
    (tmp_path / "rec" / "0000.png").unlink()
    assert 100 in all_levels(tmp_path / "rec")  # that one is beside nothing


def test_what_is_left_out_and_could_be_missed_is_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_pictures(tmp_path, *range(12))
    for name in ("a.heic", "b.HEIC", "c.jxl", "notes.txt"):
        (tmp_path / name).write_bytes(b"something")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "nowhere.png").symlink_to(tmp_path / "gone.png")
    (tmp_path / "device.png").symlink_to("/dev/ptmx")
    with caplog.at_level(logging.WARNING):
        assert len(list_pictures(tmp_path)) == 12
    (line,) = [record.getMessage() for record in caplog.records]
    assert "12 pictures are read; left out: " in line
    for words in ("2 .heic files", "1 .jxl files", "3 broken links, pipes or devices"):
        assert words in line
    assert ".txt" not in line


def test_raw_files_of_every_maker_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_pictures(tmp_path, 1)
    suffixes = [".rw2", ".raf", ".orf", ".hif", ".cr3", ".nef", ".arw", ".pef", ".srw", ".x3f", ".dng", ".exr"]
    for suffix in suffixes:
        (tmp_path / f"photo{suffix.upper()}").touch()
    assert len(list_pictures(tmp_path)) == 1
    assert all(
        f"1 {suffix} files, which are not read (save them as .png or .jpg)" in caplog.text for suffix in suffixes
    )


@pytest.mark.parametrize("suffix", [".jfif", ".JPG", ".mpo", ".jp2", ".tga", ".qoi", ".dib", ".pcx", ".sgi", ".apng"])
def test_every_kind_of_picture_that_pillow_reads_counts(tmp_path: Path, suffix: str) -> None:
    write_pictures(tmp_path, *range(11))
    Image.new("RGB", (16, 16), (200, 200, 200)).save(tmp_path / f"other{suffix}")
    assert max(all_levels(tmp_path)) in range(198, 203)


def test_linked_folders_and_files_count_once_and_loops_end(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_pictures(tmp_path / "elsewhere", 6, 7, 8, 9, 10, 11)
    write_pictures(tmp_path / "mine", 0, 1, 2, 3, 4)
    Image.new("L", (20, 16), 5).save(tmp_path / "one.png")
    (tmp_path / "mine" / "one.png").symlink_to(tmp_path / "one.png")
    (tmp_path / "mine" / "more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "mine" / "more-again").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "mine")
    assert all_levels(tmp_path / "mine") == list(range(12))
    assert "2 linked folders that were read already" in caplog.text


def test_a_picture_that_links_lead_to_counts_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_pictures(tmp_path / "mine", *range(11))
    write_pictures(tmp_path / "elsewhere", 11)
    for level in range(11):
        (tmp_path / "mine" / f"a{level}.png").symlink_to(f"{level:03}.png")  # before the file itself
    for name in ("x.png", "y.png"):
        (tmp_path / "mine" / name).symlink_to(tmp_path / "elsewhere" / "011.png")
    assert all_levels(tmp_path / "mine") == list(range(12))
    assert {file.path.name for file in list_pictures(tmp_path / "mine")} == {
        *(f"{n:03}.png" for n in range(11)),
        "x.png",
    }
    assert "12 pictures are read; left out: 12 links to files that were read already" in caplog.text


def test_pictures_of_a_held_out_part_that_are_links_to_learned_ones_are_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_pictures(tmp_path / "train", 1, 2, 3)
    write_pictures(tmp_path / "val", 4, 5)
    (tmp_path / "val" / "000.png").symlink_to("../train/001.png")
    (tmp_path / "test").symlink_to("val")  # one part may serve for both
    assert [levels_of(tmp_path, split) for split in SPLITS] == [[1, 2, 3], [4, 5], [4, 5]]
    assert f"{tmp_path / 'val'}: left out: 1 pictures that {tmp_path / 'train'} has too, by links" in caplog.text
    (tmp_path / "test").unlink()
    (tmp_path / "test").symlink_to("train")
    with pytest.raises(ValueError, match=r"test: all of its pictures are links to those of .*train"):
        levels_of(tmp_path)


def test_a_subfolder_that_cannot_be_read_is_an_error_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pictures(tmp_path / "a", *range(6))
    write_pictures(tmp_path / "b", *range(6, 12))
    read = os.scandir

    def refuse(path: Path) -> object:
        if Path(path).name == "b":  # as for a user who may not: the tests may run as one who may do all
            raise PermissionError(13, "Permission denied", str(path))
        return read(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(PermissionError, match=r"b cannot be read \(Permission denied\)"):
        levels_of(tmp_path)


# ---------------------------------------------------------------- parts


@pytest.mark.parametrize("packed", PACKED)
@pytest.mark.parametrize("names", [("train", "val"), ("train", "valid"), ("Train", "Validation"), ("training", "val")])
def test_a_folder_beside_train_is_what_validation_and_testing_use(
    tmp_path: Path, packed: Callable[[Path], Path], names: tuple[str, str]
) -> None:
    write_pictures(tmp_path / "mine" / names[0], *range(10))
    write_pictures(tmp_path / "mine" / names[1], 100, 101, 102)
    path = packed(tmp_path / "mine")
    assert [levels_of(path, split) for split in SPLITS] == [list(range(10)), [100, 101, 102], [100, 101, 102]]


@pytest.mark.parametrize(("place", "name"), [("train", "."), ("train/deep", ".."), (".", "train"), ("val", "../train")])
def test_the_parts_beside_a_folder_are_the_same_however_it_is_spelt(
    place: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pictures(tmp_path / "train", *range(10))
    write_pictures(tmp_path / "val", 100, 101)
    (tmp_path / "train" / "deep").mkdir()
    monkeypatch.chdir(tmp_path / place)
    assert [levels_of(Path(name), split) for split in SPLITS] == [list(range(10)), [100, 101], [100, 101]]


@pytest.mark.parametrize("packed", PACKED)
def test_three_parts_stay_three(tmp_path: Path, packed: Callable[[Path], Path]) -> None:
    for number, name in enumerate(("train", "val", "test")):
        write_pictures(tmp_path / "mine" / name, *range(10 * number, 10 * number + 5))
    path = packed(tmp_path / "mine")
    assert [levels_of(path, split)[0] for split in SPLITS] == [0, 10, 20]
    if packed is as_it_is:
        assert levels_of(path / "train", "validation") == [10, 11, 12, 13, 14]


@pytest.mark.parametrize("packed", [as_it_is, as_tar])
@pytest.mark.parametrize("name", ["val", "test"])
def test_a_part_that_is_named_is_read_with_the_parts_beside_it(
    tmp_path: Path, name: str, packed: Callable[[Path], Path], caplog: pytest.LogCaptureFixture
) -> None:
    for number, part in enumerate(("train", "val", "test")):
        write_pictures(tmp_path / part, *range(10 * number, 10 * number + 5))
    named = packed(tmp_path / name)
    if named.is_file():
        shutil.rmtree(tmp_path / name)
    assert [levels_of(named, split)[0] for split in SPLITS] == [0, 10, 20]
    assert f"{named} is a part of {tmp_path}: the parts beside it are read too" in caplog.text
    shutil.rmtree(tmp_path / "train")
    assert len(levels_of(named)) == 3  # which has nothing to learn from beside it


def test_parts_in_a_folder_that_is_called_one_stay_its_own(tmp_path: Path) -> None:
    for number, part in enumerate(("test/train", "test/val", "train")):
        write_pictures(tmp_path / part, *range(10 * number, 10 * number + 5))
    assert [levels_of(tmp_path / "test", split)[0] for split in SPLITS] == [0, 10, 10]


def test_parts_may_be_archives(tmp_path: Path) -> None:
    write_pictures(tmp_path / "train", *range(10))
    write_pictures(tmp_path / "val", 100, 101)
    as_tar(tmp_path / "train")
    as_flat_zip(tmp_path / "val")
    shutil.rmtree(tmp_path / "train")
    shutil.rmtree(tmp_path / "val")
    assert [levels_of(tmp_path, split) for split in SPLITS] == [list(range(10)), [100, 101], [100, 101]]


def test_of_several_parts_for_training_the_one_that_was_named_is_read(tmp_path: Path) -> None:
    write_pictures(tmp_path / "train", 1)
    packed = as_tar(tmp_path / "train")
    shutil.rmtree(tmp_path / "train")
    for number, name in enumerate(("train", "training", "val")):
        write_pictures(tmp_path / name, *range(10 * number + 10, 10 * number + 15))
    for path, level in ((tmp_path / "train", 10), (tmp_path / "training", 20), (packed, 1)):
        assert levels_of(path)[0] == level
        assert levels_of(path, "validation")[0] == 30


# ---------------------------------------------------------------- classes


@pytest.mark.parametrize("packed", PACKED)
def test_subfolders_are_classes_and_every_part_has_all_of_them(tmp_path: Path, packed: Callable[[Path], Path]) -> None:
    write_pictures(tmp_path / "mine" / "cat", *range(100, 140))
    write_pictures(tmp_path / "mine" / "ant", *range(7))
    config = DataConfig(dataset=f"folder:{packed(tmp_path / 'mine')}", image_size=8, validation_share=0.2)
    assert classes_of(config) == ("ant", "cat")
    seen = []
    for split in SPLITS:
        images = load_split(config, split)
        assert images.class_names == ("ant", "cat")
        assert images.labels is not None
        levels = images.images()[:, 0, 0, 0]
        assert images.labels.tolist() == (levels >= 100).int().tolist()
        assert images.labels.unique().tolist() == [0, 1]
        seen += levels.tolist()
    assert sorted(seen) == [*range(7), *range(100, 140)]


@pytest.mark.parametrize("packed", PACKED)
def test_classes_of_a_folder_in_parts_are_those_that_are_learned_from(
    tmp_path: Path, packed: Callable[[Path], Path]
) -> None:
    for part in ("train", "val"):
        write_pictures(tmp_path / "mine" / part / "dog", 10, 11)
        write_pictures(tmp_path / "mine" / part / "cat", 100, 101)
    shutil.rmtree(tmp_path / "mine" / "val" / "cat")
    config = DataConfig(dataset=f"folder:{packed(tmp_path / 'mine')}", image_size=8)
    train, validation = (load_split(config, split) for split in ("train", "validation"))
    assert train.class_names == validation.class_names == ("cat", "dog")
    assert train.labels is not None
    assert validation.labels is not None
    assert (train.labels.tolist(), validation.labels.tolist()) == ([0, 0, 1, 1], [1, 1])


def test_a_class_is_the_same_in_another_part_however_its_accented_letters_are_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for part, cafe in (("train", "caf\N{LATIN SMALL LETTER E WITH ACUTE}"), ("test", "cafe\N{COMBINING ACUTE ACCENT}")):
        write_pictures(tmp_path / part / cafe, *range(1, 5))
        write_pictures(tmp_path / part / "bar", *range(5, 9))
    config = DataConfig(dataset=f"folder:{tmp_path}", image_size=8)
    train, test = (load_split(config, split) for split in ("train", "test"))
    assert train.class_names == test.class_names == ("bar", "caf\N{LATIN SMALL LETTER E WITH ACUTE}")
    assert test.labels is not None
    assert test.labels.tolist() == [0] * 4 + [1] * 4
    assert not caplog.messages


def test_a_class_that_only_validation_has_is_an_error(tmp_path: Path) -> None:
    write_pictures(tmp_path / "train" / "cat", 1, 2)
    write_pictures(tmp_path / "train" / "dog", 3, 4)
    write_pictures(tmp_path / "val" / "cow", 5)
    with pytest.raises(ValueError, match=r"005\.png is of no class that there is to learn from \(cat, dog\)"):
        levels_of(tmp_path, "validation")


def test_no_classes_where_pictures_lie_otherwise_or_where_they_are_to_be_ignored(tmp_path: Path) -> None:
    write_pictures(tmp_path / "mine" / "cat", *range(5))
    assert classes_of(DataConfig(dataset=f"folder:{tmp_path / 'mine'}")) == ()  # only one subfolder
    write_pictures(tmp_path / "mine" / "dog", *range(5, 12))
    ignored = DataConfig(dataset=f"folder:{tmp_path / 'mine'}", image_size=8, unlabelled=True)
    assert classes_of(ignored) == ()
    assert load_split(ignored, "train").labels is None
    write_pictures(tmp_path / "mine", 50)
    assert classes_of(DataConfig(dataset=f"folder:{tmp_path / 'mine'}")) == ()  # one lies beside them
    (tmp_path / "mine" / "050.png").rename(tmp_path / "mine" / "dog" / "050.png")
    assert classes_of(DataConfig(dataset=f"folder:{tmp_path / 'mine'}")) == ("cat", "dog")


@pytest.mark.parametrize("part", ["", "train"])
def test_a_subfolder_without_pictures_is_said_to_be_no_class(
    tmp_path: Path, part: str, caplog: pytest.LogCaptureFixture
) -> None:
    for name, level in (("cat", 10), ("dog", 20)):
        write_pictures(tmp_path / part / name, *range(level, level + 8))
    if part:
        write_pictures(tmp_path / "val" / "cat", 1, 2)
    config = DataConfig(dataset=f"folder:{tmp_path}")
    (tmp_path / part / ".cache").mkdir()
    assert classes_of(config) == ("cat", "dog")
    assert not caplog.records
    (tmp_path / part / "ant").mkdir()
    (tmp_path / part / "bee").mkdir()
    (tmp_path / part / "bee" / "notes.txt").touch()
    assert classes_of(config) == ("cat", "dog")
    assert caplog.messages == [f"folder:{tmp_path}: no pictures are read from 'ant', 'bee', so that is no class"]
    caplog.clear()
    assert classes_of(replace(config, unlabelled=True)) == ()
    assert not caplog.records


def test_classes_below_one_more_folder_are_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name, level in (("cat", 10), ("dog", 20)):
        write_pictures(tmp_path / "download" / "pets" / name, *range(level, level + 8))
    assert classes_of(DataConfig(dataset=f"folder:{tmp_path}")) == ()
    place = tmp_path / "download" / "pets"
    assert f"{place}: its subfolders cat, dog are no classes here; name that folder to have them" in caplog.messages
    caplog.clear()
    assert classes_of(DataConfig(dataset=f"folder:{place}")) == ("cat", "dog")
    assert not caplog.records


def test_pictures_for_testing_without_a_class_are_told_of_before_training(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name, level in (("cat", 10), ("dog", 20)):
        write_pictures(tmp_path / "train" / name, *range(level, level + 8))
    write_pictures(tmp_path / "test", 1, 2)
    load_split(DataConfig(dataset=f"folder:{tmp_path}", image_size=8), "train")
    assert "2 of 2 pictures for testing are of no class, as 001.png" in caplog.text


def test_classes_may_have_folders_of_their_own_and_a_picture_beside_them_is_told_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_pictures(tmp_path / "cat" / "home", 1, 2, 3)
    write_pictures(tmp_path / "cat" / "wild", 4, 5, 6)
    write_pictures(tmp_path / "dog", 7, 8, 9)
    config = DataConfig(dataset=f"folder:{tmp_path}")
    assert classes_of(config) == ("cat", "dog")
    assert not caplog.records
    write_pictures(tmp_path, 50)
    assert classes_of(config) == ()
    assert "subfolders are no classes here, since 1 pictures lie in none of them" in caplog.text


def test_a_zip_file_of_windows_has_folders_and_names_that_lead_out_of_one_are_told_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_pictures(tmp_path, 1)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("cat\\1.png", "cat\\2.png", "dog\\1.png", "dog\\2.png", "../../out.png"):
            archive.write(tmp_path / "001.png", name)
    assert classes_of(DataConfig(dataset=f"folder:{tmp_path / 'a.zip'}")) == ("cat", "dog")
    assert "1 files whose names lead out of the archive" in caplog.text


def test_links_that_lead_to_each_other_and_packed_files_are_told_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_pictures(tmp_path, 1, 2)
    (tmp_path / "a.png").symlink_to("b.png")
    (tmp_path / "b.png").symlink_to("a.png")
    (tmp_path / "loop").symlink_to("loop")
    for name in ("c.npy", "d.zip"):
        (tmp_path / name).write_bytes(b"something")
    assert len(list_pictures(tmp_path)) == 2
    for words in ("2 broken links", "1 .npy files, which are not read here", "1 .zip files"):
        assert words in caplog.text


def test_a_tar_file_has_its_hard_links_too_and_tells_of_its_symbolic_ones(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_pictures(tmp_path / "mine" / "cat", *range(6))
    (tmp_path / "mine" / "dog").mkdir()
    for level in range(6):  # what programs that find equal files make of them
        os.link(tmp_path / "mine" / "cat" / f"{level:03}.png", tmp_path / "mine" / "dog" / f"{level:03}.png")
    (tmp_path / "mine" / "cow").symlink_to("cat")
    with tarfile.open(tmp_path / "mine.tar", "w") as archive:
        archive.add(tmp_path / "mine", "mine")
    assert classes_of(DataConfig(dataset=f"folder:{tmp_path / 'mine.tar'}")) == ("cat", "dog")
    assert all_levels(tmp_path / "mine.tar") == sorted([*range(6), *range(6)])
    assert "1 links, which are not followed in an archive" in caplog.text


@pytest.mark.parametrize("suffix", [".tar", ".zip"])
def test_of_files_of_one_name_in_an_archive_the_last_one_counts(
    suffix: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_pictures(tmp_path, *range(12))
    path, names = tmp_path / f"mine{suffix}", [f"{level:03}.png" for level in range(11)]
    with tarfile.open(path, "w") if suffix == ".tar" else zipfile.ZipFile(path, "w") as archive:
        add = archive.add if isinstance(archive, tarfile.TarFile) else archive.write
        for name in names:
            add(tmp_path / name, name)
        with warnings.catch_warnings(action="ignore"):  # zipfile tells of it
            add(tmp_path / "011.png", "000.png")
    assert all_levels(path) == list(range(1, 12))
    assert "1 earlier files of the same name" in caplog.text


def test_a_class_of_one_picture_is_one_line_with_a_way_out(tmp_path: Path) -> None:
    write_pictures(tmp_path / "cat", *range(5))
    write_pictures(tmp_path / "dog", 6)
    with pytest.raises(ValueError, match=r"'dog' holds one picture.*--unlabelled") as caught:
        levels_of(tmp_path)
    assert "\n" not in str(caught.value)
    assert len(levels_of(tmp_path, unlabelled=True)) == 4


@pytest.mark.parametrize(("own", "needed"), [((), 4), (("test",), 3), (("val",), 2), (("val", "test"), 2)])
def test_as_many_pictures_of_a_class_as_are_asked_for_leave_two_to_learn_from(
    tmp_path: Path, own: tuple[str, ...], needed: int
) -> None:
    for part in own:
        write_pictures(tmp_path / part / "cat", 100, 101)
    train = tmp_path / "train" if own else tmp_path
    write_pictures(train / "cat", *range(10))
    write_pictures(train / "dog", 20)
    with pytest.raises(ValueError, match=f"every class needs {needed} or more"):
        levels_of(tmp_path)
    write_pictures(train / "dog", *range(20, 20 + needed))
    assert sum(level >= 20 for level in levels_of(tmp_path)) == 2


def test_classes_are_found_in_parts_that_are_archives_with_a_folder_of_their_name(tmp_path: Path) -> None:
    for part in ("train", "val"):
        write_pictures(tmp_path / part / "dog", 10, 11)
        write_pictures(tmp_path / part / "cat", 100, 101)
        as_zip(tmp_path / part)
        shutil.rmtree(tmp_path / part)
    images = load_split(DataConfig(dataset=f"folder:{tmp_path}", image_size=8), "validation")
    assert images.class_names == ("cat", "dog")
    assert images.labels is not None
    assert images.labels.tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("packed", [as_it_is, as_zip])
def test_pictures_beside_the_parts_are_named_and_do_not_count(
    tmp_path: Path, packed: Callable[[Path], Path], caplog: pytest.LogCaptureFixture
) -> None:
    for name, level in (("train", 1), ("val", 2), ("more", 3)):
        write_pictures(tmp_path / "mine" / name, level, level + 10)
    write_pictures(tmp_path / "mine", 4)
    assert levels_of(packed(tmp_path / "mine")) == [1, 11]
    assert "its parts are read (train, val" in caplog.text
    assert ("left out: 004.png, more" if packed is as_it_is else "left out: 3 pictures beside them") in caplog.text


# ---------------------------------------------------------------- archives and arrays


@pytest.mark.parametrize("packing", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_damaged_file_in_a_zip_file_is_named_however_it_is_packed(tmp_path: Path, packing: int) -> None:
    write_pictures(tmp_path / "mine", *range(12))
    path = tmp_path / "mine.zip"
    with zipfile.ZipFile(path, "w", packing) as archive:
        for level in range(12):
            archive.write(tmp_path / "mine" / f"{level:03}.png", f"{level:03}.png")
    content = bytearray(path.read_bytes())
    start = content.index(b"005.png") + len("005.png") + 9  # behind what says how it is packed
    content[start : start + 4] = b"\xff" * 4
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"mine\.zip: 005\.png cannot be unpacked .* get the file again"):
        all_levels(path)


def test_an_archive_with_a_damaged_picture_is_closed_at_once(tmp_path: Path) -> None:
    write_pictures(tmp_path / "mine", *range(12))
    (tmp_path / "mine" / "005.png").write_bytes(b"no picture")
    path = as_zip(tmp_path / "mine")
    gc.collect()
    gc.disable()  # which would close it some time
    try:
        with pytest.raises(ValueError, match=r"005\.png"):
            all_levels(path)
        archives = [found for found in gc.get_objects() if type(found) is zipfile.ZipFile]
    finally:
        gc.enable()
    assert not [archive for archive in archives if archive.fp is not None and archive.filename == str(path)]


def test_a_zip_file_that_is_damaged_or_packs_a_bomb_is_one_line(tmp_path: Path) -> None:
    write_pictures(tmp_path / "mine", *range(12))
    path = as_zip(tmp_path / "mine")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"mine\.zip"):
        levels_of(path)
    start = whole.index(b"mine/005.png") + len("mine/005.png") + 10
    path.write_bytes(whole[:start] + b"\xff\xff\xff" + whole[start + 3 :])
    with pytest.raises(ValueError, match=r"mine\.zip: mine/005\.png cannot be unpacked"):
        all_levels(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("mine/a.png", "w") as bomb:
        for _ in range(257):
            bomb.write(bytes(2**20))
    with pytest.raises(ValueError, match=r"a\.png unpacks to more than 268,435,456 bytes"):
        list_pictures(path)[0].read(1, 8)


@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
def test_an_array_is_a_folder_of_pictures(tmp_path: Path, name: str) -> None:
    array = np.arange(12, dtype=np.uint8)[:, None, None].repeat(20, 1).repeat(16, 2)
    np.save(tmp_path / name, array) if name == "a.npy" else np.savez(tmp_path / name, array)
    assert all_levels(tmp_path / name) == list(range(12))
    assert load_split(DataConfig(dataset=f"folder:{tmp_path / name}"), "train").class_names == ()


def test_a_pipe_in_place_of_a_folder_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.tar")
    with pytest.raises(ValueError, match=r"pipe\.tar is a pipe"):
        levels_of(tmp_path / "pipe.tar")


def test_results_may_be_written_again_beside_pictures_and_over_none(tmp_path: Path) -> None:
    write_pictures(tmp_path, 1, 2)
    for name in ("scores.json", "report/report.html", "scores.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
        check_is_not_among(tmp_path / name, [tmp_path])
    check_is_not_among(tmp_path / "new.png", [tmp_path])  # which replaces nothing
    with pytest.raises(ValueError, match=r"001\.png lies in .*, which is read, and would be replaced"):
        check_is_not_among(tmp_path / "001.png", [tmp_path])


def test_a_result_takes_no_place_of_data_that_links_lead_to(tmp_path: Path) -> None:
    write_pictures(tmp_path / "store" / "cat", 1, 2)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "cat").symlink_to("../store/cat")
    (tmp_path / "mine" / "003.png").symlink_to("../store/cat/002.png")
    for name in ("mine/cat/001.png", "mine/003.png"):
        with pytest.raises(ValueError, match="which is read, and would be replaced"):
            check_is_not_among(tmp_path / name, [tmp_path / "mine"])
    check_is_not_among(tmp_path / "store" / "cat" / "new.png", [tmp_path / "mine"])


def test_a_link_that_leads_nowhere_is_refused_before_anything_is_drawn(tmp_path: Path) -> None:
    (tmp_path / "out").symlink_to("nowhere")
    with pytest.raises(ValueError, match="out is a link that leads nowhere"):
        check_save_path(tmp_path / "out")


@pytest.mark.parametrize(("train", "test"), [("training_set", "test_set"), ("Train_Set", "testing_set")])
def test_parts_may_be_called_sets(train: str, test: str, tmp_path: Path) -> None:
    for part, level in ((train, 10), (test, 200)):
        for name in ("a", "b"):
            write_pictures(tmp_path / part / name, *range(level, level + 12))
    assert min(levels_of(tmp_path, "test")) >= 200
    assert classes_of(DataConfig(dataset=f"folder:{tmp_path}")) == ("a", "b")


def test_parts_without_one_for_training_are_told_to_be_classes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for part in ("val", "test"):
        write_pictures(tmp_path / part, *range(12))
    assert classes_of(DataConfig(dataset=f"folder:{tmp_path}")) == ("test", "val")
    assert "it has a part for test and validation and none for training, so its folders are classes" in caplog.text


def test_a_part_beside_folders_that_are_no_parts_is_told_to_be_a_class(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("train", "eval"):
        write_pictures(tmp_path / name, *range(12))
    config = DataConfig(dataset=f"folder:{tmp_path}")
    assert classes_of(config) == ("eval", "train")
    (line,) = caplog.messages
    assert "a part for training and none for validation or testing, so its folders are classes (eval, train)" in line
    assert "val (or valid, validation)" in line
    caplog.clear()
    (tmp_path / "eval").rename(tmp_path / "val")
    assert classes_of(config) == ()
    assert not caplog.messages


def test_parts_inside_of_classes_are_told_to_be_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for place in ("cat/train", "cat/test", "dog/train", "dog/test"):
        write_pictures(tmp_path / place, *range(4))
    assert classes_of(DataConfig(dataset=f"folder:{tmp_path}")) == ("cat", "dog")
    (line,) = caplog.messages
    assert "the folders test, train inside of its classes (cat, dog) are no parts" in line


def test_classes_that_lie_deeper_in_a_part_are_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("a", "b"):
        write_pictures(tmp_path / "train" / "all" / name, *range(12))
        write_pictures(tmp_path / "test" / "all" / name, *range(12))
    assert classes_of(DataConfig(dataset=f"folder:{tmp_path}")) == ()
    assert f"{Path('train', 'all')}: its subfolders a, b are no classes here" in caplog.text


@pytest.mark.parametrize("place", [6, 10])
def test_a_damaged_archive_is_one_line_that_names_it(place: int, tmp_path: Path) -> None:
    """The version that the entries of its directory need, and their method of compression."""
    write_pictures(tmp_path / "mine", *range(12))
    archive = as_zip(tmp_path / "mine")
    content = bytearray(archive.read_bytes())
    for entry in re.finditer(re.escape(b"PK\1\2"), bytes(content)):
        content[entry.start() + place] = 148
    archive.write_bytes(content)
    with pytest.raises(ValueError, match=r"mine\.zip") as refusal:
        load_split(DataConfig(dataset=f"folder:{archive}"), "train").images()
    assert "\n" not in str(refusal.value)
