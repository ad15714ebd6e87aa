"""Settings: what is refused, and that a round trip through JSON changes nothing."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from spikevae.config import DataConfig, ModelConfig, ObjectiveConfig, RunConfig, TrainConfig, from_dict, to_dict
from spikevae.config.reading import typed
from spikevae.evaluation.settings import EvaluationConfig
from spikevae.presets import PRESETS, preset_for


def as_json(config: Any) -> Any:
    return json.loads(json.dumps(to_dict(config)))


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_survives_json(name: str) -> None:
    assert from_dict(RunConfig, as_json(PRESETS[name])) == PRESETS[name]


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize(
    ("config_class", "name", "value"),
    [
        (ModelConfig, "time_steps", 4.0),
        (ModelConfig, "tau", "2"),
        (ModelConfig, "class_names", "abc"),
        (ModelConfig, "encoder_widths", (8, "8")),
        (TrainConfig, "epochs", True),
        (TrainConfig, "seed", 2**63),
        (TrainConfig, "learning_rate", float("nan")),
        (DataConfig, "slice_by", "size"),
        (ObjectiveConfig, "label_smoothing", None),
        (RunConfig, "model", "mnist"),
        (EvaluationConfig, "split", "train"),
        (EvaluationConfig, "count", 10.5),
        (EvaluationConfig, "data", 3),
    ],
)
def test_a_setting_of_another_type_is_refused_in_python_as_in_a_file(config_class: Any, name: str, value: Any) -> None:
    model = {"model": "mnist"} if config_class is EvaluationConfig else {}
    with pytest.raises(ValueError, match=f"{name}|RunConfig|ModelConfig: expected"):
        config_class(**model, **{name: value})


@pytest.mark.usefixtures("unchecked_types")
def test_numbers_of_numpy_lists_and_names_of_files_become_what_a_file_can_hold() -> None:
    made: Any = ModelConfig
    config = made(time_steps=np.int64(5), tau=np.float32(2.5), encoder_widths=[8, np.int32(16)], class_names=["a", "b"])
    assert from_dict(ModelConfig, as_json(config)) == config
    assert (config.time_steps, config.encoder_widths, config.class_names) == (5, (8, 16), ("a", "b"))
    measured: Any = EvaluationConfig
    assert measured("mnist", json="scores.json", seed=np.int64(3)).json == Path("scores.json")


def test_whole_numbers_are_read_where_fractions_are_meant() -> None:
    values = as_json(ModelConfig()) | {"tau": 3}
    tau = from_dict(ModelConfig, values).tau
    assert tau == 3.0
    assert isinstance(tau, float)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"time_step": 4}, "ModelConfig has no setting 'time_step'; did you mean 'time_steps'"),
        ({"zzz": 4}, "ModelConfig has no setting 'zzz'"),
        ({"time_steps": "4"}, "time_steps='4' is not of type int"),
        ({"time_steps": 4.0}, "time_steps=4.0 is not of type int"),
        ({"time_steps": True}, "time_steps=True is not of type int"),
        ({"time_steps": None}, "time_steps=None is not of type int"),
        ({"time_steps": [4]}, "time_steps=.4. is not of type int"),
        ({"tau": "2"}, "tau='2' is not of type float"),
        ({"tau": False}, "tau=False is not of type float"),
        ({"tau": float("nan")}, "tau=nan is not a finite number"),
        ({"tau": float("inf")}, "tau=inf is not a finite number"),
        ({"tau": 10**400}, "tau=1000*0 is not of type float"),
        ({"encoder_widths": 64}, "encoder_widths=64 is not a list"),
        ({"class_names": "cat"}, "class_names='cat' is not a list"),
        ({"encoder_widths": [64, "128"]}, "encoder_widths='128' is not of type int"),
        ({"class_names": ["cat", 3]}, "class_names=3 is not of type str"),
        ({"attention": ["tcja"]}, "attention=.* is not of type str"),
        ({"attention": None}, "attention=None is not of type str"),
        ({"latent_size": 2**31}, "time_steps=4, image_size=28 and these widths make a sequence of more"),
        ({"time_steps": 10**9}, "time_steps=1000000000 is more than 1024"),
        ({"decoder_depth": 1}, "decoder_depth=1: this setting is gone; only models with 0 are read"),
        ({"read_out_scale": 2}, "read_out_scale=2: this setting is gone; only models with 1 are read"),
        ({"read_out": "mean"}, "read_out='mean' is none of weighted, membrane"),
    ],
)
def test_foreign_json_is_refused_in_one_line_that_names_the_setting(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        from_dict(ModelConfig, as_json(ModelConfig()) | change)
    assert "\n" not in str(caught.value)


def test_a_setting_that_is_gone_is_read_where_it_did_nothing() -> None:
    assert from_dict(ModelConfig, as_json(ModelConfig()) | {"decoder_depth": 0, "read_out_scale": 1}) == ModelConfig()


def test_a_missing_setting_and_what_is_no_object_are_refused() -> None:
    values = as_json(RunConfig())
    del values["train"]["seed"]
    with pytest.raises(ValueError, match="TrainConfig: the setting 'seed' is missing"):
        from_dict(RunConfig, values)
    with pytest.raises(ValueError, match="ModelConfig: expected a JSON object, found list"):
        from_dict(RunConfig, as_json(RunConfig()) | {"model": [1, 2]})


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        (ModelConfig, {"image_size": 0}),
        (ModelConfig, {"image_channels": 2}),
        (ModelConfig, {"time_steps": 0}),
        (ModelConfig, {"encoder_widths": ()}),
        (ModelConfig, {"decoder_widths": (8,)}),
        (ModelConfig, {"decoder_widths": (8, 0)}),
        (ModelConfig, {"encoder_widths": (8,) * 7}),
        (ModelConfig, {"temporal_kernel": 5}),
        (ModelConfig, {"channel_kernel": 25}),
        (ModelConfig, {"tau": 1.0}),
        (ModelConfig, {"surrogate_slope": 0.0}),
        (ModelConfig, {"latent_size": -1}),
        (ModelConfig, {"prior_rank": 0}),
        (DataConfig, {"validation_share": 1.0}),
        (DataConfig, {"validation_share": -0.1}),
        (DataConfig, {"image_size": 3}),
        (ObjectiveConfig, {"divergence_weight": -1.0}),
        (ObjectiveConfig, {"feature_weight": float("nan")}),
        (ObjectiveConfig, {"label_smoothing": 1.5}),
        (ObjectiveConfig, {"tet_weight": 1.5}),
        (TrainConfig, {"epochs": -1}),
        (TrainConfig, {"batch_size": -64}),
        (TrainConfig, {"learning_rate": float("nan")}),
        (TrainConfig, {"learning_rate": float("inf")}),
        (TrainConfig, {"deterministic_share": -0.1}),
        (TrainConfig, {"adversarial_share": 1.1}),
        (TrainConfig, {"weight_decay": -0.1}),
        (TrainConfig, {"seed": -1}),
        (TrainConfig, {"image_limit": 0}),
        (TrainConfig, {"epochs": 10**23}),
        (TrainConfig, {"batch_size": 10**13}),
    ],
)
def test_a_setting_out_of_range_is_refused_by_name(kind: type[Any], change: dict[str, Any]) -> None:
    (name, value) = next(iter(change.items()))
    with pytest.raises(ValueError, match=name) as caught:
        kind(**change)
    assert str(value) in str(caught.value)


def test_a_kernel_may_be_wide_where_its_branch_is_not_there() -> None:
    ModelConfig(attention="cla", temporal_kernel=9)
    ModelConfig(attention="tla", channel_kernel=999)
    ModelConfig(attention="none", temporal_kernel=9, channel_kernel=999)


@pytest.mark.parametrize(
    ("size", "doublings", "padded"), [(28, 2, 28), (28, 3, 32), (32, 4, 32), (7, 1, 8), (9, 1, 10), (1, 2, 4)]
)
def test_images_are_padded_to_what_the_decoder_can_double_up_to(size: int, doublings: int, padded: int) -> None:
    config = ModelConfig(image_size=size, decoder_widths=(8,) * (doublings + 1), encoder_widths=(8,) * 3)
    assert config.padded_size == padded


@pytest.mark.parametrize(
    ("epochs", "deterministic", "adversarial", "counts"),
    [
        (12, 0.25, 0.25, (3, 3)),
        (1, 0.0, 0.0, (0, 0)),
        (5, 0.5, 1.0, (0, 5)),
        (4, 1.0, 0.25, (3, 1)),
        (14, 0.15, 0.2, (2, 3)),
    ],
)
def test_the_epochs_of_a_phase_are_a_share_of_all(
    epochs: int, deterministic: float, adversarial: float, counts: tuple[int, int]
) -> None:
    train = TrainConfig(epochs=epochs, deterministic_share=deterministic, adversarial_share=adversarial)
    assert (train.deterministic_epochs, train.adversarial_epochs) == counts


def test_settings_by_their_former_names_are_read() -> None:
    values = as_json(RunConfig())
    train = values["train"]
    for former, name in (("settling", "deterministic"), ("refinement", "adversarial")):
        for suffix, value in (("share", 0.125), ("learning_rate", 3e-4)):
            del train[f"{name}_{suffix}"]
            train[f"{former}_{suffix}"] = value
    read = from_dict(RunConfig, values).train
    assert (read.deterministic_share, read.adversarial_share) == (0.125, 0.125)
    assert (read.deterministic_learning_rate, read.adversarial_learning_rate) == (3e-4, 3e-4)


def test_a_run_of_a_version_without_classes_of_folders_is_read_as_one_that_ignores_them() -> None:
    values = to_dict(DataConfig(dataset="folder:pictures"))
    assert values.pop("unlabelled") is False
    assert from_dict(DataConfig, values).unlabelled
    assert not from_dict(DataConfig, values | {"unlabelled": False}).unlabelled


@pytest.mark.parametrize(
    ("preset", "images", "lengths"),
    [
        ("fashion-mnist", 57_000, (32, 128, 20_000, 50_000, 1)),
        ("mnist", 57_000, (17, 128, 20_000, 50_000, 1)),
        ("cifar10", 47_500, (12, 64, 20_000, 20_000, 1)),
        ("faces", 162_770, (34, 32, 10_000, 10_000, 1)),
        ("pictures", 162_770, (20, 32, 10_000, 10_000, 1)),
        ("paper", 57_000, (3, 64, 20_000, 50_000, 1)),
    ],
)
def test_the_lengths_of_a_preset_on_its_whole_data_set_are_those_that_were_used(
    preset: str, images: int, lengths: tuple[int, ...]
) -> None:
    train = PRESETS[preset].train.fitted_to(images)
    assert (train.epochs, train.batch_size, train.warmup_images, train.ema_images, train.preview_epochs) == lengths


@pytest.mark.parametrize("images", [1, 86, 171, 855, 7_695, 162_770])
def test_open_lengths_fit_the_number_of_images(images: int) -> None:
    train = preset_for("folder:pictures").train.fitted_to(images)
    seen = train.epochs * images
    assert seen >= 1200 * images**0.5
    assert train.warmup_images <= max(1, seen / 16)
    assert train.ema_images <= max(1, seen / 6)
    assert 10 <= train.epochs / train.preview_epochs < 40
    assert train.fitted_to(10 * images) == train
    chosen = replace(preset_for("folder:pictures").train, epochs=3, warmup_images=7).fitted_to(images)
    assert (chosen.epochs, chosen.warmup_images) == (3, 7)


def test_settings_cannot_be_changed_behind_anybodys_back() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        ModelConfig().time_steps = 5  # type: ignore[misc]


@pytest.mark.parametrize(
    ("dataset", "channels", "classes"),
    [("fashion-mnist", 1, 10), ("mnist", 1, 10), ("cifar10", 3, 10), ("celeba", 3, 0), ("folder:x/y", 3, 0)],
)
@pytest.mark.parametrize("preset", [None, "paper", "mnist"])
def test_every_preset_adapts_to_every_data_set(dataset: str, channels: int, classes: int, preset: str | None) -> None:
    config = preset_for(dataset, preset)
    assert (config.model.image_channels, config.model.classes) == (channels, classes)
    assert config.data.dataset == dataset
    assert not dataset.startswith("folder:") or config.data.image_size == config.model.image_size
    assert not (dataset == "mnist" and (config.train.flip or config.model.classify_mirrored))
    if preset is not None:
        kept = 0 if dataset.startswith("folder:") else PRESETS[preset].model.prior_exemplars  # of own pictures no codes
        assert replace(config.model, image_channels=1, class_names=()) == replace(
            PRESETS[preset].model, image_channels=1, class_names=(), prior_exemplars=kept
        )


@pytest.mark.parametrize(
    ("name", "train"),
    [("shift", TrainConfig(shift=28)), ("discriminator_shift", TrainConfig(discriminator_shift=28))],
)
def test_images_cannot_be_moved_out_of_sight(name: str, train: TrainConfig) -> None:
    with pytest.raises(ValueError, match=f"^{name}=28 moves images of 28 pixels out of sight; give less than 28"):
        RunConfig(train=train)


def test_cutout_leaves_something_of_an_image() -> None:
    with pytest.raises(ValueError, match="cutout=28 can cover images of 28 pixels whole; give less than 28"):
        RunConfig(train=TrainConfig(cutout=28))


def test_only_data_whose_mirror_images_are_as_real_is_symmetric_by_itself() -> None:
    for preset in ("cifar10", "faces"):
        data = PRESETS[preset].data.dataset
        assert preset_for(data).train.symmetric
        assert not preset_for("folder:pictures", preset).train.symmetric
        assert not preset_for("fashion-mnist", preset).train.symmetric


def test_what_may_not_be_mirrored_is_not_symmetric() -> None:
    with pytest.raises(ValueError, match="symmetric=True mirrors images, flip=False forbids it"):
        TrainConfig(flip=False, symmetric=True)


def test_an_unknown_preset_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(ValueError, match=r"preset='fashion-mnst' is none of fashion-mnist, .*did you mean"):
        preset_for("mnist", "fashion-mnst")


@pytest.mark.parametrize("value", [np.array([1, 2]), torch.tensor(2.5)], ids=["array", "tensor"])
def test_what_holds_no_whole_number_is_no_whole_number(value: object) -> None:
    with pytest.raises(ValueError, match=r"time_steps=.* is not of type int"):
        typed("time_steps", int, value)
