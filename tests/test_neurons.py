"""Spiking layers: the same spikes and gradients as spikingjelly's, and no memory between calls."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from spikingjelly.activation_based import neuron, surrogate
from torch import Tensor, nn

from spikevae.config import ModelConfig
from spikevae.evaluation.energy import count_calls
from spikevae.nn import neurons
from spikevae.nn.classifiers import SpikingClassifier
from spikevae.nn.networks import build_network
from spikevae.nn.neurons import (
    ParametricSpikingLayer,
    SequenceNorm,
    SpikingLayer,
    spiking_layer,
    threshold_scaled,
)
from spikevae.ops import norm_fire_gate
from spikevae.ops.cpu import compile
from spikevae.presets import PRESETS

TAU, SLOPE = 1.7, 2.5
T, N = 5, 3


def normalised_spikes(norm: nn.Module, layer: nn.Module, x_seq: Tensor) -> Tensor:
    return norm_fire_gate(x_seq, norm, layer, nn.Identity())


def ours(kind: str) -> SpikingLayer | ParametricSpikingLayer:
    if kind == "plif":
        return ParametricSpikingLayer(TAU, SLOPE)
    return SpikingLayer(TAU, SLOPE, step_mode="s" if kind == "stepping" else "m")


def theirs(kind: str) -> neuron.BaseNode:
    """Spikingjelly's own layer, step by step in plain torch."""
    atan = surrogate.ATan(alpha=SLOPE)
    if kind == "plif":
        return neuron.ParametricLIFNode(init_tau=TAU, surrogate_function=atan, detach_reset=True, step_mode="s")
    return neuron.LIFNode(tau=TAU, surrogate_function=atan, detach_reset=True, step_mode="s")


def currents(*shape: int) -> Tensor:
    """Input that makes about a third of the neurons fire."""
    return 1.5 * torch.randn(shape) + 0.5


