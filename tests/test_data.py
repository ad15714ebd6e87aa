"""Data sets into batches: order, resuming, parts, formats, and what is said of files that are wrong."""

from __future__ import annotations

import gzip
import hashlib
import os
import pickle
import shutil
import struct
import tarfile
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import platformdirs
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision import datasets

from spikevae.config import CIFAR10_CLASSES, CLASS_NAMES, DataConfig, Split
from spikevae.data import sets as data
from spikevae.data.division import divide, sample, some
from spikevae.data.events.eventset import EventSet
from spikevae.data.events.sets import load_events, load_recordings
from spikevae.data.image_files import ImageFile
from spikevae.data.images import read_image
from spikevae.data.passes import batch_count
from spikevae.data.pixels import StreamedPixels, converted
from spikevae.data.sets import ImageSet, data_root, load_split
from tests.made_data import write_class_folders

SPLITS: tuple[Split, ...] = ("train", "validation", "test")


@pytest.fixture
def numbered() -> ImageSet:
    """50 images, each of one grey level: its own number."""
    pixels = torch.arange(50, dtype=torch.uint8).view(50, 1, 1, 1).expand(50, 3, 8, 8).contiguous()
    return ImageSet(pixels, torch.arange(50), name="numbered", split="train")


@pytest.fixture
def textured(generator: torch.Generator) -> ImageSet:
    """23 images of noise, without labels."""
    pixels = torch.randint(256, (23, 3, 8, 8), dtype=torch.uint8, generator=generator)
    return ImageSet(pixels, name="textured", split="train")


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, y: (x.float() / 255, y), r"uint8 tensor .* got torch.float32 .*\(255 \* x\)\.round\(\)\.byte\(\)"),
        (lambda x, y: (x[:, 0], y), r"got torch.uint8 \[6, 8, 8\]"),
        (lambda x, y: (x.expand(-1, 5, -1, -1), y), "1 or 3 channels"),
        (lambda x, y: (x[..., :5], y), r"\[N, C, H, H\]"),
        (lambda x, y: (x.numpy(), y), "uint8 tensor"),
        (lambda x, y: (x, y[:5]), r"an int64 tensor \[6\], got torch.int64 \[5\]"),
        (lambda x, y: (x, y.float()), "got torch.float32"),
        (lambda x, y: (x, y.tolist()), r"got list \[\]"),
        (lambda x, y: (x, y + 1), "labels go from 1 to 2, and there are 2 classes, from 0 on"),
        (lambda x, y: (x, y - 2), "labels go from -2 to -1"),
    ],
)
def test_images_and_labels_of_another_kind_are_refused(change: Callable[..., Any], message: str) -> None:
    """Floats above all: they would be taken for bytes, and a network would learn from all but black images."""
    pixels, labels = change(torch.zeros(6, 1, 8, 8, dtype=torch.uint8), torch.arange(6) % 2)
    with pytest.raises(ValueError, match=f"mine: .*{message}"):
        ImageSet(pixels, labels, name="mine", split="train", class_names=("a", "b"))


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize("dtype", ["float32", "int64"])
def test_frames_that_are_no_counts_in_bytes_are_refused(dtype: str) -> None:
    with pytest.raises(ValueError, match=r"mine: frames must be a uint8 array of numpy .*, got"):
        EventSet(np.zeros((3, 4, 2, 5, 5), dtype), name="mine", split="train")


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every download fails, as without a network."""

    def fail(*_: object) -> None:
        raise URLError("no network")

    for dataset in (datasets.MNIST, datasets.CIFAR10, datasets.CelebA):
        monkeypatch.setattr(dataset, "download", fail)


def joined(batches: Iterator[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    x, labels = zip(*batches, strict=True)
    return torch.cat(x), torch.cat(labels)


def equal(one: Iterator[tuple[Tensor, Tensor]], other: Iterator[tuple[Tensor, Tensor]]) -> bool:
    return all(a.equal(b) and c.equal(d) for (a, c), (b, d) in zip(one, other, strict=True))


def write_images(folder: Path, count: int, size: tuple[int, int] = (20, 16)) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        Image.new("RGB", size, (number, 2 * number, 100)).save(folder / f"{number:03}.png")


def first_levels(images: ImageSet) -> list[int]:
    return images.images()[:, 0, 0, 0].tolist()


def test_without_a_seed_every_image_comes_in_order_and_unchanged(textured: ImageSet) -> None:
    x, labels = joined(textured.batches(5, flip=True, shift=3))
    assert x.mul(255).round().to(torch.uint8).equal(textured.images())
    assert x.dtype == torch.float32
    assert labels.tolist() == [-1] * 23


def test_with_a_seed_every_image_comes_once_with_its_own_label(numbered: ImageSet) -> None:
    x, labels = joined(numbered.batches(8, seed=3))
    assert sorted(labels.tolist()) == list(range(50))
    assert labels.tolist() != list(range(50))
    assert x[:, 0, 0, 0].mul(255).round().to(torch.int64).equal(labels)


def test_seed_and_epoch_decide_everything(textured: ImageSet) -> None:
    def epoch(seed: int, epoch: int) -> Tensor:
        return joined(textured.batches(5, seed=seed, epoch=epoch, flip=True, shift=2))[0]

    assert epoch(1, 0).equal(epoch(1, 0))
    others = [epoch(1, 1), epoch(0, 1), epoch(2, 0), epoch(0, 0)]
    assert not any(epoch(1, 0).equal(other) for other in others)
    assert not others[0].equal(others[1])


@pytest.mark.parametrize("skip", [0, 2, 4, 5, 9])
def test_an_interrupted_epoch_goes_on_with_what_it_would_have_seen(textured: ImageSet, skip: int) -> None:
    whole = textured.batches(5, seed=7, epoch=3, flip=True, shift=2)
    rest = textured.batches(5, seed=7, epoch=3, flip=True, shift=2, skip=skip)
    assert equal(islice(whole, skip, None), rest)


def test_augmentation_follows_the_image_and_not_its_batch(textured: ImageSet) -> None:
    small, large = (joined(textured.batches(size, seed=1, flip=True, shift=2))[0] for size in (2, 23))
    assert small.equal(large)


def test_the_shares_of_all_processes_make_the_global_batch(numbered: ImageSet) -> None:
    whole = numbered.batches(8, seed=1, flip=True, shift=1)
    shares = [numbered.batches(8, seed=1, flip=True, shift=1, rank=rank, world_size=3) for rank in range(3)]
    batches = list(zip(whole, *shares, strict=False))
    assert len(batches) == 6  # and the last, of two images for three processes, is left out by all of them
    assert [list(share) for share in shares] == [[], [], []]
    for (_, labels), *parts in batches:
        assert sorted(torch.cat([part for _, part in parts]).tolist()) == sorted(labels.tolist())
        assert max(len(part) for _, part in parts) - min(len(part) for _, part in parts) <= 1


def test_flipping_mirrors_about_half_and_changes_no_other(generator: torch.Generator) -> None:
    pixels = torch.randint(256, (400, 1, 4, 4), dtype=torch.uint8, generator=generator)
    images = ImageSet(pixels, torch.arange(400), name="noise", split="train")
    x, labels = joined(images.batches(64, seed=0, flip=True))
    original = pixels[labels].float() / 255
    is_same = x.eq(original).flatten(1).all(1)
    is_mirrored = x.eq(original.flip(-1)).flatten(1).all(1)
    assert bool((is_same | is_mirrored).all())
    assert 150 < int(is_mirrored.sum()) < 250


def test_shifting_moves_each_image_by_whole_pixels_and_repeats_its_edge(generator: torch.Generator) -> None:
    pixels = torch.randint(256, (200, 3, 6, 5), dtype=torch.uint8, generator=generator)[..., :5, :]
    images = ImageSet(pixels, torch.arange(200), name="noise", split="train")
    padded = torch.nn.functional.pad(pixels.float() / 255, (2, 2, 2, 2), mode="replicate")
    windows = {
        (down, right): padded[:, :, down : down + 5, right : right + 5] for down in range(5) for right in range(5)
    }
    seen = set()
    for x, labels in images.batches(16, seed=0, shift=2):
        for image, label in zip(x, labels.tolist(), strict=True):
            places = {place for place, window in windows.items() if window[label].equal(image)}
            assert len(places) == 1
            seen |= places
    assert len(seen) == 25


def test_cutout_shows_the_mean_colour_in_one_square_of_each_image(generator: torch.Generator) -> None:
    pixels = torch.randint(256, (400, 3, 10, 10), dtype=torch.uint8, generator=generator)
    images = ImageSet(pixels, torch.arange(400), name="noise", split="train").with_cutout(4)
    sizes, whole = set(), torch.zeros(10, 10)
    for x, labels in images.batches(64, seed=0):
        original = pixels[labels]
        seen = x.mul(255).round().to(torch.uint8)
        mean = original.float().mean((2, 3), keepdim=True).round().to(torch.uint8)
        hole = seen.eq(mean).all(1)
        assert bool((seen.eq(original).all(1) | hole).all())
        sizes |= set(zip(hole.any(2).sum(1).tolist(), hole.any(1).sum(1).tolist(), strict=True))
        whole += hole.sum(0)
    assert sizes == {(height, width) for height in (2, 3, 4) for width in (2, 3, 4)}  # whole, or over an edge
    assert bool((whole > 400 * 0.03).all())  # 2 to 4 of 10 places by 2 to 4: a corner 4 %, the middle 16 %
    assert joined(images.batches(64))[0].mul(255).round().to(torch.uint8).equal(pixels)
    assert images.subset(5).cutout == 4


@pytest.mark.parametrize("skip", [0, 2])
def test_cutout_follows_the_image_and_the_rest_stays_as_it_was(textured: ImageSet, skip: int) -> None:
    cut = textured.with_cutout(3)
    assert equal(
        islice(cut.batches(5, seed=7, flip=True, shift=2), skip, None),
        cut.batches(5, seed=7, flip=True, shift=2, skip=skip),
    )
    plain = joined(textured.batches(5, seed=7, flip=True, shift=2))[0]
    changed = joined(cut.batches(23, seed=7, flip=True, shift=2))[0]
    hidden = (plain != changed).any(1).flatten(1).sum(1)
    assert 1 <= int(hidden.min()) <= int(hidden.max()) <= 9


@pytest.mark.parametrize("wrong", [{"rank": 1}, {"world_size": 9}, {"skip": -1}, {"shift": -1}, {"seed": -1}])
def test_settings_that_make_no_batches_are_errors_at_once(numbered: ImageSet, wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=str(next(iter(wrong.values())))):
        numbered.batches(8, **wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(("size", "processes"), [(8, 1), (8, 3), (49, 1), (49, 2), (50, 2), (64, 2), (24, 3)])
def test_batches_are_counted_as_they_are_dealt(numbered: ImageSet, size: int, processes: int) -> None:
    dealt = [list(numbered.batches(size, seed=1, rank=rank, world_size=processes)) for rank in range(processes)]
    assert {len(batches) for batches in dealt} == {batch_count(50, size, processes)}


@pytest.mark.parametrize(("count", "size", "processes"), [(50, 2, 3), (2, 8, 3), (0, 8, 1)])
def test_more_processes_than_images_are_refused_in_one_line(count: int, size: int, processes: int) -> None:
    """A pass of no batch would be an epoch in which nothing is learned."""
    with pytest.raises(ValueError, match=f"{processes} processes share batches of {size} of {count} training images"):
        batch_count(count, size, processes)


def test_one_image_a_stretch_and_a_subset_agree(numbered: ImageSet) -> None:
    x, label = numbered[-1]
    assert x.mul(255).round().to(torch.uint8).equal(numbered.images(49)[0])
    assert int(label) == 49
    assert numbered.images(3, 4)[:, 0, 0, 0].tolist() == [3, 4, 5, 6]
    part = numbered.subset(7)
    assert (len(part), part.name, len(part.subset(100))) == (7, "numbered", 7)
    assert part.labels is not None
    assert part.labels.tolist() == first_levels(part) == list(range(7))
    with pytest.raises(IndexError):
        numbered[50]


def test_a_sample_has_every_class_in_its_share_and_two_of_a_rare_one() -> None:
    labels = torch.tensor([0] * 6_000 + [1] * 3_990 + [2] * 3 + [3] * 1)
    chosen = sample(len(labels), 500, labels)
    counts = labels[chosen].bincount().tolist()
    assert counts[2:] == [2, 1]
    assert abs(counts[0] - 300) < 40
    assert sum(counts) == len(chosen.unique()) == 500
    assert chosen.tolist() == sorted(chosen.tolist()) == sample(len(labels), 500, labels).tolist()
    assert sample(5, 8).tolist() == sample(5, 5, torch.zeros(5, dtype=torch.int64)).tolist() == list(range(5))
    assert 400 < float(sample(1000, 100).float().mean()) < 600
    assert sample(20, 4).tolist() == [1, 8, 18, 19]  # pinned: a run that goes on must find its images again


def test_some_images_are_the_first_ones_unless_they_come_class_by_class(numbered: ImageSet) -> None:
    mixed = numbered.chosen(torch.arange(50).flip(0))
    assert first_levels(some(mixed, 5)) == [49, 48, 47, 46, 45]
    assert first_levels(some(ImageSet(numbered.images(), name="x", split="test"), 3)) == [0, 1, 2]
    labels = torch.arange(50) // 25
    halves = ImageSet(numbered.images(), labels, name="halves", split="test", class_names=("a", "b"))
    found = some(halves, 10)
    assert min(found.labels.bincount().tolist()) > 2
    assert first_levels(found) == sample(50, 10, labels).tolist()
    assert first_levels(some(halves, 99)) == list(range(50))


def test_what_is_kept_and_held_out_is_disjoint_complete_and_always_the_same() -> None:
    for count, share, expected in ((100, 0.05, 5), (60_000, 0.05, 3000), (7, 0.01, 1), (9, 0.0, 0), (1, 0.5, 0)):
        kept, held_out = divide(count, share)
        assert len(held_out) == expected
        assert sorted(torch.cat([kept, held_out]).tolist()) == list(range(count))
    assert divide(20, 0.2)[1].tolist() == [1, 8, 18, 19]  # pinned: a release must not move images between parts


def test_training_and_validation_part_share_the_training_split(made_root: Path) -> None:
    config = DataConfig(data_root=str(made_root), validation_share=0.1)
    train, validation, test = (load_split(config, split) for split in SPLITS)
    assert (len(train), len(validation), len(test)) == (108, 12, 30)
    everything = load_split(DataConfig(data_root=str(made_root), validation_share=0.0), "train")
    both = torch.cat([train.images(), validation.images()]).flatten(1).tolist()
    assert sorted(both) == sorted(everything.images().flatten(1).tolist())
    assert train.class_names[9] == "ankle boot"
    assert (train.image_size, train.image_channels, train.split, train.name) == (28, 1, "train", "fashion-mnist")


def test_a_data_root_is_only_read(made_root: Path) -> None:
    def listing() -> list[tuple[str, int]]:
        return sorted((str(path), path.stat().st_mtime_ns) for path in made_root.rglob("*"))

    before = listing()
    load_split(DataConfig(data_root=str(made_root)), "train")
    assert listing() == before


def test_packed_and_unpacked_files_are_the_same(made_root: Path, tmp_path: Path) -> None:
    shutil.copytree(made_root, tmp_path / "unpacked")
    for path in (tmp_path / "unpacked").rglob("*.gz"):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    packed, unpacked = (
        load_split(DataConfig(data_root=str(root)), "test") for root in (made_root, tmp_path / "unpacked")
    )
    assert packed.images().equal(unpacked.images())


def test_the_root_is_the_setting_then_the_environment_then_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPIKEVAE_DATA", "/from/environment")
    assert data_root(DataConfig(data_root="/from/setting")) == Path("/from/setting")
    assert data_root(DataConfig()) == Path("/from/environment")
    monkeypatch.delenv("SPIKEVAE_DATA")
    assert platformdirs.user_cache_path("spikevae") in data_root(DataConfig()).parents


def test_a_user_without_a_home_is_told_where_to_name_the_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("HOME", "XDG_CACHE_HOME", "SPIKEVAE_DATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)  # no such user
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="no home folder to keep data in; say --data-root FOLDER"):
        data_root(DataConfig())


def test_a_set_is_resized_and_made_grey_or_coloured_on_demand(made_root: Path) -> None:
    plain = load_split(DataConfig(data_root=str(made_root)), "test")
    config = DataConfig(data_root=str(made_root), image_size=32)
    coloured = load_split(config, "test", image_channels=3)
    assert coloured.images().shape == (30, 3, 32, 32)
    expected = torch.nn.functional.interpolate(plain.images().float(), (32, 32), mode="bilinear")
    assert (coloured.images().float() - expected).abs().max() <= 0.51  # rounded once


def test_tensors_turn_grey_as_image_files_do(tmp_path: Path, generator: torch.Generator) -> None:
    pixels = torch.randint(256, (5, 3, 16, 16), dtype=torch.uint8, generator=generator)
    for number, image in enumerate(pixels):
        Image.fromarray(image.permute(1, 2, 0).contiguous().numpy()).save(tmp_path / f"{number}.png")
    files = [ImageFile(tmp_path / f"{number}.png") for number in range(5)]
    assert converted(pixels, None, 1).equal(StreamedPixels(files, 1, 16)[:])


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("fashion-mnist", "FashionMNIST/raw/train-images-idx3-ubyte.gz"),
        ("mnist", "MNIST/raw/train-images-idx3-ubyte.gz"),
        ("cifar10", "cifar-10-batches-py/data_batch_1"),
        ("celeba", "celeba/img_align_celeba.zip"),
    ],
)
def test_without_a_network_a_missing_file_is_named_with_where_to_put_it(tmp_path: Path, name: str, file: str) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        load_split(DataConfig(dataset=name, data_root=str(tmp_path)), "train")
    message = str(caught.value)
    assert message.startswith(str(tmp_path / file))
    assert " put " in message
    assert "\n" not in message


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def shorten(path: Path) -> None:
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-100]))


def replace_by_text(path: Path) -> None:
    path.write_text("<html>Not found</html>")


def replace_by_packed_text(path: Path) -> None:
    path.write_bytes(gzip.compress(b"<html>Not found</html>"))


def replace_by_fewer(path: Path) -> None:
    path.write_bytes(gzip.compress(bytes((0, 0, 8, 3)) + struct.pack(">3I", 7, 28, 28) + bytes(7 * 28 * 28)))


def replace_by_bomb(path: Path) -> None:
    """Some kilobytes that unpack to a gigabyte, as their header promises."""
    packer = zlib.compressobj(9, wbits=31)
    header = packer.compress(bytes((0, 0, 8, 3)) + struct.pack(">3I", 2**30 // 784, 28, 28))
    path.write_bytes(header + packer.compress(bytes(2**24)) + packer.flush())


def lengthen(path: Path) -> None:
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()) + bytes(2**24)))


def replace_by_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    "damage",
    [
        truncate,
        shorten,
        lengthen,
        replace_by_text,
        replace_by_packed_text,
        replace_by_fewer,
        replace_by_bomb,
        replace_by_pipe,
    ],
)
def test_a_wrong_idx_file_is_named_in_one_line(made_root: Path, tmp_path: Path, damage: Callable[[Path], None]) -> None:
    shutil.copytree(made_root, tmp_path / "root")
    damage(tmp_path / "root" / "FashionMNIST" / "raw" / "t10k-images-idx3-ubyte.gz")
    with pytest.raises(ValueError, match="t10k-images-idx3-ubyte") as caught:
        load_split(DataConfig(data_root=str(tmp_path / "root")), "test")
    assert "\n" not in str(caught.value)


def test_an_unknown_data_set_is_met_with_the_nearest_name_the_known_ones_or_the_path(tmp_path: Path) -> None:
    for name, message in (
        ("fashion_mnist", "did you mean 'fashion-mnist'"),
        ("photographs", "use fashion-mnist, mnist, cifar10, cifar100, celeba, n-mnist, .*sim-gestures, .*folder:PATH"),
        (str(tmp_path), f"for the pictures there, say folder:{tmp_path}"),
        ("folder", "folder:PATH"),
    ):
        with pytest.raises(ValueError, match=message):
            load_split(DataConfig(dataset=name), "train")


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize("split", ["val", "Test", "", None])
def test_another_word_for_a_part_is_refused_and_gives_no_other_part(split: Any, made_root: Path) -> None:
    message = f"split={split!r} is none of train, validation, test"
    with pytest.raises(ValueError, match=message):
        load_split(DataConfig(dataset="fashion-mnist", data_root=str(made_root)), split)
    with pytest.raises(ValueError, match=message):
        load_events("sim-shapes", split, root=made_root)
    with pytest.raises(ValueError, match=message):
        load_recordings("sim-shapes", split, root=made_root, count=1)


def test_a_registered_data_set_is_one_among_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "DATASETS", dict(data.DATASETS))
    monkeypatch.delitem(CLASS_NAMES, "levels", raising=False)

    @data.register("levels", class_names=("even", "odd"))
    def read_levels(root: Path, is_test: bool) -> tuple[Tensor, Tensor]:
        levels = torch.arange(5 if is_test else 40)
        return levels.to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 6, 6), levels % 2

    config = DataConfig(dataset="levels", validation_share=0.1)
    train, validation, test = (load_split(config, split) for split in SPLITS)
    assert sorted(first_levels(train) + first_levels(validation)) == list(range(40))
    assert first_levels(test) == list(range(5))
    assert train.class_names == test.class_names == ("even", "odd")
    assert test.labels is not None
    assert test.labels.tolist() == [0, 1, 0, 1, 0]
    with pytest.raises(ValueError, match="'levels' is registered already"):
        data.register("levels", class_names=())(read_levels)
    assert CLASS_NAMES["levels"] == ("even", "odd")
    with pytest.raises(ValueError, match="levels"):
        load_split(DataConfig(dataset="nosuch"), "train")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda pixels, labels: (pixels / 255, labels), r"own: pixels must be a uint8 tensor .* got torch.float32"),
        (lambda pixels, labels: (pixels[..., :4], labels), r"own: pixels must be a uint8 tensor .* got torch.uint8"),
        (lambda pixels, labels: (pixels, torch.cat([labels, labels])), r"own: labels must be an int64 tensor \[40\]"),
        (lambda pixels, labels: pixels, "own: the function that reads it must return two tensors"),
        (lambda pixels, labels: None, "own: the function that reads it must return two tensors"),
        (lambda pixels, labels: (pixels, None), "own: the function that reads it must return two tensors"),
        (lambda pixels, labels: (pixels[:0], labels[:0]), "own: its training split has no images"),
    ],
    ids=["floats", "not square", "too many labels", "no labels", "nothing", "labels of None", "empty"],
)
@pytest.mark.usefixtures("unchecked_types")
def test_a_registered_data_set_is_checked_before_it_is_resized_and_divided(
    monkeypatch: pytest.MonkeyPatch, change: Callable[..., Any], message: str
) -> None:
    monkeypatch.setattr(data, "DATASETS", dict(data.DATASETS))
    monkeypatch.setitem(CLASS_NAMES, "own", ())
    pixels, labels = torch.full((40, 1, 6, 6), 200, dtype=torch.uint8), torch.arange(40) % 2
    data.register("own", class_names=("even", "odd"))(lambda root, is_test: change(pixels, labels))
    with pytest.raises(ValueError, match=message):
        load_split(DataConfig(dataset="own", image_size=8), "train")


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize("class_names", ["cat", ("cat", "cat"), (0, 1)])
def test_names_of_classes_are_different_texts(class_names: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "DATASETS", dict(data.DATASETS))
    with pytest.raises(ValueError, match=r"own: class_names=.*; expected different names, such as"):
        data.register("own", class_names=class_names)
    assert "own" not in data.DATASETS
    pixels = torch.zeros(3, 1, 4, 4, dtype=torch.uint8)
    with pytest.raises(ValueError, match=r"mine: class_names=.*; expected different names, such as"):
        ImageSet(pixels, torch.arange(3) % 2, name="mine", split="train", class_names=class_names)
    listed = ImageSet(pixels, torch.arange(3) % 2, name="mine", split="train", class_names=["cat", "dog"])
    assert listed.class_names == ("cat", "dog")


@pytest.fixture
def cifar_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, generator: torch.Generator) -> Path:
    """CIFAR10 with 4 images in each batch, and MD5 sums that say so."""
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()

    def write(name: str, content: object) -> list[str]:
        (folder / name).write_bytes(pickle.dumps(content))
        return [name, hashlib.md5((folder / name).read_bytes()).hexdigest()]

    def write_batch(name: str) -> list[str]:
        images = torch.randint(256, (4, 3072), dtype=torch.uint8, generator=generator)
        return write(name, {"data": images.numpy(), "labels": [0, 3, 9, 1]})

    names = write("batches.meta", {"label_names": ["a"] * 10})
    monkeypatch.setattr(datasets.CIFAR10, "train_list", [write_batch(f"data_batch_{number}") for number in range(1, 6)])
    monkeypatch.setattr(datasets.CIFAR10, "test_list", [write_batch("test_batch")])
    monkeypatch.setattr(datasets.CIFAR10, "meta", {"filename": names[0], "key": "label_names", "md5": names[1]})
    return tmp_path


@pytest.mark.usefixtures("offline")
def test_cifar10_is_read_from_the_official_batches(cifar_root: Path) -> None:
    config = DataConfig(dataset="cifar10", data_root=str(cifar_root))
    train, validation, test = (load_split(config, split) for split in SPLITS)
    assert (len(train), len(validation), len(test)) == (19, 1, 4)
    assert test.labels is not None
    assert [test.class_names[label] for label in test.labels.tolist()] == ["airplane", "cat", "truck", "automobile"]
    content = pickle.loads((cifar_root / "cifar-10-batches-py" / "test_batch").read_bytes())
    assert test.images().flatten(1).numpy().tolist() == content["data"].tolist()


@pytest.mark.usefixtures("offline")
def test_a_foreign_pickle_among_the_cifar10_batches_is_named_and_not_opened(cifar_root: Path) -> None:
    (cifar_root / "cifar-10-batches-py" / "data_batch_3").write_bytes(b"cbuiltins\nexit\n(tR.")
    with pytest.raises(ValueError, match="data_batch_3 is truncated or not the official file"):
        load_split(DataConfig(dataset="cifar10", data_root=str(cifar_root)), "test")


@pytest.fixture
def celeba_root(tmp_path: Path) -> Path:
    """CelebA with 6 images, of which only the central 148 pixels are not black."""
    images = tmp_path / "celeba" / "img_align_celeba"
    images.mkdir(parents=True)
    lines = []
    for number, part in enumerate([0, 0, 1, 2, 0, 2], start=1):
        image = Image.new("RGB", (178, 218))
        image.paste((10 * number, 200, 200), (15, 35, 163, 183))
        image.save(images / f"{number:06}.jpg", "PNG")  # without loss; the name is what CelebA's list says
        lines.append(f"{number:06}.jpg {part}")
    (tmp_path / "celeba" / "list_eval_partition.txt").write_text("\n".join(lines) + "\n")
    return tmp_path


@pytest.mark.usefixtures("offline")
def test_celeba_keeps_its_own_parts_and_the_central_148_pixels(celeba_root: Path) -> None:
    config = DataConfig(dataset="celeba", data_root=str(celeba_root))
    parts = [load_split(config, split) for split in SPLITS]
    assert [first_levels(part) for part in parts] == [[10, 20, 50], [30], [40, 60]]
    assert all(part.images().shape[1:] == (3, 64, 64) for part in parts)
    assert all(bool((part.images()[:, 1:] == 200).all()) for part in parts)


def zip_images(folder: Path, name: str) -> None:
    """Pack the images and leave none outside."""
    with zipfile.ZipFile(folder / name, "w") as archive:
        for path in sorted((folder / "img_align_celeba").iterdir()):
            archive.write(path, f"img_align_celeba/{path.name}")
    shutil.rmtree(folder / "img_align_celeba")


def as_kaggle_has_it(folder: Path) -> None:
    """One folder in another of the same name, and the parts in a table with a title row."""
    (folder / "img_align_celeba").rename(folder / "images")
    (folder / "img_align_celeba").mkdir()
    (folder / "images").rename(folder / "img_align_celeba" / "img_align_celeba")
    text = (folder / "list_eval_partition.txt").read_text()
    (folder / "list_eval_partition.csv").write_text("image_id,partition\n" + text.replace(" ", ","))
    (folder / "list_eval_partition.txt").unlink()


def as_kaggles_archive(folder: Path) -> None:
    as_kaggle_has_it(folder)
    folder.rename(folder.with_name("archive"))


def as_kaggle_without_a_folder(folder: Path) -> None:
    as_kaggle_has_it(folder)
    for path in list(folder.iterdir()):
        path.rename(folder.parent / path.name)


def as_its_authors_have_it(folder: Path) -> None:
    """Images and lists in folders of their own."""
    for name, part in (("Img", "img_align_celeba"), ("Eval", "list_eval_partition.txt")):
        (folder / name).mkdir()
        (folder / part).rename(folder / name / part)
    folder.rename(folder.with_name("CelebA"))


def as_it_is_downloaded(folder: Path) -> None:
    zip_images(folder, "img_align_celeba.zip")


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize(
    "arrange",
    [
        as_kaggle_has_it,
        as_kaggles_archive,
        as_kaggle_without_a_folder,
        as_its_authors_have_it,
        as_it_is_downloaded,
    ],
)
def test_celeba_is_read_however_it_was_got(celeba_root: Path, arrange: Callable[[Path], None]) -> None:
    arrange(celeba_root / "celeba")
    before = sorted(celeba_root.rglob("*"))
    config = DataConfig(dataset="celeba", data_root=str(celeba_root))
    assert [first_levels(load_split(config, split)) for split in SPLITS] == [[10, 20, 50], [30], [40, 60]]
    assert sorted(celeba_root.rglob("*")) == before  # a data root is only read


@pytest.mark.usefixtures("offline")
def test_a_celeba_that_is_not_whole_says_what_is_wrong(celeba_root: Path) -> None:
    folder = celeba_root / "celeba"
    config = DataConfig(dataset="celeba", data_root=str(celeba_root))
    (folder / "img_align_celeba" / "000004.jpg").unlink()
    with pytest.raises(ValueError, match=r"000004\.jpg is missing"):
        load_split(config, "train")
    zip_images(folder, "img_align_celeba.zip")
    truncate(folder / "img_align_celeba.zip")
    with pytest.raises(ValueError, match=r"img_align_celeba\.zip"):
        load_split(config, "train")
    (folder / "list_eval_partition.txt").write_text("<html>quota exceeded</html>")
    with pytest.raises(ValueError, match=r"list_eval_partition\.txt is damaged"):
        load_split(config, "train")


def test_a_folder_of_nested_images_of_any_size_and_mode_becomes_one_set(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    Image.new("L", (100, 30), 7).save(tmp_path / "a" / "b" / "grey.PNG")
    Image.new("RGBA", (9, 9), (0, 0, 0, 0)).save(tmp_path / "a" / "clear.webp", lossless=True)
    Image.new("CMYK", (40, 64), (0, 0, 0, 255)).save(tmp_path / "black.jpg")
    Image.new("P", (64, 64), 0).save(tmp_path / "palette.gif")
    write_images(tmp_path / "many", 30)
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / ".hidden.png").write_text("no image")
    (tmp_path / "many" / "._000.png").write_text("no image")
    config = DataConfig(dataset=f"folder:{tmp_path}", image_size=16)
    parts = [load_split(config, split) for split in SPLITS]
    assert [len(part) for part in parts] == [29, 2, 3]
    assert all(part.images().shape[1:] == (3, 16, 16) and part.labels is None for part in parts)
    levels = sorted(level for part in parts for level in first_levels(part))
    assert len(levels) == 34
    assert set(range(30)) | {255} <= set(levels)


@pytest.mark.parametrize("limit", [0, 2**29])
def test_a_broken_file_in_a_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    write_images(tmp_path, 20)
    (tmp_path / "011.png").write_bytes(b"broken")
    monkeypatch.setattr(data, "_MEMORY_LIMIT", limit)

    def read_all() -> None:
        for split in SPLITS:
            list(load_split(DataConfig(dataset=f"folder:{tmp_path}", image_size=8), split).batches(4, seed=0))

    with pytest.raises(ValueError, match=r"011\.png cannot be read as an image"):
        read_all()


def pack(folder: Path) -> None:
    with tarfile.open(folder.with_suffix(".tar"), "w") as archive:
        archive.add(folder, folder.name)
    shutil.rmtree(folder)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("named", ["", "train"])
def test_a_folder_with_its_own_test_split_keeps_it(tmp_path: Path, packed: bool, named: str) -> None:
    write_images(tmp_path / "train" / "deep", 10)
    write_images(tmp_path / "test", 3)
    if packed:
        pack(tmp_path / "train")
        pack(tmp_path / "test")
        named = named and f"{named}.tar"
    config = DataConfig(dataset=f"folder:{tmp_path / named}", image_size=8, validation_share=0.2)
    train, validation, test = (load_split(config, split) for split in SPLITS)
    assert first_levels(test) == [0, 1, 2]
    assert sorted(first_levels(train) + first_levels(validation)) == list(range(10))


def test_a_folder_that_cannot_serve_says_why(tmp_path: Path) -> None:
    write_images(tmp_path / "one", 1)
    (tmp_path / "none").mkdir()
    (tmp_path / "file.tar").write_text("no archive")
    write_images(tmp_path, 1)
    for name, message in {
        "one": "1 training images .* leave none for the validation part",
        "none": "holds no images",
        "absent": "there is no such folder",
        "file.tar": "neither a folder, nor a whole, uncompressed tar file, nor a zip file",
        "000.png": "nor a zip file$",  # and nothing of a damaged tar file
    }.items():
        with pytest.raises((ValueError, FileNotFoundError), match=message):
            load_split(DataConfig(dataset=f"folder:{tmp_path / name}"), "validation")


@pytest.mark.parametrize(("count", "own", "needed"), [(1, (), 3), (2, (), 3), (1, ("test",), 2)])
def test_too_few_pictures_are_told_to_be_more_and_no_other_share(
    count: int, own: tuple[str, ...], needed: int, tmp_path: Path
) -> None:
    write_images(tmp_path / ("train" if own else ""), count)
    for part in own:
        write_images(tmp_path / part, 1)
    with pytest.raises(ValueError, match=f"add images until there are {needed} or more$") as refusal:
        load_split(DataConfig(dataset=f"folder:{tmp_path}"), "validation")
    assert "raise validation_share" not in str(refusal.value)
    with pytest.raises(ValueError, match=r"; raise validation_share"):
        load_split(DataConfig(dataset=f"folder:{tmp_path}", validation_share=0.0), "validation")


def test_a_stream_gives_the_same_batches_as_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_images(tmp_path, 40)
    config = DataConfig(dataset=f"folder:{tmp_path}", image_size=8)
    decoded = load_split(config, "train")
    monkeypatch.setattr(data, "_MEMORY_LIMIT", 0)
    streamed = load_split(config, "train")
    assert equal(
        decoded.batches(8, seed=1, flip=True, shift=1, skip=1), streamed.batches(8, seed=1, flip=True, shift=1, skip=1)
    )
    assert equal(decoded.batches(8), streamed.batches(8))
    assert decoded.images(3, 5).equal(streamed.images(3, 5))
    assert streamed.images(100).shape == (0, 3, 8, 8)
    assert decoded.subset(5).images().equal(streamed.subset(5).images())
    places = torch.tensor([7, 0, 3])
    assert decoded.chosen(places).images().equal(streamed.chosen(places).images())
    assert decoded[4][0].equal(streamed[4][0])


def test_a_stream_decodes_ahead_but_never_more_than_three_batches(tmp_path: Path) -> None:
    write_images(tmp_path, 1)
    decoded = threading.Semaphore(0)
    begun, received, most_at_once = 0, 0, 0
    lock = threading.Lock()

    class CountedFile(ImageFile):
        def read(self, channels: data.Channels, size: int, crop: int | None = None) -> Tensor:
            nonlocal begun, most_at_once
            with lock:
                begun += 1
                most_at_once = max(most_at_once, begun - received)
            image = super().read(channels, size, crop)
            decoded.release()
            return image

    pixels = StreamedPixels([CountedFile(tmp_path / "000.png")] * 100, 3, 8)
    batches = ImageSet(pixels, name="many", split="train").batches(4, seed=0)
    for number, (x, _) in enumerate(batches):
        received += len(x)
        if number == 0:  # two more batches come without being asked for
            assert all(decoded.acquire(timeout=60) for _ in range(12))
    assert received == begun == 100
    assert most_at_once <= 12


def test_a_set_too_large_for_memory_is_not_decoded_when_it_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_images(tmp_path, 40)
    monkeypatch.setattr(data, "_MEMORY_LIMIT", 20 * 3 * 8 * 8)  # 20 images
    monkeypatch.setattr(ImageFile, "read", lambda *_: pytest.fail("an image was decoded"))
    images = load_split(DataConfig(dataset=f"folder:{tmp_path}", image_size=8), "train")
    assert len(images) > 20
    assert len(images.subset(30)) == 30


def test_every_damaged_file_of_a_streamed_set_is_named_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_images(tmp_path, 40)
    config = DataConfig(dataset=f"folder:{tmp_path}", image_size=8)
    load_split(config, "train").require_readable()
    monkeypatch.setattr(data, "_MEMORY_LIMIT", 0)
    load_split(config, "train").require_readable()
    kept = load_split(config, "train")
    for number in range(33):
        path = tmp_path / f"{number:03}.png"
        path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(ValueError, match=r"files that cannot be read: \d+\. .*/0\d\d\.png .*; and \d+ more$"):
        kept.require_readable()


def test_every_damaged_file_of_a_set_in_memory_is_named_at_once_and_those_for_testing_too(tmp_path: Path) -> None:
    write_images(tmp_path / "train", 12)
    write_images(tmp_path / "test", 2)
    config = DataConfig(dataset=f"folder:{tmp_path}", image_size=8)
    for path in (*sorted((tmp_path / "train").iterdir())[::2], tmp_path / "test" / "001.png"):
        path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(
        ValueError, match=rf"files that cannot be read: \d\. {tmp_path}.*/test/001\.png .*train/0\d\d\.png"
    ):
        load_split(config, "train")


@pytest.mark.parametrize("has_its_own", [True, False])
def test_a_damaged_picture_for_testing_is_named_before_the_training(has_its_own: bool, tmp_path: Path) -> None:
    write_images(tmp_path / ("train" if has_its_own else ""), 40)
    if has_its_own:
        write_images(tmp_path / "test", 40)
    config = DataConfig(dataset=f"folder:{tmp_path}", image_size=8)
    images = load_split(config, "train")
    images.require_readable()
    tested = load_split(config, "test").images(0, 1)[0]
    paths = [path for path in tmp_path.rglob("*.png") if "train" not in path.parts]
    damaged = next(path for path in paths if read_image(path, channels=3, size=8).equal(tested))
    damaged.write_bytes(damaged.read_bytes()[:40])
    with pytest.raises(ValueError, match=rf"files that cannot be read: 1\. .*{damaged.name}"):
        load_split(config, "train").require_readable()


@pytest.mark.parametrize(("name", "mean"), [("fashion-mnist", 0.2860), ("mnist", 0.1307)])
def test_the_official_files_have_their_published_mean_and_counts(real_data: Path, name: str, mean: float) -> None:
    config = DataConfig(dataset=name, data_root=str(real_data), validation_share=0.0)
    images = load_split(config, "train")
    assert len(images) == 60_000
    assert images.labels is not None
    assert images.labels.unique().tolist() == list(range(10))
    assert images.images().float().mean() / 255 == pytest.approx(mean, abs=1e-4)


def test_the_real_faces_come_out_of_their_tar_files(real_data: Path) -> None:
    if not (real_data / "faces64" / "test.tar").exists():
        pytest.skip("no faces64 in the real data")
    faces = load_split(DataConfig(dataset=f"folder:{real_data / 'faces64'}"), "test")
    assert faces.images().shape == (1000, 3, 64, 64)
    assert faces.images().float().mean((0, 2, 3)).div(255).tolist() == pytest.approx([0.519, 0.417, 0.363], abs=0.02)


def test_the_lossy_copy_of_cifar10_is_a_folder_of_classes(real_data: Path, tmp_path: Path) -> None:
    if not (real_data / "cifar10_jpeg").is_dir():
        pytest.skip("no cifar10_jpeg in the real data")
    write_class_folders(tmp_path, real_data / "cifar10_jpeg", limit=100)
    config = DataConfig(dataset=f"folder:{tmp_path}", image_size=32)
    train, validation, test = (load_split(config, split) for split in SPLITS)
    assert (len(train) + len(validation), len(test)) == (200, 100)
    assert train.class_names == test.class_names == CIFAR10_CLASSES
    assert test.images().float().mean((0, 2, 3)).div(255).tolist() == pytest.approx([0.49, 0.48, 0.45], abs=0.05)
