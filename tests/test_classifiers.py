"""Classifiers without a decoder: their layers, their presets on made data in the original formats, and the commands."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

import spikevae
from spikevae.cli import main
from spikevae.config import CIFAR10_CLASSES, DataConfig, ModelConfig, ObjectiveConfig, RunConfig
from spikevae.data.events.writers import encode_atis
from spikevae.data.sets import ImageSet, load_split
from spikevae.nn.classifiers import SpikingClassifier
from spikevae.nn.networks import build_network
from spikevae.nn.residual import ResidualBlock
from spikevae.presets import PRESETS, preset_for
from spikevae.training.loop import train
from spikevae.training.losses import classification_loss
from spikevae.training.sets import load_sets
from tests.made_events import encode_aedat2, made_recording, write_dvs128, write_files, write_n_mnist

TINY = ModelConfig(
    network="classifier",
    layers="conv4/2+attention conv8+attention maxpool2 dropout0.5 linear12 readout",
    image_size=9,
    image_channels=2,
    class_names=("left", "right", "up"),
    time_steps=5,
)


def frames(config: ModelConfig, count: int) -> torch.Tensor:
    return torch.poisson(torch.full((config.time_steps, count, 2, *config.frame_size), 0.7))


@pytest.fixture(scope="module")
def events_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small event data sets in their original formats."""
    root = tmp_path_factory.mktemp("events")
    write_n_mnist(root)
    write_dvs128(root, "class,startTime_usec,endTime_usec\n" + "".join(
        f"{k},{k * 20_000},{k * 20_000 + 15_000}\n" for k in range(1, 12)
    ))  # fmt: skip
    for name in CIFAR10_CLASSES:
        made = {f"{name}/{n}.aedat": encode_aedat2(made_recording(90, size=(128, 128), seed=n)) for n in range(2)}
        write_files(root / "CIFAR10DVS", made, archive=f"{name}.zip")
    corner = encode_atis(made_recording(300, size=(180, 240)))
    made = {f"Caltech101/class{k:03}/image_{n}.bin": corner for k in range(101) for n in range(2)}
    write_files(root / "NCaltech101", made, archive="Caltech101.zip")
    return root


def two_steps(config: RunConfig, root: Path) -> RunConfig:
    """The preset itself, for two steps of two recordings."""
    few = replace(config.train, epochs=1, batch_size=2, image_limit=4)
    return replace(config, train=few, data=replace(config.data, data_root=str(root)))


EVENT_PRESETS = [
    name for name, config in PRESETS.items() if config.model.takes_events and config.model.layers and "sim" not in name
]
IMAGE_PRESETS = [name for name, config in PRESETS.items() if config.model.layers and not config.model.takes_events]


@pytest.mark.parametrize("name", EVENT_PRESETS)
def test_a_preset_learns_from_recordings_in_the_original_format(
    name: str, events_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    scores = train(two_steps(PRESETS[name], events_root), tmp_path / "run")
    assert 0 <= scores["accuracy"] <= 1
    model = spikevae.load(tmp_path / "run")
    fresh = build_network(model.config).state_dict()
    changed = [key for key, value in model.state_dict().items() if not torch.equal(value, fresh[key])]
    assert len(changed) > len(fresh) / 2
    assert model.classify(frames(model.config, 1)).shape == (1, model.config.classes)


@pytest.mark.parametrize("name", IMAGE_PRESETS)
def test_a_preset_learns_from_images(name: str, tmp_path: Path) -> None:
    config = PRESETS[name]
    model = config.model
    sides = (model.image_channels, *model.frame_size)
    pixels = torch.randint(0, 256, (6, *sides), dtype=torch.uint8)
    labels = torch.arange(6)
    images = ImageSet(pixels, labels, name=config.data.dataset, split="train", class_names=model.class_names)
    train(two_steps(config, tmp_path), tmp_path / "run", train_set=images, validation_set=images.subset(2))
    probabilities = spikevae.load(tmp_path / "run").classify(torch.rand(3, *sides))
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(3))


def test_the_network_for_dvs128_has_as_many_parameters_as_the_authors() -> None:
    # Without biases: 5 convolutions and norms, two TCJA (128 x 128 x 4 + 20 x 20 x 4), 2048 x 512 and 512 x 110.
    network = build_network(PRESETS["tcja-dvs128"].model)
    assert sum(parameter.numel() for parameter in network.parameters()) == 1_832_576


