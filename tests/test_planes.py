"""Planes of a sequence: compiled loops against torch's operators, and sequences that are kept as spikes and gates."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from spikevae.config import ModelConfig
from spikevae.nn.decoder import TimeReadOut
from spikevae.nn.stage import SpikingStage, convolutional_stage
from spikevae.ops.cpu import compile
from spikevae.ops.planes import as_bytes, kept_as_spikes, remember_spikes, scale_planes, sum_products

T, N, C, H, W = 3, 2, 5, 7, 6


@pytest.fixture(autouse=True)
def _several_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compile, "_LEAST", 1)


def sequence(layout: str, dtype: torch.dtype = torch.float32) -> Tensor:
    x_seq = torch.randn(T, N, C, H, W).to(dtype)
    if layout == "channels last":
        x_seq = x_seq.flatten(0, 1).contiguous(memory_format=torch.channels_last).unflatten(0, (T, N))
    if layout == "one step":
        x_seq = x_seq[:1].expand(T, -1, -1, -1, -1)
    return x_seq


@pytest.mark.parametrize("layout", ["plain", "channels last", "one step"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_planes_are_scaled_and_shifted_as_torch_does_it(layout: str, dtype: torch.dtype) -> None:
    x_seq, factor, addend = sequence(layout, dtype), torch.rand(T, N, C), torch.randn(T, N, C)
    expected = x_seq.float() * factor[..., None, None] + addend[..., None, None]
    scaled = scale_planes(x_seq, factor, addend)
    assert scaled.dtype == dtype
    torch.testing.assert_close(scaled.float(), expected, rtol=0.02 if dtype == torch.bfloat16 else 1e-6, atol=0.02)
    if layout == "channels last":
        assert scale_planes(x_seq, factor, addend, into=x_seq).data_ptr() == x_seq.data_ptr()
        assert torch.equal(x_seq, scaled)


@pytest.mark.parametrize("layout", ["plain", "channels last", "one step"])
@pytest.mark.parametrize("are_spikes", [False, True])
def test_sums_of_products_are_those_of_torch(layout: str, are_spikes: bool) -> None:
    x_seq, y_seq = sequence(layout), sequence(layout)
    if are_spikes:
        y_seq = (y_seq > 0).to(torch.uint8)
    torch.testing.assert_close(sum_products(x_seq, y_seq), (x_seq * y_seq).sum(dim=(3, 4)))


@pytest.mark.parametrize("layout", ["plain", "channels last"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_spikes_become_bytes(layout: str, dtype: torch.dtype) -> None:
    spike_seq = (sequence(layout) > 0).to(dtype)
    assert torch.equal(as_bytes(spike_seq), spike_seq.to(torch.uint8))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_sequence_kept_as_spikes_is_a_quarter_as_large_and_gives_the_same_gradient(dtype: torch.dtype) -> None:
    spike_seq = (sequence("channels last") > 0).to(torch.uint8)
    gate = torch.rand(T, N, C)
    gated_seq = scale_planes(spike_seq, gate, into=torch.empty_like(spike_seq, dtype=dtype))
    weight, grad = torch.randn(4, C, 3, 3, dtype=dtype, requires_grad=True), torch.randn(T * N, 4, 5, 4, dtype=dtype)
    torch.nn.functional.conv2d(gated_seq.flatten(0, 1), weight).backward(grad)
    expected = weight.grad
    weight.grad = None

    remember_spikes(gated_seq, spike_seq, gate)
    with kept_as_spikes(gated_seq):
        output = torch.nn.functional.conv2d(gated_seq.flatten(0, 1), weight)
    gated_seq.zero_()  # nobody needs it
    output.backward(grad)
    assert weight.grad is not None
    assert torch.equal(weight.grad, expected)


@pytest.mark.parametrize("read_out", ["weighted", "membrane"])
def test_stages_that_overwrite_and_keep_bytes_have_the_gradients_of_those_that_do_not(
    read_out: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = ModelConfig(image_size=12, time_steps=T, encoder_widths=(4, 6), decoder_widths=(6, 4), latent_size=5)
    torch.manual_seed(0)
    network = nn.Sequential(
        convolutional_stage(config, C, 6, "down"),
        convolutional_stage(replace(config, upsampling="transposed"), 6, 4, "up"),
        TimeReadOut("weighted" if read_out == "weighted" else "membrane", T, 4, 1),
    )
    x_seq = sequence("channels last")
    weights = torch.randn(N, 1, H + 1, W)

    def gradients() -> list[Tensor]:
        network.zero_grad()
        given = x_seq.clone().requires_grad_()
        (network(given) * weights).sum().backward()
        assert given.grad is not None
        return [given.grad, *(weight.grad.clone() for weight in network.parameters() if weight.grad is not None)]

    found = gradients()
    monkeypatch.setattr(SpikingStage, "_gated", lambda stage, spike_seq, sums=None: stage.attention(spike_seq))
    expected = gradients()
    assert len(found) == len(expected) > 10
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