def run(layer: nn.Module, x_seq: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
    """Spikes, and the gradients of their weighted sum for the input and for the learned time constant."""
    x_seq = x_seq.detach().requires_grad_()
    if isinstance(layer, neuron.BaseNode) and layer.step_mode == "s":
        layer.reset()
        spike_seq = torch.stack([layer(x) for x in x_seq])
    else:
        spike_seq = layer(x_seq)
    (spike_seq.float() * weights).sum().backward()
    assert x_seq.grad is not None
    leak = getattr(layer, "w", None)
    return spike_seq.detach(), x_seq.grad, None if leak is None else leak.grad


@pytest.mark.parametrize("kind", ["lif", "plif", "stepping"])
@pytest.mark.parametrize("layout", ["plain", "channels last", "time in the middle"])
def test_spikes_and_gradients_are_those_of_spikingjelly(kind: str, layout: str) -> None:
    x_seq = currents(T, N, 4, 6, 7)
    if layout == "channels last":
        x_seq = x_seq.flatten(0, 1).contiguous(memory_format=torch.channels_last).unflatten(0, (T, N))
    if layout == "time in the middle":
        x_seq = x_seq.transpose(0, 1).contiguous().transpose(0, 1)
    weights = torch.randn(x_seq.shape)
    spikes, grad, leak_grad = run(ours(kind), x_seq, weights)
    expected_spikes, expected_grad, expected_leak_grad = run(theirs(kind), x_seq, weights)
    assert 0.1 < spikes.mean() < 0.5
    assert torch.equal(spikes, expected_spikes)
    torch.testing.assert_close(grad, expected_grad, rtol=1e-4, atol=1e-6)
    if kind == "plif":
        torch.testing.assert_close(leak_grad, expected_leak_grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["lif", "plif"])
@pytest.mark.parametrize("is_channels_last", [False, True])
def test_an_input_shown_at_every_step_needs_no_copies(kind: str, is_channels_last: bool) -> None:
    x = currents(N, 4, 6, 7).requires_grad_()
    laid_out = x.contiguous(memory_format=torch.channels_last) if is_channels_last else x
    weights = torch.randn(T, N, 4, 6, 7)
    shown = ours(kind)(laid_out.expand(T, N, 4, 6, 7))
    (grad,) = torch.autograd.grad((shown * weights).sum(), x)
    copied = ours(kind)(torch.stack([laid_out] * T))
    (expected_grad,) = torch.autograd.grad((copied * weights).sum(), x)
    assert torch.equal(shown, copied)
    torch.testing.assert_close(grad, expected_grad)
    assert shown[0].is_contiguous(memory_format=torch.channels_last) == is_channels_last


@pytest.mark.parametrize("kind", ["lif", "plif", "stepping"])
def test_bfloat16_gives_the_spikes_of_float32_and_gradients_close_to_its(kind: str) -> None:
    x_seq = currents(T, N, 50).bfloat16()
    weights = torch.randn(x_seq.shape)
    spikes, grad, leak_grad = run(ours(kind), x_seq, weights)
    expected_spikes, expected_grad, expected_leak_grad = run(theirs(kind), x_seq.float(), weights)
    assert spikes.dtype == grad.dtype == torch.bfloat16
    assert torch.equal(spikes.float(), expected_spikes)
    torch.testing.assert_close(grad.float(), expected_grad, rtol=0.03, atol=0.01)
    if kind == "plif":
        torch.testing.assert_close(leak_grad, expected_leak_grad, rtol=0.02, atol=0.02)


def test_three_steps_worked_by_hand() -> None:
    # tau = 2: h = v + (x - v) / 2. x = 1.5: h = 0.75, silent. x = 1.5: h = 1.125, spike, v = 0. x = 2: h = 1, spike.
    x_seq = torch.tensor([[1.5], [1.5], [2.0]], requires_grad=True)
    spike_seq = SpikingLayer(2.0, 2.0)(x_seq)
    assert spike_seq.flatten().tolist() == [0.0, 1.0, 1.0]
    # ds/dh = 1 / (1 + (pi (h - 1))^2) for slope 2; dh/dx = 1/2; the reset is detached, so dv/dh = 1 - s.
    spike_seq.sum().backward()
    assert x_seq.grad is not None
    surrogates = [1 / (1 + (torch.pi * (h - 1)) ** 2) for h in (0.75, 1.125, 1.0)]
    by_hand = [(surrogates[0] + surrogates[1] / 2) / 2, surrogates[1] / 2, surrogates[2] / 2]
    torch.testing.assert_close(x_seq.grad.flatten(), torch.tensor(by_hand))


def test_a_silent_input_gives_no_spikes_and_a_constant_one_beyond_threshold_fires_at_once() -> None:
    layer = SpikingLayer(2.0, SLOPE)
    assert not layer(torch.zeros(T, N, 2)).any()
    assert layer(torch.full((T, N, 2), 2.0)).all()


def in_small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several threads and several blocks for each, the last one not full."""
    monkeypatch.setattr(compile, "BLOCK", 7)
    monkeypatch.setattr(compile, "_LEAST", 1)


@pytest.mark.parametrize("kind", ["lif", "plif"])
def test_more_neurons_than_fit_the_cache_change_nothing(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    x_seq, weights = currents(T, N, 31), torch.randn(T, N, 31)
    whole = run(ours(kind), x_seq, weights)
    in_small_blocks(monkeypatch)
    spikes, grad, leak_grad = run(ours(kind), x_seq, weights)
    assert torch.equal(spikes, whole[0])
    assert torch.equal(grad, whole[1])
    if leak_grad is not None:
        torch.testing.assert_close(leak_grad, whole[2])


@pytest.mark.parametrize("kind", ["lif", "plif"])
@pytest.mark.parametrize("layout", ["plain", "channels last"])
def test_norm_and_neurons_as_one_operator_give_what_they_give_one_after_the_other(
    kind: str, layout: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_small_blocks(monkeypatch)
    norm = nn.BatchNorm2d(4)
    nn.init.uniform_(norm.weight, 0.5, 2.0)
    nn.init.uniform_(norm.bias, 0.0, 1.0)
    twin_norm, layer = copy.deepcopy(norm), ours(kind)
    twin_layer = copy.deepcopy(layer)
    x_seq = 3 * torch.randn(T, N, 4, 6, 7) + 2
    if layout == "channels last":
        x_seq = x_seq.flatten(0, 1).contiguous(memory_format=torch.channels_last).unflatten(0, (T, N))
    weights = torch.randn(x_seq.shape)
    given, twin_given = x_seq.clone().requires_grad_(), x_seq.clone().requires_grad_()

    spike_seq = normalised_spikes(norm, layer, given)
    expected = twin_layer(twin_norm(twin_given.flatten(0, 1)).unflatten(0, (T, N)))
    assert 0.1 < spike_seq.mean() < 0.6
    assert torch.equal(spike_seq, expected)
    (spike_seq * weights).sum().backward()
    (expected * weights).sum().backward()
    torch.testing.assert_close(given.grad, twin_given.grad, rtol=1e-3, atol=1e-5)
    for module, twin in ((norm, twin_norm), (layer, twin_layer)):
        for (name, parameter), other in zip(module.named_parameters(), twin.parameters(), strict=True):
            torch.testing.assert_close(parameter.grad, other.grad, rtol=1e-3, atol=1e-4, msg=name)
    torch.testing.assert_close(norm.state_dict(), twin_norm.state_dict())


@pytest.mark.parametrize("kind", ["lif", "plif"])
def test_as_one_operator_they_also_compute_in_bfloat16(kind: str) -> None:
    norm, layer = nn.BatchNorm2d(4), ours(kind)
    x_seq = (3 * torch.randn(T, N, 4, 6, 7)).bfloat16()
    weights = torch.randn(x_seq.shape)
    grads = []
    for given in (x_seq.clone().requires_grad_(), x_seq.float().requires_grad_()):
        spike_seq = normalised_spikes(norm, layer, given)
        assert spike_seq.dtype == given.dtype
        (spike_seq.float() * weights).sum().backward()
        assert given.grad is not None
        grads.append((spike_seq.float(), given.grad.float()))
    assert torch.equal(grads[0][0], grads[1][0])
    torch.testing.assert_close(grads[0][1], grads[1][1], rtol=0.05, atol=0.02)


def test_what_they_keep_for_the_gradient_is_the_input_alone() -> None:
    kept: list[Tensor] = []

    def keep(x: Tensor) -> Tensor:
        kept.append(x)
        return x

    x_seq = torch.randn(T, N, 4, 6, 7).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        normalised_spikes(nn.BatchNorm2d(4), ours("lif"), x_seq)
    assert sum(x.numel() for x in kept if x.numel() >= x_seq.numel()) == x_seq.numel()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_stepping_without_a_gradient_gives_the_spikes_that_stepping_with_one_gives(dtype: torch.dtype) -> None:
    with_gradient, without = SpikingLayer(TAU, SLOPE, "s"), SpikingLayer(TAU, SLOPE, "s")
    for x in currents(T, N, 300).to(dtype):
        spikes = with_gradient(x.clone().requires_grad_())
        with torch.no_grad():
            alike = without(x.t().contiguous().t())
        assert alike.dtype == dtype
        assert torch.equal(alike, spikes)
    torch.testing.assert_close(without.v, with_gradient.v)


@pytest.mark.parametrize("kind", ["lif", "plif"])
def test_norm_and_neurons_in_use_give_what_they_give_one_after_the_other(kind: str) -> None:
    norm, layer = nn.BatchNorm2d(4), ours(kind)
    norm(3 * torch.randn(20, 4, 6, 7) + 1)
    norm.eval()
    x_seq = 3 * torch.randn(T, N, 4, 6, 7) + 1
    with torch.no_grad():
        expected = layer(norm(x_seq.flatten(0, 1)).unflatten(0, (T, N)))
        spike_seq = normalised_spikes(norm, layer, x_seq.clone())
    assert torch.equal(spike_seq, expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_spikes_have_the_dtype_of_the_currents(dtype: torch.dtype) -> None:
    x_seq = currents(T, N, 50).to(dtype).requires_grad_()
    expected = SpikingLayer(TAU, SLOPE)(x_seq.detach().float())
    spike_seq = SpikingLayer(TAU, SLOPE)(x_seq)
    spike_seq.sum().backward()
    assert x_seq.grad is not None
    assert x_seq.grad.dtype == spike_seq.dtype == dtype
    assert torch.equal(spike_seq.float(), expected)
    stepping = SpikingLayer(TAU, SLOPE, "s")
    assert torch.equal(torch.stack([stepping(x) for x in x_seq]), spike_seq)


@pytest.mark.parametrize("kind", ["lif", "plif"])
def test_a_sequence_of_no_images_gives_no_spikes(kind: str) -> None:
    layer, norm, x_seq = ours(kind), nn.BatchNorm2d(4).eval(), torch.zeros(T, 0, 4, 6, 7, requires_grad=True)
    spike_seq = layer(x_seq)
    spike_seq.sum().backward()
    assert x_seq.grad is not None
    assert x_seq.grad.shape == spike_seq.shape == x_seq.shape
    with torch.no_grad():
        assert normalised_spikes(norm, layer, x_seq).shape == x_seq.shape
        assert SpikingLayer(TAU, SLOPE, "s")(x_seq[0]).shape == x_seq[0].shape


@pytest.mark.parametrize("kind", ["lif", "plif"])
def test_nothing_is_carried_from_one_call_to_the_next(kind: str) -> None:
    layer, x_seq = ours(kind), currents(T, N, 20)
    first = layer(x_seq)
    layer(currents(T + 1, N + 4, 20))
    assert torch.equal(layer(x_seq), first)
    part = layer(x_seq[:, :1])
    assert torch.equal(part, first[:, :1])


@pytest.mark.parametrize("kind", ["lif", "plif"])
def test_neurons_whose_settings_were_changed_are_spikingjellys_from_rest(kind: str) -> None:
    layer, x_seq = ours(kind), currents(T, N, 20)
    layer.v_threshold = 0.5
    expected = theirs(kind)
    expected.v_threshold = 0.5
    expected.step_mode = "m"
    for _ in range(2):
        expected.reset()
        assert torch.equal(layer(x_seq), expected(x_seq))
        assert layer.v == 0.0
    assert layer(x_seq).sum() > ours(kind)(x_seq).sum()


def test_potentials_can_be_watched() -> None:
    layer, x_seq = ours("lif"), currents(T, N, 20)
    layer.store_v_seq = True
    spike_seq = layer(x_seq)
    v_seq = layer.v_seq
    assert isinstance(v_seq, Tensor)
    assert v_seq.shape == x_seq.shape
    assert not v_seq[spike_seq > 0].any()


@pytest.mark.parametrize("kind", ["lif", "plif"])
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_spikes_are_the_same_where_no_gradient_is_wanted(kind: str, mode: type[torch.no_grad]) -> None:
    layer, x_seq = ours(kind), currents(T, N, 20)
    expected = layer(x_seq.clone().requires_grad_())
    with mode():
        spike_seq = layer(x_seq)
    assert torch.equal(spike_seq, expected)
    assert not spike_seq.requires_grad


def test_only_a_time_constant_that_wants_a_gradient_gets_one() -> None:
    layer = ParametricSpikingLayer(TAU, SLOPE)
    layer(currents(T, N, 20)).sum().backward()  # the input is data: the gradient is for the time constant alone
    assert layer.w.grad is not None
    assert layer.w.grad != 0
    layer.w.grad = None
    layer.requires_grad_(False)
    x_seq = currents(T, N, 20).requires_grad_()
    layer(x_seq).sum().backward()
    assert layer.w.grad is None
    assert x_seq.grad is not None


def test_a_layer_can_be_copied_after_it_has_fired() -> None:
    layer, x_seq = ParametricSpikingLayer(TAU, SLOPE), currents(T, N, 20).requires_grad_()
    spike_seq = layer(x_seq)
    assert torch.equal(copy.deepcopy(layer)(x_seq), spike_seq)


def test_the_layer_that_a_config_asks_for() -> None:
    fixed = spiking_layer(ModelConfig(neuron="lif", tau=3.0))
    assert isinstance(fixed, SpikingLayer)
    assert not list(fixed.parameters())
    learned = spiking_layer(ModelConfig(neuron="plif", tau=3.0))
    assert isinstance(learned, ParametricSpikingLayer)
    assert learned.leak.item() == pytest.approx(fixed.leak) == pytest.approx(1 / 3)


def test_a_learned_leak_that_has_rounded_to_nothing_gives_silence_and_a_finite_gradient() -> None:
    layer = spiking_layer(ModelConfig(neuron="plif"))
    assert isinstance(layer, ParametricSpikingLayer)
    layer.w.data.fill_(-1000.0)
    x_seq = torch.ones(3, 2, requires_grad=True)
    spike_seq = layer(x_seq)
    spike_seq.sum().backward()
    assert not spike_seq.any()
    assert layer.w.grad is not None
    assert float(layer.w.grad) == 0
    assert x_seq.grad is not None
    assert bool(x_seq.grad.isfinite().all())


@pytest.mark.parametrize("tau", [2.0, 8.0])
def test_neurons_behind_a_scaled_norm_fire_from_the_start_whatever_their_time_constant(tau: float) -> None:
    config = ModelConfig(time_steps=T, neuron="lif", tau=tau)
    norm, layer = threshold_scaled(nn.BatchNorm2d(4), config), spiking_layer(config)
    rate = normalised_spikes(norm, layer, torch.randn(T, N, 4, 20, 20)).mean()
    assert 0.1 < rate < 0.3
    assert normalised_spikes(nn.BatchNorm2d(4), layer, torch.randn(T, N, 4, 20, 20)).mean() < 0.04


def test_statistics_of_sequences_can_be_a_plain_average() -> None:
    norm = SequenceNorm(3)
    norm.momentum = None
    sequences = torch.randn(6, T, N, 3) + torch.tensor([1.0, 2.0, 3.0])
    for sequence in sequences:
        norm(sequence.flatten(0, 1))
        norm.end_sequence()
    torch.testing.assert_close(norm.running_mean, sequences.mean((0, 1, 2)))
    torch.testing.assert_close(norm.running_var, sequences.var((1, 2), correction=0).mean(0))


def test_statistics_of_sequences_are_those_of_all_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    sequence = torch.randn(T, 2 * N, 3)
    whole, half = SequenceNorm(3), SequenceNorm(3)
    whole(sequence.flatten(0, 1))
    whole.end_sequence()
    rest = sequence[:, N:].flatten(0, 1)
    of_the_other = torch.stack([torch.full([3], len(rest)), rest.sum(0), rest.square().sum(0)])
    monkeypatch.setattr(neurons, "sum_over_processes", lambda sums: sums + of_the_other)
    half(sequence[:, :N].flatten(0, 1))
    half.end_sequence()
    torch.testing.assert_close(half.state_dict(), whole.state_dict())


def test_a_sequence_is_normalised_as_batch_norm_in_use_does_it_and_leaves_nothing_behind() -> None:
    norm, plain = SequenceNorm(3), nn.BatchNorm1d(3)
    state = {"weight": [0.5, 1.0, 2.0], "bias": [0.0, 1.0, -1.0], "running_mean": [0.3] * 3, "running_var": [0.7] * 3}
    for module in (norm, plain):
        module.load_state_dict({name: torch.tensor(values) for name, values in state.items()}, strict=False)
    x = torch.randn(N, 3)
    expected = plain.eval()(x)
    torch.testing.assert_close(norm(x), expected)
    norm.end_sequence()  # takes in its statistics
    copied = copy.deepcopy(norm)  # would refuse to copy what belongs to a gradient
    assert set(copied.state_dict()) == set(plain.state_dict())
    assert not torch.equal(copied(x), expected)


def test_rectifiers_make_an_ordinary_network_that_multiplies() -> None:
    config = replace(PRESETS["cifar10-classifier"].model, neuron="relu", attention="none", time_steps=1)
    model, x = build_network(config).eval(), torch.rand(2, 3, 32, 32)
    assert isinstance(model, SpikingClassifier)
    seen: list[Tensor] = []
    model.layers[1].register_forward_hook(lambda module, inputs, output: seen.append(output))
    model.classify(x, flip_tta=False)
    assert bool((seen[0] >= 0).all())
    assert bool((seen[0] != seen[0].round()).any())
    cost = count_calls(model, {"classify": lambda: model.classify(x, flip_tta=False)}, images=2)["classify"]
    assert cost.accumulates == 0
    assert 0.3 < cost.multiply_accumulates / sum(layer.dense for layer in cost.layers.values()) < 0.8