def test_an_answer_does_not_depend_on_the_batch_it_was_found_in() -> None:
    model = SpikingClassifier(TINY).eval()
    x_seq = frames(TINY, 7)
    torch.testing.assert_close(model.classify(x_seq, batch_size=3), model.classify(x_seq))
    torch.testing.assert_close(model.classify(x_seq[:, [4]]), model.classify(x_seq)[[4]])


def test_probabilities_form_over_time_and_end_as_the_answer() -> None:
    for layers in (TINY.layers, TINY.layers.replace("readout", "vote3")):
        model = SpikingClassifier(replace(TINY, layers=layers)).eval()
        x_seq = frames(TINY, 4)
        probabilities = model.probabilities(x_seq)
        assert probabilities.shape == (5, 4, 3)
        torch.testing.assert_close(probabilities.sum(dim=2), torch.ones(5, 4))
        assert torch.equal(probabilities[-1], model.classify(x_seq))


def test_the_answers_to_an_image_and_its_mirror_image_are_averaged_where_that_is_asked_for() -> None:
    model = SpikingClassifier(replace(TINY, image_channels=1, layers="conv8 readout")).eval()
    x = torch.rand(5, 1, 9, 9)
    expected = (model.classify(x) + model.classify(x.flip(3))) / 2
    assert not torch.equal(expected, model.classify(x))
    torch.testing.assert_close(model.classify(x, flip_tta=True, batch_size=2), expected)
    model.config = replace(model.config, classify_mirrored=True)
    torch.testing.assert_close(model.classify(x), expected)
    with pytest.raises(ValueError, match="does not mirror recordings"):
        replace(PRESETS["n-mnist"].model, classify_mirrored=True)


def test_an_image_is_classified_as_the_sequence_that_shows_it_at_every_step() -> None:
    config = replace(TINY, image_channels=1, layers="stem4 res8/2+attention fire avgpool readout")
    model = SpikingClassifier(config).eval()
    x = torch.rand(3, 1, 9, 9)
    x_seq = (2 * x - 1).repeat(5, 1, 1, 1, 1)
    for layer in model.layers:
        x_seq = layer(x_seq)
    torch.testing.assert_close(model(x), x_seq)


def test_a_closed_gate_leaves_the_currents_of_a_residual_block_as_they_came() -> None:
    block = ResidualBlock(replace(TINY, attention="none"), 4, 4, 1)
    block.attention = nn.Threshold(float("inf"), 0.0)
    currents = torch.randn(5, 2, 4, 9, 9)
    assert torch.equal(block(currents), currents)


def test_neurons_fire_in_the_deepest_block_from_the_start_of_training_on() -> None:
    # With gates on the sum, or norms of weight 1, currents shrink from block to block, and hardly a neuron fires.
    torch.manual_seed(0)
    network = build_network(PRESETS["tcja-fashion-mnist"].model)
    rates = []
    for layer in network.modules():
        if isinstance(layer, ResidualBlock):
            layer.fire.register_forward_hook(lambda _, __, spike_seq: rates.append(float(spike_seq.mean())))
    with torch.no_grad():
        network(torch.rand(16, 1, 28, 28))
    assert len(rates) == 8
    assert min(rates) > 0.1
    assert max(rates) < 0.3


@pytest.mark.parametrize(
    ("layers", "complaint"),
    [
        ("conv8 readout readout", "wrong place"),
        ("conv8 maxpool2", "expected readout"),
        ("conv8 dense3 readout", "'dense3' is no layer"),
        ("linear8 conv4 readout", "comes after a linear layer"),
        ("maxpool2 maxpool5 readout", "leaves nothing of 4x4"),
        ("linear8+attention readout", "is no layer"),
        ("maxpool2/2 readout", "only conv and res"),
        ("conv0 readout", "is no layer"),
    ],
)
def test_layers_that_do_not_fit_are_refused_in_one_line(layers: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint) as error:
        SpikingClassifier(replace(TINY, layers=layers))
    assert "\n" not in str(error.value)


def test_input_of_another_shape_is_refused() -> None:
    model = SpikingClassifier(TINY)
    with pytest.raises(ValueError, match=r"\[5, N, 2, 9, 9\]"):
        model.classify(frames(TINY, 2)[:4])
    with pytest.raises(ValueError, match="floats"):
        model.classify(frames(TINY, 2).byte())
    with pytest.raises(ValueError, match="a VAE none"):
        replace(TINY, network="vae", image_channels=1)


