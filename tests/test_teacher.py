"""What a network that draws learns from a trained classifier: class probabilities, and how pictures look to it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import spikevae
from spikevae.config import ModelConfig, ObjectiveConfig, RunConfig
from spikevae.hub.model_card import Training, model_card
from spikevae.nn.classifiers import SpikingClassifier
from spikevae.presets import PRESETS
from spikevae.training.learner import Batch, Learner, make_accelerator
from spikevae.training.losses import distillation_loss, vae_objective
from spikevae.training.phases import joint_step
from spikevae.training.teacher import Teacher, add_perceptual_distance

from .test_pretrained import CLASSES, STUDENT, shades, trained
from .test_pretrained import settings as of_classifier

DRAWS = ModelConfig(
    image_size=8,
    image_channels=1,
    class_names=CLASSES,
    time_steps=2,
    temporal_kernel=2,
    encoder_widths=(8, 8),
    decoder_widths=(8, 8, 8),
    latent_size=16,
    prior_rank=4,
    prior_components=1,
)


@pytest.fixture(scope="module")
def ordinary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("ordinary") / "run"
    trained(of_classifier(replace(STUDENT, neuron="relu", attention="none", time_steps=1), epochs=6), run)
    return run


def settings(objective: ObjectiveConfig | None = None, model: ModelConfig = DRAWS, **changes: Any) -> RunConfig:
    """A short run of a small network that draws."""
    start = PRESETS["fashion-mnist"]
    few = replace(start.train, epochs=2, batch_size=8, ema_images=8, warmup_images=8, flip=False, precision="float32")
    few = replace(few, deterministic_share=0.5, adversarial_share=0.0)
    return replace(start, model=model, objective=objective or ObjectiveConfig(), train=replace(few, **changes))


def batch() -> Batch:
    images = shades(16)
    assert images.labels is not None
    return Batch(images.images().float() / 255, images.labels, 16)


def learner(config: RunConfig) -> Learner:
    found = Learner(config, make_accelerator("float32"))
    found.set_learning_rate(1e-3)
    return found


def test_the_distance_is_that_of_all_feature_maps() -> None:
    torch.manual_seed(0)
    network = SpikingClassifier(replace(STUDENT, layers="conv4 conv6/2+attention avgpool linear5 readout"))
    teacher = Teacher(network)
    x, y = torch.rand(3, 1, 8, 8), torch.rand(3, 1, 8, 8)
    assert [tuple(maps.shape) for maps in network.feature_maps(x)] == [
        (2, 3, 4, 8, 8),
        (2, 3, 6, 4, 4),
        (2, 3, 6, 1, 1),
    ]
    expected = sum((a - b).abs().mean() for a, b in zip(network.feature_maps(x), network.feature_maps(y), strict=True))
    torch.testing.assert_close(teacher.distance(y, x), torch.as_tensor(expected / 3))
    assert float(teacher.distance(x, x)) == 0.0


def test_gradients_reach_the_reconstruction_and_not_the_teacher(ordinary: Path) -> None:
    network = spikevae.load(ordinary)
    assert isinstance(network, SpikingClassifier)
    teacher = Teacher(network)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    y = torch.rand(4, 1, 8, 8, requires_grad=True)
    x = torch.rand(4, 1, 8, 8)
    distance = teacher.distance(y, x)
    distance.backward()
    assert y.grad is not None
    assert float(teacher.distance(y.detach() - 0.05 * y.grad / y.grad.norm(), x)) < float(distance.detach())
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert all(weight.grad is None for weight in network.parameters())


def test_the_term_is_weighted_and_left_out_without_a_teacher(ordinary: Path) -> None:
    teacher = learner(settings(teacher=str(ordinary))).teacher
    x, y = torch.rand(4, 1, 8, 8), torch.rand(4, 1, 8, 8)
    for judge, weight, share in ((teacher, 2.0, 0.5), (teacher, 0.0, 1.0), (None, 2.0, 1.0)):
        terms = {"loss": torch.tensor(1.0)}
        add_perceptual_distance(terms, judge, y, x, share, ObjectiveConfig(perceptual_weight=weight))
        if judge is None or weight == 0:
            assert list(terms) == ["loss"]
            assert terms["loss"] == 1.0
        else:
            torch.testing.assert_close(terms["perceptual_distance"], 0.5 * judge.distance(y, x))
            torch.testing.assert_close(terms["loss"], 1.0 + 2 * terms["perceptual_distance"])


def test_a_step_takes_both_lessons(ordinary: Path) -> None:
    taught, alone = learner(settings(teacher=str(ordinary))), learner(settings())
    torch.manual_seed(0)
    with_teacher = joint_step(taught, batch())
    torch.manual_seed(0)
    without = joint_step(alone, batch())
    assert set(with_teacher) - set(without) == {"perceptual_distance"}
    torch.testing.assert_close(with_teacher["reconstruction_error"], without["reconstruction_error"])
    assert float(with_teacher["cross_entropy"]) != float(without["cross_entropy"])


def test_the_shared_classifier_imitates_its_teacher() -> None:
    logits, labels, probabilities = torch.randn(5, 2), torch.tensor([0, 1, 0, 1, -1]), torch.rand(5, 2).softmax(dim=1)
    x, weights = torch.rand(5, 1, 2, 2), ObjectiveConfig(teacher_weight=0.25)
    alone = vae_objective(x, x, torch.tensor(0.0), logits, labels, weights).cross_entropy
    both = vae_objective(x, x, torch.tensor(0.0), logits, labels, weights, probabilities).cross_entropy
    torch.testing.assert_close(both, 0.75 * alone + 0.25 * distillation_loss(logits, probabilities, 4.0))


@pytest.mark.parametrize("adversarial", [0.0, 0.5])
def test_reconstructions_look_more_alike_to_the_teacher(ordinary: Path, tmp_path: Path, adversarial: float) -> None:
    changes: dict[str, Any] = {"epochs": 6, "deterministic_share": 0.0, "adversarial_share": adversarial}
    found = {}
    for name, objective in (
        ("judged", ObjectiveConfig(perceptual_weight=10.0)),
        ("not", ObjectiveConfig(perceptual_weight=0.0)),
    ):
        model = trained(settings(objective, teacher=str(ordinary), **changes), tmp_path / name)
        x = batch().x
        teacher = learner(settings(teacher=str(ordinary))).teacher
        assert teacher is not None
        found[name] = float(teacher.distance(model.reconstruct(x), x))
    assert found["judged"] < found["not"]


def test_a_teacher_without_feature_maps_is_refused_before_a_run_begins(tmp_path: Path) -> None:
    run = tmp_path / "flat"
    flat = replace(STUDENT, layers="linear8 readout", neuron="relu", attention="none", time_steps=1)
    trained(of_classifier(flat, optimizer="adamw"), run)
    with pytest.raises(ValueError, match=r"has no feature maps \(its layers are linear8 readout\)"):
        learner(settings(teacher=str(run)))


def test_reconstructions_that_are_no_numbers_do_not_pass_for_images(ordinary: Path) -> None:
    teacher = learner(settings(teacher=str(ordinary))).teacher
    assert teacher is not None
    assert bool(teacher.distance(torch.full((2, 1, 8, 8), torch.nan), torch.rand(2, 1, 8, 8)).isnan())


def test_gradients_pass_through_a_teacher_that_spikes() -> None:
    teacher = Teacher(SpikingClassifier(replace(STUDENT, layers="conv8 conv8/2+attention avgpool readout")).double())
    y, x = torch.rand(2, 1, 8, 8, dtype=torch.float64, requires_grad=True), torch.rand(2, 1, 8, 8, dtype=torch.float64)
    teacher.distance(y, x).backward()
    assert y.grad is not None
    assert float(y.grad.abs().max()) > 0


def test_without_classes_only_pictures_are_judged(ordinary: Path) -> None:
    found = learner(settings(model=replace(DRAWS, class_names=()), teacher=str(ordinary)))
    terms = joint_step(found, batch())
    assert float(terms["cross_entropy"]) == 0
    assert float(terms["perceptual_distance"]) > 0


def test_a_model_that_draws_recordings_learns_from_none(ordinary: Path) -> None:
    with pytest.raises(ValueError, match="a model that draws recordings learns from none"):
        Learner(replace(PRESETS["n-mnist"], train=settings(teacher=str(ordinary)).train), make_accelerator("float32"))


def test_a_card_says_who_judged(ordinary: Path) -> None:
    training = Training(64, 16, 1, 1.0, "a machine", {})
    card = model_card(settings(teacher="hf:me/teacher"), training)
    assert (
        "It learned the class probabilities of hf:me/teacher besides the labels, in whose feature maps its "
        "reconstructions were compared with their originals."
    ) in card
    assert "reconstructions were compared" not in model_card(of_classifier(teacher="hf:me/teacher"), training)
    judged = "Its reconstructions were compared with their originals in the feature maps of hf:me/teacher."
    only_judged = (
        settings(teacher="hf:me/teacher", deterministic_share=0.0, adversarial_share=1.0),
        settings(ObjectiveConfig(teacher_weight=0.0), teacher="hf:me/teacher"),
        settings(model=replace(DRAWS, class_names=()), teacher="hf:me/teacher"),
    )
    for config in only_judged:
        card = model_card(config, training)
        assert judged in card
        assert "class probabilities" not in card
    only_taught = model_card(settings(ObjectiveConfig(perceptual_weight=0.0), teacher="hf:me/teacher"), training)
    assert "It learned the class probabilities of hf:me/teacher besides the labels. " in only_taught
