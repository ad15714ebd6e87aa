"""Models in other runtimes compute what they compute here."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_unshuffle

import spikevae
from spikevae.config import ModelConfig
from spikevae.hub.checkpoints import save_release
from spikevae.hub.export.gates import fold_decoder_gates, fold_gates
from spikevae.hub.export.nir import export_nir
from spikevae.hub.export.onnx import Part, _Encoder, export_onnx
from spikevae.nn.classifiers import SpikingClassifier
from spikevae.nn.vae import SpikingVAE
from tests.test_cli import one_line, run

nir = pytest.importorskip("nir")
onnxruntime = pytest.importorskip("onnxruntime")

DOCS = Path(__file__).parents[1] / "docs" / "export.md"


def images_for(model: SpikingVAE, count: int) -> Tensor:
    config = model.config
    shape = (count, config.image_channels, config.image_size, config.image_size)
    return torch.rand(shape, generator=torch.Generator().manual_seed(1))


def documented_programs() -> list[str]:
    return re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)


# ---------------------------------------------------------------- ONNX


@pytest.fixture(scope="module", params=["tiny_release", "grid_release"])
def release(request: pytest.FixtureRequest) -> Path:
    """A model with latent spikes from a linear layer, and one with a grid of them."""
    folder: Path = request.getfixturevalue(request.param)
    return folder


@pytest.fixture(scope="module")
def exported(release: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the model's parts as ONNX files. Do not change it."""
    folder = tmp_path_factory.mktemp("onnx")
    for part in ("encoder", "decoder", "classifier"):
        out = folder / f"{part}.onnx"
        assert run("export", release, "--format", "onnx", "--part", part, "--out", out) == 0
    return folder


def outputs(folder: Path, part: str, given: Tensor) -> list[np.ndarray[Any, Any]]:
    session = onnxruntime.InferenceSession(str(folder / f"{part}.onnx"))
    found: list[np.ndarray[Any, Any]] = session.run(None, {session.get_inputs()[0].name: given.numpy()})
    return found


@pytest.mark.parametrize("count", [1, 2, 5])
def test_onnxruntime_gives_the_same_spikes_images_and_probabilities_for_any_number_of_images(
    exported: Path, release: Path, count: int
) -> None:
    model = spikevae.load(release)
    x = images_for(model, count)
    with torch.no_grad():
        posterior = model.encode(x)
        z_seq = posterior.mode()
        image = model.decode(z_seq)
    assert 0 < z_seq.mean() < 1
    spikes, potential = outputs(exported, "encoder", x)
    assert posterior.potential is not None
    np.testing.assert_array_equal(spikes, z_seq.numpy())
    np.testing.assert_allclose(potential, posterior.potential.numpy(), atol=1e-4)
    np.testing.assert_allclose(outputs(exported, "decoder", z_seq)[0], image.numpy(), atol=1e-4)
    np.testing.assert_allclose(outputs(exported, "classifier", x)[0], model.classify(x).numpy(), atol=1e-4)


