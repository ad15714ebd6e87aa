"""Weights as int8: small, strict, and close to what they stand for."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import spikevae
from spikevae.hub.checkpoints import WEIGHTS_NAME, save_release
from spikevae.hub.quantised import SCALE, dequantise, quantise


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
    torch.testing.assert_close(dequantise(stored["a"], stored["a" + SCALE]), torch.tensor([[0.0, 0.0], [-2.54, 1.0]]))


def test_the_directions_of_a_density_are_scaled_one_by_one() -> None:
    basis = torch.tensor([[[100.0, 0.01], [-50.0, 0.02]]])
    stored = quantise({"latent.density.basis": basis})
    read = dequantise(stored["latent.density.basis"], stored["latent.density.basis" + SCALE])
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
