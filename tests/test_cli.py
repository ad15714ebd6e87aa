"""Commands as a user types them: what they write, print and return."""

from __future__ import annotations

import functools
import gc
import io
import json
import os
import re
import resource
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import tyro
from PIL import Image

import spikevae
from spikevae.cli import COMMANDS, main
from spikevae.commands import command
from spikevae.config import CLASS_NAMES, FASHION_MNIST_CLASSES, DataConfig, ModelConfig
from spikevae.data.images import save_images
from spikevae.data.sets import load_split
from spikevae.hub.checkpoints import save_release
from spikevae.nn.vae import SpikingVAE
from spikevae.options import REGISTRY
from spikevae.presets import PRESETS
from spikevae.runtime import forget_proxies
from tests.test_distributed import run_in_two_processes

TINY = ["--model.encoder-widths", "4", "6", "6", "--model.decoder-widths", "6", "4", "4", "--model.latent-size", "49"]
LARGER = ["--data.image-size", "30", "--model.image-size", "32", "--model.latent-size", "64"]
TINY += ["--model.prior-rank", "4", "--train.batch-size", "16", "--train.warmup-images", "10"]


def run(*words: str | Path) -> int:
    """The exit status of a command line."""
    try:
        main([str(word) for word in words])
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    """What a failed command says: one line on stderr."""
    error = capsys.readouterr().err
    assert error.startswith("spikevae: ")
    assert error.count("\n") == 1
    return error


@pytest.fixture(scope="session")
def trained(made_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a short run with both phases. Do not change it."""
    out = tmp_path_factory.mktemp("trained") / "run"
    short = ("--train.epochs", "2", "--train.refinement-share", "0.5", "--data.validation-share", "0.2")
    assert run("train", "fashion-mnist", "--data-root", made_root, "--out", out, *short, *TINY) == 0
    return out


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of tiny size and random weights, whose images differ from each other."""
    config = ModelConfig(
        class_names=FASHION_MNIST_CLASSES,
        encoder_widths=(4, 6),
        decoder_widths=(6, 4, 4),
        latent_size=8,
        prior_rank=4,
    )
    path = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)  # the seed of a test is set after this
    model = SpikingVAE(config)
    for name, value in model.state_dict().items():
        if name.endswith("running_var"):
            value.fill_(0.001)  # currents large enough that neurons fire
    save_release(model, path, dataset="fashion-mnist", card="")
    return path


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A colour photograph-like file that is not of the model's size."""
    path = tmp_path / "shoe.png"
    Image.fromarray(np.arange(40 * 30 * 3, dtype=np.uint8).reshape(40, 30, 3)).save(path)
    return path