@pytest.mark.parametrize(("channels", "shape"), [(1, (3, 1, 9, 9)), (2, (4, 3, 2, 9, 9))], ids=["images", "recordings"])
def test_a_classifier_without_a_decoder_answers_in_onnxruntime_as_here(
    channels: int, shape: tuple[int, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layers = "stem8 res8/2+attention fire avgpool readout"
    names = ("left", "right", "up")
    config = ModelConfig(
        network="classifier",
        layers=layers,
        image_size=9,
        image_channels=channels,
        class_names=names,
        classify_mirrored=True,
    )
    model, folder = SpikingClassifier(config).eval(), tmp_path / "release"
    save_release(model, folder, dataset="made", card="")
    words = ("export", folder, "--part", "classifier", "--format")
    assert run(*words, "onnx", "--out", tmp_path / "classifier.onnx") == 0
    x = torch.rand(shape)
    found = outputs(tmp_path, "classifier", x)[0]
    np.testing.assert_allclose(found, spikevae.load(folder).classify(x).numpy(), atol=1e-4)
    assert np.ptp(found, axis=0).min() > 1e-4  # the answers do depend on the input
    capsys.readouterr()
    assert run(*words, "nir", "--out", tmp_path / "a.nir") == 1
    assert "--format onnx" in one_line(capsys)
    assert run("export", folder, "--part", "decoder", "--format", "onnx", "--out", tmp_path / "a.onnx") == 1
    assert "without decoder" in one_line(capsys)


@pytest.mark.parametrize("release", ["grid_release"], indirect=True)
def test_the_program_of_the_documentation_samples_the_same_images(
    exported: Path, release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program, _ = documented_programs()
    assert "torch" not in program
    for source in (exported / "decoder.onnx", release / "model.safetensors"):
        (tmp_path / source.name).symlink_to(source)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(program, names)
    np.testing.assert_allclose(names["images"], spikevae.load(release).sample(4, seed=0).numpy(), atol=1e-4)


def test_the_program_knows_exemplars(grid_release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = spikevae.load(grid_release)
    model = SpikingVAE(replace(plain.config, prior_exemplars=5)).eval()
    model.load_state_dict(plain.state_dict(), strict=False)
    size = model.config.time_steps * model.config.latent_size
    model.latent.fit(torch.randn(200, size), torch.arange(200) % 10)
    save_release(model, tmp_path, dataset="mnist", card="")
    model = spikevae.load(tmp_path)
    export_onnx(model, "decoder", tmp_path / "decoder.onnx")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(documented_programs()[0], names)
    np.testing.assert_allclose(names["images"], model.sample(4, seed=0).numpy(), atol=1e-4)


# ---------------------------------------------------------------- NIR


def spikes_of(net: nn.Module) -> dict[str, list[Tensor]]:
    """Lists that the spikes of a network read from NIR will fill, step by step, by the neurons' name."""
    fired: dict[str, list[Tensor]] = {}
    for name, module in net.named_modules():
        if re.fullmatch(r"stage_\d_neurons", name):
            fired[name] = []
            module.register_forward_hook(
                lambda _, given, out, seen=fired[name]: seen.append(out if isinstance(out, Tensor) else out[0])
            )
    return fired


def spikes_and_output(net: nn.Module, x: Tensor, time_steps: int) -> tuple[list[Tensor], Tensor]:
    """The spikes of every stage, [T, N, C, H, W], of a network read from NIR, and the mean of its output."""
    fired = spikes_of(net)
    state, steps = None, []
    with torch.no_grad():
        for _ in range(time_steps):
            out, state = net(2 * x - 1, state)
            steps.append(out)
    return [torch.stack(seen) for seen in fired.values()], torch.stack(steps).mean(dim=0)


def read_by_spikingjelly(path: Path) -> nn.Module:
    from spikingjelly.activation_based.nir_exchange import import_from_nir

    net: nn.Module = import_from_nir(nir.read(path))
    return net


def read_by_snntorch(path: Path) -> nn.Module:
    import_nir = pytest.importorskip("snntorch.import_nir")
    graph = nir.read(path)
    if "flatten" in graph.nodes:
        graph.nodes["flatten"].start_dim = 1
    net: nn.Module = import_nir.import_from_nir(graph)
    return net


@pytest.mark.parametrize("read", [read_by_spikingjelly, read_by_snntorch])
@pytest.mark.parametrize("part", ["encoder", "classifier"])
@pytest.mark.parametrize("calibration", [0, 6])
def test_other_simulators_fire_the_same_spikes(
    tiny_release: Path, gateless_release: Path, tmp_path: Path, read: Any, part: Part, calibration: int
) -> None:
    model = spikevae.load(tiny_release if calibration else gateless_release)
    export_nir(model, part, tmp_path / "part.nir", calibration=calibration)
    if calibration:
        model = fold_gates(model, model.sample(calibration, seed=0))
    x = images_for(model, 5)
    expected: list[Tensor] = []
    for stage in model.encoder.stages:
        assert isinstance(stage.neurons, nn.Module)
        stage.neurons.register_forward_hook(lambda _, given, out: expected.append(out))
    posterior = model.encode(x)
    assert posterior.potential is not None
    assert model.classifier is not None
    wanted = posterior.potential.transpose(0, 1).flatten(1)
    if part == "classifier":
        wanted = model.classifier.linear(model.features(x).mean(dim=0))
        del expected[len(model.encoder.stages) :]
    spikes, output = spikes_and_output(read(tmp_path / "part.nir"), x, model.config.time_steps)
    assert len(spikes) == len(expected)
    for found, fired in zip(spikes, expected, strict=True):
        assert 0 < fired.mean() < 1
        assert torch.equal(found, fired)
    torch.testing.assert_close(output, wanted, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("read", [read_by_spikingjelly, read_by_snntorch])
@pytest.mark.parametrize(
    ("release", "calibration"),
    [("gateless_release", 0), ("transposed_release", 0), ("grid_release", 6), ("unlabelled_release", 6)],
)
def test_the_program_of_the_documentation_decodes_the_same_spikes_into_the_same_images(
    release: str,
    calibration: int,
    read: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    model = spikevae.load(request.getfixturevalue(release))
    export_nir(model, "decoder", tmp_path / "decoder.nir", calibration=calibration)
    if calibration:
        model = fold_decoder_gates(model, model.sample_prior(range(calibration), seed=0))
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(documented_programs()[1], names)
    network = names["network"] = read(tmp_path / "decoder.nir")
    found = spikes_of(network)
    expected: list[Tensor] = []
    for stage in (model.decoder.expand, *model.decoder.stages):
        assert isinstance(stage.neurons, nn.Module)
        stage.neurons.register_forward_hook(lambda _, given, out: expected.append(out))
    z_seq = model.sample_prior(range(5), seed=1)
    image = model.decode(z_seq)
    torch.testing.assert_close(names["decode"](z_seq), image, atol=1e-4, rtol=0)
    assert image.std() > 0.01
    side = model.config.grid_size
    for steps, fired in zip(found.values(), expected, strict=True):
        assert 0 < fired.mean() < 1
        scale = fired.shape[-1] // side
        assert torch.equal(torch.stack(steps), torch.stack([pixel_unshuffle(step, scale) for step in fired]))


def test_the_potentials_of_a_grid_are_the_output_of_its_encoder(grid_release: Path, tmp_path: Path) -> None:
    model = spikevae.load(grid_release)
    export_nir(model, "encoder", tmp_path / "a.nir", calibration=6)
    x = images_for(model, 5)
    potential = fold_gates(model, model.sample(6, seed=0)).encode(x).potential  # [T, N, L]
    assert potential is not None
    _, maps = spikes_and_output(read_by_spikingjelly(tmp_path / "a.nir"), x, model.config.time_steps)
    rows = maps.unflatten(1, (model.config.time_steps, -1)).permute(1, 0, 3, 4, 2).flatten(2)
    torch.testing.assert_close(rows, potential, atol=1e-4, rtol=1e-4)


def test_gates_behind_the_latent_of_a_grid_are_folded_too(grid_release: Path, tmp_path: Path) -> None:
    model = spikevae.load(grid_release)
    export_nir(model, "classifier", tmp_path / "a.nir", calibration=6)
    folded, x = fold_gates(model, model.sample(6, seed=0)), images_for(model, 5)
    _, output = spikes_and_output(read_by_spikingjelly(tmp_path / "a.nir"), x, model.config.time_steps)
    torch.testing.assert_close(output.softmax(dim=1), folded.classify(x, flip_tta=False), atol=1e-4, rtol=1e-4)


def test_a_file_says_whether_its_gates_are_an_approximation(
    tiny_release: Path, gateless_release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exact, folded = tmp_path / "exact.nir", tmp_path / "folded.nir"
    words = ("--format", "nir", "--part", "classifier", "--out")
    assert run("export", gateless_release, *words, exact) == 0
    assert "approximation" not in capsys.readouterr().out
    assert run("export", tiny_release, *words, folded, "--calibrate", "6") == 0
    assert "an approximation: gates are folded" in capsys.readouterr().out
    assert nir.read(exact).metadata["gates"] == "none"
    assert "6 calibration images" in nir.read(folded).metadata["gates"]


def test_an_attention_that_no_calibration_can_fix_is_not_advised_to_be_calibrated(
    tiny_release: Path, tmp_path: Path
) -> None:
    model = spikevae.load(tiny_release)
    model.decoder.expand.attention = nn.Dropout()
    with pytest.raises(ValueError, match=r"\(Dropout\) cannot be written as NIR, .* --model.attention none$"):
        export_nir(model, "decoder", tmp_path / "a.nir", calibration=2)


def test_an_encoder_names_the_potentials_that_it_gives(tiny_release: Path) -> None:
    model = spikevae.load(tiny_release)
    model.latent.has_density = False  # as a latent of one's own may say that gives potentials all the same
    encoder = _Encoder(model)
    assert encoder.output_names == ("z_seq", "potential")
    assert len(encoder(encoder.example)) == 2


@pytest.mark.parametrize("part", ["encoder", "decoder"])
def test_more_calibration_images_than_fit_the_memory_are_refused_before_any_is_made(
    tiny_release: Path, tmp_path: Path, part: Part
) -> None:
    pytest.importorskip("nir")
    with pytest.raises(ValueError, match=r"--calibrate 1000000000: so many images need .* GB of memory"):
        export_nir(spikevae.load(tiny_release), part, tmp_path / "a.nir", calibration=10**9)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("part", ["encoder", "decoder"])
def test_a_calibration_of_a_part_without_gates_is_said_to_change_nothing(
    gateless_release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], part: str
) -> None:
    words = ("export", gateless_release, "--format", "nir", "--part", part, "--out", tmp_path / "a.nir")
    assert run(*words, "--calibrate", "6") == 0
    assert f"--calibrate 6 changed nothing: the {part} has no gates" in capsys.readouterr().out
    assert run(*words) == 0
    assert "--calibrate" not in capsys.readouterr().out


def test_a_file_says_whether_the_model_looks_at_both_views(
    gateless_release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = json.loads((gateless_release / "config.json").read_text(encoding="utf-8"))
    config["model"]["classify_mirrored"] = True
    mirrored = tmp_path / "mirrored"
    shutil.copytree(gateless_release, mirrored)
    (mirrored / "config.json").write_text(json.dumps(config), encoding="utf-8")
    words = ("--format", "nir", "--out", tmp_path / "a.nir", "--part")
    for release, part, views in (
        (mirrored, "classifier", True),
        (mirrored, "encoder", False),
        (gateless_release, "classifier", False),
    ):
        assert run("export", release, *words, part) == 0
        assert ("mirror image" in capsys.readouterr().out) == views
        assert ("views" in nir.read(tmp_path / "a.nir").metadata) == views


@pytest.mark.parametrize(
    ("release", "part", "named"),
    [
        ("tiny_release", "classifier", "encoder.stages.0.attention"),
        ("tiny_release", "decoder", "decoder.expand.attention"),
        ("autoregressive_release", "encoder", "latent (AutoregressiveLatent)"),
        ("grid_release", "encoder", "encoder.stages.0.attention"),
        ("unlabelled_release", "classifier", "without labels"),
    ],
)
def test_what_nir_cannot_hold_is_named_in_one_line_and_no_file_is_left(
    release: str,
    part: str,
    named: str,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = request.getfixturevalue(release)
    assert run("export", folder, "--format", "nir", "--part", part, "--out", tmp_path / "a.nir") == 1
    assert named in one_line(capsys)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("format", ["onnx", "nir"])
def test_a_vae_of_recordings_is_no_export(format: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / f"a.{format}"
    assert run("export", "n-mnist", "--part", "decoder", "--format", format, "--out", out) == 1
    assert "cannot be exported" in one_line(capsys)


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        (("--format", "onnx", "--out", "a.nir"), "ends in .onnx"),
        (("--format", "onnx", "--out", "a.onnx", "--calibrate", "8"), "--calibrate 8"),
        (("--format", "nir", "--out", "a.nir", "--calibrate", "-1"), "--calibrate -1"),
    ],
)
def test_wrong_options_are_refused_in_one_line(
    words: tuple[str, ...],
    wrong: str,
    tiny_release: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("export", tiny_release, "--part", "encoder", *words) == 1
    assert wrong in one_line(capsys)
