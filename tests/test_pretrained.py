"""What a run takes from models that were trained before: weights to begin with, and a teacher's probabilities."""

from __future__ import annotations

import dataclasses
import logging
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

import spikevae
from spikevae.config import DataConfig, ModelConfig, ObjectiveConfig, RunConfig
from spikevae.data.sets import ImageSet
from spikevae.hub.checkpoints import RELEASED
from spikevae.hub.model_card import Training, model_card
from spikevae.hub.run_settings import read_run
from spikevae.nn.classifiers import SpikingClassifier
from spikevae.presets import PRESETS, preset_for
from spikevae.train_command import preset_asked_for
from spikevae.training.learner import Learner, make_accelerator
from spikevae.training.loop import train
from spikevae.training.losses import classification_loss, distillation_loss
from spikevae.training.pretrained import with_whole_paths
from spikevae.training.run_folder import describe_run

CLASSES = ("dark", "light")
STUDENT = ModelConfig(
    network="classifier",
    layers="conv16 conv16/2+attention avgpool readout",
    image_size=8,
    image_channels=1,
    class_names=CLASSES,
    time_steps=2,
    temporal_kernel=2,
)


def shades(count: int = 64) -> ImageSet:
    """Dark and light images, in turn."""
    labels = torch.arange(count) % 2
    noise = torch.randint(0, 100, (count, 1, 8, 8), generator=torch.Generator().manual_seed(0))
    pixels = (noise + 120 * labels[:, None, None, None]).to(torch.uint8)
    return ImageSet(pixels, labels, name="shades", split="train", class_names=CLASSES)


def settings(model: ModelConfig = STUDENT, objective: ObjectiveConfig | None = None, **changes: Any) -> RunConfig:
    """A short run of a small classifier."""
    start = PRESETS["cifar10-classifier"]
    few = replace(start.train, epochs=1, batch_size=8, ema_images=8, warmup_images=8, shift=0, precision="float32")
    return replace(
        start, model=model, objective=objective or start.objective, train=dataclasses.replace(few, **changes)
    )


def trained(config: RunConfig, run: Path) -> Any:
    train(config, run, train_set=shades(), validation_set=shades(16))
    return spikevae.load(run)


