"""TCJA against its equations, computed here with plain loops, and against values worked by hand."""

from __future__ import annotations

import itertools
import math
from typing import Literal

import pytest
import torch
from torch import Tensor, nn

from spikevae.config import ModelConfig, from_dict, to_dict
from spikevae.nn.attention import TemporalChannelJointAttention, attention_layer

T, N, C = 5, 3, 7
Branches = Literal["tcja", "tla", "cla"]


def slid(table: Tensor, weights: Tensor, *, mixed: Literal["T", "C"]) -> Tensor:
    """Slide ``weights`` [out, in, width] along one axis of a [T, N, C] table and mix all of the other, term by term."""
    result = torch.zeros_like(table)
    steps, images, channels = table.shape
    width = weights.shape[2]
    length, rows = (steps, channels) if mixed == "C" else (channels, steps)
    for n, place, row, source, k in itertools.product(*map(range, (images, length, rows, rows, width))):
        seen = place + k - (width - 1) // 2  # the middle of an even kernel is the place before it
        if 0 <= seen < length:
            value = table[seen, n, source] if mixed == "C" else table[source, n, seen]
            at = (place, n, row) if mixed == "C" else (row, n, place)
            result[at] += weights[row, source, k] * value
    return result


def attention(
    branches: Branches = "tcja", temporal_kernel: int = 3, channel_kernel: int = 3
) -> TemporalChannelJointAttention:
    """An attention with weights large enough for its gates to differ."""
    layer = TemporalChannelJointAttention(
        C, T, temporal_kernel=temporal_kernel, channel_kernel=channel_kernel, branches=branches
    )
    for weights in layer.parameters():
        nn.init.normal_(weights)
    return layer


@pytest.mark.parametrize("branches", ["tcja", "tla", "cla"])
@pytest.mark.parametrize(("temporal_kernel", "channel_kernel"), [(3, 3), (2, 4), (4, 2), (1, 5)])
def test_the_gate_is_the_sigmoid_of_the_product_of_the_branches(
    branches: Branches, temporal_kernel: int, channel_kernel: int
) -> None:
    layer = attention(branches, temporal_kernel, channel_kernel)
    x_seq = (torch.rand(T, N, C, 2, 3) < 0.4).float()
    table = torch.zeros(T, N, C)
    for h, w in itertools.product(range(2), range(3)):
        table += x_seq[:, :, :, h, w] / 6
    weights = dict(layer.named_parameters())
    score = torch.ones(T, N, C)
    if branches != "cla":
        assert weights["temporal.weight"].shape == (C, C, temporal_kernel)
        score = score * slid(table, weights["temporal.weight"], mixed="C")
    if branches != "tla":
        assert weights["channel.weight"].shape == (T, T, channel_kernel)
        score = score * slid(table, weights["channel.weight"], mixed="T")
    gated = layer(x_seq)
    expected = torch.einsum("tnchw,tnc->tnchw", x_seq, 1 / (1 + (-score).exp()))
    torch.testing.assert_close(gated, expected)
    assert score.std() > 0.1  # the weights do matter


def test_values_worked_by_hand() -> None:
    layer = TemporalChannelJointAttention(2, 3, temporal_kernel=3, channel_kernel=2)
    assert layer.temporal is not None
    assert layer.channel is not None
    # TLA: channel 0 gets channel 1 of the step before; channel 1 gets twice channel 0 of the step after.
    layer.temporal.weight.data = torch.tensor([[[0.0, 0, 0], [1, 0, 0]], [[0, 0, 2], [0, 0, 0]]])
    # CLA: every step gets the sum over steps, at this channel once and at the next channel ten times.
    layer.channel.weight.data = torch.tensor([[[1.0, 10]] * 3] * 3)
    table = torch.tensor([[1.0, 4], [2, 5], [3, 6]])  # [T, C]; sums over steps: 6 and 15
    tla = torch.tensor([[0.0, 4], [4, 6], [5, 0]])
    cla = torch.tensor([[6.0 + 150, 15]] * 3)
    expected = (tla * cla).sigmoid()
    scale = 1 / 1024  # keeps the sigmoid away from its ends; the score is quadratic in the table
    gate = layer.gate((table * math.sqrt(scale))[:, None, :, None, None])
    torch.testing.assert_close(gate[:, 0], (tla * cla * scale).sigmoid())
    torch.testing.assert_close(layer.gate(table[:, None, :, None, None])[:, 0], expected)


