"""Release folders: what is written comes back; what is damaged, foreign or hostile is refused and never executed."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import spikevae
from spikevae.config import ModelConfig
from spikevae.files import write_atomically
from spikevae.hub.checkpoints import RUN_NAME, Precision, load, read_dataset_name, save_release, write_weights
from spikevae.nn.vae import SpikingVAE
from spikevae.training.run_folder import STATE_NAME, check_run_place, what_is_kept

CONFIG = ModelConfig(
    image_size=10,
    class_names=("a", "b"),
    time_steps=3,
    encoder_widths=(8, 8),
    decoder_widths=(8, 8, 4),
    latent_size=6,
    prior_rank=2,
)
NAME = "classifier.linear.weight"  # a weight that every model with labels has


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A release folder with random weights."""
    path = tmp_path / "model"
    save_release(SpikingVAE(CONFIG), path, dataset="fashion-mnist", card="# A card\n")
    return path


def edit_config(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    values = json.loads((folder / "config.json").read_text())
    change(values)
    (folder / "config.json").write_text(json.dumps(values))


def edit_weights(folder: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    state = load_file(folder / "model.safetensors")
    change(state)
    save_file(state, folder / "model.safetensors")


def assert_refused(folder: Path, message: str, kind: type[Exception] = ValueError) -> None:
    with pytest.raises(kind, match=message) as caught:
        spikevae.load(folder)
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)


# ---------------------------------------------------------------- what is written comes back


@pytest.mark.parametrize("config", [CONFIG, replace(CONFIG, latent="autoregressive", latent_choices=4, class_names=())])
def test_a_saved_model_comes_back_ready_for_use_and_the_same(config: ModelConfig, tmp_path: Path) -> None:
    model = SpikingVAE(config).eval()
    for parameter in model.parameters():  # what float16 can hold
        parameter.data = parameter.data.half().float()
    save_release(model, tmp_path, dataset="folder:caf\udce9", card="of caf\udce9")  # bytes in a path that are no UTF-8
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == "of caf\\udce9"
    save_release(model, tmp_path, dataset="mnist", card="a card")
    loaded = spikevae.load(tmp_path)
    assert loaded.config == config
    assert not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    x = torch.rand(4, 1, 10, 10)
    assert torch.equal(loaded.reconstruct(x), model.reconstruct(x))
    assert torch.equal(loaded.sample(3, seed=1), model.sample(3, seed=1))
    assert read_dataset_name(tmp_path) == "mnist"
    assert (tmp_path / "README.md").read_text() == "a card"


def test_saving_what_was_loaded_changes_nothing_any_more(folder: Path, tmp_path: Path) -> None:
    save_release(spikevae.load(folder), tmp_path / "again", dataset="fashion-mnist", card="# A card\n")
    for path in folder.iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes(), path.name


def test_a_folder_that_is_called_as_a_bundled_model_is_pointed_to(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    spikevae.load("mnist")
    assert not caplog.text
    shutil.copytree(folder, tmp_path / "mnist")
    for named in ("./mnist", Path("./mnist"), tmp_path / "mnist"):
        assert spikevae.load(named).config == spikevae.load(folder).config
    assert not caplog.text
    spikevae.load("mnist")
    assert "mnist is the bundled model; for the one in the folder of that name say ./mnist" in caplog.text


def test_a_model_in_double_is_kept_in_few_bits_too(tmp_path: Path) -> None:
    save_release(SpikingVAE(CONFIG).double(), tmp_path, dataset="mnist", card="", weights="int8")
    assert next(spikevae.load(tmp_path).parameters()).dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_weight_too_large_for_float16_is_kept(dtype: torch.dtype, tmp_path: Path) -> None:
    model = SpikingVAE(CONFIG).to(dtype)
    model.state_dict()[NAME][0, 0] = 1e6
    save_release(model, tmp_path, dataset="mnist", card="")
    assert float(spikevae.load(tmp_path).state_dict()[NAME][0, 0]) == 1e6


def test_a_release_can_be_read_by_others_and_leaves_nothing_else_behind(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    assert all(path.stat().st_mode & 0o777 == 0o644 for path in folder.iterdir())


# ---------------------------------------------------------------- what is missing


def test_a_name_that_is_neither_a_model_nor_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no model 'fashion-mnits'"):
        spikevae.load("fashion-mnits")
    with pytest.raises(FileNotFoundError, match="neither a bundled model"):
        spikevae.load(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_missing_file_is_named_with_what_to_do(folder: Path, name: str) -> None:
    (folder / name).unlink()
    assert_refused(folder, f"{name} is missing. Train one with", FileNotFoundError)
    (folder / RUN_NAME).touch()
    assert_refused(folder, f"go on with --resume {folder}, or start another", FileNotFoundError)


def test_what_to_do_is_quoted_as_a_shell_takes_it(folder: Path) -> None:
    odd = folder.rename(folder.parent / "run ü 1")
    (odd / "config.json").unlink()
    assert_refused(odd, f"--out '{odd}'`", FileNotFoundError)
    (odd / RUN_NAME).touch()
    assert_refused(odd, f"go on with --resume '{odd}', or start another", FileNotFoundError)
    with pytest.raises(FileExistsError, match=f"go on with --resume '{odd}', or choose another --out"):
        check_run_place(odd)
    (odd / STATE_NAME).touch()
    assert what_is_kept(odd) == f"the last saved state is kept, go on with --resume '{odd}'"


# ---------------------------------------------------------------- weights that are not what they should be


@pytest.mark.parametrize("kept", [0, 4, 100, -1])
def test_truncated_weights_are_refused(folder: Path, kept: int) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    assert_refused(folder, "model.safetensors is not a safetensors file, or a damaged one")


class Payload:
    """Unpickled, it makes a folder."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("write", [lambda value, path: path.write_bytes(pickle.dumps(value)), torch.save])
def test_a_pickle_in_the_place_of_weights_is_refused_and_never_executed(
    folder: Path, tmp_path: Path, write: Callable[[object, Path], object]
) -> None:
    target = tmp_path / "executed"
    write({NAME: Payload(target)}, folder / "model.safetensors")
    assert_refused(folder, "not a safetensors file")
    assert not target.exists()
    pickle.loads(pickle.dumps(Payload(target)))  # the payload works
    assert target.exists()


def test_weights_of_another_shape_are_refused(folder: Path) -> None:
    edit_config(folder, lambda values: values["model"].update(latent_size=7))
    assert_refused(folder, r"the weight \S+ has shape \[.*\], its config asks for \[")


@pytest.mark.parametrize("field", ["time_steps", "encoder_widths", "decoder_widths", "class_names", "latent"])
def test_weights_of_another_network_are_refused(folder: Path, field: str) -> None:
    other = {
        "time_steps": 4,
        "encoder_widths": [8, 9],
        "decoder_widths": [8, 8, 5],
        "class_names": ["a", "b", "c"],
        "latent": "autoregressive",
    }
    edit_config(folder, lambda values: values["model"].update({field: other[field]}))
    assert_refused(folder, "the weight ")


def test_a_missing_weight_is_named(folder: Path) -> None:
    edit_weights(folder, lambda state: state.pop(NAME))
    assert_refused(folder, f"the weight {NAME} is missing")


def test_an_additional_weight_is_named(folder: Path) -> None:
    edit_weights(folder, lambda state: state.update(extra=torch.zeros(3)))
    assert_refused(folder, "the weight extra is unknown to this config")


@pytest.mark.usefixtures("unchecked_types")
def test_what_could_not_be_read_back_is_not_written_and_what_was_there_stays(folder: Path) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    broken = SpikingVAE(CONFIG)
    torch.nn.init.constant_(broken.get_parameter(NAME), torch.nan)
    anything: Any = spikevae.save
    for model, dataset, message in (
        (broken, "mnist", f"the weight {NAME} is not finite"),
        (SpikingVAE(CONFIG).to("meta"), "mnist", "is not finite"),
        (torch.nn.Linear(2, 2), "mnist", "expected a model of spikevae, got Linear"),
        (torch.nn.DataParallel(SpikingVAE(CONFIG)), "mnist", r"got DataParallel; of a wrapped one give \.module"),
        (None, "mnist", "got NoneType"),
        (SpikingVAE(CONFIG), None, "dataset=None is no name"),
    ):
        with pytest.raises(ValueError, match=message):
            anything(model, folder, dataset=dataset)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.usefixtures("unchecked_types")
def test_a_model_is_written_as_it_is_without_what_compiling_puts_around_it(folder: Path) -> None:
    model = SpikingVAE(CONFIG).eval()
    compiled: Any = torch.compile(model)
    spikevae.save(model, folder, dataset="mnist")
    expected = (folder / "model.safetensors").read_bytes()
    spikevae.save(compiled, folder, dataset="mnist")
    assert (folder / "model.safetensors").read_bytes() == expected


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda model: setattr(model, "classifier", None), r"classifier\.linear\.bias"),
        (lambda model: torch.nn.utils.parametrizations.weight_norm(model.classifier.linear), r"classifier\.linear\."),
        (lambda model: setattr(model, "more", torch.nn.Linear(2, 2)), r"more\.bias"),
        (lambda model: setattr(model.classifier, "linear", torch.nn.Linear(8, 3)), r"classifier\.linear\.bias"),
    ],
)
def test_a_network_that_is_no_longer_that_of_its_config_is_not_written(
    change: Callable[[SpikingVAE], object], name: str, folder: Path
) -> None:
    before = (folder / "model.safetensors").read_bytes()
    model = SpikingVAE(CONFIG)
    change(model)
    with pytest.raises(ValueError, match=f"^the weight {name}.* is not as this model's config has it"):
        spikevae.save(model, folder, dataset="mnist")
    assert (folder / "model.safetensors").read_bytes() == before


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_a_model_of_any_precision_is_read_back(dtype: torch.dtype, folder: Path) -> None:
    spikevae.save(SpikingVAE(CONFIG).to(dtype), folder, dataset="mnist")
    assert spikevae.load(folder).sample(2).isfinite().all()


def test_a_model_is_read_whole_whatever_the_program_does_with_its_own_tensors(folder: Path) -> None:
    """Weights that are made on another device, or in inference mode, could neither be computed with nor learned."""
    expected = spikevae.load(folder).sample(2, seed=1)
    with torch.device("meta"):
        model = spikevae.load(folder)
    assert torch.equal(model.sample(2, seed=1), expected)
    with torch.inference_mode():
        model = spikevae.load(folder)
        assert torch.equal(model.sample(2, seed=1), expected)
    model.requires_grad_(True)(torch.rand(2, 1, 10, 10)).reconstruction.sum().backward()


@pytest.mark.parametrize("device", ["tpu", "", "cuda:99"])
def test_a_device_that_is_not_there_is_named_in_one_line(device: str, folder: Path) -> None:
    with pytest.raises(ValueError, match=f"device='{device}': PyTorch has no such device here") as caught:
        spikevae.load(folder, device=device)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_weight_that_is_not_a_number_is_refused(folder: Path, value: float) -> None:
    edit_weights(folder, lambda state: state[NAME][0].fill_(value))
    assert_refused(folder, f"the weight {NAME} is not finite")


@pytest.mark.parametrize(
    ("dtype", "value"),
    [(torch.uint8, 3), (torch.bool, 1), (torch.float64, 1e300), (torch.float8_e4m3fn, 1), (torch.complex64, 1)],
)
def test_a_weight_of_another_kind_of_number_is_refused(folder: Path, dtype: torch.dtype, value: float) -> None:
    edit_weights(
        folder, lambda state: state.update({NAME: torch.full(state[NAME].shape, value, dtype=torch.float64).to(dtype)})
    )
    assert_refused(folder, f"the weight {NAME} ")


def test_a_header_that_promises_more_than_the_file_holds_is_refused(folder: Path) -> None:
    path = folder / "model.safetensors"
    size = 2**50
    header = json.dumps({NAME: {"dtype": "F32", "shape": [size], "data_offsets": [0, 4 * size]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(64))
    assert_refused(folder, "not a safetensors file, or a damaged one")


def test_a_header_of_many_megabytes_is_refused_unread(folder: Path) -> None:
    path = folder / "model.safetensors"
    header = json.dumps({"__metadata__": {str(number): "" for number in range(400_000)}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    assert_refused(folder, "its header takes")


def test_sparse_weights_of_a_huge_network_are_refused_without_their_memory(folder: Path) -> None:
    edit_config(folder, lambda values: values["model"].update(encoder_widths=[4000, 4000]))
    with (folder / "model.safetensors").open("r+b") as file:
        file.truncate(2**36)  # takes no room on the disk
    assert_refused(folder, "weights; at most")


def test_a_fifo_in_the_place_of_a_file_is_not_waited_for(folder: Path) -> None:
    for name in ("config.json", "model.safetensors"):
        (folder / name).rename(folder / "aside")
        os.mkfifo(folder / name)
        with pytest.raises(FileNotFoundError, match=f"{name} is missing"):
            spikevae.load(folder)
        (folder / "aside").replace(folder / name)


def test_names_from_a_model_cannot_steer_a_terminal(folder: Path) -> None:
    escape = "\x1b[2J"
    weights = load_file(folder / "model.safetensors")
    save_file({**weights, escape + "m" * 5000: torch.zeros(1)}, folder / "model.safetensors")
    for change in (
        lambda values: values,
        lambda values: values["model"].update({escape: 1}),
        lambda values: values.update(dataset=[escape]),
        lambda values: values.update(format=escape * 1000),
    ):
        edit_config(folder, change)
        with pytest.raises(ValueError, match=str(folder)) as caught:
            spikevae.load(folder)
        assert "\x1b" not in str(caught.value)
        assert len(str(caught.value)) < 1000


# ---------------------------------------------------------------- configs that are not what they should be


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda values: values["model"].update(tiem_steps=3), "no setting 'tiem_steps'; did you mean 'time_steps'?"),
        (lambda values: values["model"].pop("time_steps"), "the setting 'time_steps' is missing"),
        (lambda values: values["model"].update(time_steps="3"), "time_steps='3'"),
        (lambda values: values["model"].update(time_steps=3.5), "time_steps=3.5"),
        (lambda values: values["model"].update(time_steps=True), "time_steps=True"),
        (lambda values: values["model"].update(neuron="izhikevich"), "neuron='izhikevich'"),
        (lambda values: values["model"].update(tau=float("nan")), "tau=nan"),
        (lambda values: values.update(model=[]), "expected a JSON object"),
        (lambda values: values.update(format=2), "has format 2; this version of spikevae reads format 1"),
        (lambda values: values.update(format=True), "has format True"),
        (lambda values: values.update(format=None), "has format None"),
        (lambda values: values.pop("format"), "expected the entries format, dataset and model"),
        (lambda values: values.update(optimizer="adamw"), "expected the entries format, dataset and model"),
        (lambda values: values.update(dataset=3), "dataset=3"),
    ],
)
def test_a_config_that_this_version_did_not_write_is_refused(
    folder: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    edit_config(folder, change)
    assert_refused(folder, message.replace("?", r"\?"))


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "\x00", "\ud800", '{"format": 1' + "0" * 5000 + "}", "[" * 100_000, " " * 2**20 + "{}"],
    ids=["empty", "cut", "list", "null", "zero", "no unicode", "long number", "deep", "large"],
)
def test_a_config_that_is_no_json_object_is_refused(folder: Path, text: str) -> None:
    (folder / "config.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    assert_refused(folder, "config.json")


@pytest.mark.parametrize(
    "settings",
    [
        {"time_steps": 10**9},
        {"time_steps": 10**30},
        {"latent_size": 10**9},
        {"encoder_widths": [10**7, 10**7]},
        {"image_size": 10**5},
        {"prior_rank": 10**12},
        # Each sequence of these is short enough, but a table of all pairs of steps is not.
        {"image_size": 1, "time_steps": 10**9, "encoder_widths": [1], "decoder_widths": [1, 1], "latent_size": 1}
        | {"latent_choices": 1, "channel_kernel": 1},
        {"image_size": 1, "time_steps": 2**31, "encoder_widths": [1], "decoder_widths": [1, 1], "latent_size": 1}
        | {"latent_choices": 1, "channel_kernel": 1},
        {"image_size": 1, "time_steps": 1, "encoder_widths": [2**31, 2**31], "attention": "none"},
    ],
    ids=str,
)
def test_a_config_that_asks_for_a_huge_network_is_refused_without_its_memory(
    folder: Path, settings: dict[str, Any]
) -> None:
    edit_config(folder, lambda values: values["model"].update(settings))
    before = peak_memory()
    with pytest.raises(ValueError, match=str(folder)):
        spikevae.load(folder)
    assert peak_memory() - before < 2**28


def peak_memory() -> int:
    """Of this process so far, in bytes."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


# ---------------------------------------------------------------- a write that fails


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def fails_half_way(temporary: Path) -> None:
        temporary.write_text("ne")
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"):
        write_atomically(path, fails_half_way)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("write", [torch.save, lambda state, path: save_file(state, path)])
def test_a_disk_that_is_full_is_an_error_of_the_system_that_names_the_file(
    tmp_path: Path, write: Callable[[object, Path], object]
) -> None:
    """torch and safetensors have errors of their own for it."""
    import resource

    path = tmp_path / "weights"
    path.write_text("old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, limits[1]))
    try:
        with pytest.raises(OSError, match=str(path)) as caught:
            write_weights(path, lambda temporary: write({"weight": torch.zeros(2**16)}, temporary))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in str(caught.value)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_weights_that_cannot_be_written_leave_config_and_card_too(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("the disk is full")

    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    monkeypatch.setattr("spikevae.hub.checkpoints.save_file", fails)
    with pytest.raises(OSError, match=r"model\.safetensors"):
        save_release(SpikingVAE(replace(CONFIG, tau=3.0)), folder, dataset="mnist", card="new")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_release_that_cannot_be_written_leaves_the_old_weights(folder: Path) -> None:
    import resource

    old = (folder / "model.safetensors").read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(old) // 2, limits[1]))
    try:
        with pytest.raises(OSError, match=r"model\.safetensors"):
            save_release(SpikingVAE(CONFIG), folder, dataset="fashion-mnist", card="")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (folder / "model.safetensors").read_bytes() == old
    assert len(list(folder.iterdir())) == 3
    spikevae.load(folder)


@pytest.mark.parametrize("weights", ["float16", "int8"])
def test_a_weight_that_two_layers_share_is_written_for_both(
    tiny_release: Path, tmp_path: Path, weights: Precision
) -> None:
    """Training stopped at its first validation otherwise, and asked whether the disk was full."""
    model = load(tiny_release)
    first, second = (stage.norm for stage in model.encoder.stages)
    second.bias = first.bias
    save_release(model, tmp_path / "tied", dataset="mnist", card="Made.", weights=weights)
    loaded = load(tmp_path / "tied")
    for stage in loaded.encoder.stages:
        assert torch.equal(stage.norm.bias, first.bias)
