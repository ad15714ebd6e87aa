"""Recordings of event cameras on the page: what is played, what is read of a stranger's file, and what is refused."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from base64 import b64decode
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence

import spikevae
from app.actions import Actions
from app.files import Files
from app.player import MILLISECONDS, Side, moving_picture, player_value
from app.show import Show
from app.slices import MOMENTS
from spikevae.cli import main
from spikevae.data.events.frames import FrameConfig, to_frames
from spikevae.data.events.readers import read_recording
from spikevae.data.events.writers import encode_atis
from tests.made_events import made_recording, write_n_mnist
from tests.visitor import Visitor

MODEL = "recorder"


@pytest.fixture(scope="module")
def actions(tiny_release: Path, recorder_release: Path) -> Actions:
    return Actions([str(tiny_release), str(recorder_release)])


# ---------------------------------------------------------------- what is played


def test_a_generated_recording_is_the_one_that_the_command_line_writes(
    actions: Actions, recorder_release: Path, tmp_path: Path
) -> None:
    made = actions.recordings.sample(MODEL, 7.0, "below")
    show = Show(Files(tmp_path))
    for suffix in (".npz", ".bin"):
        out = tmp_path / f"sampled{suffix}"
        main(["sample", str(recorder_release), "--count", "1", "--seed", "7", "--label", "below", "--out", str(out)])
        assert read_recording(show.recording(made, f"page{suffix}")).is_equal(read_recording(out))
    assert not list(tmp_path.glob("tmp*"))


def test_probabilities_form_as_the_model_says(actions: Actions, recorder_release: Path) -> None:
    recording = made_recording(300, size=(12, 12), duration=40_000)
    seen = actions.recordings.see(MODEL, recording)
    x_seq = torch.from_numpy(to_frames(recording, FrameConfig(4, "time"))).float()[:, None]
    assert seen.probabilities is not None
    assert torch.allclose(seen.probabilities, spikevae.load(recorder_release).probabilities(x_seq)[:, 0])
    told = json.loads(player_value([Side("one", seen)], actions.recordings.models.class_names(MODEL)))["sides"][0]
    assert told["classes"] == ["above", "below"]
    assert np.allclose(told["shares"], seen.probabilities, atol=1e-4)
    assert told["facts"].startswith("300 events in 40 ms, ")


def test_every_event_is_shown_when_it_happens_and_a_little_longer(actions: Actions) -> None:
    recording = made_recording(2, size=(12, 12), duration=40_000)
    seen = actions.recordings.see(MODEL, recording)
    assert seen.slices.moments.sum() == 2
    told = json.loads(player_value([Side("one", seen)], ()))["sides"][0]
    film = Image.open(io.BytesIO(b64decode(told["film"].partition(",")[2]))).convert("RGB")
    assert film.size == (12, 12 * MOMENTS)
    moments = np.asarray(film).reshape(MOMENTS, -1)
    is_lit = moments.min(axis=1) < 250
    assert is_lit.tolist()[0]
    assert is_lit.tolist()[-1]
    assert 2 <= is_lit.sum() < 8


def test_the_moving_picture_has_all_moments_of_both(actions: Actions) -> None:
    sides = [Side("", actions.recordings.see(MODEL, made_recording(90, size=(12, 12), seed=seed))) for seed in (0, 1)]
    with Image.open(io.BytesIO(moving_picture(sides))) as picture:
        assert picture.width > 2 * picture.height
        assert [frame.info["duration"] for frame in ImageSequence.Iterator(picture)][:-1] == [MILLISECONDS] * (
            MOMENTS - 1
        )


def test_examples_are_of_the_simulated_camera_where_the_model_knows_digits(
    tiny_release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPIKEVAE_DATA", str(tmp_path))  # where there are no real ones
    recordings = Actions([str(tiny_release), "n-mnist"]).recordings
    found = recordings.examples("n-mnist")
    assert sorted(example.name for example in found) == ["2", "3", "4", "5", "7", "8"]
    seen = [recordings.see("n-mnist", example.recording).probabilities for example in found]
    named = [str(int(shares[-1].argmax())) for shares in seen if shares is not None]
    assert (
        sum(name == example.name for name, example in zip(named, found, strict=True)) >= 4
    )  # it learned from real ones


def test_examples_are_real_ones_where_the_data_set_is_there(
    tiny_release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPIKEVAE_DATA", str(tmp_path))
    write_n_mnist(tmp_path, test=30)
    recordings = Actions([str(tiny_release), "n-mnist"]).recordings
    found = recordings.examples("n-mnist")
    assert [example.title for example in found] == [f"Real camera, {example.name}" for example in found]
    assert len(found) == 6
    for name, _, recording in found:
        assert any(recording.is_equal(made_recording(seed=int(name) + ten)) for ten in (0, 10, 20))
    (tmp_path / "NMNIST" / "Test.zip").write_bytes(b"damaged")
    assert recordings.examples("n-mnist")[0].title.startswith("Simulated camera")


def test_examples_of_another_model_are_its_own(actions: Actions) -> None:
    first, *_ = actions.recordings.examples(MODEL)
    assert first.recording.is_equal(actions.recordings.sample(MODEL, int(first.name.split()[1]), None))


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        (("tiny", 0, "any"), "There is no model 'tiny'"),
        ((None, 0, "any"), "There is no model"),
        ((MODEL, -1, "any"), "seed -1 is out of range"),
        ((MODEL, 0.5, "any"), "not a whole number"),
        ((MODEL, 0, "boots"), "no class 'boots'"),
        ((MODEL, 0, {}), "no class"),
    ],
)
def test_every_setting_is_checked(actions: Actions, wish: tuple[Any, ...], words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        actions.recordings.sample(*wish)
    assert "\n" not in str(caught.value)


def test_a_page_of_recordings_alone_says_what_it_needs(recorder_release: Path) -> None:
    with pytest.raises(ValueError, match="needs a model of pictures") as caught:
        Actions([str(recorder_release)])
    assert "\n" not in str(caught.value)


# ---------------------------------------------------------------- the page's calls


@pytest.fixture
def visitor(page_address: str) -> Visitor:
    return Visitor(page_address)


def test_a_program_plays_its_recording(visitor: Visitor) -> None:
    status, path = visitor.upload(encode_atis(made_recording(120, size=(12, 12))), name="mine.bin")
    assert status == 200
    event, answer = visitor.call("play_recordings", [MODEL, 3, "below", {"path": path}])
    assert event == "complete"
    made, given = json.loads(answer[0])["sides"]
    assert given["title"] == "Your recording"
    assert given["facts"].startswith("120 events")
    assert made["title"] == f"Made up by {MODEL}"
    starts = (b"PK", b"", b"GIF8")
    for file, start in zip(answer[1:], starts, strict=True):
        status, _, body = visitor.ask("GET", f"/gradio_api/file={file['path']}")
        assert status == 200
        assert body.startswith(start)
    event, answer = visitor.call("play_recordings", [MODEL, 3, "below", None])
    assert len(json.loads(answer[0])["sides"]) == 1


def test_only_what_was_uploaded_here_is_opened(visitor: Visitor, tmp_path: Path) -> None:
    secret = tmp_path / "secret.bin"
    secret.write_bytes(encode_atis(made_recording(20)))
    others: list[Any] = [str(secret), {"path": str(secret)}, {"path": "/dev/ptmx"}, {"path": [str(secret)]}, 3, [], {}]
    for given in others:
        event, answer = visitor.call("play_recordings", [MODEL, 0, "any", given])
        assert event in ("error", "422"), given
        words = answer["error"] if event == "error" else answer
        assert "upload" in words, given


def test_a_stranger_hears_in_a_line_what_is_wrong_with_a_file(visitor: Visitor) -> None:
    _, path = visitor.upload(b"no recording", name="x.bin")
    event, answer = visitor.call("play_recordings", [MODEL, 0, "any", {"path": path}])
    assert event == "error"
    assert "no whole number of 5-byte events" in answer["error"]
    assert "Traceback" not in answer["error"]
    assert os.sep + "tmp" not in answer["error"]


def test_a_page_without_real_recordings_does_not_import_what_reads_them() -> None:
    code = "import sys, app.server; assert 'torchvision' not in sys.modules, 'torchvision'"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
