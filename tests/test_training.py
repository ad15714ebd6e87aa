"""Training runs: what they leave behind, how they stop, and that a stopped one goes on as if nothing had happened."""

from __future__ import annotations

import json
import os
import pickle
import resource
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, cast, get_args

import filelock
import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import spikevae
from spikevae import runtime
from spikevae.config import DataConfig, ModelConfig, RunConfig, Split, TrainConfig, to_dict
from spikevae.data.events.writers import encode_atis
from spikevae.data.sets import ImageSet, load_split
from spikevae.hub.run_settings import data_divided_for, has_changed, read_run, require_same_division
from spikevae.nn.latents.bernoulli import PotentialLatent
from spikevae.nn.vae import SpikingVAE
from spikevae.training import learner, loop, validation
from spikevae.training.batches import batches_left
from spikevae.training.learner import Learner, make_accelerator
from spikevae.training.loop import train
from spikevae.training.phases import phases_of
from spikevae.training.pretrained import tell_of_another_division
from spikevae.training.run_folder import Progress, TrainingError, describe_run, require_same_images
from spikevae.training.sets import fitted_to, load_sets
from tests import forked
from tests.made_data import write_made_data
from tests.made_events import made_recording, write_files


@pytest.fixture(scope="module")
def finished(config: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nothing disturbed. Do not change it."""
    run = tmp_path_factory.mktemp("finished") / "run"
    train(config, run)
    return run


def short(config: RunConfig, **settings: Any) -> RunConfig:
    """One epoch of two steps of the first phase."""
    few = {"epochs": 1, "deterministic_share": 0.0, "adversarial_share": 0.0, "image_limit": 48} | settings
    return replace(config, train=replace(config.train, **few))


def state_of(run: Path) -> Any:
    """All that a run goes on from, but for the time it has taken."""
    state = torch.load(run / "state.pt", weights_only=True)
    return {name: value for name, value in state.items() if name != "seconds"}


def differences(first: Any, second: Any, name: str = "state") -> list[str]:
    """Names of what is not equal, bit for bit, in two nested states."""
    if isinstance(first, torch.Tensor):
        return [] if torch.equal(first, second) else [name]
    if isinstance(first, dict):
        if first.keys() != second.keys():
            return [f"{name}: other names"]
        return [found for key in first for found in differences(first[key], second[key], f"{name}.{key}")]
    if isinstance(first, list | tuple):
        pairs = zip(first, second, strict=True)
        return [found for i, (a, b) in enumerate(pairs) for found in differences(a, b, f"{name}.{i}")]
    return [] if first == second else [name]


def assert_same_run(run: Path, finished: Path) -> None:
    assert differences(state_of(run), state_of(finished)) == []
    for name in ("model.safetensors", "config.json"):
        assert (run / name).read_bytes() == (finished / name).read_bytes(), name
    assert statistics_of(run) == statistics_of(finished)
    assert temporary_files(run) == []


def statistics_of(run: Path) -> list[dict[str, Any]]:
    """All lines, but for the time that was taken."""
    entries = [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]
    return [{name: value for name, value in entry.items() if name != "seconds"} for entry in entries]


def temporary_files(run: Path) -> list[str]:
    return [path.name for path in run.rglob(".*")]


def is_finite(state: Any) -> bool:
    if isinstance(state, torch.Tensor):
        return bool(state.isfinite().all())
    if isinstance(state, dict):
        return all(map(is_finite, state.values()))
    return not isinstance(state, list | tuple) or all(map(is_finite, state))


def train_until_save(number: int, config: RunConfig, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Interrupt a new run in the writing of a state, counted from 1, when half of the file is there."""
    saves, save = 0, torch.save

    def interrupted(state: object, path: Path) -> None:
        nonlocal saves
        saves += 1
        save(state, path)
        if saves == number:
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train(config, run)


@contextmanager
def full_disk(largest: int = 2**20) -> Iterator[None]:
    """No file can grow beyond so many bytes: smaller than a state, larger than anything else that a run writes."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


# ---------------------------------------------------------------- what a run leaves behind


def test_a_run_folder_explains_itself(config: RunConfig, finished: Path) -> None:
    assert read_run(finished) == config
    record = json.loads((finished / "run.json").read_text())
    assert record["versions"]["torch"] == torch.__version__
    assert record["command"].startswith("spikevae")
    card = (finished / "README.md").read_text()
    assert "fashion-mnist" in card
    assert "T = 3" in card
    assert list(finished.glob("tensorboard/**/events*"))
    assert temporary_files(finished) == []


def test_statistics_are_lines_of_json_counted_in_images_with_every_epochs_scores(finished: Path) -> None:
    entries = [json.loads(line) for line in (finished / "stats.jsonl").read_text().splitlines()]
    steps = [entry for entry in entries if "images_seen" in entry]
    assert [entry["images_seen"] for entry in steps] == [96, 192, 288]  # the last step of each epoch at least
    assert all(np.isfinite(list(entry.values())).all() for entry in steps)
    assert {"loss", "reconstruction_error", "learning_rate"} <= steps[0].keys() & steps[1].keys()
    scores = [entry["validation"] for entry in entries if "validation" in entry]
    assert len(scores) == 3
    assert all(score["reconstruction_error"] > 0 and 0 <= score["accuracy"] <= 1 for score in scores)


def test_statistics_give_the_learning_rate_of_the_very_step(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates: list[float] = []
    really_set = Learner.set_learning_rate

    def noted(learner: Learner, rate: float) -> None:
        rates.append(rate)
        really_set(learner, rate)

    monkeypatch.setattr(Learner, "set_learning_rate", noted)
    train(short(config, epochs=2, preview_epochs=2), tmp_path / "run")
    told = [entry["learning_rate"] for entry in statistics_of(tmp_path / "run") if "learning_rate" in entry]
    assert told == rates[1::2]  # of the last of two steps
    assert min(told) > 0


def test_every_epoch_leaves_a_picture_of_samples_and_one_of_reconstructions(finished: Path) -> None:
    names = [f"{kind}-{epoch:04d}.png" for kind in ("reconstructions", "samples") for epoch in (1, 2, 3)]
    assert sorted(path.name for path in (finished / "previews").iterdir()) == names
    for name in names:
        picture = np.asarray(Image.open(finished / "previews" / name))
        assert picture.shape[0] >= 4 * 28
        assert picture.std() > 0


def test_a_run_folder_is_a_model(config: RunConfig, finished: Path) -> None:
    model = spikevae.load(finished)
    assert model.config == config.model
    assert model.sample(3, label=2).shape == (3, 1, 28, 28)


def test_the_scores_that_are_returned_are_those_of_the_released_model(config: RunConfig, tmp_path: Path) -> None:
    from spikevae.data.sets import load_split

    scores = train(short(config), tmp_path / "run")
    images = load_split(config.data, "validation")
    model, (x, labels) = spikevae.load(tmp_path / "run"), next(images.batches(100))
    error = float((2 * (model.reconstruct(x) - x)).square().mean())
    accuracy = float((model.classify(x).argmax(dim=1) == labels).float().mean())
    assert scores["reconstruction_error"] == pytest.approx(error, rel=0.02)  # its kernels are rounded to float16
    assert scores["accuracy"] == pytest.approx(accuracy, abs=1.5 / len(images))


def test_a_finished_run_can_be_resumed_and_stays_as_it_is(config: RunConfig, finished: Path, tmp_path: Path) -> None:
    run = copy_of(finished, tmp_path)
    before = {path: path.read_bytes() for path in run.glob("*.*")}
    scores = train(config, run, is_new=False)
    assert scores.keys() == {"reconstruction_error", "accuracy"}
    assert {path: path.read_bytes() for path in before} == before


def copy_of(run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "run"))


# ---------------------------------------------------------------- stopping and going on


@pytest.mark.parametrize("number", [1, 2, 4, 5, 8, 9, 11], ids=lambda number: f"save {number} of 12")
def test_an_interrupted_run_goes_on_bit_for_bit(
    config: RunConfig, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Before any state is there, and in the middle and at the end of each phase."""
    run = tmp_path / "run"
    train_until_save(number, config, run, monkeypatch)
    assert temporary_files(run) == []
    assert (run / "state.pt").exists() == (number > 1)
    train(read_run(run), run, is_new=False)
    assert_same_run(run, finished)


@pytest.fixture(scope="module")
def resumed(config: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run that was interrupted after its second epoch, with the state of the first. Do not change it."""
    rarely = replace(config, train=replace(config.train, checkpoint_seconds=1e6))
    run = tmp_path_factory.mktemp("resumed") / "run"
    train_until_save(2, rarely, run, pytest.MonkeyPatch())
    assert state_of(run)["epoch"] == 1
    train(rarely, run, is_new=False)
    return run


def test_three_epochs_are_one_and_two_more_bit_for_bit(resumed: Path, finished: Path) -> None:
    """With states at the end of epochs only."""
    assert_same_run(resumed, finished)


@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 130), (signal.SIGHUP, 130), (signal.SIGKILL, -signal.SIGKILL)],
)
def test_a_process_that_is_stopped_or_killed_leaves_a_run_that_goes_on_bit_for_bit(
    config: RunConfig, finished: Path, tmp_path: Path, number: signal.Signals, status: int
) -> None:
    run = tmp_path / "run"
    describe_run(config, run)
    words = ["train", "fashion-mnist", "--data-root", str(config.data.data_root), "--resume", str(run)]
    output = tmp_path / "printed.txt"
    process = forked.start(words, output, {}, threads=torch.get_num_threads())
    deadline = time.monotonic() + 300
    while not (run / "state.pt").exists() and process.is_alive() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert process.pid is not None
    os.kill(process.pid, number)
    process.join(timeout=300)
    printed = output.read_text(encoding="utf-8")
    assert process.exitcode == status, printed
    assert "Traceback" not in printed
    if number != signal.SIGKILL:
        assert printed.splitlines()[-2:] == [
            f"go on with: spikevae train fashion-mnist --resume {run} --data-root {config.data.data_root}",
            "spikevae: stopped",
        ]
    assert state_of(run)["images_seen"] < 192
    train(config, run, is_new=False)
    assert differences(state_of(run), state_of(finished)) == []


def test_ctrl_c_between_two_saves_saves_first(
    config: RunConfig, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rarely = replace(config, train=replace(config.train, checkpoint_seconds=1e6))
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        press_ctrl_c(patch, times=1)
        with pytest.raises(KeyboardInterrupt):
            train(rarely, run)
    assert state_of(run)["images_seen"] == 32  # of the step that was going on
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    train(rarely, run, is_new=False)
    assert_same_run(run, finished)


def test_a_second_ctrl_c_stops_at_once(config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    press_ctrl_c(monkeypatch, times=2)
    with pytest.raises(KeyboardInterrupt):
        train(replace(config, train=replace(config.train, checkpoint_seconds=1e6)), tmp_path / "run")
    assert not (tmp_path / "run" / "state.pt").exists()


def test_a_kill_that_comes_twice_saves_the_state(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As that of ``timeout`` does, which sends it to the process and to its group."""
    press_ctrl_c(monkeypatch, times=2, number=signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        train(replace(config, train=replace(config.train, checkpoint_seconds=1e6)), tmp_path / "run")
    assert (tmp_path / "run" / "state.pt").exists()


def test_a_kill_that_comes_again_while_the_state_is_saved_does_not_lose_it(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rarely, save, killed = short(config, checkpoint_seconds=1e6), torch.save, []
    handler = signal.signal(signal.SIGTERM, lambda *_: killed.append("too early"))

    def killed_again(*args: Any) -> None:
        signal.raise_signal(signal.SIGTERM)
        save(*args)

    monkeypatch.setattr(torch, "save", killed_again)
    press_ctrl_c(monkeypatch, times=1, number=signal.SIGTERM)
    try:
        with pytest.raises(KeyboardInterrupt):
            train(rarely, tmp_path / "run")
    finally:
        signal.signal(signal.SIGTERM, handler)
    assert killed == []
    assert state_of(tmp_path / "run")["images_seen"] == 32


def test_a_stop_after_weights_that_are_no_numbers_is_said_in_one_line(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    descend = Learner.descend

    def spoilt(self: Learner, loss: torch.Tensor) -> None:
        descend(self, loss)
        torch.nn.init.constant_(next(self.plain_model.parameters()), float("nan"))

    monkeypatch.setattr(Learner, "descend", spoilt)
    press_ctrl_c(monkeypatch, times=1)
    with pytest.raises(TrainingError, match="is no longer finite after 32 images; no state was saved yet"):
        train(short(config, checkpoint_seconds=1e6), tmp_path / "run")


def press_ctrl_c(patch: pytest.MonkeyPatch, *, times: int, number: int = signal.SIGINT) -> None:
    """Press it, or send another signal, in the middle of every step."""
    forward = SpikingVAE.forward
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job would ignore Ctrl-C

    def interrupted(self: SpikingVAE, *args: Any, **others: Any) -> Any:
        for _ in range(times):
            signal.raise_signal(number)
        return forward(self, *args, **others)

    patch.setattr(SpikingVAE, "forward", interrupted)


@pytest.mark.parametrize(
    "line", [b'{"images_seen": 1', b'{"images_seen": "many", "epoch": []}', b"\xff\xfe", b"[" * 100_000, b"3", b"null"]
)
def test_a_line_of_statistics_that_is_none_is_dropped(
    config: RunConfig, finished: Path, tmp_path: Path, line: bytes
) -> None:
    """A power cut may leave half a line; a finished run has nothing else to do."""
    run = copy_of(finished, tmp_path)
    with (run / "stats.jsonl").open("ab") as stats:
        stats.write(line + b"\n")
    train(config, run, is_new=False)
    assert_same_run(run, finished)


def test_events_of_what_is_done_again_are_shown_once(resumed: Path) -> None:
    events = EventAccumulator(str(resumed / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("loss")] == [96, 192, 288]


@pytest.mark.parametrize("is_new", [True, False])
def test_two_processes_do_not_train_in_one_folder(
    config: RunConfig, finished: Path, tmp_path: Path, is_new: bool
) -> None:
    run = copy_of(finished, tmp_path)
    if is_new:
        for path in run.glob("*.*"):
            path.unlink() if path.is_file() else shutil.rmtree(path)
    before = {path: path.read_bytes() for path in run.glob("*.*")}
    with filelock.FileLock(run / "lock"), pytest.raises(TrainingError, match="another process trains in") as caught:
        train(config, run, is_new=is_new)
    assert "\n" not in str(caught.value)
    assert {path: path.read_bytes() for path in run.glob("*.*")} == before
    train(config, run, is_new=is_new)


def test_a_full_disk_stops_with_one_line_and_keeps_the_last_state(
    config: RunConfig, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    train_until_save(3, config, run, monkeypatch)
    before = (run / "state.pt").read_bytes()
    with full_disk(), pytest.raises(TrainingError, match="the last saved state is kept, go on with --resume") as caught:
        train(config, run, is_new=False)
    assert "\n" not in str(caught.value)
    assert "state.pt" in str(caught.value)
    assert (run / "state.pt").read_bytes() == before
    assert temporary_files(run) == []
    train(config, run, is_new=False)
    assert_same_run(run, finished)


@pytest.mark.parametrize("rate", [1e20, 1e30, 1e37])
def test_a_loss_that_is_no_number_stops_with_one_line_and_keeps_the_last_good_state(
    config: RunConfig, tmp_path: Path, rate: float
) -> None:
    """Some rates only spoil the weights at first, not the loss: then too no state that is no number may be written."""
    run = tmp_path / "run"
    with pytest.raises(TrainingError, match="the last saved state is kept") as caught:
        train(short(config, learning_rate=rate, epochs=2, warmup_images=1), run)
    assert "\n" not in str(caught.value)
    assert "--train.learning-rate" in str(caught.value)
    assert "--resume" not in str(caught.value)  # which would end in the same way
    assert is_finite(state_of(run))
    assert temporary_files(run) == []


@pytest.mark.parametrize("phase", ["deterministic", "adversarial"])
def test_a_phase_that_diverges_names_its_own_learning_rate(config: RunConfig, tmp_path: Path, phase: str) -> None:
    rates = {f"{phase}_share": 0.5, f"{phase}_learning_rate": 1e30, "warmup_images": 1}
    advice = rf"Lower --train\.{phase}-learning-rate \(now 1e\+30\) and start again, with another --out"
    with pytest.raises(TrainingError, match=advice):
        train(short(config, epochs=2, **rates), tmp_path / "run")


# ---------------------------------------------------------------- what is refused


def test_a_new_run_is_refused_where_there_is_one(config: RunConfig, finished: Path) -> None:
    before = {path: path.read_bytes() for path in finished.glob("*.*")}
    with pytest.raises(FileExistsError, match="already holds a run; go on with --resume"):
        train(config, finished)
    assert {path: path.read_bytes() for path in finished.glob("*.*")} == before


@pytest.mark.parametrize("name", ["state.pt", "stats.jsonl", "model.safetensors", "config.json", "README.md"])
def test_a_new_run_writes_over_nothing_and_goes_on_from_no_state_of_another(
    config: RunConfig, tmp_path: Path, name: str
) -> None:
    (tmp_path / name).write_text("one's own")
    with pytest.raises(FileExistsError, match=f"{tmp_path} holds {name}, which a new run would write over; choose"):
        train(config, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "one's own"


def test_a_folder_without_a_run_cannot_be_resumed(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"holds no run to resume: run\.json is missing"):
        read_run(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"config": 3}', '{"config": {"model": {}}}'])
def test_a_damaged_run_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(ValueError, match=r"run\.json"):
        read_run(tmp_path)


@pytest.mark.parametrize("images", [5, {"train_images": None, "validation_images": "4"}, None])
def test_odd_numbers_of_images_in_a_run_file_are_as_good_as_none(images: Any, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"images": images, "config": to_dict(RunConfig())}))
    part = SimpleNamespace(origins=None)
    require_same_images(tmp_path, {"train_images": 34, "validation_images": 4}, part)


@pytest.mark.parametrize("settings", [{"epochs": 4}, {"batch_size": 16}, {"seed": 1}], ids=str)
def test_a_run_cannot_be_resumed_with_other_settings(
    config: RunConfig, finished: Path, tmp_path: Path, settings: dict[str, Any]
) -> None:
    run = copy_of(finished, tmp_path)
    other = replace(config, train=replace(config.train, **settings))
    with pytest.raises(ValueError, match=f"{run} .*settings"):
        train(other, run, is_new=False)
    assert (run / "state.pt").read_bytes() == (finished / "state.pt").read_bytes()


def test_latent_spikes_are_random_until_the_deterministic_phase(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[bool] = []
    forward = SpikingVAE.forward

    def watched(self: SpikingVAE, x: torch.Tensor, *args: Any, random: bool = True, **others: Any) -> Any:
        drawn.append(random)
        return forward(self, x, *args, random=random, **others)

    monkeypatch.setattr(SpikingVAE, "forward", watched)
    train(short(config, epochs=2, deterministic_share=0.5), tmp_path / "run")
    assert drawn == [True, True, False, False]
    card = (tmp_path / "run" / "README.md").read_text()
    assert "(2 of all parts together, the last 1 with deterministic latents), batches" in card


def test_the_discriminator_shall_recognise_the_classes_of_what_is_decoded_as_much_as_is_asked(
    config: RunConfig, finished: Path, tmp_path: Path
) -> None:
    without = tmp_path / "without"
    train(replace(config, objective=replace(config.objective, label_weight=0.0)), without)
    weights = [state_of(run)["model"] for run in (finished, without)]
    changed = {name.split(".")[0] for name in weights[0] if not torch.equal(weights[0][name], weights[1][name])}
    assert changed == {"decoder"}
    lines = [json.loads(line) for line in (finished / "stats.jsonl").read_text().splitlines()]
    adversarial = [line for line in lines if "discriminator" in line]
    assert adversarial
    assert all(line["cross_entropy"] > 0 for line in adversarial)


def test_a_run_can_be_resumed_where_its_data_have_moved_to(config: RunConfig, finished: Path, tmp_path: Path) -> None:
    run, root = copy_of(finished, tmp_path), tmp_path / "moved"
    shutil.copytree(str(config.data.data_root), root)
    train(replace(config, data=replace(config.data, data_root=str(root))), run, is_new=False)


def test_a_run_does_not_go_on_with_more_pictures_than_it_had(config: RunConfig, finished: Path, tmp_path: Path) -> None:
    run, root = copy_of(finished, tmp_path), tmp_path / "grown"
    write_made_data(root, train=60, test=30)
    with pytest.raises(ValueError, match=r"was started with .* train images, .* and now there are"):
        train(replace(config, data=replace(config.data, data_root=str(root))), run, is_new=False)


def test_a_run_that_was_never_validated_does_not_go_on_with_more_pictures_either(
    config: RunConfig, finished: Path, tmp_path: Path
) -> None:
    run, root = copy_of(finished, tmp_path), tmp_path / "grown"
    for name in ("stats.jsonl", "state.pt"):
        (run / name).unlink()
    write_made_data(root, train=60, test=30)
    with pytest.raises(ValueError, match=r"was started with .* train images, .* and now there are"):
        train(replace(config, data=replace(config.data, data_root=str(root))), run, is_new=False)


def test_a_trained_run_whose_state_was_removed_is_not_trained_anew(
    config: RunConfig, finished: Path, tmp_path: Path
) -> None:
    run = copy_of(finished, tmp_path)
    (run / "state.pt").unlink()
    with pytest.raises(TrainingError, match=r"state\.pt is missing; .* write over the model") as caught:
        train(config, run, is_new=False)
    assert "\n" not in str(caught.value)
    for name in ("model.safetensors", "stats.jsonl"):
        assert (run / name).read_bytes() == (finished / name).read_bytes()


class Payload:
    """Unpickled, it makes a folder."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize(
    "kind",
    ["truncated", "empty", "flipped bit", "pickle", "saved pickle", "other state", "no epoch", "epoch of words"],
)
def test_a_damaged_or_hostile_state_is_refused_and_never_executed(
    config: RunConfig, finished: Path, tmp_path: Path, kind: str
) -> None:
    run, target = copy_of(finished, tmp_path), tmp_path / "executed"
    path = run / "state.pt"
    if kind == "truncated":
        path.write_bytes(path.read_bytes()[:-1000])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "flipped bit":
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    elif kind == "pickle":
        path.write_bytes(pickle.dumps(Payload(target)))
    elif kind == "saved pickle":
        torch.save({"model": Payload(target)}, path)
    elif kind == "other state":
        torch.save(torch.load(path, weights_only=True) | {"model": {}}, path)
    elif kind == "no epoch":
        torch.save({"model": {}}, path)
    else:
        torch.save(torch.load(path, weights_only=True) | {"epoch": "one"}, path)
    with pytest.raises(TrainingError, match=r"state\.pt is damaged or of another model") as caught:
        train(config, run, is_new=False)
    assert "\n" not in str(caught.value)
    assert not target.exists()


@pytest.mark.parametrize("name", ["state.pt", "stats.jsonl"])
def test_a_pipe_in_a_run_is_refused_and_not_waited_for(
    config: RunConfig, finished: Path, tmp_path: Path, name: str
) -> None:
    run = copy_of(finished, tmp_path)
    (run / name).unlink()
    os.mkfifo(run / name)
    with pytest.raises(TrainingError, match=f"{name} is not a regular file"):
        train(config, run, is_new=False)


def test_a_run_that_cannot_be_written_is_refused_before_the_data_is_read(config: RunConfig, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    nowhere = replace(config, data=replace(config.data, data_root=str(tmp_path / "nowhere")))
    with pytest.raises(NotADirectoryError, match=r"file/run cannot be made: .*file is not a folder") as caught:
        train(nowhere, tmp_path / "file" / "run")
    assert "kept" not in str(caught.value)


def test_a_disk_that_is_full_from_the_start_promises_nothing(config: RunConfig, tmp_path: Path) -> None:
    with full_disk(64), pytest.raises(TrainingError, match="no state was saved yet") as caught:
        train(short(config), tmp_path / "run")
    assert "resume" not in str(caught.value)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"image_size": 32}, "1x28x28 images, the model is for 1x32x32"),
        ({"image_channels": 3}, "the model is for 3x28x28"),
        ({"class_names": ("a", "b")}, "has the classes"),
        ({"latent": "autoregressive"}, "adversarial fine-tuning needs a latent with a density"),
        ({"prior_rank": 6000, "latent_size": 6000}, "weights; at most 134,217,728 are read back"),
    ],
)
def test_a_network_that_does_not_fit_the_data_is_refused_before_anything_is_written(
    config: RunConfig, tmp_path: Path, model: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        train(replace(config, model=replace(config.model, **model)), tmp_path / "run")
    assert not (tmp_path / "run" / "run.json").exists()


# ---------------------------------------------------------------- other data, other networks, other arithmetic


def test_images_without_labels_train_through_both_phases(config: RunConfig, tmp_path: Path) -> None:
    random = np.random.RandomState(0)
    (tmp_path / "pictures").mkdir()
    for number in range(24):
        Image.fromarray(random.randint(0, 256, (20, 24, 3), dtype=np.uint8)).save(tmp_path / f"pictures/{number}.png")
    unlabelled = RunConfig(
        model=replace(config.model, image_size=16, image_channels=3, class_names=()),
        data=DataConfig(dataset=f"folder:{tmp_path / 'pictures'}", image_size=16, validation_share=0.2),
        train=replace(config.train, batch_size=8, image_limit=None),
    )
    scores = train(unlabelled, tmp_path / "run")
    assert scores.keys() == {"reconstruction_error"}
    assert spikevae.load(tmp_path / "run").sample(2).shape == (2, 3, 16, 16)


def test_own_images_train_with_their_classes_and_lengths_that_fit(
    config: RunConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    images = torch.randint(0, 256, (40, 1, 28, 28), dtype=torch.uint8)
    own = ImageSet(images, torch.arange(40) % 2, name="own", split="train", class_names=("even", "odd"))
    settings = TrainConfig(epochs=3, precision="float32", deterministic_share=0.0)
    start = replace(config, model=replace(config.model, class_names=()), train=settings)
    with caplog.at_level("INFO", logger="spikevae"):
        scores = spikevae.train(start, str(tmp_path / "run"), train_set=own)
    assert scores.keys() == {"reconstruction_error", "accuracy"}
    assert spikevae.load(tmp_path / "run").config.class_names == ("even", "odd")
    chosen = read_run(tmp_path / "run")
    assert chosen.data.dataset == "own"
    assert chosen.train == settings.fitted_to(32)
    assert "32 training images, 8 held out; 3 epochs (2 joint, 1 adversarial), batches of 16" in caplog.text
    spikevae.train(start, tmp_path / "run", train_set=own, is_new=False)


def test_a_rate_is_never_negative_whatever_a_run_has_seen_before(config: RunConfig) -> None:
    phase = phases_of(replace(config, train=replace(config.train, epochs=10, adversarial_share=0.5)))[-1]
    rates = [phase.learning_rate(seen, 32, 1024, 2_000) for seen in range(0, 11 * 1024, 32)]
    assert min(rates) == rates[-1] == 0.0
    assert rates[0] == phase.learning_rate(phase.epochs.start * 1024, 32, 1024, 2_000) > 0
    assert max(rates) <= phase.peak_rate


def sorted_by_class(config: RunConfig, counts: tuple[int, ...]) -> tuple[RunConfig, ImageSet]:
    """Settings of two epochs, and images as a folder of classes gives them: all of the first, then all of the next."""
    names = tuple("abcdef"[: len(counts)])
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    images = torch.randint(0, 256, (len(labels), 1, 28, 28), dtype=torch.uint8)
    own = ImageSet(images, labels, name="own", split="train", class_names=names)
    settings = short(config, epochs=2, preview_epochs=1, image_limit=None)
    return replace(settings, model=replace(settings.model, class_names=())), own


@pytest.mark.usefixtures("unchecked_types")
def test_images_that_are_no_set_are_refused_before_a_run_begins(config: RunConfig, tmp_path: Path) -> None:
    settings, own = sorted_by_class(config, (8, 8))
    for sets, message in (
        ({"train_set": (own.images(), own.labels)}, "^train_set must be an ImageSet or an EventSet, got tuple; "),
        ({"train_set": own, "validation_set": own.images()}, "^validation_set must be an ImageSet .*, got Tensor; "),
    ):
        given: Any = sets
        with pytest.raises(ValueError, match=message):
            train(settings, tmp_path / "run", **given)
    assert not (tmp_path / "run").exists()


def test_a_run_with_held_out_images_of_its_own_divides_nothing(config: RunConfig, tmp_path: Path) -> None:
    """Otherwise a part of what it learned from would be measured as held out."""
    settings, own = sorted_by_class(config, (24, 24, 24))
    train(settings, tmp_path / "run", train_set=own, validation_set=own)
    assert read_run(tmp_path / "run").data.validation_share == 0
    assert "72 more were held out" in (tmp_path / "run" / "README.md").read_text()
    train(settings, tmp_path / "run", train_set=own, validation_set=own, is_new=False)


def test_a_density_of_latents_without_potentials_is_refused_in_one_line(config: RunConfig) -> None:
    """A latent of one's own may say that it has a density, and forget what that is fitted to."""
    _, own = sorted_by_class(config, (2, 2))
    found = Learner(config, make_accelerator("float32"))
    cast(Any, found.averaged_model).encode = lambda x: SimpleNamespace(potential=None)
    with pytest.raises(ValueError, match="its posterior has no potential") as caught:
        validation.fit_density(found, own, iter)
    assert "\n" not in str(caught.value)


def test_a_preview_samples_every_class_of_images_that_come_class_by_class(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "_PREVIEW_FIT", 12)
    settings, own = sorted_by_class(config, (24, 24, 3))
    train(settings, tmp_path / "run", train_set=own, validation_set=own)
    assert len(list((tmp_path / "run" / "previews").iterdir())) == 4


def test_a_folder_is_read_in_grey_for_a_model_of_grey_images(config: RunConfig, tmp_path: Path) -> None:
    (tmp_path / "scans").mkdir()
    for number in range(8):
        Image.new("RGB", (28, 28), (number, 2 * number, 100)).save(tmp_path / "scans" / f"{number}.png")
    data = DataConfig(dataset=f"folder:{tmp_path / 'scans'}", image_size=28, validation_share=0.2)
    for channels in (1, 3):
        model = replace(config.model, image_channels=channels, class_names=())
        parts = load_sets(replace(config, model=model, data=data), None, None)
        assert [part.image_channels for part in parts] == [channels, channels]


def test_held_out_images_are_refused_before_training_where_they_are_not_like_the_others(
    config: RunConfig, tmp_path: Path
) -> None:
    """A wrong size stopped a run at its first validation; another order of classes gave a wrong accuracy."""
    settings, own = sorted_by_class(config, (6, 6))
    pixels = own.images()
    assert own.labels is not None
    for other, expected in (
        ((pixels[..., :14, :14], own.labels, ("a", "b")), " has images of 1x14x14, and the training set"),
        ((pixels.expand(-1, 3, -1, -1), own.labels, ("a", "b")), " has images of 3x28x28, and the training set"),
        ((pixels, own.labels, ("b", "a")), r" has the classes \('b', 'a'\), and the training set \('a', 'b'\)"),
        ((pixels[:0], own.labels[:0], ("a", "b")), ": other holds no images"),
    ):
        other_set = ImageSet(other[0], other[1], name="other", split="validation", class_names=other[2])
        with pytest.raises(ValueError, match=f"^validation_set{expected}"):
            train(settings, tmp_path / "run", train_set=own, validation_set=other_set)
        assert not (tmp_path / "run").exists()
    unlabelled = ImageSet(pixels, name="other", split="validation")
    assert load_sets(settings, own, unlabelled)[1] is unlabelled


def test_own_images_validate_a_named_data_set(config: RunConfig) -> None:
    pixels = torch.zeros(5, 1, 28, 28, dtype=torch.uint8)
    own = ImageSet(pixels, name="own", split="validation")
    whole = replace(config, train=replace(config.train, image_limit=None))
    train_set, validation_set = load_sets(whole, None, own)
    assert validation_set is own
    held_out = load_sets(whole, None, None)
    assert len(train_set) == sum(map(len, held_out))  # none is held out for nothing
    assert len(held_out[1]) > 0


def test_so_many_images_are_of_every_class(config: RunConfig) -> None:
    settings, own = sorted_by_class(config, (60, 60, 3))
    few, _ = load_sets(short(settings, image_limit=40), own, own)
    first, second, rare = few.labels.bincount().tolist()
    assert (first + second, rare) == (38, 2)
    assert abs(first - second) < 10


def test_a_class_with_too_few_images_is_named_before_anything_is_learned(config: RunConfig, tmp_path: Path) -> None:
    settings, own = sorted_by_class(config, (24, 1))
    with pytest.raises(ValueError, match=r"^own: the class 'b' has 1 of the 25 training images, and a density needs"):
        train(settings, tmp_path / "run", train_set=own, validation_set=own)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("rare", "parts", "network", "needed"),
    [(2, (), "vae", 4), (3, (), "vae", 4), (4, (), "vae", None), (2, (), "classifier", 3), (3, (), "classifier", None),
     (2, ("test",), "vae", 3), (2, ("test", "val"), "vae", None), (2, ("test",), "classifier", None)],
)  # fmt: skip
def test_a_class_of_a_folder_that_is_too_small_for_each_part_is_refused(
    rare: int, parts: tuple[str, ...], network: str, needed: int | None, config: RunConfig, tmp_path: Path
) -> None:
    for place in (*parts, "train") if parts else ("",):
        write_pictures(tmp_path / place / "cat", 12)
        write_pictures(tmp_path / place / "rare", rare)
    settings = of_pictures(config, tmp_path)
    if network == "classifier":
        model = ModelConfig(network="classifier", layers="conv8/2 readout", image_size=16, image_channels=3)
        settings = replace(settings, model=model)
    sets = load_sets(settings, None, None)
    learner = Learner(fitted_to(settings, sets[0]), make_accelerator("float32"))
    message = f"'rare' has .* every class needs {needed} or more: .*--unlabelled"
    with nullcontext() if needed is None else pytest.raises(ValueError, match=message):
        validation.check_own_classes(learner, *sets)


def test_images_without_a_class_are_refused_before_an_adversarial_phase_and_not_in_it(
    config: RunConfig, tmp_path: Path
) -> None:
    settings, own = sorted_by_class(config, (24, 24))
    assert own.labels is not None
    own.labels[::6] = -1
    painting = replace(settings, train=replace(settings.train, adversarial_share=0.5))
    with pytest.raises(ValueError, match=r"^own: 8 of the 48 training images have no class \(label -1\)"):
        train(painting, tmp_path / "no", train_set=own, validation_set=own)
    assert train(settings, tmp_path / "run", train_set=own, validation_set=own).keys() == {
        "reconstruction_error",
        "accuracy",
    }


def test_one_image_without_a_class_is_refused_before_anything_is_learned(config: RunConfig, tmp_path: Path) -> None:
    one = ImageSet(torch.zeros(1, 1, 28, 28, dtype=torch.uint8), name="mine", split="train")
    plain = replace(config, model=replace(config.model, class_names=()))
    with pytest.raises(ValueError, match="a density needs two training images or more, and there is 1"):
        train(plain, tmp_path / "run", train_set=one, validation_set=one)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("part", ["train", "validation"])
def test_a_classifier_is_not_trained_or_validated_without_any_label(
    config: RunConfig, tmp_path: Path, part: str
) -> None:
    settings, own = sorted_by_class(config, (4, 4))
    network = replace(settings.model, network="classifier", layers="conv8/2 readout", class_names=own.class_names)
    unlabelled = ImageSet(own.images(), name="mine", split=part, class_names=own.class_names)  # type: ignore[arg-type]
    sets: dict[str, Any] = {"train_set": own, "validation_set": own} | {f"{part}_set": unlabelled}
    with pytest.raises(ValueError, match=f"^mine: none of the 8 {part} images has a class, and a classifier needs"):
        train(replace(settings, model=network), tmp_path / "run", **sets)
    assert not (tmp_path / "run").exists()


def test_the_density_of_a_large_set_is_fitted_to_a_part_of_every_class(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, own = sorted_by_class(config, (24, 24, 3))
    monkeypatch.setattr(validation, "_MOST_POTENTIALS", 20 * config.model.time_steps * config.model.latent_size)
    monkeypatch.setattr(validation, "_LEAST_IMAGES", 10)
    seen = []
    fit = PotentialLatent.fit

    def watched(latent: PotentialLatent, potentials: torch.Tensor, labels: torch.Tensor) -> None:
        seen.append(labels.bincount().tolist())
        fit(latent, potentials, labels)

    monkeypatch.setattr(PotentialLatent, "fit", watched)
    train(settings, tmp_path / "run", train_set=own, validation_set=own)
    assert {(sum(counts), counts[2]) for counts in seen} == {(20, 2)}


def test_what_is_validated_now_and_then_is_validated_at_the_end_of_each_phase(
    config: RunConfig, tmp_path: Path
) -> None:
    seldom = replace(config, train=replace(config.train, epochs=6, preview_epochs=4))
    train(seldom, tmp_path / "run")
    assert [entry["epoch"] for entry in statistics_of(tmp_path / "run") if "epoch" in entry] == [2, 4, 6]
    assert len(list((tmp_path / "run" / "previews").iterdir())) == 6


def test_evaluate_measures_what_was_held_out_of_training(config: RunConfig, tmp_path: Path) -> None:
    data = replace(config.data, validation_share=0.3)
    train(short(replace(config, data=data), image_limit=None), tmp_path / "run")
    held_out = statistics_of(tmp_path / "run")[-1]["validation_images"]
    scores = spikevae.evaluate(
        tmp_path / "run", split="validation", metrics=("accuracy",), data_root=config.data.data_root
    )
    assert [score.samples for score in scores.scores] == [held_out]
    assert data_divided_for(tmp_path / "run", data.dataset) == data
    assert data_divided_for(tmp_path / "run", "mnist", unlabelled=True) == DataConfig(dataset="mnist", unlabelled=True)
    assert data_divided_for("n-mnist", "n-mnist").validation_share == 0.2  # a bundled model, as its preset says


def test_a_folder_is_divided_as_in_training_however_it_is_spelt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "cls").mkdir()
    (tmp_path / "other").symlink_to(tmp_path / "cls")
    monkeypatch.chdir(tmp_path)
    data = DataConfig(dataset="folder:cls", unlabelled=True, validation_share=0.3)
    describe_run(RunConfig(data=data), tmp_path / "run")
    for name in ("config.json", "model.safetensors"):
        (tmp_path / "run" / name).touch()
    for name in ("folder:cls", "folder:cls/", "folder:./cls", f"folder:{tmp_path / 'cls'}", "folder:other"):
        assert data_divided_for(tmp_path / "run", name) == replace(data, dataset=name)
    for name in ("folder:run", "events:cls", "mnist", "folder:"):
        assert data_divided_for(tmp_path / "run", name) == DataConfig(dataset=name)


def test_a_run_of_pictures_that_were_renamed_since_is_not_resumed(config: RunConfig, tmp_path: Path) -> None:
    write_pictures(tmp_path / "mine", 24)
    settings = of_pictures(config, tmp_path / "mine")
    train(settings, tmp_path / "run")
    (tmp_path / "mine" / "03.png").rename(tmp_path / "mine" / "x.png")
    with pytest.raises(ValueError, match="files were renamed, or its parts are others"):
        train(settings, tmp_path / "run", is_new=False)
    (tmp_path / "mine" / "x.png").rename(tmp_path / "mine" / "03.png")
    train(settings, tmp_path / "run", is_new=False)


@pytest.mark.parametrize("kind", ["folder", "events", "arrays"])
def test_what_a_folder_was_divided_from_is_remembered_until_it_changes(kind: str, tmp_path: Path) -> None:
    place = tmp_path / ("mine.npy" if kind == "arrays" else "mine")
    write_own(kind, place, 24)
    data = DataConfig(dataset=f"{'folder' if kind == 'arrays' else kind}:{place}", validation_share=0.2)
    splits: tuple[Split, ...] = ("train", "validation", "test")
    origins = load_split(data, "train").origins
    describe_run(RunConfig(data=data), tmp_path, origins=origins)
    assert not any(has_changed(tmp_path, load_split(data, split)) for split in splits)
    write_own(kind, place, 25)
    assert all(has_changed(tmp_path, load_split(data, split)) for split in splits)
    describe_run(RunConfig(), tmp_path, origins=origins)  # of another data set
    assert not has_changed(tmp_path, load_split(data, "test"))
    describe_run(RunConfig(data=data), tmp_path)  # as an older version did
    assert not has_changed(tmp_path, load_split(data, "test"))


@pytest.mark.parametrize("kind", ["folder", "events"])
def test_parts_that_a_folder_brings_do_not_change_with_the_others(kind: str, tmp_path: Path) -> None:
    data = DataConfig(dataset=f"{kind}:{tmp_path / 'mine'}", validation_share=0.2)
    for part, count in (("train", 12), ("test", 4)):
        write_own(kind, tmp_path / "mine" / part, count)
    describe_run(RunConfig(data=data), tmp_path, origins=load_split(data, "train").origins)
    write_own(kind, tmp_path / "mine" / "train", 13)
    assert not has_changed(tmp_path, load_split(data, "test"))
    assert has_changed(tmp_path, load_split(data, "validation"))


@pytest.mark.parametrize("kind", ["folder", "events"])
def test_parts_that_come_or_go_are_a_change(kind: str, tmp_path: Path) -> None:
    """Which files are for testing then changes, with the names that the others have or without."""
    data = DataConfig(dataset=f"{kind}:{tmp_path / 'mine'}", validation_share=0.2)
    for part in ("train", "test", "val"):
        write_own(kind, tmp_path / "mine" / part, 12)
    describe_run(RunConfig(data=data), tmp_path, origins=load_split(data, "train").origins)
    assert not any(has_changed(tmp_path, load_split(data, split)) for split in get_args(Split))
    for part, gone in (("val", "validation"), ("test", "test")):
        shutil.rmtree(tmp_path / "mine" / part)
        assert has_changed(tmp_path, load_split(data, cast(Split, gone)))
        assert has_changed(tmp_path, load_split(data, "train"))
    data = replace(data, dataset=f"{kind}:{tmp_path / 'mine' / 'train'}")
    describe_run(RunConfig(data=data), tmp_path, origins=load_split(data, "train").origins)
    write_own(kind, tmp_path / "mine" / "train" / "train", 12)
    write_own(kind, tmp_path / "mine" / "train" / "test", 12)
    assert has_changed(tmp_path, load_split(data, "test"))


@pytest.mark.parametrize(
    ("learned", "other", "is_refused"),
    [
        ("mine", "mine/cat", True),
        ("mine/cat", "mine", True),
        ("mine", "linked", True),
        ("mine/cat", "mine/dog", False),
        ("mine", "mine-too", False),
        ("parts", "parts/train/cat", True),
        ("parts", "parts/test/cat", False),  # which nothing was learned from
        ("parts", "parts/test", False),  # which is read as the whole
        ("parts/test", "parts", False),
    ],
)
def test_a_folder_that_shares_files_with_the_one_that_was_learned_is_refused(
    learned: str, other: str, is_refused: bool, tmp_path: Path
) -> None:
    for place in ("mine/cat", "mine/dog", "mine-too", "parts/train/cat", "parts/test/cat"):
        write_pictures(tmp_path / place, 12)
    (tmp_path / "linked").symlink_to(tmp_path / "mine" / "cat")
    data = DataConfig(dataset=f"folder:{tmp_path / learned}", unlabelled=True)
    describe_run(RunConfig(data=data), tmp_path, origins=load_split(data, "train").origins)
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).touch()
    given = data_divided_for(tmp_path, f"folder:{tmp_path / other}", unlabelled=True)
    with pytest.raises(ValueError, match="shares files with") if is_refused else nullcontext():
        require_same_division(tmp_path, load_split(given, "test"))


def test_a_start_on_a_part_of_the_folder_that_a_model_learned_from_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for place in ("mine/cat", "mine/dog"):
        write_pictures(tmp_path / place, 12)
    describe_run(RunConfig(data=DataConfig(dataset=f"folder:{tmp_path / 'mine' / 'cat'}")), tmp_path)
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).touch()
    for name, count in (("mine/dog", 0), ("mine", 1)):
        data = DataConfig(dataset=f"folder:{tmp_path / name}")
        config = RunConfig(data=data, train=TrainConfig(start_from=str(tmp_path)))
        tell_of_another_division(config, load_split(data, "train"))
        assert caplog.text.count(f"learned from files of folder:{tmp_path / name}:") == count


def test_a_start_from_a_model_that_learned_what_is_held_out_now_is_told(
    config: RunConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_pictures(tmp_path / "mine", 24)
    settings = of_pictures(config, tmp_path / "mine")
    train(settings, tmp_path / "run")
    again = replace(settings, train=replace(settings.train, start_from=str(tmp_path / "run")))
    train(again, tmp_path / "same")
    assert "in other parts" not in caplog.text
    train(replace(again, data=replace(settings.data, validation_share=0.3)), tmp_path / "share")
    assert caplog.text.count("in other parts: it may know what is held out now") == 1
    write_pictures(tmp_path / "mine", 25)
    train(again, tmp_path / "more")
    assert caplog.text.count("in other parts: it may know what is held out now") == 2


def of_pictures(config: RunConfig, folder: Path) -> RunConfig:
    """One short epoch of all pictures of a folder."""
    return RunConfig(
        model=replace(config.model, image_size=16, image_channels=3, class_names=()),
        data=DataConfig(dataset=f"folder:{folder}", image_size=16, validation_share=0.2),
        train=short(config, image_limit=None, batch_size=8).train,
    )


def write_pictures(folder: Path, count: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.RandomState(0)
    for number in range(count):
        Image.fromarray(random.randint(0, 256, (20, 20, 3), dtype=np.uint8)).save(folder / f"{number:02}.png")


def write_own(kind: str, place: Path, count: int) -> None:
    """Pictures in a folder or in an array, or recordings."""
    if kind == "arrays":
        np.save(place, np.random.RandomState(0).randint(0, 256, (count, 16, 16, 3), dtype=np.uint8))
    elif kind == "folder":
        write_pictures(place, count)
    else:
        write_files(place, {f"{number:02}.bin": encode_atis(made_recording(seed=number)) for number in range(count)})


def test_the_autoregressive_latent_trains(config: RunConfig, tmp_path: Path) -> None:
    model = replace(config.model, latent="autoregressive", latent_choices=4, neuron="lif", read_out="membrane")
    scores = train(replace(short(config), model=model), tmp_path / "run")
    assert scores["reconstruction_error"] > 0
    assert spikevae.load(tmp_path / "run").sample(2).shape == (2, 1, 28, 28)


@pytest.mark.parametrize(("has_it", "seconds", "expected"), [(True, 1, "bf16"), (True, 3, "no"), (False, 1, "no")])
def test_precision_auto_is_the_one_that_the_processor_multiplies_faster_in(
    has_it: bool, seconds: int, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    took = {torch.bfloat16: seconds, torch.float32: 2}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": has_it})
    monkeypatch.setattr(runtime, "_product_seconds", took.__getitem__)
    monkeypatch.setattr(learner, "prefers_bfloat16", runtime.prefers_bfloat16.__wrapped__)  # as a new process would
    assert learner.make_accelerator("auto").mixed_precision == expected
    assert learner.make_accelerator("float32").mixed_precision == "no"
    assert learner.make_accelerator("bfloat16").mixed_precision == "bf16"


def test_a_product_takes_time_in_either_precision() -> None:
    assert all(0 < runtime._product_seconds(dtype) < 60 for dtype in (torch.bfloat16, torch.float32))


def test_the_arithmetic_of_one_run_does_not_leak_into_the_next(
    config: RunConfig, finished: Path, tmp_path: Path
) -> None:
    scores = train(short(config, precision="bfloat16"), tmp_path / "bfloat16")
    assert np.isfinite(scores["reconstruction_error"])
    train(short(config), tmp_path / "float32")
    assert differences(state_of(tmp_path / "bfloat16"), state_of(tmp_path / "float32"))  # it did compute in bfloat16
    train(config, tmp_path / "run")
    assert_same_run(tmp_path / "run", finished)


@pytest.mark.parametrize("latent", ["potential", "autoregressive"])
def test_a_last_batch_of_a_single_image_does_not_stop_training(
    config: RunConfig, tmp_path: Path, latent: Literal["potential", "autoregressive"]
) -> None:
    model = replace(config.model, latent=latent, latent_choices=4)
    scores = train(replace(short(config, image_limit=33), model=model), tmp_path / "run")
    assert np.isfinite(scores["reconstruction_error"])


def test_neurons_fire_less_where_firing_costs(config: RunConfig, tmp_path: Path) -> None:
    rates = []
    for weight in (1e-6, 30.0):
        objective = replace(config.objective, firing_rate_weight=weight, firing_rate_target=0.0)
        settings = short(config, epochs=4, image_limit=None, batch_size=16, checkpoint_seconds=1e6, preview_epochs=4)
        train(replace(settings, objective=objective), tmp_path / str(weight))
        last = [entry for entry in statistics_of(tmp_path / str(weight)) if "loss" in entry][-1]
        others = last["reconstruction_error"] + 1e-4 * last["divergence"] + 0.15 * last["cross_entropy"]
        assert last["loss"] == pytest.approx(others + weight * last["firing_rate"], rel=1e-4)
        rates.append(last["firing_rate"])
    assert rates[1] < 0.7 * rates[0]


def test_the_decoder_fires_less_after_fine_tuning_in_which_firing_costs(config: RunConfig, tmp_path: Path) -> None:
    rates = []
    for weight in (1e-6, 30.0):
        objective = replace(config.objective, firing_rate_weight=weight, firing_rate_target=0.0)
        few = short(
            config, epochs=4, adversarial_share=0.75, image_limit=None, batch_size=16, adversarial_learning_rate=5e-3
        )
        train(replace(few, objective=objective), tmp_path / str(weight))
        rates.append([entry["firing_rate"] for entry in statistics_of(tmp_path / str(weight)) if "features" in entry])
    assert rates[1][-1] < 0.5 * rates[0][-1]


def test_training_makes_a_model_better(config: RunConfig, tmp_path: Path) -> None:
    first = train(short(config), tmp_path / "short")
    more = short(config, epochs=6, image_limit=None, batch_size=16, learning_rate=1e-2, checkpoint_seconds=1e6)
    last = train(more, tmp_path / "long")
    assert last["reconstruction_error"] < 0.8 * first["reconstruction_error"]


@pytest.mark.parametrize("symmetric", [False, True])
def test_new_images_may_be_mirrored_where_that_is_as_real(config: RunConfig, tmp_path: Path, symmetric: bool) -> None:
    train(short(config, symmetric=symmetric, shift=0), tmp_path / "run")
    model = spikevae.load(tmp_path / "run")
    images, _ = load_sets(read_run(tmp_path / "run"), None, None)
    (x, labels), *_ = images.batches(len(images))
    views = [x, x.flip(-1)] if symmetric else [x]
    potentials = torch.stack([model.encode(view).potential.transpose(0, 1).flatten(1) for view in views]).mean(dim=0)
    for label in range(model.config.classes):
        torch.testing.assert_close(
            model.latent.density.mean[label], potentials[labels == label].mean(dim=0), atol=2e-3, rtol=1e-2
        )


@pytest.mark.parametrize("symmetric", [False, True])
def test_the_discriminator_sees_mirror_images_where_they_are_as_real(config: RunConfig, symmetric: bool) -> None:
    config = replace(config, train=replace(config.train, symmetric=symmetric, adversarial_share=1.0, batch_size=80))
    learner = Learner(config, make_accelerator("float32"))
    data, _ = load_sets(config, None, None)
    potentials = torch.randn(40 * config.model.classes, config.model.time_steps * config.model.latent_size)
    learner.generator.latent.fit(potentials, torch.arange(len(potentials)) % config.model.classes)
    ((shown, _),), ((seen, *_),) = (
        data.batches(80, seed=0),
        batches_left(data, learner, phases_of(config)[-1], Progress()),
    )
    is_mirrored = (shown != seen).flatten(1).any(dim=1)
    assert bool(is_mirrored.any()) == symmetric
    assert torch.equal(torch.where(is_mirrored[:, None, None, None], shown.flip(-1), shown), seen)
