"""Synapses that add the weights of what fires give what dense ones give, and so do their gradients."""

from __future__ import annotations

from collections.abc import Callable
from unittest.mock import Mock

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from spikevae.nn.synapses import SpikeConv2d, SpikeConvTranspose2d
from spikevae.ops import synapses

IN, OUT = 16, 64
RATES = (0.0, 0.2, 1.0)


def gated_spikes(rate: float, *shape: int) -> Tensor:
    gates = torch.rand(*shape[:2], *(1 for _ in shape[2:])) + 0.1
    return (torch.rand(shape) < rate).float() * gates


def dense(layer: nn.Module, x: Tensor) -> Tensor:
    if isinstance(layer, nn.ConvTranspose2d):
        return functional.conv_transpose2d(x, layer.weight, stride=2, padding=1, output_padding=1)
    assert isinstance(layer, nn.Conv2d)
    return functional.conv2d(x, layer.weight, stride=layer.stride, padding=1)


@pytest.fixture
def only_events(monkeypatch: pytest.MonkeyPatch) -> None:
    """No layer may fall back on torch's own."""

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a dense layer ran")

    monkeypatch.setattr(synapses, "spike_convolution_reference", refuse)
    monkeypatch.setattr(synapses, "_MOST_THAT_FIRE", 1.0)


LAYERS: dict[str, Callable[[], SpikeConv2d | SpikeConvTranspose2d]] = {
    "same": lambda: SpikeConv2d(IN, OUT),
    "down": lambda: SpikeConv2d(IN, OUT, stride=2),
    "up": lambda: SpikeConvTranspose2d(IN, OUT),
}


@pytest.mark.usefixtures("only_events")
@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("size", [(1, 1), (4, 4), (5, 2), (7, 7)])
@pytest.mark.parametrize("kind", LAYERS)
def test_currents_and_gradients_are_those_of_a_dense_convolution(kind: str, size: tuple[int, int], rate: float) -> None:
    layer = LAYERS[kind]()
    layer.to(memory_format=torch.channels_last)
    x = gated_spikes(rate, 5, IN, *size).requires_grad_()
    currents, expected = layer(x), dense(layer, x)
    grad = torch.randn_like(expected)
    torch.testing.assert_close(currents, expected, rtol=1e-5, atol=1e-5)
    ours = torch.autograd.grad(currents, (x, layer.weight), grad)
    theirs = torch.autograd.grad(expected, (x, layer.weight), grad)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("only_events")
def test_a_gradient_that_nobody_wants_is_not_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = SpikeConv2d(IN, OUT)
    layer.weight.requires_grad_(False)
    monkeypatch.setattr(synapses, "convolve_back", None)
    x = gated_spikes(0.2, 2, IN, 3, 3).requires_grad_()
    (grad,) = torch.autograd.grad(layer(x).sum(), x)
    assert grad.abs().sum() > 0


@pytest.mark.usefixtures("only_events")
@pytest.mark.parametrize("kind", LAYERS)
def test_no_images_give_no_currents_and_no_gradient(kind: str) -> None:
    layer = LAYERS[kind]()
    x = torch.zeros(0, IN, 4, 4)
    currents = layer(x)
    assert currents.shape == dense(layer, x).shape
    currents.sum().backward()
    assert layer.weight.grad is not None
    assert not layer.weight.grad.any()


@pytest.mark.parametrize("kind", LAYERS)
def test_currents_do_not_depend_on_the_number_of_threads(kind: str) -> None:
    layer, x, threads = LAYERS[kind](), gated_spikes(0.2, 9, IN, 20, 20), torch.get_num_threads()
    currents = []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            currents.append(layer(x))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(currents[0], currents[1])
    assert torch.equal(currents[0], currents[2])


@pytest.mark.parametrize("channels", [(IN, 30), (9, OUT), (1, OUT)])
def test_channels_without_whole_groups_go_through_torch(channels: tuple[int, int]) -> None:
    x = gated_spikes(0.2, 2, channels[0], 4, 4)
    for layer in (SpikeConv2d(*channels), SpikeConvTranspose2d(*channels)):
        assert torch.equal(layer(x), dense(layer, x))


def test_other_dtypes_go_through_torch() -> None:
    x = gated_spikes(0.2, 2, IN, 4, 4)
    layer = SpikeConv2d(IN, OUT)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16
    assert layer.double()(x.double()).dtype == torch.float64


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("channels", [32, 96, 128])
def test_another_number_of_channels_is_refused_and_no_memory_read_beyond_them(channels: int, transposed: bool) -> None:
    layer = SpikeConvTranspose2d(64, 32) if transposed else SpikeConv2d(64, 32)
    with pytest.raises(RuntimeError, match=f"to have 64 channels, but got {channels}"):
        layer(torch.ones(2, channels, 8, 8))


@pytest.mark.parametrize(("rate", "adds"), [(0.2, True), (0.5, False)])
def test_where_much_fires_every_weight_is_multiplied(rate: float, adds: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[Mock] = []
    for name in ("_add_what_fires", "_weight_gradient_of_what_fires"):
        loop = Mock(side_effect=getattr(synapses, name))
        monkeypatch.setattr(synapses, name, loop)
        called.append(loop)
    layer, x = SpikeConv2d(IN, OUT), gated_spikes(rate, 4, IN, 16, 16)
    currents = layer(x)
    currents.square().sum().backward()
    torch.testing.assert_close(currents, dense(layer, x), rtol=1e-5, atol=1e-5)
    assert [loop.call_count for loop in called] == [adds, adds]


def test_in_use_no_result_hangs_on_the_batch_that_an_input_lies_in() -> None:
    layer, x = SpikeConv2d(IN, OUT), torch.cat([gated_spikes(rate, 1, IN, 16, 16) for rate in (0.1, 0.9)])
    with torch.no_grad():
        assert torch.equal(layer(x), torch.cat([layer(x[:1]), layer(x[1:])]))
