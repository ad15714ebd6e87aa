"""Commands as a user types them: what they write, print and return."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spikevae.checkpoints import save_release
from spikevae.cli import main
from spikevae.config import FASHION_MNIST_CLASSES, ModelConfig
from spikevae.model import SpikingVAE

TINY = ["--model.encoder-widths", "4", "6", "--model.decoder-widths", "6", "4", "4", "--model.latent-size", "8"]
TINY += ["--model.prior-rank", "4", "--train.batch-size", "16", "--train.warmup-images", "10"]


def run(*words: str | Path) -> int:
    """The exit status of a command line."""
    try:
        main([str(word) for word in words])
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of tiny size and random weights."""
    config = ModelConfig(
        class_names=FASHION_MNIST_CLASSES,
        encoder_widths=(4, 6),
        decoder_widths=(6, 4, 4),
        latent_size=8,
        prior_rank=4,
    )
    path = tmp_path_factory.mktemp("model")
    save_release(SpikingVAE(config), path, dataset="fashion-mnist", card="")
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


def test_the_accuracy_of_a_data_set_is_the_mean_over_its_classes_images(
    folder: Path, made_root: Path, tmp_path: Path
) -> None:
    words = ("--data", "fashion-mnist", "--data-root", made_root, "--json", tmp_path / "accuracy.json")
    assert run("classify", folder, *words) == 0
    record = json.loads((tmp_path / "accuracy.json").read_text())
    assert record["images"] == 30
    assert np.mean(list(record["by_class"].values())) == pytest.approx(record["accuracy"])  # 3 images of each class


def test_a_model_is_trained_resumed_and_sampled_from_by_commands(made_root: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    short = ("--train.epochs", "2", "--train.refinement-share", "0.5", "--data.validation-share", "0.2")
    assert run("train", "fashion-mnist", "--data-root", made_root, "--out", out, *short, *TINY) == 0
    assert run("train", "fashion-mnist", "--data-root", made_root, "--resume", out) == 0
    assert run("sample", out, "--count", "2", "--label", "3", "--out", tmp_path / "dresses.png") == 0
    assert {"run.json", "stats.jsonl", "state.pt", "README.md", "previews"} <= {path.name for path in out.iterdir()}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("sample", "nosuch", "--out", "a.png"), "no model 'nosuch'"),
        (("sample", "FOLDER", "--out", "a.gif"), "a.gif"),
        (("sample", "FOLDER", "--out", "a.png", "--count", "0"), "--count 0"),
        (("sample", "FOLDER", "--out", "a.png", "--label", "10"), "label=10"),
        (("sample", "FOLDER", "--out", "a.png", "--seed", "-1"), "seed=-1"),
        (("sample", "FOLDER", "--out", "a.png", "--temperature", "nan"), "temperature=nan"),
        (("sample", "FOLDER", "--out", "a.png", "--device", "gpu"), "--device gpu"),
        (("classify", "FOLDER"), "give either image files or --data NAME"),
        (("classify", "FOLDER", "nosuch.png"), "nosuch.png"),
        (("reconstruct", "FOLDER", "--data", "nosuch"), "nosuch"),
        (("train", "nosuch", "--out", "run"), "nosuch"),
        (("train", "fashion-mnist", "--resume", "norun"), "norun holds no run"),
        (
            ("train", "fashion-mnist", "--out", "run", "--data-root", "MADE", "--model.latent-size", "0"),
            "latent_size=0",
        ),
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
    assert run(*(places.get(word, word) for word in words)) in (1, 2)
    printed = capsys.readouterr()
    error = printed.err or printed.out
    assert message in error
    assert "Traceback" not in error
    assert not list(tmp_path.iterdir())


def test_a_new_run_does_not_overwrite_an_old_one(
    made_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run.json").write_text("{}")
    assert run("train", "fashion-mnist", "--data-root", made_root, "--out", tmp_path) == 1
    assert "--resume" in capsys.readouterr().err
    assert (tmp_path / "run.json").read_text() == "{}"


def test_a_resumed_run_keeps_its_settings(made_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("train", "fashion-mnist", "--data-root", made_root, "--resume", tmp_path, "--train.epochs", "3")
    assert run(*words) == 1
    assert "keeps its settings" in capsys.readouterr().err


def test_wrong_usage_is_status_2_with_a_hint(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("train", "fashion-mnist", "--train.epoch", "3") == 2
    assert "--train.epochs" in capsys.readouterr().err
    assert run() == 2


def test_presets_fit_the_data_set_that_they_are_used_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("train", "mnist", "--preset", "paper", "--help") == 0
    text = capsys.readouterr().out
    assert "(default: 16)" in text  # T
    assert "(default: 0 1 2 3 4 5 6 7 8 9)" in text


def test_the_list_of_models_can_be_asked_for() -> None:
    assert run("models") == 0
