"""The words of ``spikevae train``: which settings they start from, and what it prints."""

from __future__ import annotations

from pathlib import Path

import pytest

from spikevae.config import RunConfig
from spikevae.presets import PRESETS, preset_for
from spikevae.train_command import default_run, preset_asked_for
from spikevae.training import loop
from tests.test_cli import TINY, run


@pytest.mark.parametrize(
    ("words", "start"),
    [
        ("mnist", PRESETS["mnist"]),
        ("--out fashion-mnist mnist", PRESETS["mnist"]),
        ("--train.epochs 3 --out runs/a mnist --train.flip", PRESETS["mnist"]),
        ("--model.encoder-widths 8 8 --preset paper mnist", preset_for("mnist", "paper")),
        ("mnist --preset=paper --help", preset_for("mnist", "paper")),
        ("--train.flip folder:pictures", preset_for("folder:pictures")),
        ("--resume runs/fashion-mnist celeba", PRESETS["faces"]),
        ("--train.no-such-setting 3 mnist --preset paper", None),
        ("", None),
    ],
)
def test_the_defaults_follow_the_data_set_wherever_it_stands(words: str, start: RunConfig | None) -> None:
    found = preset_asked_for(words.split())
    assert start is None or found == start


@pytest.mark.parametrize(
    ("dataset", "name"),
    [("mnist", "mnist"), ("folder:a/b/", "b"), ("folder:/x/y.tar", "y.tar"), ("folder:a/../c", "c")],
)
def test_a_run_is_named_after_its_pictures(dataset: str, name: str) -> None:
    assert default_run(dataset) == Path("runs") / name


def test_former_options_work_and_what_was_chosen_is_printed(
    made_root: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["--train.settling-share", "0", "--train.refinement-share", "0", "--train.epochs", "1"]
    assert run("train", *words, *TINY, "fashion-mnist", "--data-root", made_root) == 0
    assert "114 training images, 6 held out; 1 epochs (1 joint), batches of 16, warm-up over 10 images" in caplog.text
    assert "epoch 1/1 (joint) done: reconstruction error" in caplog.text
    printed = capsys.readouterr().out.splitlines()
    assert "training in runs/fashion-mnist; Ctrl-C stops and saves" in caplog.text
    assert [line.partition(" 0.")[0] for line in printed] == ["runs/fashion-mnist is trained: reconstruction_error"]


def test_nothing_is_promised_where_nothing_can_be_written(
    made_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert run("train", "fashion-mnist", "--data-root", made_root, "--out", tmp_path / "file" / "run", *TINY) == 1
    printed = capsys.readouterr()
    assert "file is not a folder; choose another --out" in printed.err
    assert "kept" not in printed.err + printed.out
    assert "resume" not in printed.err
    assert printed.out == ""
    assert run("train", "folder:nowhere", "--out", tmp_path / "run") == 1
    printed = capsys.readouterr()
    assert "training in" not in printed.err + printed.out


@pytest.mark.parametrize(
    ("words", "data", "model"),
    [
        ([], None, 28),
        (["--data.image-size", "8"], 8, 8),
        (["--model.image-size", "8"], 8, 8),
        (["--data.image-size", "8", "--model.image-size", "56"], 8, 56),
    ],
)
def test_images_have_the_size_of_the_network_where_only_one_of_the_two_is_given(
    words: list[str], data: int | None, model: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[RunConfig] = []

    def keep(config: RunConfig, run: Path, *, is_new: bool) -> dict[str, float]:
        given.append(config)
        return {}

    monkeypatch.setattr(loop, "train", keep)
    assert run("train", "mnist", "--out", tmp_path / "run", *words) == 0
    assert (given[0].data.image_size, given[0].model.image_size) == (data, model)
