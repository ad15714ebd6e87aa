"""Images to be measured: read from anywhere, checked before they are counted, never all in memory."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from spikevae.config import DataConfig, ModelConfig
from spikevae.data.images import save_images
from spikevae.data.sets import load_split
from spikevae.evaluation import streams
from spikevae.evaluation.features import extract
from spikevae.evaluation.streams import (
    ImageStream,
    degraded,
    drawn,
    first_images,
    from_image_set,
    from_model,
    from_path,
    from_tensor,
    keeping_first,
    limited,
)
from spikevae.nn.vae import SpikingVAE


@pytest.fixture
def images() -> Tensor:
    """uint8 [12, 1, 28, 28]."""
    return torch.randint(0, 256, (12, 1, 28, 28), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def test_a_folder_and_an_npz_hold_the_same_images(images: Tensor, tmp_path: Path) -> None:
    save_images(images / 255, tmp_path / "folder")
    save_images(images / 255, tmp_path / "file.npz")
    folder, file = from_path(tmp_path / "folder"), from_path(tmp_path / "file.npz")
    assert folder.count == file.count == 12
    torch.testing.assert_close(first_images(folder, 12), images.expand(-1, 3, -1, -1))
    torch.testing.assert_close(first_images(file, 12), images)


@pytest.mark.parametrize("form", ["NHW", "NHWC", "NCHW", "float"])
def test_arrays_come_in_every_usual_form(images: Tensor, form: str, tmp_path: Path) -> None:
    array = images.numpy()
    array = {"NHW": array[:, 0], "NHWC": array.transpose(0, 2, 3, 1), "NCHW": array, "float": array / 255}[form]
    np.savez(tmp_path / "x.npz", array)
    torch.testing.assert_close(first_images(from_path(tmp_path / "x.npz"), 12), images)


def test_bad_files_are_refused_with_what_was_found(images: Tensor, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ValueError, match=r"empty holds no images"):
        from_path(empty)
    with pytest.raises(FileNotFoundError, match=r"nowhere does not exist"):
        from_path(tmp_path / "nowhere")
    Image.new("L", (28, 28)).save(tmp_path / "boot.png")
    with pytest.raises(ValueError, match=r"boot\.png is a file that holds no set of images; give a folder or \.zip"):
        from_path(tmp_path / "boot.png")
    (tmp_path / "pictures").mkdir()
    Image.new("L", (28, 28)).save(tmp_path / "pictures" / "boot.png")
    with tarfile.open(tmp_path / "unnamed", "w") as archive:
        archive.add(tmp_path / "pictures", "pictures")
    assert from_path(tmp_path / "unnamed").count == 1
    (tmp_path / "cut.tar").write_bytes(b"cut off")
    with pytest.raises(ValueError, match=r"cut\.tar is neither a folder, nor a whole, uncompressed tar file.*\("):
        from_path(tmp_path / "cut.tar")
    mixed = tmp_path / "mixed"
    save_images(images[:2] / 255, mixed)
    save_images(images[:1, :, :14, :14] / 255, tmp_path / "small")
    (tmp_path / "small" / "0000.png").rename(mixed / "9.png")
    with pytest.raises(ValueError, match=r"mixes images of several sizes: 0000.png is 28x28, 9.png is 14x14"):
        from_path(mixed)
    (mixed / "0000.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"0000.png cannot be read as an image"):
        from_path(mixed)
    (tmp_path / "x.npz").write_bytes(b"no archive")
    with pytest.raises(ValueError, match=r"x.npz is no whole array file of numpy"):
        from_path(tmp_path / "x.npz")
    np.savez(tmp_path / "y.npz", np.zeros((3, 4)))
    with pytest.raises(ValueError, match=r"array has the shape \[3, 4\]; expected images \[N, H, W, C\]"):
        from_path(tmp_path / "y.npz")
    np.savez(tmp_path / "z.npz", np.array([{}], dtype=object))
    with pytest.raises(ValueError, match=r"z.npz holds numbers of type object"):
        from_path(tmp_path / "z.npz")


@pytest.mark.parametrize("name", ["x.npy", "x.npz"])
def test_arrays_of_images_that_are_not_square_are_refused_as_files_are(name: str, tmp_path: Path) -> None:
    array = np.zeros((12, 20, 28), np.uint8)
    if name.endswith("y"):
        np.save(tmp_path / name, array)
    else:
        np.savez(tmp_path / name, array)
    with pytest.raises(ValueError, match=rf"{name} holds images of 28x20; images to be scored must be square"):
        from_path(tmp_path / name)
    (tmp_path / "files").mkdir()
    Image.fromarray(array[0]).save(tmp_path / "files" / "a.png")
    with pytest.raises(ValueError, match=r"a.png is 28x20; images to be scored must be square"):
        from_path(tmp_path / "files")


@pytest.mark.parametrize(
    ("value", "message"),
    [(float("nan"), "not finite"), (1.5, r"ranges from 0 to 1.5; divide by 255"), (-0.5, r"ranges from -0.5 to 0")],
)
def test_values_that_are_no_images_are_refused(value: float, message: str) -> None:
    x = torch.zeros(2, 1, 4, 4)
    x[1, 0, 2, 3] = value
    with pytest.raises(ValueError, match=message):
        from_tensor(x, "samples")


def test_a_part_is_the_beginning_whatever_the_batch_size(images: Tensor) -> None:
    part = limited(from_tensor(images, "images"), 7)
    for batch_size in (1, 3, 7, 50):
        torch.testing.assert_close(torch.cat(list(part.batches(batch_size))), images[:7])
    with pytest.raises(ValueError, match=r"images holds 12 images, fewer than --count 13"):
        limited(part and from_tensor(images, "images"), 13)


def test_some_of_a_stream_are_drawn_from_all_of_it(images: Tensor) -> None:
    part = drawn(from_tensor(images, "images"), 7, seed=3)
    whole = torch.cat(list(part.batches(50)))
    assert part.count == len(whole) == 7
    places = [next(k for k in range(12) if images[k].equal(image)) for image in whole]
    assert places == sorted(set(places)) != list(range(7))
    for batch_size in (1, 3, 7):
        assert torch.cat(list(part.batches(batch_size))).equal(whole)
    other = torch.cat(list(drawn(from_tensor(images, "images"), 7, seed=4).batches(50)))
    assert not other.equal(whole)
    assert drawn(from_tensor(images, "images"), 12, seed=3).count == 12
    with pytest.raises(ValueError, match=r"images holds 12 images, fewer than --count 13"):
        drawn(from_tensor(images, "images"), 13, seed=3)


def test_the_first_images_are_made_only_once(images: Tensor) -> None:
    made: list[int] = []

    def open_batches(batch_size: int) -> Iterator[Tensor]:
        for part in images.split(batch_size):
            made.append(len(part))
            yield part

    source = keeping_first(ImageStream("images", len(images), open_batches), 5)
    torch.testing.assert_close(first_images(source, 2), images[:2])  # stopped early: nothing is kept yet
    for batch_size in (2, 5, 50, 3):
        torch.testing.assert_close(torch.cat(list(source.batches(batch_size))), images)
    made.clear()
    torch.testing.assert_close(first_images(source, 5), images[:5])
    assert not made
    torch.testing.assert_close(first_images(keeping_first(from_tensor(images, "all"), 100), 12), images)


def test_a_subset_of_a_split_follows_from_the_seed(made_root: Path) -> None:
    split = load_split(DataConfig(data_root=str(made_root)), "test")
    once, again, other = (first_images(from_image_set(split, 10, seed=seed), 10) for seed in (0, 0, 1))
    torch.testing.assert_close(once, again)
    assert not torch.equal(once, other)
    with pytest.raises(ValueError, match=r"has 30 images, fewer than the 31 asked for"):
        from_image_set(split, 31)


def test_samples_are_those_of_the_model_whatever_the_batch_size() -> None:
    config = ModelConfig(
        time_steps=2,
        encoder_widths=(4, 4),
        decoder_widths=(4, 4, 4),
        temporal_kernel=2,
        latent_size=6,
        prior_rank=2,
        class_names=("a", "b", "c"),
    )
    model = SpikingVAE(config).eval()
    source = from_model(model, 5, seed=3, name="tiny")
    expected = (model.sample(5, seed=3) * 255).round().to(torch.uint8)
    for batch_size in (2, 5):
        torch.testing.assert_close(torch.cat(list(source.batches(batch_size))), expected)


def test_damage_keeps_the_number_of_images(images: Tensor) -> None:
    source = from_tensor(images, "images")
    for how in ("noise", "mean", "blur"):
        damaged = torch.cat(list(degraded(source, how).batches(5)))
        assert damaged.shape == images.shape
    mean = torch.cat(list(degraded(source, "mean").batches(5)))
    torch.testing.assert_close(mean[3:4].float(), images.float().mean(0, keepdim=True), rtol=0, atol=0.51)
    with pytest.raises(ValueError, match=r"'tear' is none of noise, mean, blur"):
        degraded(source, "tear")


def test_features_need_an_image() -> None:
    with pytest.raises(ValueError, match=r"nothing: there are no images"):
        extract(from_tensor(torch.zeros(0, 1, 4, 4), "nothing"), {})


def test_processes_cut_the_samples_alike_though_one_has_less_room(monkeypatch: pytest.MonkeyPatch) -> None:
    config = ModelConfig(encoder_widths=(4, 8), decoder_widths=(8, 4, 4), encoder_depth=0, latent="potential")
    monkeypatch.setattr(streams, "from_all", lambda mine: [mine, 3])  # another process, with room for three
    source = from_model(SpikingVAE(config).eval(), 8, seed=0, name="tiny")
    assert [len(batch) for batch in source.batches(250)] == [3, 3, 2]
