"""The VAE of event recordings: its parts, its training, its commands and its scores, on made recordings."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import spikevae
from spikevae.cli import main
from spikevae.config import DataConfig, ModelConfig, ObjectiveConfig, RunConfig, TrainConfig
from spikevae.data.events.frames import FrameConfig, to_frames
from spikevae.data.events.readers import read_recording, read_recordings
from spikevae.data.events.recording import Recording, recording_of
from spikevae.data.events.writers import save_recordings
from spikevae.evaluation.energy import counting
from spikevae.evaluation.metrics import recordings as generated_recordings
from spikevae.evaluation.metrics.frechet import frechet_with_error
from spikevae.evaluation.metrics.precision_recall import equal_precision_recall
from spikevae.evaluation.model_inputs import ModelEvaluation
from spikevae.evaluation.settings import EvaluationConfig
from spikevae.inputs import list_files, read_inputs
from spikevae.nn.classifiers import SpikingClassifier
from spikevae.nn.event_vae import SpikingEventVAE
from spikevae.nn.frames import sample_recording
from spikevae.nn.intensity import IntensityReadOut, log_likelihood
from spikevae.training.learner import Learner, make_accelerator
from spikevae.training.loop import Trainer, train
from spikevae.training.sets import load_sets

SIZE, T, N = 10, 4, 3
TINY = ModelConfig(
    network="event-vae",
    image_size=SIZE,
    image_channels=2,
    class_names=("above", "below"),
    time_steps=T,
    slice_by="time",
    duration=40_000,
    encoder_widths=(8, 8),
    decoder_widths=(8, 6),
    latent_size=6,
    prior_rank=3,
)


def made_recording(label: int, seed: int) -> Recording:
    """About 250 events in the upper or in the lower half of the sensor, most of them in the second half of 40 ms."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(200, 300))
    t = np.sort((40_000 * np.sqrt(rng.random(count))).astype(np.int64))
    y = rng.integers(0, SIZE // 2, count) + label * (SIZE // 2)
    t[0], t[-1] = 0, 39_999
    return recording_of(t, rng.integers(0, SIZE, count), y, rng.integers(0, 2, count), (SIZE, SIZE))


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of recordings with two classes, in training and test parts."""
    folder = tmp_path_factory.mktemp("recordings")
    for part, count in (("train", 24), ("test", 6)):
        for label, name in enumerate(TINY.class_names):
            for number in range(count):
                path = folder / part / name / f"{number:02}.npz"
                seed = 2 * number + label + (1000 if part == "test" else 0)
                save_recordings([made_recording(label, seed)], path)
    return folder


@pytest.fixture(scope="module")
def config(recordings: Path) -> RunConfig:
    train_config = TrainConfig(
        epochs=12,
        batch_size=8,
        deterministic_share=1 / 3,
        adversarial_share=0.0,
        learning_rate=2e-2,
        warmup_images=8,
        ema_images=40,
        flip=False,
        precision="float32",
    )
    data = DataConfig(dataset=f"events:{recordings}", validation_share=0.2)
    return RunConfig(TINY, data, ObjectiveConfig(classification_weight=1.0), train_config)


@pytest.fixture(scope="module")
def run(config: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained model."""
    folder = tmp_path_factory.mktemp("runs") / "halves"
    train(config, folder)
    return folder


@pytest.fixture(scope="module")
def model(run: Path) -> SpikingEventVAE:
    loaded = spikevae.load(run)
    assert isinstance(loaded, SpikingEventVAE)
    return loaded


@pytest.fixture(scope="module")
def judge(config: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier of the same recordings, trained apart."""
    folder = tmp_path_factory.mktemp("runs") / "judge"
    network = replace(TINY, network="classifier", layers="conv8/2 readout")
    train(replace(config, model=network, train=replace(config.train, deterministic_share=0.0)), folder)
    return folder


def frames_of(recording: Recording) -> Tensor:
    return torch.from_numpy(to_frames(recording, FrameConfig(T, "time")))


# ------------------------------------------------------------ parts


def test_the_likelihood_is_that_of_torch() -> None:
    intensity, counts = torch.rand(50) * 5 + 0.01, torch.randint(0, 7, (50,)).float()
    expected = torch.distributions.Poisson(intensity).log_prob(counts)
    torch.testing.assert_close(log_likelihood(intensity, counts), expected)


def test_every_step_has_an_intensity_of_its_own() -> None:
    read_out = IntensityReadOut(5)
    x_seq = torch.zeros(T, N, 5, SIZE, SIZE)
    quiet = read_out(x_seq)
    x_seq[2, 1] = 1
    changed = (read_out(x_seq) != quiet).flatten(2).any(dim=2)
    assert changed.nonzero().tolist() == [[2, 1]]
    assert quiet.shape == (T, N, 2, SIZE, SIZE)
    assert (quiet > 0).all()


def test_as_many_events_are_drawn_as_are_expected_where_they_are_expected() -> None:
    intensity = np.zeros((3, 2, 2, 4)) + 1e-9
    intensity[0, 1, 1, 3], intensity[2, 0, 0, 0] = 2.5, 7.0
    drawn = [sample_recording(intensity, 300, np.random.default_rng(seed)) for seed in range(400)]
    early = [one.between(0, 100) for one in drawn]
    late = [one.between(200, 300) for one in drawn]
    assert all(len(a) + len(b) == len(one) for a, b, one in zip(early, late, drawn, strict=True))
    assert {(x, y, p) for one in early for x, y, p in zip(one.x, one.y, one.p, strict=True)} == {(3, 1, 1)}
    assert {(x, y, p) for one in late for x, y, p in zip(one.x, one.y, one.p, strict=True)} == {(0, 0, 0)}
    for found, mean in ((early, 2.5), (late, 7.0)):
        counts = np.asarray([len(one) for one in found])
        assert abs(counts.mean() - mean) < 4 * math.sqrt(mean / 400)
        assert abs(counts.var() - mean) < 0.25 * mean


def test_times_within_a_slice_follow_the_slices_beside_it() -> None:
    intensity = np.stack([np.full((2, 3, 3), rate) for rate in (10.0, 20.0, 10.0)])
    drawn = [sample_recording(intensity, 3_000_000, np.random.default_rng(seed)) for seed in range(40)]
    places = np.concatenate([one.t for one in drawn]) / 1e6
    rising = places[places < 1]  # its rate runs from 10 to 15, so (10 + 12.5) / 2 of 12.5 lie in the first half
    assert abs((rising < 0.5).mean() - 11.25 / 25) < 4 * 0.5 / math.sqrt(len(rising))
    middle = places[(places >= 1) & (places < 2)] - 1  # 15 to 15
    assert abs((middle < 0.5).mean() - 0.5) < 4 * 0.5 / math.sqrt(len(middle))


@pytest.mark.parametrize(
    "settings",
    [{"slice_by": "number"}, {"image_channels": 1}, {"image_width": 12}, {"duration": 3}, {"layers": "readout"}],
)
def test_a_config_that_makes_no_sense_is_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        replace(TINY, **settings)  # type: ignore[arg-type]


def test_only_frames_of_the_model_s_size_are_taken() -> None:
    untrained = SpikingEventVAE(TINY).eval()
    with pytest.raises(ValueError, match=r"\[4, N, 2, 10, 10\], got \[4, 3, 2, 9, 9\]"):
        untrained.encode(torch.zeros(T, N, 2, 9, 9))


# ------------------------------------------------------------ training


def test_training_finds_where_the_events_are(model: SpikingEventVAE) -> None:
    given = [made_recording(label, 500 + 2 * number + label) for number in range(10) for label in (0, 1)]
    x_seq = torch.stack([frames_of(one) for one in given], dim=1).float()
    labels = torch.tensor([0, 1] * 10)
    assert (model.classify(x_seq).argmax(dim=1) == labels).double().mean() >= 0.9
    expected = model.reconstruct(x_seq)
    constant = x_seq.mean(dim=(0, 2, 3, 4), keepdim=True)
    gain = log_likelihood(expected, x_seq).sum() - log_likelihood(constant, x_seq).sum()
    assert gain / x_seq.sum() > 0.3  # all events in one half alone is worth log 2


def test_generated_recordings_are_of_the_class_asked_for(model: SpikingEventVAE) -> None:
    for label in (0, 1):
        made = model.sample_events(20, label=label, seed=1)
        y = np.concatenate([one.y for one in made])
        assert ((y >= SIZE // 2) == bool(label)).mean() > 0.8
        assert 100 < np.mean([len(one) for one in made]) < 500
        assert all(one.size == (SIZE, SIZE) and one.t[-1] < TINY.duration for one in made)


def test_a_recording_depends_on_its_number_and_the_seed_alone(model: SpikingEventVAE) -> None:
    several = model.sample_events(5, seed=3, label="below")
    alone = model.sample_events(1, seed=3, label=1, start=4, batch_size=1)
    assert several[4].is_equal(alone[0])
    assert not several[4].is_equal(model.sample_events(5, seed=4, label=1)[4])
    assert not several[3].is_equal(several[4])


def test_recordings_are_drawn_from_expected_events_of_any_type() -> None:
    vae = SpikingEventVAE(TINY)
    expected = torch.rand(T, 2, SIZE, SIZE, generator=torch.Generator().manual_seed(0)).bfloat16()
    given = [expected, expected.float(), expected.double(), expected.float().requires_grad_()]
    drawn = [vae.recordings([one], seed=5)[0] for one in given]
    assert len(drawn[0]) > 100
    assert all(one.is_equal(drawn[0]) for one in drawn)


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        (torch.full((T, 2, SIZE, SIZE), math.nan), "finite and at least 0, these go from nan to nan"),
        (torch.full((T, 2, SIZE, SIZE), math.inf), "finite and at least 0"),
        (torch.full((T, 2, SIZE, SIZE), -0.5), "finite and at least 0, these go from -0.5 to -0.5"),
        (torch.zeros(N, 2, SIZE, SIZE), r"must be \[T, 2, H, W\] = \[4, 2, 10, 10\], got \[3, 2, 10, 10\]"),
    ],
)
def test_what_are_no_expected_events_is_refused_in_one_line(expected: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message) as refusal:
        SpikingEventVAE(TINY).recordings([expected])
    assert "\n" not in str(refusal.value)


def test_batches_do_not_matter(model: SpikingEventVAE) -> None:
    x_seq = torch.poisson(torch.full((T, 5, 2, SIZE, SIZE), 0.5))
    torch.testing.assert_close(model.reconstruct(x_seq, batch_size=2), model.reconstruct(x_seq))
    probabilities = model.probabilities(x_seq, batch_size=2)
    assert probabilities.shape == (T, 5, 2)
    torch.testing.assert_close(probabilities[-1], model.classify(x_seq))


class StoppedError(Exception):
    """Ends a run in the middle."""


def test_an_interrupted_epoch_goes_on_as_it_would_have(
    config: RunConfig, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = iter(range(13))

    def stop(trainer: Trainer) -> None:
        if next(looks, None) is None:
            raise StoppedError

    saving = replace(config, train=replace(config.train, checkpoint_seconds=0.0))
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_stop_if_asked", stop)
        with pytest.raises(StoppedError):
            train(saving, tmp_path / "run")
    train(saving, tmp_path / "run", is_new=False)
    resumed, whole = spikevae.load(tmp_path / "run").state_dict(), spikevae.load(run).state_dict()
    assert all(torch.equal(resumed[name], whole[name]) for name in whole)


def test_a_run_without_adversarial_fine_tuning_has_no_discriminator(config: RunConfig) -> None:
    fitted = replace(config, train=config.train.fitted_to(40))
    learner = Learner(fitted, make_accelerator("float32"))
    assert set(learner.state()) == {"model", "ema", "optimizer"}
    with pytest.raises(ValueError, match="adversarial fine-tuning is for images"):
        Learner(replace(fitted, train=replace(fitted.train, adversarial_share=0.5)), make_accelerator("float32"))


def test_a_model_that_draws_recordings_learns_from_none_with_a_hole(config: RunConfig) -> None:
    cut = replace(config, train=replace(config.train, cutout=3))
    with pytest.raises(ValueError, match=r"^cutout=3: a model that draws would learn to draw the holes"):
        load_sets(cut, None, None)
    judged = replace(cut, model=replace(TINY, network="classifier", layers="conv8/2 readout"))
    assert load_sets(judged, None, None)[0].augmentation.cutout == 3


def test_another_data_set_is_learned_from_too(config: RunConfig, recordings: Path, tmp_path: Path) -> None:
    both = replace(config, data=replace(config.data, also=f"events:{recordings}"))
    train_set, validation_set = load_sets(both, None, None)
    alone, held_out = load_sets(config, None, None)
    assert len(train_set) == len(alone) + 48
    assert len(validation_set) == len(held_out)
    assert torch.equal(train_set.frames(0, len(alone)), alone.frames())


# ------------------------------------------------------------ commands


@pytest.mark.parametrize("name", ["made.npz", "made.gif", "made.webp", "made.png", "made"])
def test_sample_writes_every_form(run: Path, name: str, tmp_path: Path) -> None:
    out = tmp_path / name
    main(["sample", str(run), "--count", "3", "--label", "below", "--out", str(out)])
    expected = spikevae.load(run).sample_events(3, label="below")
    if name == "made.npz":
        arrays = np.load(out)
        assert arrays["labels"].tolist() == [1, 1, 1]
        assert arrays["offsets"].tolist() == np.cumsum([0, *map(len, expected)]).tolist()
        assert np.array_equal(arrays["t"], np.concatenate([one.t for one in expected]))
    elif name == "made":
        files = sorted(out.iterdir())
        assert [file.name for file in files] == ["0000-1.bin", "0001-1.bin", "0002-1.bin"]
        found = read_recording(files[2], size=(SIZE, SIZE))
        assert found.is_equal(expected[2])
    else:
        assert out.stat().st_size > 100


def test_classify_and_reconstruct_take_a_recording(
    run: Path, recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = str(recordings / "test" / "below" / "00.npz")
    main(["classify", str(run), given])
    assert "00.npz: below" in capsys.readouterr().out
    out = tmp_path / "again.bin"
    main(["reconstruct", str(run), given, "--out", str(out)])
    gain = float(capsys.readouterr().out.split("1 recordings: ")[1].split()[0])
    assert gain > 0.3
    assert (read_recording(out).y >= SIZE // 2).mean() > 0.8


def test_reconstruct_and_evaluate_give_one_number_in_which_every_recording_counts_alike(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short, other = made_recording(0, 1), made_recording(1, 2)
    t, x, y, p = (np.repeat(column, 8) for column in (other.t, other.x, other.y, other.p))
    eight_times = recording_of(t, x, y, p, other.size)
    for part in ("train", "test"):
        for name, recording in (("above", short), ("below", eight_times)):
            for number in range(2):
                save_recordings([recording], tmp_path / part / name / f"{number}.npz")
    data = f"events:{tmp_path}"
    main(["reconstruct", str(run), "--data", data])
    said = float(capsys.readouterr().out.split("4 recordings: ")[1].split()[0])
    measured = spikevae.evaluate(run, data=data, metrics="reconstruction").value("event_likelihood")
    assert said == pytest.approx(measured, abs=6e-4)
    alone = []
    for recording in (short, eight_times):
        save_recordings([recording], tmp_path / "one.npz")
        main(["reconstruct", str(run), str(tmp_path / "one.npz")])
        alone.append(float(capsys.readouterr().out.split("1 recordings: ")[1].split()[0]))
    assert said == pytest.approx(np.mean(alone), abs=2e-3)
    assert abs(alone[0] - alone[1]) > 0.01


@pytest.mark.parametrize(("suffix", "side", "warned"), [(".bin", 40, True), (".bin", SIZE, False), (".npz", 40, False)])
def test_classify_warns_where_a_larger_sensor_would_make_other_frames(
    suffix: str, side: int, warned: bool, run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, side, (2, 500))
    path = tmp_path / f"one{suffix}"
    save_recordings([recording_of(np.sort(rng.integers(0, 9_000, 500)), x, y, x % 2, (side, side))], path)
    main(["classify", str(run), str(path)])
    assert ("do not say how large their sensor is" in caplog.text) == warned
    assert ("one.bin, for which 40x40 pixels are assumed" in caplog.text) == warned


@pytest.mark.parametrize("command", ["classify", "reconstruct"])
@pytest.mark.parametrize(("height", "width", "warned"), [(SIZE - 2, SIZE, True), (SIZE, SIZE, False)])
def test_recordings_of_a_smaller_sensor_than_the_model_s_frames_are_told_of(
    command: str, height: int, width: int, warned: bool, run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rng = np.random.default_rng(0)
    t, x, y = np.sort(rng.integers(0, 9_000, 50)), rng.integers(0, width, 50), rng.integers(0, height, 50)
    save_recordings([recording_of(t, x, y, x % 2, (height, width))], tmp_path / "one.npz")
    main([command, str(run), str(tmp_path / "one.npz")])
    assert (f"one.npz, {height}x{width}) than this model's {SIZE}x{SIZE} frames" in caplog.text) == warned


@pytest.mark.parametrize("command", ["classify", "reconstruct"])
@pytest.mark.parametrize(
    ("duration", "warned"), [(19_999, True), (20_000, False), (80_000, False), (80_001, True), (800_000, True)]
)
def test_recordings_of_another_length_than_those_the_model_makes_are_told_of(
    command: str, duration: int, warned: bool, run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    places = np.arange(SIZE)
    t = 5_000_000 + np.linspace(0, duration, SIZE).astype(np.int64)  # when a recording begins does not matter
    save_recordings([recording_of(t, places, places, places % 2, (SIZE, SIZE))], tmp_path / "one.npz")
    main([command, str(run), str(tmp_path / "one.npz")])
    said = f"one.npz, {duration:,} µs) as this model's, {TINY.duration:,} µs, and are taken for ones of that length"
    assert (said in caplog.text) == warned
    assert ("last more than twice or less than half" in caplog.text) == warned


def test_a_classifier_which_makes_no_recordings_takes_them_of_any_length(
    judge: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    places = np.arange(SIZE)
    save_recordings([recording_of(10**6 * places, places, places, places % 2, (SIZE, SIZE))], tmp_path / "one.npz")
    main(["classify", str(judge), str(tmp_path / "one.npz")])
    assert not caplog.text


@pytest.mark.parametrize(("height", "width"), [(SIZE - 3, SIZE - 1), (SIZE - 3, SIZE + 4)])
def test_files_and_their_folder_make_the_same_frames_where_none_says_how_large_the_sensor_is(
    height: int, width: int, run: Path, model: SpikingEventVAE, tmp_path: Path
) -> None:
    x, y = (side.ravel() for side in np.meshgrid(np.arange(width), np.arange(height)))  # an event in each pixel
    for part, late in (("train", 0), ("test", 3)):
        recording = recording_of(np.arange(len(x)) + late * (y + 1).cumsum(), x, y, x % 2)
        for name in TINY.class_names:
            save_recordings([recording], tmp_path / part / name / "0.bin")
    files = list_files([tmp_path / "test"], events=True)
    of_files = read_inputs(str(run), model, files, None, None, None, None)
    of_folder = read_inputs(str(run), model, [], f"events:{tmp_path}", "test", None, None)
    assert torch.equal(of_files.frames(), of_folder.frames())
    assert of_files.frames().sum() == 2 * height * width


def test_a_file_of_several_recordings_is_taken_one_by_one(
    run: Path, recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    several = tmp_path / "given" / "made.npz"
    main(["sample", str(run), "--count", "3", "--out", str(several)])
    made = read_recordings(several)
    single = str(recordings / "test" / "below" / "00.npz")
    save_recordings(made[2:], tmp_path / "given" / "other.bin")
    capsys.readouterr()
    main(["classify", str(run), str(several.parent), single])
    names, answers = zip(*(line.rsplit(": ", 1) for line in capsys.readouterr().out.splitlines()), strict=True)
    assert names == (*(f"{several}: {number}" for number in range(3)), str(several.parent / "other.bin"), single)
    assert answers[2] == answers[3]  # the same recording in a file of its own
    save_recordings(
        [made[0], replace(made[0], t=made[0].t[:0], x=made[0].x[:0], y=made[0].y[:0], p=made[0].p[:0])], several
    )
    with pytest.raises(SystemExit):
        main(["classify", str(run), str(several)])
    assert f"{several}: 1 holds no events" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["sample", "{run}", "--out", "x.jpg"], "recordings are not written as .jpg"),
        (["sample", "{run}", "--out", "x.bin", "--count", "2"], "x.bin can hold one recording, not 2"),
        (["sample", "{run}", "--out", "x.gif", "--size", "32"], "--size 32"),
        (["sample", "{run}", "--out", "x.gif", "--label", "beside"], "beside"),
        (["reconstruct", "{run}", "--out", "x.gif", "--invert", "x.npz"], "--invert"),
        (["classify", "{run}", "--data", "n-mnst"], "there is no data set 'n-mnst'; did you mean 'n-mnist'?"),
        (["classify", "{run}", "--invert", "x.npz"], "--invert: recordings are neither light nor dark"),
        (["export", "{run}", "--format", "onnx", "--part", "decoder", "--out", "x.onnx"], "a VAE of event recordings"),
        (["evaluate", "{run}", "--report", "x"], "--report"),
        (["evaluate", "{run}", "--metrics", "fad"], "has no metric 'fad'"),
    ],
)
def test_what_recordings_cannot_do_is_said_in_one_line(
    words: list[str], line: str, run: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        main([word.format(run=run) for word in words])
    said = capsys.readouterr().err
    assert line in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0])
def test_frames_that_count_no_events_get_no_answer(value: float) -> None:
    frames = torch.zeros(T, N, 2, SIZE, SIZE)
    frames[1, 1, 0, 2, 2] = value
    vae = SpikingEventVAE(TINY).eval()
    classifier = SpikingClassifier(replace(TINY, network="classifier", layers="conv4 readout")).eval()
    for call in (vae.encode, vae.classify, vae.reconstruct, vae.features, classifier, classifier.classify):
        with pytest.raises(ValueError, match="event frames are counts of at least 0, these go from"):
            call(frames)


# ------------------------------------------------------------ scores


@pytest.mark.parametrize("command", ["sample", "reconstruct"])
@pytest.mark.parametrize("name", ["made", "made.bin"])
@pytest.mark.parametrize("changes", [{"duration": 2**23 + 1}, {"image_size": 244}])
def test_recordings_too_large_for_bin_files_are_refused_before_they_are_made(
    command: str,
    name: str,
    changes: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    vae = SpikingEventVAE(replace(TINY, **changes)).eval()
    spikevae.save(vae, tmp_path / "model", dataset="n-mnist")
    monkeypatch.setattr(SpikingEventVAE, "decode", None)  # nothing is drawn
    given = ["--count", "1"] if command == "sample" else [str(tmp_path / "given.npz")]
    save_recordings([made_recording(0, 0)], tmp_path / "given.npz")
    with pytest.raises(SystemExit):
        main([command, str(tmp_path / "model"), *given, "--out", str(tmp_path / name)])
    message = capsys.readouterr().err
    assert "a .bin file holds 240 rows, 256 columns and 8,388,608 µs" in message
    assert message.count("\n") == 1
    assert not (tmp_path / name).exists()


def test_events_of_the_input_accumulate() -> None:
    layer = nn.Conv2d(2, 3, 3, padding=1, bias=False)
    frame = torch.zeros(1, 2, 5, 5)
    frame[0, 0, 2, 2], frame[0, 1, 0, 0] = 4, 1  # four events in the middle reach 9 places each, one in a corner 4
    with counting(layer, images=1) as cost:
        layer(frame)
    assert cost.accumulates == (4 * 9 + 4) * 3
    assert cost.multiply_accumulates == 0
    with counting(layer, images=1) as cost:
        layer(frame / 2)
    assert (cost.accumulates, cost.multiply_accumulates) == (0, (9 + 4) * 3)


def test_classifying_a_recording_costs_one_look_at_its_rates() -> None:
    torch.manual_seed(0)
    model = SpikingEventVAE(TINY).eval()
    for name, value in model.named_buffers():
        if name.endswith("running_var"):
            value.fill_(0.01)  # currents large enough that neurons fire
    x_seq = torch.poisson(torch.full((T, N, 2, SIZE, SIZE), 0.5))
    rates = model.features(x_seq).mean(dim=0)
    assert rates.count_nonzero() > 10
    with counting(model, images=N) as cost:
        model.classify(x_seq)
    assert cost.layers["classifier.linear"].multiply_accumulates == pytest.approx(2 * int(rates.count_nonzero()) / N)


def test_evaluate_measures_recordings(run: Path, judge: Path, tmp_path: Path) -> None:
    out = tmp_path / "scores.json"
    main(["evaluate", str(run), "--networks", str(judge), "--count", "40", "--json", str(out)])
    record = json.loads(out.read_text())
    found = {score["metric"]: score for score in record["scores"]}
    assert found["accuracy"]["value"] >= 0.8
    assert "exact 95% interval" in found["accuracy"]["note"]
    assert found["label_agreement"]["value"] > 0.8
    assert found["event_likelihood"]["value"] > 0.3
    assert found["domain_frechet"]["value"] > 0
    assert 150 < found["events"]["value"] < 350
    assert 150 < float(found["events"]["better"]) < 350
    assert 0 < found["event_rate"]["value"] < 0.5
    assert set(record["details"]["costs"]) == {"encode", "decode", "sample", "classify"}
    assert record["details"]["event_statistics"]["real"]["recordings"] == 12


def test_statistics_of_real_recordings_do_not_follow_from_the_size_of_their_sensor(run: Path, tmp_path: Path) -> None:
    rng, measured = np.random.default_rng(0), []
    for scale in (1, 3):
        folder = tmp_path / str(scale)
        for part in ("train", "test"):
            for label, name in enumerate(TINY.class_names):
                one = made_recording(label, label)
                x, y = (scale * place + rng.integers(0, scale, len(one)) for place in (one.x, one.y))
                large = recording_of(one.t, x, y, one.p, (scale * SIZE, scale * SIZE))
                save_recordings([large], folder / part / name / "0.npz")
        measured.append(spikevae.evaluate(run, data=f"events:{folder}", metrics="statistics", count=10))
    assert measured[0]["waiting"].note == measured[1]["waiting"].note
    assert measured[0]["waiting"].better == measured[1]["waiting"].better


@pytest.mark.parametrize("latent", ["esvae", "autoregressive"])
def test_a_model_that_cannot_be_asked_for_a_class_is_measured_without_one(latent: str) -> None:
    torch.manual_seed(0)
    vae = SpikingEventVAE(replace(TINY, latent=latent)).eval()
    evaluation = ModelEvaluation(EvaluationConfig(model="made", count=10), "made", vae, DataConfig())
    recordings, labels = evaluation.generated
    assert (len(recordings), labels) == (10, None)


def test_what_cannot_be_computed_takes_nothing_else_with_it(
    run: Path, judge: Path, recordings: Path, tmp_path: Path
) -> None:
    shutil.copytree(recordings, tmp_path / "few")
    for part, kept in (("test", 1), ("train", 3)):
        for folder in (tmp_path / "few" / part).iterdir():
            for file in sorted(folder.iterdir())[kept:]:
                file.unlink()
    few = f"events:{tmp_path / 'few'}"
    scores = spikevae.evaluate(run, data=few, networks=judge, count=10, metrics=("domain", "statistics", "spikes"))
    assert "2 images are too few; give at least 4" in scores["domain_precision"].note
    assert scores["domain_recall"].value is None
    others = ("domain_frechet", "label_agreement", "events", "waiting", "firing_rate")
    assert all(scores.value(metric) is not None for metric in others)


def test_the_training_recordings_behind_a_distance_are_counted(
    run: Path, judge: Path, recordings: Path, tmp_path: Path
) -> None:
    shutil.copytree(recordings, tmp_path / "few")
    for folder in (tmp_path / "few" / "train").iterdir():
        for file in sorted(folder.iterdir())[4:]:
            file.unlink()
    few = f"events:{tmp_path / 'few'}"
    scores = spikevae.evaluate(run, data=few, networks=judge, count=10, metrics="domain")
    assert scores["domain_frechet"].reference_count == 12
    assert 2 <= int(scores["domain_frechet"].note.split(" real recordings")[0]) <= 8
    assert scores["label_agreement"].reference == "the label asked for"
    assert scores["domain_frechet"].extractor.startswith(f"classifier of events:{recordings}, ")  # not of the few


def test_the_error_of_a_distance_leaves_out_no_class(
    run: Path, judge: Path, recordings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, torch.Tensor] = {}

    def watched_distance(ours: torch.Tensor, theirs: torch.Tensor) -> tuple[float, float]:
        seen["mixed"] = ours  # the last call's
        return frechet_with_error(ours, theirs)

    def watched_measures(ours: torch.Tensor, *others: Any, **named: Any) -> Any:
        seen["in turn"] = ours
        return equal_precision_recall(ours, *others, **named)

    monkeypatch.setattr(generated_recordings, "frechet_with_error", watched_distance)
    monkeypatch.setattr(generated_recordings, "equal_precision_recall", watched_measures)
    spikevae.evaluate(run, data=f"events:{recordings}", networks=judge, count=100, metrics="domain")
    assert sorted(seen["mixed"].tolist()) == sorted(seen["in turn"].tolist())
    classes = torch.cdist(seen["mixed"], seen["in turn"]).argmin(dim=1) % len(TINY.class_names)  # they stand in turn
    assert all(len(classes[group::10].unique()) > 1 for group in range(10))


def test_without_a_judge_the_others_are_measured(run: Path, tmp_path: Path) -> None:
    scores = spikevae.evaluate(run, metrics=("domain", "statistics"), count=10)
    assert scores["domain_frechet"].value is None
    assert "train one with" in scores["domain_frechet"].note
    assert scores["events"].value is not None