def test_the_temporal_branch_slides_along_time_and_the_channel_branch_along_channels() -> None:
    pulse = torch.zeros(T, N, C, 1, 1)
    pulse[2, 0, 3] = 1.0
    rest = torch.zeros_like(pulse)
    for branches, reached in (("tla", (slice(1, 4), slice(None))), ("cla", (slice(None), slice(2, 5)))):
        layer = attention(branches)  # type: ignore[arg-type]
        moved = layer.gate(pulse)[:, 0] != layer.gate(rest)[:, 0]  # [T, C]
        expected = torch.zeros(T, C, dtype=torch.bool)
        expected[reached] = True  # one place each way along its own axis, all of the other
        assert torch.equal(moved, expected), branches


def test_later_steps_seen_earlier_give_earlier_gates() -> None:
    layer = attention("tla")
    x_seq = torch.rand(T, N, C, 2, 2)
    x_seq[0] = x_seq[-1] = 0
    moved = layer.gate(x_seq.roll(-1, dims=0))
    torch.testing.assert_close(moved[:-1], layer.gate(x_seq)[1:])


@pytest.mark.parametrize("branches", ["tcja", "tla", "cla"])
def test_gates_lie_between_0_and_1_and_hide_no_silence(branches: Branches) -> None:
    layer = attention(branches)
    x_seq = (torch.rand(T, N, C, 3, 2) < 0.3).float()
    gate = layer.gate(x_seq)
    assert gate.min() > 0
    assert gate.max() < 1
    gated = layer(x_seq)
    assert not gated[x_seq == 0].any()
    assert not layer(torch.zeros_like(x_seq)).any()


def test_an_image_does_not_depend_on_the_others_of_its_batch() -> None:
    layer = attention()
    x_seq = torch.rand(T, N, C, 2, 2)
    torch.testing.assert_close(layer(x_seq[:, 1:2]), layer(x_seq)[:, 1:2])
    order = torch.tensor([2, 0, 1])
    torch.testing.assert_close(layer(x_seq[:, order]), layer(x_seq)[:, order])


@pytest.mark.parametrize("branches", ["tcja", "tla", "cla"])
def test_gradients_are_those_of_multiplying_with_the_gate(branches: Branches) -> None:
    attention = TemporalChannelJointAttention(C, T, branches=branches)
    x_seq = (torch.rand(T, N, C, 4, 5) < 0.3).float().requires_grad_()
    weights = torch.randn(x_seq.shape)
    wanted = [x_seq, *attention.parameters()]
    grads = torch.autograd.grad((attention(x_seq) * weights).sum(), wanted)
    plain = x_seq * attention.gate(x_seq)[..., None, None]
    expected = torch.autograd.grad((plain * weights).sum(), wanted)
    torch.testing.assert_close(grads, expected, rtol=1e-4, atol=1e-5)


def test_a_gate_that_has_rounded_to_nothing_gives_finite_gradients() -> None:
    attention = TemporalChannelJointAttention(C, T, branches="tla")
    assert attention.temporal is not None
    nn.init.constant_(attention.temporal.weight, -1e4)
    x_seq = torch.ones(T, N, C, 4, 5, requires_grad=True)
    gated = attention(x_seq)
    assert not gated.any()
    gated.sum().backward()
    assert x_seq.grad is not None
    assert bool(x_seq.grad.isfinite().all())
    assert attention.temporal.weight.grad is not None
    assert bool(attention.temporal.weight.grad.isfinite().all())