def test_the_same_seed_gives_the_same_bytes_in_every_kind_of_file(folder: Path, tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        assert run("sample", folder, "--count", "5", "--seed", "3", "--out", tmp_path / name) == 0
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert run("sample", folder, "--count", "5", "--seed", "3", "--out", tmp_path / "a.npz") == 0
    assert run("sample", folder, "--count", "5", "--seed", "3", "--out", tmp_path / "pngs") == 0
    array = np.load(tmp_path / "a.npz")["arr_0"]
    assert array.shape == (5, 28, 28, 1)
    assert array.dtype == np.uint8
    files = sorted((tmp_path / "pngs").iterdir())
    assert [
        np.array_equal(np.asarray(Image.open(file)), image[..., 0]) for file, image in zip(files, array, strict=True)
    ]


def test_samples_come_at_the_size_asked_for(folder: Path, tmp_path: Path) -> None:
    assert run("sample", folder, "--count", "3", "--size", "32", "--out", tmp_path / "a.npz") == 0
    assert np.load(tmp_path / "a.npz")["arr_0"].shape == (3, 32, 32, 1)


def test_reconstructions_are_written_beside_their_originals_and_measured(
    folder: Path, made_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "pairs.npz"
    words = ("--data", "fashion-mnist", "--data-root", made_root, "--count", "7", "--out", out)
    assert run("reconstruct", folder, *words) == 0
    arrays = np.load(out)
    assert arrays["arr_0"].shape == arrays["arr_1"].shape == (7, 28, 28, 1)
    assert "7 images: mean squared error" in capsys.readouterr().out


def test_a_picture_of_any_size_and_mode_can_be_reconstructed_and_classified(
    folder: Path, picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("reconstruct", folder, picture, "--out", tmp_path / "again.png") == 0
    assert run("classify", folder, picture, "--json", tmp_path / "classes.json") == 0
    shares = json.loads((tmp_path / "classes.json").read_text())[str(picture)]
    assert tuple(shares) == FASHION_MNIST_CLASSES
    assert sum(shares.values()) == pytest.approx(1, abs=1e-5)
    assert f"{picture}: {max(shares, key=shares.get)} " in capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    [
        ("reconstruct", "FOLDER", "./a.png", "--out", "a.png"),
        ("reconstruct", "FOLDER", ".", "--out", "a.png"),
        ("classify", "FOLDER", "a.png", "--json", "a.png"),
        ("inpaint", "FOLDER", "a.png", "--box", "0", "0", "9", "9", "--out", "link.png"),
        ("inpaint", "FOLDER", "other.png", "--mask", "a.png", "--out", "a.png"),
        ("reconstruct", "n-mnist", "a.png", "--out", "a.png"),
    ],
    ids=" ".join,
)
def test_a_file_that_is_read_is_not_replaced_by_the_result(
    words: tuple[str, ...],
    folder: Path,
    picture: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    before = picture.read_bytes()
    for name in ("a.png", "other.png"):
        Path(name).write_bytes(before)
    Path("link.png").symlink_to("a.png")
    assert run(*(str(folder) if word == "FOLDER" else word for word in words)) == 1
    assert "is read, and would be replaced; name another file" in one_line(capsys)
    assert Path("a.png").read_bytes() == before


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_result_is_not_written_over_the_model(
    name: str, folder: Path, picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(folder, tmp_path / "mine")
    before = (tmp_path / "mine" / name).read_bytes()
    for words in (("classify", tmp_path / "mine", picture), ("evaluate", tmp_path / "mine", "--reference", picture)):
        assert run(*words, "--json", tmp_path / "mine" / name) == 1
        assert f"{name} is read, and would be replaced; name another file" in one_line(capsys)
    assert (tmp_path / "mine" / name).read_bytes() == before


def test_a_result_is_not_written_over_a_picture_of_the_data(
    folder: Path, picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "mine"
    place.mkdir()
    for name in ("a.png", "b.png", "c.png"):
        (place / name).write_bytes(picture.read_bytes())
    words = ("reconstruct", folder, "--data", f"folder:{place}", "--out")
    assert run(*words, place / "a.png") == 1
    assert "is read, and would be replaced; name another file" in one_line(capsys)
    assert (place / "a.png").read_bytes() == picture.read_bytes()
    assert run(*words, tmp_path / "new.png") == 0


@pytest.mark.parametrize(
    "words",
    [
        ("classify", "FOLDER", "--data", "folder:own.zip", "--json", "own.zip"),
        ("classify", "FOLDER", "--data", "folder:.", "--json", "shoe.png"),
        ("evaluate", "--images", "own.npy", "--reference", "other.npy", "--json", "own.npy"),
        ("evaluate", "--images", "other.npy", "--reference", "own.npy", "--json", "./own.npy"),
        ("evaluate", "--images", "other.npy", "--data", "folder:own.zip", "--json", "link.json"),
        ("evaluate", "--images", ".", "--data", "fashion-mnist", "--json", "shoe.png"),
    ],
    ids=" ".join,
)
def test_numbers_are_not_written_over_the_data_that_they_are_of(
    words: tuple[str, ...],
    folder: Path,
    picture: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("own.npy", "other.npy"):
        np.save(name, np.zeros((12, 28, 28), np.uint8))
    with zipfile.ZipFile("own.zip", "w") as archive:
        archive.write(picture, "shoe.png")
    Path("link.json").symlink_to("own.zip")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert run(*(str(folder) if word == "FOLDER" else word for word in words)) == 1
    assert "is read, and would be replaced; name another file" in one_line(capsys)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_numbers_may_lie_beside_the_pictures_and_be_written_once_more(folder: Path, tmp_path: Path) -> None:
    save_images(torch.rand(12, 1, 28, 28), tmp_path / "mine")
    json_file = tmp_path / "mine" / "a.json"
    for _ in range(2):
        assert run("classify", folder, tmp_path / "mine", "--json", json_file) == 0
    json_file.unlink()
    words = ("evaluate", "--images", tmp_path / "mine", "--reference", tmp_path / "mine", "--metrics", "sharpness")
    assert [run(*words, "--json", json_file), run(*words, "--json", json_file, "--merge")] == [0, 0]


def test_ones_own_pictures_have_no_data_root(
    folder: Path, picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--data-root", tmp_path, "--out", tmp_path / "run")
    for before in (
        ("train", f"folder:{picture.parent}"),
        ("reconstruct", folder, "--data", f"folder:{picture.parent}"),
    ):
        assert run(*before, *words) == 1
        assert "lies where its path says; leave it out" in one_line(capsys)


def test_the_accuracy_of_a_data_set_is_the_mean_over_its_classes_images(
    folder: Path, made_root: Path, tmp_path: Path
) -> None:
    words = ("--data", "fashion-mnist", "--data-root", made_root, "--json", tmp_path / "accuracy.json")
    assert run("classify", folder, *words) == 0
    record = json.loads((tmp_path / "accuracy.json").read_text())
    assert record["images"] == 30
    assert record["accuracy"] * record["images"] == round(record["accuracy"] * record["images"])  # exact, in no float32
    assert np.mean(list(record["by_class"].values())) == pytest.approx(record["accuracy"])  # 3 images of each class


def test_a_trained_run_is_a_model_for_every_command(
    trained: Path, made_root: Path, picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert {"run.json", "stats.jsonl", "state.pt", "README.md", "previews"} <= {path.name for path in trained.iterdir()}
    for name in ("a.npz", "b.npz"):
        assert run("sample", trained, "--count", "3", "--label", "3", "--seed", "1", "--out", tmp_path / name) == 0
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    data = ("--data", "fashion-mnist", "--data-root", made_root)
    assert run("reconstruct", trained, *data, "--split", "test", "--out", tmp_path / "pairs.png") == 0
    assert run("classify", trained, *data, "--split", "train", "--count", "40") == 0
    assert run("classify", trained, picture) == 0
    printed = capsys.readouterr().out
    assert "30 images: mean squared error" in printed
    assert "of 40 images" in printed


def test_a_runs_validation_images_are_those_that_it_held_out(
    trained: Path, folder: Path, made_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ("--data", "fashion-mnist", "--data-root", made_root, "--split")
    for model, share, held_out in ((trained, 0.2, 24), (folder, 0.05, 6)):  # of 120: as the run was told, or as usual
        assert run("reconstruct", model, *data, "validation", "--out", tmp_path / "pairs.npz") == 0
        assert f"{held_out} images: mean squared error" in capsys.readouterr().out
        assert run("classify", model, *data, "train") == 0
        assert f"of {120 - held_out} images" in capsys.readouterr().out
        images = load_split(DataConfig(data_root=str(made_root), validation_share=share), "validation").images()
        assert np.array_equal(np.load(tmp_path / "pairs.npz")["arr_1"][..., 0], images[:, 0].numpy())


def test_a_finished_run_can_be_resumed_with_its_own_data_set_only(
    trained: Path, made_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("train", "fashion-mnist", "--data-root", made_root, "--resume", trained) == 0
    assert "reconstruction_error" in capsys.readouterr().out
    assert run("train", "mnist", "--data-root", made_root, "--resume", trained) == 1
    assert "was trained on fashion-mnist, not on mnist" in one_line(capsys)


def test_samples_of_another_seed_are_others(folder: Path, tmp_path: Path) -> None:
    arrays = []
    for seed in ("0", "1"):
        assert run("sample", folder, "--count", "4", "--seed", seed, "--out", tmp_path / f"{seed}.npz") == 0
        arrays.append(np.load(tmp_path / f"{seed}.npz")["arr_0"])
    assert not np.array_equal(*arrays)


def test_a_damaged_model_is_one_line_for_every_command(
    folder: Path, picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = Path(shutil.copytree(folder, tmp_path / "broken"))
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    for words in (("sample", broken, "--out", tmp_path / "a.png"), ("reconstruct", broken, picture)):
        assert run(*words) == 1
        assert f"{weights} is not a safetensors file, or a damaged one" in one_line(capsys)
    assert not (tmp_path / "a.png").exists()


def test_accuracy_needs_labels_and_the_models_own_classes(
    folder: Path, made_root: Path, picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pictures").mkdir()
    for number in range(12):
        shutil.copy(picture, tmp_path / "pictures" / f"{number}.png")
    assert run("classify", folder, "--data", f"folder:{tmp_path / 'pictures'}") == 1
    assert "has no labels to compare with" in one_line(capsys)
    shutil.copytree(made_root / "FashionMNIST", tmp_path / "MNIST")  # the same format
    assert run("classify", folder, "--data", "mnist", "--data-root", tmp_path) == 1
    assert "mnist has the classes 0, 1, 2" in one_line(capsys)


def test_a_folder_with_some_of_the_classes_in_another_order_is_compared_by_name(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = spikevae.load(folder)
    pixels = torch.randint(0, 256, (60, 1, 28, 28), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    answers = model.classify(pixels / 255).argmax(1)
    pixels, answers = (each[answers != answers[-1]] for each in (pixels, answers))  # so that a class is missing
    names = [FASHION_MNIST_CLASSES[label] for label in answers.tolist()]
    for number, (image, name) in enumerate(zip(pixels, names, strict=True)):
        place = tmp_path / "own" / name
        place.mkdir(parents=True, exist_ok=True)
        for copied in range(3):  # a class needs two pictures or more
            Image.fromarray(image[0].numpy()).save(place / f"{number}-{copied}.png")
    out = tmp_path / "accuracy.json"
    assert 1 < len(set(names)) < 10
    assert run("classify", folder, "--data", f"folder:{tmp_path / 'own'}", "--split", "train", "--json", out) == 0
    record = json.loads(out.read_text())
    assert record["accuracy"] == 1.0
    assert set(record["by_class"]) == set(names)
    (tmp_path / "own" / names[0]).rename(tmp_path / "own" / "cravat")
    capsys.readouterr()
    assert run("classify", folder, "--data", f"folder:{tmp_path / 'own'}", "--split", "train") == 1
    assert "has the classes cravat, which the model does not know; it knows t-shirt, trouser," in one_line(capsys)


def test_images_without_a_label_do_not_count_as_wrong(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pixels = torch.randint(0, 256, (12, 1, 28, 28), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    labels = spikevae.load(folder).classify(pixels / 255).argmax(1)
    labels[::4] = -1
    monkeypatch.setattr("spikevae.data.sets.DATASETS", dict(spikevae.DATASETS))
    monkeypatch.setitem(CLASS_NAMES, "partly-labelled", ())
    spikevae.register_dataset("partly-labelled", FASHION_MNIST_CLASSES)(lambda root, is_test: (pixels, labels))
    assert run("classify", folder, "--data", "partly-labelled", "--json", tmp_path / "accuracy.json") == 0
    record = json.loads((tmp_path / "accuracy.json").read_text())
    assert (record["images"], record["accuracy"]) == (9, 1.0)
    capsys.readouterr()
    assert run("classify", folder, "--data", "partly-labelled", "--count", "1") == 1
    assert "none of the images that --count 1 takes has a label" in one_line(capsys)


def test_a_model_without_labels_cannot_classify_and_says_so(
    picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = ModelConfig(encoder_widths=(4, 6), decoder_widths=(6, 4, 4), latent_size=8, prior_rank=4)
    save_release(SpikingVAE(config), tmp_path / "model", dataset="folder:x", card="")
    assert run("classify", tmp_path / "model", picture) == 1
    assert "trained without labels" in one_line(capsys)
    assert run("sample", tmp_path / "model", "--label", "1", "--out", tmp_path / "a.png") == 1
    assert "trained without labels" in one_line(capsys)


def test_a_disk_that_is_full_is_one_line_and_leaves_no_file(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**15, limits[1]))
    try:
        status = run("sample", folder, "--count", "64", "--out", tmp_path / "a.npz")  # 50 KB
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert status == 1
    assert str(tmp_path / "a.npz") in one_line(capsys)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("sample", "nosuch", "--out", "a.png"), "no model 'nosuch'"),
        (("sample", "FOLDER", "--out", "a.gif"), "a.gif"),
        (("sample", "FOLDER", "--out", "a.png", "--count", "0"), "--count 0"),
        (("sample", "FOLDER", "--out", "a.png", "--label", "10"), "label=10"),
        (("sample", "FOLDER", "--out", "a.png", "--seed", "-1"), "seed=-1"),
        (("sample", "FOLDER", "--out", "a.png", "--temperature", "nan"), "temperature=nan"),
        (("sample", "FOLDER", "--out", "a.png", "--device", "gpu"), "--device gpu: PyTorch has no such device here"),
        (("sample", "FOLDER", "--out", "a.png", "--device", "meta"), "--device meta: PyTorch has no such device here"),
        (("sample", "n-mnist", "--out", "a.gif", "--device", "tpu"), "--device tpu: PyTorch has no such device here"),
        (("reconstruct", "FOLDER", "a.png", "--device", ""), "--device : PyTorch has no such device here"),
        (("classify", "FOLDER"), "give either image files or --data NAME"),
        (("classify", "FOLDER", "nosuch.png"), "nosuch.png"),
        (("reconstruct", "FOLDER", "--data", "nosuch"), "nosuch"),
        (("train", "nosuch", "--out", "run"), "nosuch"),
        (("train", "fashion-mnist", "--resume", "norun"), "norun holds no run"),
        (("sample", "FOLDER", "--out", "a.png", "--size", "0"), "size=0"),
        (("reconstruct", "FOLDER", "a.png", "--data", "fashion-mnist"), "give either image files or --data NAME"),
        (("reconstruct", "FOLDER", "--data", "fashion-mnist", "--data-root", "MADE", "--count", "0"), "--count 0"),
        (("classify", "FOLDER", "--data", "folder:nowhere"), "nowhere"),
        (("classify", "nosuch", "shoe.png"), "no model 'nosuch'"),
        (("classify", "FOLDER", "shoe.png", "--count", "3"), "--count 3 goes with --data; of files, name those"),
        (("classify", "FOLDER", "shoe.png", "--split", "test"), "--split test goes with --data; files are in no part"),
        (("reconstruct", "FOLDER", "a.png", "--split", "train"), "--split train goes with --data"),
        (
            ("classify", "FOLDER", "shoe.png", "--data-root", "MADE"),
            "goes with --data; files lie where their paths say",
        ),
        (
            ("reconstruct", "FOLDER", "a.png", "--data-root", "MADE"),
            "goes with --data; files lie where their paths say",
        ),
        (("reconstruct", "FOLDER", "--data", "folder:"), "folder: names no folder; say folder:PATH"),
        (("train", "events:", "--out", "run"), "events: names no folder; say events:PATH"),
        (("classify", "n-mnist", "."), ". holds no recordings"),
        (("train", "fashion-mnist", "--out", "run", "--data-root", "MADE", *LARGER), "1x32x32"),
        (("sample", "FOLDER", "--out", "-"), "-: nothing is written to standard output; name a file or folder"),
        (("sample", "FOLDER", "--out", ".png"), ".png is a suffix without a name"),
        (("sample", "n-mnist", "--out", ".GIF"), ".GIF is a suffix without a name"),
        (("sample", "n-mnist", "--out", "-"), "-: nothing is written to standard output"),
        (("reconstruct", "n-mnist", "a.bin", "--out", "-"), "-: nothing is written to standard output"),
        (("reconstruct", "FOLDER", "a.png", "--out", "-"), "-: nothing is written to standard output"),
        (("classify", "FOLDER", "a.png", "--json", "-"), "-: nothing is written to standard output"),
        (("evaluate", "FOLDER", "--json", "-"), "-: nothing is written to standard output"),
        (("evaluate", "FOLDER", "--report", "-"), "nothing is written to standard output"),
        (("train", "fashion-mnist", "--out", "-", "--data-root", "MADE"), "-: nothing is written to standard output"),
        (("classify", "FOLDER", "-"), "-: No such file or directory"),
    ],
)
def test_bad_input_is_one_clear_line_and_writes_nothing(
    words: tuple[str, ...],
    message: str,
    folder: Path,
    made_root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    places = {"FOLDER": str(folder), "MADE": str(made_root)}
    assert run(*(places.get(word, word) for word in words)) == 1
    assert message in one_line(capsys)
    assert not list(tmp_path.iterdir())


def test_a_new_run_does_not_overwrite_an_old_one(
    made_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run.json").write_text("{}")
    assert run("train", "fashion-mnist", "--data-root", made_root, "--out", tmp_path) == 1
    assert "--resume" in capsys.readouterr().err
    assert (tmp_path / "run.json").read_text() == "{}"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--train.epochs", "3"), "keeps its settings"),
        (("--preset", "paper"), "keeps its settings"),
        (("--out", "other"), "--out other: a resumed run stays in its folder"),
    ],
)
def test_a_resumed_run_keeps_its_settings_and_its_folder(
    trained: Path, made_root: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, str], message: str
) -> None:
    assert run("train", "fashion-mnist", "--data-root", made_root, "--resume", trained, *words) == 1
    assert message in one_line(capsys)
    assert run("train", "fashion-mnist", "--data-root", made_root, "--resume", trained, "--out", trained) == 0


def test_a_resumed_run_refuses_what_its_preset_has_anyway(
    trained: Path, made_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    epochs = str(PRESETS["fashion-mnist"].train.epochs)
    words = ("train", "fashion-mnist", "--data-root", made_root, "--resume", trained, "--train.epochs", epochs)
    assert run(*words) == 1
    assert "a resumed run keeps its settings; leave out --train.epochs" in one_line(capsys)


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("train", "fashion-mnist", "--train.epoch", "3"), "--train.epochs"),
        (("train", "fashion-mnist", "--model.latent-size", "0"), "latent_size=0"),
        (("train", "fashion-mnist", "--preset", "nosuch"), "paper"),
        (("train",), "DATASET"),
        (("sample", "fashion-mnist"), "--out"),
        (("sample", "fashion-mnist", "--out", "a.png", "--count", "many"), "many"),
        (("classify", "fashion-mnist", "--split", "all"), "validation"),
        (("nosuch",), "sample"),
        ((), "sample"),
    ],
)
def test_wrong_usage_is_status_2_with_a_hint(
    words: tuple[str, ...], hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*words) == 2
    printed = capsys.readouterr()
    assert hint in printed.err
    assert "Traceback" not in printed.err


@pytest.fixture(scope="module")
def light_boot(tmp_path_factory: pytest.TempPathFactory, real_data: Path) -> Path:
    """The first ankle boot of Fashion-MNIST, dark on a light ground, as photographs are."""
    images = load_split(DataConfig(data_root=str(real_data)), "test")
    assert images.labels is not None
    boot = 255 - images.images(int((images.labels == 9).nonzero()[0]), 1)[0, 0]
    path = tmp_path_factory.mktemp("boot") / "boot.png"
    Image.fromarray(boot.numpy()).save(path)
    return path


def test_a_class_is_named_or_numbered(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for label in ("9", "ankle boot", "Ankle Boot"):
        assert run("sample", folder, "--count", "3", "--label", label, "--out", tmp_path / f"{label}.npz") == 0
    assert len({(tmp_path / f"{label}.npz").read_bytes() for label in ("9", "ankle boot", "Ankle Boot")}) == 1
    assert run("sample", folder, "--label", "boots", "--out", tmp_path / "no.npz") == 1
    assert "label=boots: this model's classes are 0 t-shirt, 1 trouser," in one_line(capsys)


def test_the_bundled_models_are_listed_with_their_classes(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("models") == 0
    listed = capsys.readouterr().out
    assert "0 t-shirt, 1 trouser, 2 pullover" in listed
    energies = [line for line in listed.splitlines() if "energy of" in line]
    assert energies
    assert all(re.search(r"\(gates folded [\d.e+]+, ordinary network [\d.e+]+\)$", line) for line in energies)


def test_the_version_names_what_a_report_of_a_fault_needs(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--version") == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"spikevae {spikevae.__version__} (torch {torch.__version__}, spikingjelly 2.")
    assert printed.count("\n") == 1
    assert "CPU" in printed or "one " in printed


@pytest.mark.parametrize("name", list(COMMANDS))
def test_no_help_speaks_of_none_as_a_kind_of_value(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(name, "--help") == 0
    text = capsys.readouterr().out
    assert "{None" not in text
    assert ("--size INT" in text) == (name == "sample")


def test_an_option_that_may_be_left_out_still_takes_the_word_none(folder: Path, tmp_path: Path) -> None:
    assert run("sample", folder, "--count", "1", "--size", "None", "--out", tmp_path / "a.npz") == 0
    assert np.load(tmp_path / "a.npz")["arr_0"].shape == (1, 28, 28, 1)


@pytest.mark.parametrize("words", [("--count", str(10**12)), ("--size", str(10**7))])
def test_images_that_cannot_fit_the_memory_are_refused_before_any_is_made(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, str]
) -> None:
    assert run("sample", folder, *words, "--out", tmp_path / "a.npz") == 1
    assert "GB of memory, and this machine has" in one_line(capsys)


def test_the_place_to_write_to_is_checked_before_the_work(
    picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (
        ("sample", "nosuch", "--out", picture / "a.png"),
        ("reconstruct", "nosuch", picture, "--out", picture / "deep" / "a.npz"),
        ("classify", "nosuch", picture, "--json", picture / "a.json"),
        ("sample", "n-mnist", "--out", picture / "a.gif"),
        ("reconstruct", "n-mnist", "nosuch.bin", "--out", picture / "a.gif"),
        ("export", "nosuch", "--format", "onnx", "--part", "encoder", "--out", picture / "a.onnx"),
    ):
        assert run(*words) == 1  # and not because there is no such model, which is found out later
        assert "shoe.png is no folder; name another place" in one_line(capsys)
    assert run("classify", "nosuch", picture, "--json", tmp_path) == 1
    assert "is a folder; name a file in it" in one_line(capsys)


def test_the_home_folder_is_found_where_the_shell_leaves_it_to_the_command(
    folder: Path, picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert run("classify", folder, f"~/{picture.name}", "--json=~/new/a.json") == 0
    assert run("sample", folder, "--count", "1", "--out=~/new/a.png") == 0
    assert {path.name for path in (tmp_path / "new").iterdir()} == {"a.json", "a.png"}
    assert run("sample", folder, "--count", "1", "--out", "~a.png") == 0  # a name like any other
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["~a.png"]


def test_a_json_file_is_written_to_a_folder_that_is_not_there_yet(folder: Path, picture: Path, tmp_path: Path) -> None:
    assert run("classify", folder, picture, "--json", tmp_path / "new" / "deep" / "j.json") == 0
    assert list(json.loads((tmp_path / "new" / "deep" / "j.json").read_text())) == [str(picture)]


def test_a_result_is_kept_when_nobody_reads_what_is_printed(
    folder: Path, picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    read, write = os.pipe()
    os.close(read)
    with io.TextIOWrapper(open(write, "wb", buffering=0), write_through=True) as stream:
        monkeypatch.setattr("sys.stdout", stream)
        assert run("classify", folder, picture, "--json", tmp_path / "j.json") == 0
        assert run("models") == 0
        assert run("--help") == 0
        monkeypatch.undo()
    assert (tmp_path / "j.json").stat().st_size
    assert not capfd.readouterr().err


def test_names_from_strangers_cannot_control_the_terminal(
    folder: Path, picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = "\x1b[2J\x1b]0;taken\x07"
    hostile = Path(shutil.copytree(folder, tmp_path / "model"))
    config = json.loads((hostile / "config.json").read_text())
    config["model"]["class_names"] = [f"{bad}{number}" for number in range(10)]
    (hostile / "config.json").write_text(json.dumps(config))
    shutil.copy(picture, tmp_path / f"{bad}.png")
    (tmp_path / f"broken{bad}.png").write_bytes(b"nothing")
    assert run("classify", hostile, tmp_path / f"{bad}.png", "--json", tmp_path / f"{bad}.json") == 0
    assert run("classify", hostile, tmp_path / f"broken{bad}.png") == 1
    assert run("sample", hostile, "--label", "x", "--out", tmp_path / "a.png") == 1
    config["model"][bad] = 1
    (hostile / "config.json").write_text(json.dumps(config))
    assert run("sample", hostile, "--out", tmp_path / "a.png") == 1
    printed = "".join(capsys.readouterr())
    assert "\\x1b[2J" in printed
    assert all(line.isprintable() for line in printed.splitlines())


def test_a_folder_of_pictures_is_classified_file_by_file(
    folder: Path, picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(picture.parent, tmp_path / "pictures")
    shutil.copy(picture, tmp_path / "pictures" / "b.jfif")
    os.mkfifo(tmp_path / "pictures" / "pipe.png")
    assert run("classify", folder, tmp_path / "pictures", "--json", tmp_path / "j.json") == 0
    assert [Path(path).name for path in json.loads((tmp_path / "j.json").read_text())] == ["b.jfif", "shoe.png"]
    assert run("classify", folder, tmp_path / "pictures" / "pipe.png") == 1
    assert "is a pipe" in one_line(capsys)


def test_a_light_ground_is_pointed_out_and_can_be_inverted(
    light_boot: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("classify", "fashion-mnist", light_boot) == 0
    assert "1 of 1 pictures have a light ground, and this model knows dark ones: say --invert" in caplog.text
    caplog.clear()
    capsys.readouterr()
    assert run("classify", "fashion-mnist", light_boot, "--invert") == 0
    assert f"{light_boot}: ankle boot " in capsys.readouterr().out
    assert run("reconstruct", "fashion-mnist", light_boot, "--invert", "--out", tmp_path / "pair.npz") == 0
    arrays = np.load(tmp_path / "pair.npz")
    assert np.array_equal(arrays["arr_1"][0, ..., 0], 255 - np.asarray(Image.open(light_boot)))
    assert abs(arrays["arr_0"].astype(float) - arrays["arr_1"]).mean() < 30
    box = ("--box", "14", "0", "28", "28", "--count", "1")
    words = ("inpaint", "fashion-mnist", light_boot, *box, "--out", tmp_path / "filled.npz")
    assert run(*words, "--invert") == 0
    assert not caplog.text
    assert run(*words) == 0
    assert "1 of 1 pictures have a light ground, and this model knows dark ones: say --invert" in caplog.text


def test_classify_and_reconstruct_in_two_processes_print_and_write_once(
    folder: Path, made_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ("--data", "fashion-mnist", "--data-root", made_root)
    for words, name in (
        (("reconstruct", folder, *data, "--out"), "a.npz"),
        (("classify", folder, *data, "--json"), "j"),
    ):
        assert run(*words, tmp_path / name) == 0
        alone = capsys.readouterr().out.replace(str(tmp_path / name), "FILE")
        printed = run_in_two_processes(tmp_path, *words, tmp_path / f"two-{name}")
        assert printed.replace(str(tmp_path / f"two-{name}"), "FILE") == alone
        assert (tmp_path / f"two-{name}").read_bytes() == (tmp_path / name).read_bytes()


def test_a_path_in_place_of_a_data_set_is_met_with_how_to_say_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (("train", tmp_path, "--out", tmp_path / "run"), ("classify", "mnist", "--data", tmp_path)):
        assert run(*words) == 1
        assert f"for the pictures there, say folder:{tmp_path}" in one_line(capsys)


def test_a_fault_of_the_program_is_one_line_that_says_how_to_see_more(
    folder: Path, picture: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise KeyError("something")

    monkeypatch.setattr(Image, "open", fail)
    monkeypatch.setattr("spikevae.hub.checkpoints.read_config", fail)
    assert run("classify", folder, picture) == 1
    assert "KeyError: 'something' (a fault of spikevae; SPIKEVAE_TRACEBACK=1 shows where)" in one_line(capsys)


def test_the_demo_asks_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTPS_PROXY", "ALL_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    forget_proxies()
    assert not {"http_proxy", "HTTPS_PROXY", "ALL_PROXY"} & os.environ.keys()
    assert "no_proxy" in os.environ


def test_presets_fit_the_data_set_that_they_are_used_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("train", "mnist", "--preset", "paper", "--help") == 0
    text = capsys.readouterr().out
    assert "(default: 16)" in text  # T
    assert "(default: 0 1 2 3 4 5 6 7 8 9)" in text


def test_a_help_comes_to_its_end_in_a_terminal_of_two_columns() -> None:
    words = [sys.executable, "-m", "spikevae.cli", "push", "--help"]
    done = subprocess.run(words, env=os.environ | {"COLUMNS": "2"}, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_overview_says_of_every_command_what_its_own_help_says(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--help") == 0
    overview = " ".join(capsys.readouterr().out.split())
    for name, summary in COMMANDS.items():
        assert f"{name} {summary}" in overview
        assert str(command(name, []).__doc__).startswith(summary)


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - {"models"}))
def test_the_help_shows_examples_that_can_be_typed(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(name, "--help") == 0
    examples = re.findall(r"^    spikevae (.+)$", capsys.readouterr().out, re.MULTILINE)
    assert any(example.startswith(name) for example in examples)
    for example in examples:
        called, *words = shlex.split(example)
        idle = functools.wraps(command(called, words))(lambda *_, **__: None)
        tyro.cli(idle, args=words, registry=REGISTRY)  # exits at wrong usage


def test_python_rarely_looks_for_cycles(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = gc.get_threshold()
    at_the_end: list[object] = []
    monkeypatch.setattr("atexit.register", at_the_end.append)
    gc.set_threshold(700)
    try:
        assert run("--help") == 0
        assert gc.get_threshold()[0] == 20_000
    finally:
        gc.set_threshold(*kept)
    assert at_the_end == [gc.freeze]


def test_the_list_of_models_can_be_asked_for() -> None:
    assert run("models") == 0


def test_archives_and_arrays_are_classified_and_reconstructed_picture_by_picture(
    folder: Path, picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(picture, "deep/shoe.png")
    pixels = np.arange(2 * 30 * 40 * 3, dtype=np.uint8).reshape(2, 30, 40, 3)
    np.save(tmp_path / "b.npy", pixels)
    assert run("classify", folder, tmp_path / "a.zip", tmp_path / "b.npy", "--json", tmp_path / "j.json") == 0
    names = [f"{tmp_path / 'a.zip'}: deep/shoe.png", f"{tmp_path / 'b.npy'}: 0", f"{tmp_path / 'b.npy'}: 1"]
    assert list(json.loads((tmp_path / "j.json").read_text())) == names
    assert run("reconstruct", folder, tmp_path / "b.npy", "--out", tmp_path / "r.npz") == 0
    Image.fromarray(pixels[1]).save(tmp_path / "one.png")
    assert run("reconstruct", folder, tmp_path / "one.png", "--out", tmp_path / "one.npz") == 0
    pairs = [np.load(tmp_path / name)["arr_1"][-1].astype(int) for name in ("r.npz", "one.npz")]
    assert np.abs(pairs[0] - pairs[1]).max() <= 2  # pixels are rounded before or after they become grey


def test_scores_of_more_samples_than_fit_the_memory_are_refused_before_any_is_drawn(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "x.npy", np.zeros((12, 28, 28), np.uint8))
    assert run("evaluate", folder, "--reference", tmp_path / "x.npy", "--count", "1000000000000") == 1
    assert "1,000,000,000,000 samples need" in one_line(capsys)
