"""Weights in 8 or 4 bits: small, strict, and close to what they stand for."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import spikevae
from spikevae.config import ModelConfig
from spikevae.hub.checkpoints import WEIGHTS_NAME, save_release
from spikevae.hub.quantised import SCALE, dequantise, input_moments, quantise, stored_shape
from spikevae.nn.vae import SpikingVAE


def read_again(stored: dict[str, torch.Tensor], name: str, shape: tuple[int, ...]) -> torch.Tensor:
    return dequantise(stored[name], stored[name + SCALE], shape)


@pytest.fixture
def small(tiny_release: Path, tmp_path: Path) -> Path:
    """The tiny model with int8 weights."""
    model = spikevae.load(tiny_release)
    save_release(model, tmp_path / "small", dataset="mnist", card="", weights="int8")
    return tmp_path / "small"


def test_weights_are_within_half_a_step_of_their_rows_and_vectors_are_kept(tiny_release: Path, small: Path) -> None:
    state, read = spikevae.load(tiny_release).state_dict(), spikevae.load(small).state_dict()
    stored = load_file(small / WEIGHTS_NAME)
    assert state.keys() == read.keys()
    for name, tensor in state.items():
        if name + SCALE in stored:
            assert stored[name].dtype == torch.int8
            assert ((read[name] - tensor).abs() <= 0.501 * stored[name + SCALE]).all()
        else:
            assert tensor.dim() < 2
            assert torch.equal(read[name], tensor)
    assert torch.equal(spikevae.load(small).sample(3, seed=4), spikevae.load(small).sample(3, seed=4))


def test_a_row_of_zeros_and_a_row_worked_by_hand() -> None:
    stored = quantise({"a": torch.tensor([[0.0, 0.0], [-2.54, 1.0]])})
    assert stored["a"].tolist() == [[0, 0], [-127, 50]]
    torch.testing.assert_close(read_again(stored, "a", (2, 2)), torch.tensor([[0.0, 0.0], [-2.54, 1.0]]))


def test_the_directions_of_a_density_are_scaled_one_by_one() -> None:
    basis = torch.tensor([[[100.0, 0.01], [-50.0, 0.02]]])
    stored = quantise({"latent.density.basis": basis})
    read = read_again(stored, "latent.density.basis", (1, 2, 2))
    torch.testing.assert_close(read, basis, rtol=0.01, atol=0.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classifier.linear.weight" + SCALE: None}, "numbers of the kind I8"),
        ({"classifier.linear.weight" + SCALE: torch.ones(1)}, "has shape"),
        ({"classifier.linear.weight" + SCALE: torch.full((10, 1), float("nan"))}, "is not finite"),
        ({"classifier.linear.weight" + SCALE: torch.full((10, 1), 3e38)}, "is not finite"),
        ({"other" + SCALE: torch.ones(1)}, "unknown to this config"),
        ({"decoder.expand.norm.num_batches_tracked" + SCALE: torch.ones(())}, "numbers of the kind I64"),
    ],
)
def test_a_damaged_scale_is_refused_and_named(
    small: Path, change: dict[str, torch.Tensor | None], message: str
) -> None:
    stored = load_file(small / WEIGHTS_NAME) | change
    save_file({name: tensor for name, tensor in stored.items() if tensor is not None}, small / WEIGHTS_NAME)
    with pytest.raises(ValueError, match=message):
        spikevae.load(small)


CONFIG = ModelConfig(
    time_steps=4,
    encoder_widths=(4, 64, 80),
    decoder_widths=(64, 8, 4),
    temporal_kernel=3,
    channel_kernel=3,
    latent_size=11,
    prior_rank=3,
    prior_components=2,
    class_names=("a", "b"),
)
WIDE = ("encoder.stages.2.synapses.weight", "latent.synapses.weight", "decoder.expand.synapses.0.weight")
FACTOR = "latent.density.factor"


@pytest.fixture
def wide() -> SpikingVAE:
    """A model without training that has matrices large enough for 4 bits, and fires."""
    torch.manual_seed(0)
    model = SpikingVAE(CONFIG).eval().requires_grad_(False)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.constant_(module.weight, 6.0)
    model.get_buffer(FACTOR).copy_(torch.randn(2, 2, 3, 3).tril())
    return model


def test_four_bits_are_packed_and_read_within_half_a_step(wide: SpikingVAE, tmp_path: Path) -> None:
    state = wide.state_dict()
    stored = quantise(state, 4)
    assert {name for name, tensor in stored.items() if tensor.dtype == torch.uint8} == set(WIDE)
    for name in WIDE:
        assert (
            stored[name].shape == stored_shape(name, tuple(state[name].shape), "U8", 1) == (state[name].numel() // 2,)
        )
        read, scale = read_again(stored, name, tuple(state[name].shape)), stored[name + SCALE]
        inside = (state[name] >= -8 * scale) & (state[name] <= 7 * scale)
        assert inside.float().mean() > 0.9
        assert ((read - state[name]).abs()[inside] <= (0.501 * scale).expand_as(read)[inside]).all()
        assert (read - state[name]).square().mean() < 0.03 * state[name].square().mean()
    save_release(wide, tmp_path, dataset="mnist", card="", weights="int4")
    read_state = spikevae.load(tmp_path).state_dict()
    assert read_state.keys() == state.keys()
    assert all(torch.equal(read_state[name], state[name]) for name in state if state[name].dim() < 2)
    kernel = "decoder.stages.0.synapses.0.weight"
    assert torch.equal(read_state[kernel], read_again(quantise(state), kernel, tuple(state[kernel].shape)))


def test_an_odd_number_of_weights_and_all_sixteen_values_are_kept() -> None:
    row = torch.arange(-8.0, 8.0)
    weight = torch.cat([row.repeat(183), row[:1]])[None].repeat(13, 1)  # 13 x 2929 is odd
    stored = quantise({"a": weight}, 4)
    assert stored["a"].shape == (weight.numel() // 2 + 1,)
    torch.testing.assert_close(read_again(stored, "a", tuple(weight.shape)), weight)
    assert quantise({"a": torch.zeros(2, 2**15)}, 4)["a"].unique().tolist() == [0x88]


def test_of_triangular_factors_one_half_is_stored(wide: SpikingVAE) -> None:
    factor = wide.get_buffer(FACTOR)
    stored = quantise({FACTOR: factor}, 4)
    assert stored[FACTOR].shape == (2, 2, 6)
    assert torch.equal(
        read_again(stored, FACTOR, (2, 2, 3, 3)), read_again(quantise({FACTOR: factor}), FACTOR, (2, 2, 3, 3))
    )
    full = torch.ones(2, 2, 3, 3)  # no triangle: nothing of it may be lost
    torch.testing.assert_close(read_again(quantise({FACTOR: full}, 4), FACTOR, (2, 2, 3, 3)), full)


def test_rounding_for_the_inputs_of_a_layer_halves_the_error_of_its_outputs(wide: SpikingVAE) -> None:
    state, name = wide.state_dict(), "decoder.expand.synapses.0.weight"
    x = torch.randn(500, 3) @ torch.randn(3, 11) + 0.1 * torch.randn(500, 11)  # inputs that go together
    plain, better = quantise(state, 4), quantise(state, 4, {name: (x.T @ x).double() / 500})
    errors = [
        (x @ (read_again(stored, name, tuple(state[name].shape)) - state[name]).T).square().mean()
        for stored in (plain, better)
    ]
    assert errors[1] < 0.5 * errors[0]
    # Inputs that have nothing to do with each other leave nothing to make up for.
    alike = quantise(state, 4, {name: torch.eye(11, dtype=torch.float64)})
    assert torch.equal(alike[name], plain[name])


def test_the_moments_of_a_layer_are_those_of_its_inputs(wide: SpikingVAE) -> None:
    moments = input_moments(wide)
    assert moments.keys() == set(WIDE[1:])
    rates = wide.features(wide.sample(512, seed=0)).mean(dim=0).double()
    torch.testing.assert_close(moments["latent.synapses.weight"], rates.T @ rates / 512, rtol=1e-4, atol=1e-6)
    assert not any(module._forward_pre_hooks for module in wide.modules())


def test_a_classifier_has_no_samples_and_is_rounded_all_the_same(tmp_path: Path) -> None:
    model = spikevae.load("n-mnist")
    assert input_moments(model) == {}
    save_release(model, tmp_path, dataset="n-mnist", card="", weights="int4")
    assert spikevae.load(tmp_path).state_dict().keys() == model.state_dict().keys()


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        (WIDE[1], torch.zeros(7, dtype=torch.uint8), r"has shape \[7\]"),
        (WIDE[1], torch.zeros(44, 3920, dtype=torch.uint8), "has shape"),
        (FACTOR, torch.zeros(2, 2, 5, dtype=torch.int8), "has shape"),
        (FACTOR, torch.zeros(2, 2, 6), "numbers of the kind F32"),
        (WIDE[1] + SCALE, torch.full((44, 1), float("inf")), "is not finite"),
    ],
)
def test_damaged_packed_weights_are_refused_and_named(
    wide: SpikingVAE, tmp_path: Path, name: str, tensor: torch.Tensor, message: str
) -> None:
    save_release(wide, tmp_path, dataset="mnist", card="", weights="int4")
    save_file(load_file(tmp_path / WEIGHTS_NAME) | {name: tensor}, tmp_path / WEIGHTS_NAME)
    with pytest.raises(ValueError, match=message):
        spikevae.load(tmp_path)