def test_bfloat16_spikes_stay_bfloat16_and_their_gates_are_computed_in_float32() -> None:
    layer = attention()
    x_seq = (torch.rand(T, N, C, 2, 2) < 0.5).float()
    with torch.autocast("cpu", torch.bfloat16):
        gate, gated = layer.gate(x_seq.bfloat16()), layer(x_seq.bfloat16())
    assert gated.dtype == torch.bfloat16
    torch.testing.assert_close(gate, layer.gate(x_seq))


def test_what_does_not_fit_is_refused() -> None:
    layer = attention()
    for shape in ((T + 1, N, C, 2, 2), (T, N, C - 1, 2, 2), (N, T, C, 2, 2)):
        with pytest.raises(ValueError, match=rf"\[T=5, N, C=7, H, W\], got \[{shape[0]}, {shape[1]}, {shape[2]}"):
            layer(torch.zeros(shape))
    with pytest.raises(ValueError, match=r"temporal_kernel=6 is wider than time_steps=5"):
        attention(temporal_kernel=6)
    with pytest.raises(ValueError, match=r"channel_kernel=8 is wider than channels=7"):
        attention(channel_kernel=8)
    with pytest.raises(ValueError, match=r"'none' is none of tcja, tla, cla"):
        TemporalChannelJointAttention(C, T, branches="none")
    attention("cla", temporal_kernel=6)  # a branch that is not there has no kernel
    attention("tla", channel_kernel=8)


def test_a_config_without_attention_passes_everything() -> None:
    x_seq = torch.rand(4, N, C, 2, 2)
    assert torch.equal(attention_layer(ModelConfig(attention="none"), C)(x_seq), x_seq)
    only_channels = attention_layer(ModelConfig(attention="cla"), C)
    assert [name for name, _ in only_channels.named_parameters()] == ["channel.weight"]


def rounded_attention(gate: Literal["sigmoid", "pow2"]) -> TemporalChannelJointAttention:
    """Attention of T = 3 and C = 6 whose weights do not depend on ``gate``."""
    torch.manual_seed(3)
    attention = TemporalChannelJointAttention(6, 3, gate=gate)
    assert attention.temporal is not None
    nn.init.normal_(attention.temporal.weight, std=2.0)
    return attention


def test_rounded_gates_are_the_nearest_powers_of_two_in_the_exponent() -> None:
    x_seq = (torch.rand(3, 5, 6, 4, 4) > 0.6).float()
    gate, rounded = rounded_attention("sigmoid").gate(x_seq), rounded_attention("pow2").gate(x_seq)
    mantissa, exponent = rounded.frexp()
    assert torch.equal(mantissa, torch.full_like(mantissa, 0.5))
    assert ((exponent - 1 - gate.log2()).abs() <= 0.5 + 1e-5).all()
    assert len(rounded.unique()) > 2


def test_rounding_passes_the_gradient_of_the_gate_straight_through() -> None:
    x_seq = (torch.rand(3, 5, 6, 4, 4) > 0.6).float()
    plain_attention, straight_attention = rounded_attention("sigmoid"), rounded_attention("pow2")
    for attention in (plain_attention, straight_attention):
        attention.gate(x_seq).sum().backward()
    for weight, other in zip(plain_attention.parameters(), straight_attention.parameters(), strict=True):
        plain, straight = weight.grad, other.grad
        assert plain is not None
        assert plain.abs().sum() > 0
        torch.testing.assert_close(straight, plain)


def test_a_config_that_does_not_know_the_gate_setting_means_the_sigmoid() -> None:
    values = to_dict(ModelConfig(gate="pow2"))
    assert from_dict(ModelConfig, values).gate == "pow2"
    del values["gate"]
    assert from_dict(ModelConfig, values).gate == "sigmoid"