@pytest.fixture(scope="module")
def ordinary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network without spikes, trained until it knows the shades."""
    run = tmp_path_factory.mktemp("ordinary") / "run"
    model = trained(settings(replace(STUDENT, neuron="relu", attention="none", time_steps=1), epochs=6), run)
    x = shades(16)
    assert (model.classify(x.images().float() / 255).argmax(dim=1) == x.labels).all()
    return run


def test_a_run_begins_with_the_weights_that_agree(ordinary: Path) -> None:
    model = Learner(settings(start_from=str(ordinary)), make_accelerator("float32")).plain_model
    theirs, fresh = spikevae.load(ordinary).state_dict(), SpikingClassifier(STUDENT).state_dict()
    own = model.state_dict()
    assert all(torch.equal(own[name], theirs[name]) for name in theirs)
    assert own.keys() == fresh.keys() > theirs.keys()


def test_a_resumed_run_needs_no_model_to_begin_with(
    ordinary: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    start = tmp_path / "start"
    start.symlink_to(ordinary)
    config = settings(start_from=str(start))
    with caplog.at_level(logging.INFO, "spikevae"):
        train(config, tmp_path / "run", train_set=shades(), validation_set=shades(16))
    assert f"% of the weights from {start}" in caplog.text
    start.unlink()
    with pytest.raises(FileNotFoundError, match="no model"):
        train(config, tmp_path / "other", train_set=shades(), validation_set=shades(16))
    assert not (tmp_path / "other").exists()
    scores = train(
        read_run(tmp_path / "run"),
        tmp_path / "run",
        train_set=shades(),
        validation_set=shades(16),
        is_new=False,
    )
    assert 0 <= scores["accuracy"] <= 1


def test_a_run_that_was_stopped_before_it_saved_begins_anew_with_them(ordinary: Path, tmp_path: Path) -> None:
    config = settings(start_from=str(ordinary))
    trained(config, tmp_path / "whole")
    (tmp_path / "killed").mkdir()
    shutil.copy(tmp_path / "whole" / "run.json", tmp_path / "killed")
    train(config, tmp_path / "killed", train_set=shades(), validation_set=shades(16), is_new=False)
    found, expected = (spikevae.load(tmp_path / name).state_dict() for name in ("killed", "whole"))
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_a_run_is_resumed_from_another_folder(ordinary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ordinary.parent)
    config = settings(start_from=ordinary.name, teacher=ordinary.name)
    trained(config, tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run" / "state.pt").unlink()
    (tmp_path / "run" / "model.safetensors").unlink()
    kept = read_run(tmp_path / "run")
    assert (kept.train.start_from, kept.train.teacher) == (str(ordinary), str(ordinary))
    train(kept, tmp_path / "run", train_set=shades(), validation_set=shades(16), is_new=False)


def test_a_teacher_that_is_gone_is_missed(ordinary: Path, tmp_path: Path) -> None:
    teacher = tmp_path / "teacher"
    teacher.symlink_to(ordinary)
    config = settings(teacher=str(teacher))
    trained(config, tmp_path / "run")
    teacher.unlink()
    with pytest.raises(FileNotFoundError, match=r"the run's teacher: no model .* until it ends"):
        train(config, tmp_path / "run", train_set=shades(), validation_set=shades(16), is_new=False)


def test_another_network_is_no_start(ordinary: Path, tmp_path: Path) -> None:
    wide = settings(replace(STUDENT, layers="conv64 conv64/2+attention avgpool readout"), start_from=str(ordinary))
    with pytest.raises(ValueError, match=r"start_from=.*only 0% of this network's weights"):
        train(wide, tmp_path / "run", train_set=shades(), validation_set=shades(16))
    assert not (tmp_path / "run").exists()


def test_a_teacher_can_replace_the_labels(ordinary: Path, tmp_path: Path) -> None:
    mislabelled = shades()
    assert mislabelled.labels is not None
    mislabelled.labels = 1 - mislabelled.labels
    config = settings(objective=ObjectiveConfig(teacher_weight=1.0), teacher=str(ordinary), epochs=6)
    train(config, tmp_path / "run", train_set=mislabelled, validation_set=shades(16))
    x = shades(32)
    found = spikevae.load(tmp_path / "run").classify(x.images().float() / 255).argmax(dim=1)
    assert float((found == x.labels).float().mean()) > 0.9


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (replace(STUDENT, image_size=9), "takes images of 1x8x8, and the network that learns takes images of 1x9x9"),
        (
            replace(STUDENT, class_names=CLASSES[::-1]),
            "knows the classes .*, and the network that learns .'light', 'dark'.; both",
        ),
        (
            replace(STUDENT, network="vae", layers="", image_size=16),
            "takes images of 1x8x8, and the network that learns",
        ),
        (replace(STUDENT, layers="conv16 vote4"), "whose layers end in readout"),
    ],
)
def test_a_teacher_of_something_else_is_refused(ordinary: Path, model: ModelConfig, reason: str) -> None:
    with pytest.raises(ValueError, match=rf"teacher=.*{reason}"):
        Learner(settings(model, teacher=str(ordinary)), make_accelerator("float32"))


def test_a_model_that_draws_is_no_teacher() -> None:
    with pytest.raises(ValueError, match="is no classifier without decoder"):
        Learner(settings(teacher="fashion-mnist"), make_accelerator("float32"))


def test_distillation_is_the_divergence_of_softened_probabilities() -> None:
    logits, theirs = torch.randn(5, 3), torch.randn(5, 3)
    found = distillation_loss(logits, theirs.softmax(dim=1), 4.0)
    wanted = (theirs / 4).softmax(dim=1)
    expected = 16 * (wanted * (wanted.log() - (logits / 4).softmax(dim=1).log())).sum(dim=1).mean()
    torch.testing.assert_close(found, expected)
    assert float(distillation_loss(theirs, theirs.softmax(dim=1), 2.0)) < 1e-6
    certain = functional.one_hot(torch.tensor([0, 1, 2, 0, 1]), 3).float()
    assert bool(distillation_loss(logits, certain, 1.0).isfinite())


def test_labels_and_teacher_share_the_loss() -> None:
    score_seq, labels, taught = torch.randn(2, 5, 3), torch.tensor([0, 1, 2, 0, 1]), torch.rand(5, 3).softmax(dim=1)
    losses = [
        classification_loss(score_seq, labels, ObjectiveConfig(teacher_weight=weight), taught)
        for weight in (0.0, 0.25, 1.0)
    ]
    torch.testing.assert_close(losses[0], classification_loss(score_seq, labels, ObjectiveConfig()))
    torch.testing.assert_close(losses[1], 0.75 * losses[0] + 0.25 * losses[2])
    torch.testing.assert_close(losses[2], distillation_loss(score_seq.mean(dim=0), taught, 4.0))


def test_a_card_says_what_was_taken_and_not_where_it_lay() -> None:
    training = Training(64, 16, 1, 1.0, "a machine", {})
    card = model_card(settings(start_from="mine", teacher="hf:me/teacher"), training)
    assert "It began with the weights of another model. It learned the class probabilities of hf:me/teacher" in card
    assert "mine" not in card
    assert "It began" not in model_card(settings(), training)
    followed = model_card(settings(start_from="mnist"), training, name="mnist")
    assert "It began with the weights of the model that had this name before." in followed
    began = model_card(settings(start_from="faces"), training)
    assert "It began with the weights of faces, whose data's terms hold on: CelebA" in began
    assert "non-commercial research only" in began


@pytest.mark.parametrize(("name", "value"), [("teacher_weight", 1.5), ("teacher_temperature", 0.0)])
def test_what_no_teacher_can_have_is_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=name):
        replace(ObjectiveConfig(), **{name: value})  # type: ignore[arg-type]  # a float each


def test_a_run_that_begins_with_a_model_has_its_network(ordinary: Path) -> None:
    faces = preset_asked_for(["folder:mine", "--train.start-from", "faces"])
    assert faces.model == replace(spikevae.load("faces").config, class_names=())
    assert (faces.data.image_size, faces.train.epochs) == (64, 0)
    assert faces.train.discriminator_shift == PRESETS["faces"].train.discriminator_shift
    small = preset_asked_for(["--train.start-from", str(ordinary), "folder:mine"])
    assert (small.model.layers, small.model.neuron, small.model.image_size) == (STUDENT.layers, "relu", 8)
    assert (small.model.class_names, small.train.weight_decay) == ((), PRESETS["cifar10-classifier"].train.weight_decay)
    asked = preset_asked_for(["folder:mine", "--preset", "mnist", "--train.start-from", "faces"])
    assert asked.model.encoder_widths == PRESETS["mnist"].model.encoder_widths
    same = preset_asked_for(["cifar10", "--train.start-from", "cifar10-classifier"])
    assert same.train == PRESETS["cifar10-classifier"].train


@pytest.mark.parametrize(
    "words",
    [
        "folder:mine --train.start-from cifar10-classifier --model.time-steps 2",
        "--train.start-from=cifar10-classifier --model.temporal-kernel 2 folder:mine",
        "folder:mine --preset cifar10-classifier --model.neuron relu",
        "folder:mine --preset faces --train.shift 30",
    ],
)
def test_options_are_read_with_the_defaults_of_the_model_they_are_for(words: str) -> None:
    settings = preset_asked_for(words.split())
    assert settings.model.encoder_widths != PRESETS["fashion-mnist"].model.encoder_widths
    assert settings.data.dataset == "folder:mine"


def test_a_start_on_the_same_pictures_is_trained_and_validated_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = preset_asked_for([f"folder:{tmp_path}/pics"])
    start = replace(start, data=replace(start.data, validation_share=0.2), train=replace(start.train, epochs=7))
    (tmp_path / "run").mkdir()
    describe_run(start, tmp_path / "run")
    for name in ("config.json", "model.safetensors"):
        shutil.copy(RELEASED / "faces" / name, tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    same = preset_asked_for(["folder:pics", "--train.start-from", "run"])
    assert (same.data.validation_share, same.train.epochs) == (0.2, 7)
    other = preset_asked_for(["folder:other", "--train.start_from", "run"])
    assert (other.data.validation_share, other.train.epochs) == (DataConfig.validation_share, 0)


def test_a_mistyped_start_is_named_whatever_else_is_wrong() -> None:
    with pytest.raises(FileNotFoundError, match="no model 'typo'"):
        preset_asked_for(["folder:mine", "--train.start-from", "typo", "--model.time-steps", "2"])


@pytest.mark.parametrize(
    ("dataset", "model", "reason"),
    [
        ("events:mine", "faces", "start_from='faces' takes colour images, and events:mine has event recordings"),
        ("cifar10", "n-mnist", "start_from='n-mnist' takes event recordings, and cifar10 has colour images"),
        ("mnist", "faces", "start_from='faces' takes colour images, and mnist has grey images"),
        ("cifar10", "nothing", "no model 'nothing'"),
    ],
)
def test_a_model_of_other_inputs_is_no_start(dataset: str, model: str, reason: str) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=reason):
        preset_asked_for([dataset, "--train.start-from", model])
    resumed = preset_asked_for([dataset, "--train.start-from", model, "--resume", "run"])
    assert resumed == preset_for(dataset)


def test_layers_may_be_written_with_spaces(ordinary: Path) -> None:
    spaced = settings(replace(STUDENT, layers=STUDENT.layers + " "), teacher=str(ordinary))
    assert Learner(spaced, make_accelerator("float32")).teacher is not None


def test_rectifiers_are_for_classifiers_alone() -> None:
    with pytest.raises(ValueError, match="a classifier alone has them"):
        ModelConfig(neuron="relu")


def test_a_run_names_its_folders_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    start = PRESETS["pictures"]
    data = replace(start.data, dataset="folder:pics", also="events:~/rec")
    found = with_whole_paths(replace(start, data=data)).data
    assert found.dataset == f"folder:{tmp_path / 'pics'}"
    assert found.also == f"events:{Path.home() / 'rec'}"
    for name in ("fashion-mnist", "folder:", "mine"):
        assert with_whole_paths(replace(start, data=replace(data, dataset=name, also=None))).data.dataset == name