def test_losses_are_those_of_their_papers() -> None:
    score_seq, labels = torch.randn(5, 4, 3), torch.tensor([0, 2, -1, 1])
    known, target = score_seq[:, [0, 1, 3]], torch.tensor([0, 2, 1])
    log_shares = known.log_softmax(dim=2)
    each = torch.stack([-log_shares[:, n, target[n]] for n in range(3)])
    tet = ObjectiveConfig(classification_loss="tet", tet_weight=0.05, label_smoothing=0.0)
    expected = 0.95 * each.mean() + 0.05 * (known - 1).square().mean()
    torch.testing.assert_close(classification_loss(score_seq, labels, tet), expected)
    rates = ObjectiveConfig(classification_loss="rate-mse")
    expected = (known.mean(dim=0) - torch.eye(3)[target]).square().mean()
    torch.testing.assert_close(classification_loss(score_seq, labels, rates), expected)
    soft = torch.eye(3)[target]
    plain = ObjectiveConfig(label_smoothing=0.0)
    torch.testing.assert_close(classification_loss(known, soft, plain), classification_loss(known, target, plain))


def test_settings_of_recordings_are_refused_for_images(made_root: Path, tmp_path: Path) -> None:
    config = preset_for("fashion-mnist")
    config = replace(
        config, train=replace(config.train, rotation=5.0), data=replace(config.data, data_root=str(made_root))
    )
    with pytest.raises(ValueError, match="only event recordings"):
        train(config, tmp_path / "run")


def test_a_classifier_of_images_learns_with_cutout_and_a_model_that_draws_does_not(made_root: Path) -> None:
    config = preset_for("fashion-mnist", "tcja-fashion-mnist")
    data, train_settings = replace(config.data, data_root=str(made_root)), replace(config.train, cutout=9)
    learned_from, held_out = load_sets(replace(config, data=data, train=train_settings), None, None)
    assert (learned_from.cutout, held_out.cutout) == (9, 0)
    with pytest.raises(ValueError, match=r"^cutout=9: a model that draws would learn to draw the holes"):
        load_sets(replace(preset_for("fashion-mnist"), data=data, train=train_settings), None, None)


def test_event_data_has_one_door(events_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    wanted = DataConfig(dataset="n-mnist", data_root=str(events_root), time_steps=4, image_size=17, slice_by="time")
    events = load_split(wanted, "test")
    assert events.frames().shape == (10, 4, 2, 17, 17)
    with pytest.raises(ValueError, match="images are wanted"):
        load_split(wanted, "test", image_channels=1)


def test_commands_know_classifiers(
    events_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("SPIKEVAE_DATA", str(events_root))
    run = str(tmp_path / "run")
    short = ["--train.epochs", "1", "--train.image-limit", "8"]
    main(["train", "n-mnist", "--preset", "n-mnist-classifier", "--out", run, *short])
    main(["classify", run, "--data", "n-mnist", "--split", "test", "--json", str(tmp_path / "scores.json")])
    assert set(json.loads((tmp_path / "scores.json").read_text())) == {"images", "accuracy", "by_class"}
    (tmp_path / "one.bin").write_bytes(encode_atis(made_recording(seed=3)))
    capsys.readouterr()
    main(["classify", run, str(tmp_path / "one.bin")])
    assert "one.bin: " in capsys.readouterr().out
    main(["evaluate", run, "--json", str(tmp_path / "measured.json")])
    measured = json.loads((tmp_path / "measured.json").read_text())
    assert [score["metric"] for score in measured["scores"]] == ["accuracy", "firing_rate", "classify_energy"]
    assert measured["scores"][0]["value"] == pytest.approx(
        json.loads((tmp_path / "scores.json").read_text())["accuracy"]
    )
    assert len(measured["details"]["per_class"]) == 10
    assert measured["details"]["costs"]["classify"]["accumulates"] > 0
    capsys.readouterr()
    for command in (["sample", run, "--out", run + ".png"], ["reconstruct", run, "--data", "n-mnist"]):
        with pytest.raises(SystemExit):
            main(command)
        complaint = capsys.readouterr().err
        assert "is a classifier" in complaint
        assert complaint.count("\n") == 1
