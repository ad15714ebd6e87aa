"""Operations behind the seam: what is fused equals its plain reference, and nothing is fused that somebody watches."""

from __future__ import annotations

import copy
import io
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from spikingjelly.activation_based import monitor, neuron, surrogate
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from spikevae.config import ModelConfig
from spikevae.nn.attention import TemporalChannelJointAttention
from spikevae.nn.decoder import TimeReadOut
from spikevae.nn.neurons import ParametricSpikingLayer, SpikingLayer
from spikevae.nn.stage import convolutional_stage, latent_stage
from spikevae.nn.vae import SpikingVAE
from spikevae.ops import (
    GatedSpikes,
    RateMeter,
    lif_step,
    norm_fire_gate,
    points_of_gaussians,
    spike_convolution,
    spiking_stages,
    weighted_sum,
)
from spikevae.ops.cpu import compile
from spikevae.ops.lif import lif_step_reference
from spikevae.ops.planes import join_gated, split_gated
from spikevae.ops.repeated import at_every_step, at_every_step_reference

T, N, C, H, W = 3, 2, 8, 7, 6
CONFIG = ModelConfig(
    image_size=12, time_steps=T, encoder_widths=(8, 32), decoder_widths=(32, 8), latent_size=5, class_names=("a", "b")
)


@pytest.fixture(autouse=True)
def _several_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compile, "_LEAST", 1)


def sequence(layout: str = "channels last", dtype: torch.dtype = torch.float32) -> Tensor:
    x_seq = (2 * torch.randn(T, N, C, H, W)).to(dtype)
    if layout == "channels last":
        x_seq = x_seq.flatten(0, 1).contiguous(memory_format=torch.channels_last).unflatten(0, (T, N))
    if layout == "one step":
        x_seq = x_seq[:1].expand(T, -1, -1, -1, -1)
    return x_seq


def as_reference(run: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> Any:
    with monkeypatch.context() as patch:
        patch.setenv("SPIKEVAE_OPS", "reference")
        return run()


def gated_spikes(dtype: torch.dtype = torch.float32) -> Tensor:
    spikes = (torch.rand(T * N, C, H, W) < 0.3).float() * torch.rand(T * N, C, 1, 1)
    return spikes.to(dtype).contiguous(memory_format=torch.channels_last)


# ------------------------------------------------------------ equal to the reference


PARTS: dict[str, Callable[[], tuple[nn.Module, nn.Module]]] = {
    "norm and gate": lambda: (nn.BatchNorm2d(C), TemporalChannelJointAttention(C, T)),
    "norm": lambda: (nn.BatchNorm2d(C), nn.Identity()),
    "gate": lambda: (nn.Identity(), TemporalChannelJointAttention(C, T, branches="cla")),
    "neurons": lambda: (nn.Identity(), nn.Identity()),
}


@pytest.mark.parametrize("layout", ["plain", "channels last", "one step"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("parts", PARTS)
def test_a_fused_stage_has_the_spikes_and_the_gradients_of_its_reference(
    parts: str, dtype: torch.dtype, layout: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compile, "BLOCK", 40)
    norm, attention = PARTS[parts]()
    neurons = ParametricSpikingLayer(2.0, 2.0)
    if isinstance(norm, nn.BatchNorm2d):
        nn.init.constant_(norm.weight, 2.0)
    x_seq = sequence(layout, dtype)
    weights = torch.randn(T, N, C, H, W)
    parameters = [p for module in (norm, neurons, attention) for p in module.parameters()]

    def run() -> tuple[Tensor, tuple[Tensor, ...]]:
        given = x_seq.detach().requires_grad_()
        gated_seq = norm_fire_gate(given, norm, neurons, attention)
        return gated_seq, torch.autograd.grad((gated_seq.float() * weights).sum(), [given, *parameters])

    gated_seq, grads = run()
    expected, expected_grads = as_reference(run, monkeypatch)
    assert gated_seq.dtype == expected.dtype
    is_half = dtype == torch.bfloat16
    assert ((gated_seq != 0) == (expected != 0)).float().mean() > (0.99 if is_half else 0.9999)
    assert 0.05 < (gated_seq != 0).float().mean() < 0.6
    if not is_half:
        torch.testing.assert_close(gated_seq, expected)
    for found, wanted in zip(grads, expected_grads, strict=True):  # a spike that differs changes a few elements by far
        assert (found - wanted).norm() < (0.25 if is_half else 1e-3) * wanted.norm() + 1e-4


@pytest.mark.parametrize("default", [torch.bfloat16, torch.float16, torch.float64])
def test_the_gradients_do_not_depend_on_the_type_that_a_program_makes_tensors_of(default: torch.dtype) -> None:
    norm, attention = PARTS["norm and gate"]()
    neurons, x_seq = SpikingLayer(3.0, 2.0), sequence()
    parameters = [*norm.parameters(), *attention.parameters()]

    def run() -> tuple[Tensor, ...]:
        gated_seq = norm_fire_gate(x_seq, norm, neurons, attention)
        return gated_seq, *torch.autograd.grad(gated_seq.square().sum(), parameters)

    expected = run()
    torch.set_default_dtype(default)
    try:
        found = run()
    finally:
        torch.set_default_dtype(torch.float32)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    assert all(bool(grad.any()) for grad in found)


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("parts", PARTS)
def test_a_meter_of_firing_rates_reads_what_it_reads_on_the_reference(
    parts: str, alone: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    norm, attention = PARTS[parts]()
    neurons = ParametricSpikingLayer(2.0, 2.0)
    if isinstance(norm, nn.BatchNorm2d):
        nn.init.constant_(norm.weight, 2.0)
    x_seq = sequence("plain", torch.float32)
    weights = torch.zeros(T, N, C, H, W) if alone else torch.randn(T, N, C, H, W)
    meter, seen = RateMeter(), []
    neurons.register_forward_hook(meter)

    def run() -> tuple[Tensor, ...]:
        given = x_seq.detach().requires_grad_()
        gated_seq = norm_fire_gate(given, norm, neurons, attention)
        rate = meter.rates.pop()
        assert meter.rates == []
        seen.append(type(gated_seq.grad_fn).__name__)
        loss = 3 * N * C * rate if alone else (gated_seq * weights).sum() + 3 * N * C * rate
        parameters = [p for p in (*norm.parameters(), *neurons.parameters()) if p.requires_grad]
        with torch.no_grad():
            norm_fire_gate(x_seq, norm, neurons, attention)
        return rate, meter.rates.pop(), *torch.autograd.grad(loss, [given, *parameters])

    found = run()
    expected = as_reference(run, monkeypatch)
    assert seen[0] == "_FireBackward" != seen[1]  # the meter does not keep it from the fast way
    assert 0.05 < found[0] < 0.6
    for one, other in zip(found, expected, strict=True):
        assert (one - other).norm() < 1e-3 * other.norm() + 1e-6


@pytest.mark.parametrize("learns", ["nothing", "attention", "norm"])
@pytest.mark.parametrize("is_training", [True, False])
def test_frozen_weights_leave_the_other_gradients(
    is_training: bool, learns: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = convolutional_stage(CONFIG, C, 32, "same").train(is_training)
    for name, parameter in stage.named_parameters():
        parameter.requires_grad_(name.startswith(learns))
    learned = [parameter for parameter in stage.parameters() if parameter.requires_grad]
    assert bool(learned) == (learns != "nothing")
    x_seq = gated_spikes().unflatten(0, (T, N)).requires_grad_()

    def run() -> tuple[Tensor, ...]:
        return torch.autograd.grad(stage(x_seq).square().sum(), [x_seq, *learned])

    for found, wanted in zip(run(), as_reference(run, monkeypatch), strict=True):
        assert (found - wanted).norm() < 1e-3 * wanted.norm() + 1e-6


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("outputs", "stride", "transposed"), [(32, 1, False), (32, 2, True), (5, 2, False)])
def test_convolved_spikes_have_the_gradients_of_the_reference(
    outputs: int, stride: int, transposed: bool, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = gated_spikes(dtype).requires_grad_()
    shape = (C, outputs, 3, 3) if transposed else (outputs, C, 3, 3)
    weight = torch.randn(shape, dtype=dtype, requires_grad=True)

    def run() -> tuple[Tensor, ...]:
        currents = spike_convolution(x, weight, stride, transposed=transposed)
        return currents, *torch.autograd.grad(currents.square().sum(), [x, weight])

    for found, wanted in zip(run(), as_reference(run, monkeypatch), strict=True):
        assert (found - wanted).norm() < (1e-5 if dtype == torch.float32 else 1e-2) * wanted.norm()


def test_a_sum_over_time_has_the_gradients_of_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    x_seq = gated_spikes().unflatten(0, (T, N)).requires_grad_()
    weights = torch.randn(T, requires_grad=True)

    def run() -> tuple[Tensor, ...]:
        summed = weighted_sum(x_seq, weights)
        return summed, *torch.autograd.grad(summed.square().sum(), [x_seq, weights])

    torch.testing.assert_close(run(), as_reference(run, monkeypatch), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gated_spikes_come_back_from_bytes_as_they_were(dtype: torch.dtype) -> None:
    x = gated_spikes(dtype)
    x[0, 0] = 0  # silent
    split = split_gated(x)
    assert split is not None
    assert split[0].dtype == torch.uint8
    assert torch.equal(join_gated(*split, dtype), x)
    x[1, 2, 3, 4], x[1, 2, 3, 5] = 0.25, 0.75
    assert split_gated(x) is None
    assert split_gated(torch.rand(2, C, 3, 3).contiguous(memory_format=torch.channels_last)) is None


def test_what_is_kept_for_a_gradient_are_currents_and_bytes() -> None:
    stages = nn.Sequential(convolutional_stage(CONFIG, C, 32, "down"), convolutional_stage(CONFIG, 32, 32, "same"))
    kept: list[Tensor] = []

    def keep(x: Tensor) -> Tensor:
        kept.append(x)
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        stages(sequence())
    large = [x for x in kept if x.untyped_storage().nbytes() >= T * N * 32 * 4 * 3]
    spikes = [x for x in large if x.dtype == torch.uint8]
    assert len(spikes) == 1  # of the first stage, for the second one's synapses
    sequences = [x for x in large if not isinstance(x, nn.Parameter) and x.shape[-3] == 32 and x.shape[0] != 32]
    assert sum(x.untyped_storage().nbytes() for x in sequences) <= (2 * 4 + 1) * spikes[0].numel()


def test_a_model_on_references_alone_samples_and_classifies_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    import spikevae

    model = spikevae.load("fashion-mnist")

    def run() -> tuple[Tensor, Tensor]:
        images = model.sample(8, seed=3)
        return images, model.classify(images)

    images, classes = run()
    expected, expected_classes = as_reference(run, monkeypatch)
    assert (images - expected).abs().mean() < 1e-3  # a neuron at its threshold may fire in one of them
    assert (classes - expected_classes).abs().max() < 0.02


def test_another_way_than_the_known_ones_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPIKEVAE_OPS", "quick")
    with pytest.raises(ValueError, match="expected fused or reference"):
        convolutional_stage(CONFIG, C, 32, "down")(sequence())


# ------------------------------------------------------------ stages in turn


def decoder_stages(**changes: Any) -> nn.Sequential:
    """Two stages that enlarge, with statistics of their own activity, so that their neurons fire."""
    torch.manual_seed(0)
    config = replace(CONFIG, **changes)
    stages = nn.Sequential(*(convolutional_stage(config, before, 32, "up") for before in (C, 32)))
    for norm in stages.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.momentum = 1.0
    with torch.no_grad():
        for _ in range(2):
            stages(decoder_input())
    return stages.eval()


def decoder_input() -> Tensor:
    x_seq: Tensor = gated_spikes().unflatten(0, (T, N))
    return x_seq


def through(stages: nn.Sequential, x_seq: Tensor, reader: nn.Module | None = None) -> Tensor:
    """What passes for a reader that is not known."""
    passed = spiking_stages(x_seq, nn.Identity(), stages, reader or nn.Identity())
    assert isinstance(passed, Tensor)
    return passed


@pytest.mark.parametrize("changes", [{}, {"upsampling": "transposed"}, {"attention": "none", "neuron": "lif"}])
@torch.no_grad()
def test_stages_in_turn_give_the_numbers_of_each_stage_alone(changes: dict[str, Any]) -> None:
    stages, x_seq = decoder_stages(**changes), decoder_input()
    read_out = TimeReadOut("weighted", T, 32, 1)
    given = spiking_stages(x_seq, nn.Identity(), stages, read_out)
    assert isinstance(given, GatedSpikes)
    expected = stages(x_seq)
    assert 0.05 < (expected != 0).float().mean() < 0.6
    assert torch.equal(given.tensor(), expected)
    weights = torch.randn(T)
    assert torch.equal(weighted_sum(given, weights), weighted_sum(expected, weights))


@torch.no_grad()
def test_watched_and_changed_stages_take_part_and_a_watched_reader_gets_a_tensor() -> None:
    stages, x_seq, read_out = decoder_stages(), decoder_input(), TimeReadOut("weighted", T, 32, 1)
    plain = stages(x_seq)
    seen: list[Tensor] = []
    handle = stages.get_submodule("1.norm").register_forward_hook(lambda _, __, out: seen.append(out))
    assert torch.equal(through(stages, x_seq), plain)
    assert len(seen) == 1
    handle.remove()
    read_out.register_forward_hook(lambda *_: None)
    assert torch.equal(through(stages, x_seq, read_out), plain)
    stages.get_parameter("0.synapses.0.weight").mul_(1.5)
    changed = through(stages, x_seq)
    assert torch.equal(changed, stages(x_seq))
    assert not torch.equal(changed, plain)
    stages.get_submodule("1").attention = Halved()
    assert torch.equal(through(stages, x_seq), stages(x_seq))
    assert not torch.equal(through(stages, x_seq), changed)


@torch.no_grad()
def test_weights_changed_behind_the_back_of_torch_are_seen() -> None:
    stages, x_seq = decoder_stages(), decoder_input()
    weight = stages.get_parameter("0.synapses.0.weight")
    seen = [through(stages, x_seq)]
    for change in (
        lambda: weight.data.mul_(1.5),
        lambda: weight.detach().numpy().__imul__(0.5),
        lambda: setattr(weight, "data", torch.randn_like(weight)),
        lambda: setattr(weight, "data", weight.contiguous(memory_format=torch.channels_last).roll(1, 0)),
    ):
        change()
        seen.append(through(stages, x_seq))
        assert torch.equal(seen[-1], stages(x_seq))
        assert not torch.equal(seen[-1], seen[-2])
    copied = pickle.loads(pickle.dumps(copy.deepcopy(stages)))
    assert torch.equal(through(copied, x_seq), seen[-1])
    assert len(stages.state_dict()) == len(decoder_stages().state_dict())


@pytest.mark.parametrize("latent_synapses", ["exponential", "instant"])
@torch.no_grad()
def test_a_first_stage_of_a_linear_layer_gives_the_numbers_of_the_stage_alone(latent_synapses: str) -> None:
    config = replace(CONFIG, latent_synapses=latent_synapses)  # type: ignore[arg-type]
    first, stages, read_out = latent_stage(config, C, 3), decoder_stages(), TimeReadOut("weighted", T, 32, 1)
    z_seq = (torch.rand(T, N, config.latent_size) < 0.5).float()
    first.norm.momentum = 1.0
    first(z_seq)
    first.eval()
    given = spiking_stages(z_seq, first, stages, read_out)
    assert isinstance(given, GatedSpikes)
    assert torch.equal(given.tensor(), stages(first(z_seq)))
    assert bool((given.spikes != 0).any())
    seen: list[Tensor] = []
    first.norm.register_forward_hook(lambda _, __, out: seen.append(out))
    watched = spiking_stages(z_seq, first, stages, read_out)
    assert isinstance(watched, GatedSpikes)
    assert torch.equal(watched.tensor(), given.tensor())
    assert len(seen) == 1
    with pytest.raises(ValueError, match=f"built for {T} time steps, got {T - 1}"):
        spiking_stages(z_seq[1:], first, stages, read_out)


@torch.no_grad()
def test_what_is_no_gated_spikes_goes_through_stages_as_it_is() -> None:
    stages, x_seq = decoder_stages(), torch.randn(T, N, C, 3, 2)
    assert torch.equal(through(stages, x_seq), stages(x_seq))


@pytest.mark.parametrize("is_packed", [False, True])
def test_points_of_gaussians_are_those_of_the_reference(is_packed: bool) -> None:
    torch.manual_seed(0)
    groups, components, size, rank, count = 3, 2, 70, 5, 7
    factor = torch.randn(groups, components, rank, rank).tril()
    row, column = torch.tril_indices(rank, rank)
    noise = torch.randn(count, rank, dtype=torch.float64, requires_grad=True)
    given = (
        torch.randn(groups, size), torch.randn(groups, size, rank), torch.randn(groups, components, rank),
        factor[..., row, column] if is_packed else factor, torch.randint(groups, (count,)),
        torch.randint(components, (count,)),
    )  # fmt: skip
    learned = points_of_gaussians(*given, noise)
    with torch.no_grad():
        drawn = points_of_gaussians(*given, noise)
    torch.testing.assert_close(drawn, learned, rtol=1e-12, atol=1e-12)
    for n, (g, m) in enumerate(zip(given[4].tolist(), given[5].tolist(), strict=True)):
        offset = given[2][g, m].double() + factor[g, m].double() @ noise[n]
        torch.testing.assert_close(drawn[n], given[0][g].double() + given[1][g].double() @ offset)
    (grad,) = torch.autograd.grad(learned.sum(), noise)
    assert bool((grad != 0).all())


# ------------------------------------------------------------ seen as plain PyTorch


class Halved(nn.Module):
    """An attention that the seam does not know."""

    def forward(self, x_seq: Tensor) -> Tensor:
        return x_seq / 2


def test_another_attention_put_into_a_stage_is_used() -> None:
    stage, x_seq = convolutional_stage(replace(CONFIG, attention="none"), C, 32, "same").eval(), sequence()
    plain = stage(x_seq)
    stage.attention = Halved()
    torch.testing.assert_close(stage(x_seq), plain / 2)


@pytest.mark.parametrize("is_training", [False, True])
def test_hooks_see_normalised_currents_spikes_and_gated_spikes(is_training: bool) -> None:
    stage = convolutional_stage(CONFIG, C, 32, "same").train(is_training)
    seen: dict[str, Tensor] = {}
    for name in ("norm", "neurons", "attention"):
        stage.get_submodule(name).register_forward_hook(lambda _, __, out, name=name: seen.update({name: out}))
    gated_seq = stage(sequence())
    assert set(seen["neurons"].unique().tolist()) == {0.0, 1.0}
    assert torch.equal(seen["attention"], gated_seq)
    assert abs(float(seen["norm"].detach().mean())) < 3
    assert len(gated_seq.unique()) > 10


def test_a_backward_hook_sees_the_gradient_of_the_gated_spikes() -> None:
    stage = convolutional_stage(CONFIG, C, 32, "same")
    seen: list[Any] = []
    stage.attention.register_full_backward_hook(lambda _, __, grads: seen.extend(grads))
    stage(sequence()).sum().backward()
    assert torch.equal(seen[0], torch.ones_like(seen[0]))


def test_a_hook_on_the_surrogate_sees_how_far_potentials_are_from_the_threshold() -> None:
    stage = convolutional_stage(CONFIG, C, 32, "same").eval()
    seen: list[Tensor] = []
    stage.get_submodule("neurons.surrogate_function").register_forward_hook(lambda _, given, __: seen.append(given[0]))
    gated_seq = stage(sequence())
    assert torch.equal(torch.stack(seen) >= 0, gated_seq != 0)


def test_monitors_of_spikingjelly_record_spikes() -> None:
    model = SpikingVAE(CONFIG).eval()
    watcher = monitor.OutputMonitor(model, neuron.BaseNode)
    model.sample(2, seed=0)
    model.classify(torch.rand(2, 1, 12, 12))
    assert watcher.records
    for record in watcher.records:
        assert set(record.unique().tolist()) <= {0.0, 1.0}
    watcher.remove_hooks()


# ------------------------------------------------------------ dtypes, copies, compilers


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_a_model_of_another_dtype_samples_classifies_and_trains(dtype: torch.dtype) -> None:
    model = SpikingVAE(CONFIG).to(dtype)
    outputs = model(torch.rand(4, 1, 12, 12))
    assert outputs.logits is not None
    assert outputs.divergence is not None
    (outputs.reconstruction.sum() + outputs.logits.sum() + outputs.divergence).backward()
    assert all(p.grad is not None and p.grad.dtype == dtype for p in model.decoder.parameters())
    model.eval()
    assert bool(model.sample(2, seed=0).isfinite().all())
    assert bool(model.classify(torch.rand(2, 1, 12, 12)).isfinite().all())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_model_learns_under_autocast(dtype: torch.dtype) -> None:
    model = SpikingVAE(CONFIG)
    with torch.autocast("cpu", dtype=dtype):
        outputs = model(torch.rand(5, 1, 12, 12))
        loss = (outputs.reconstruction - 0.5).square().mean() + outputs.logits.logsumexp(1).mean()
    loss.backward()
    gradients = [x.grad for x in model.parameters() if x.grad is not None]
    assert all(bool(gradient.isfinite().all()) for gradient in gradients)
    assert sum(float(gradient.abs().sum()) for gradient in gradients) > 0


def test_activations_that_are_computed_anew_give_the_same_gradients() -> None:
    model, x = SpikingVAE(CONFIG), torch.rand(5, 1, 12, 12, requires_grad=True)

    def gradients(forward: Callable[[Tensor], Tensor]) -> list[Tensor]:
        found = torch.autograd.grad(forward(x).square().sum(), [x, *model.parameters()], allow_unused=True)
        return [gradient for gradient in found if gradient is not None]

    def forward(x: Tensor) -> Tensor:
        reconstruction: Tensor = model(x, random=False).reconstruction
        return reconstruction

    plain = gradients(forward)
    again = gradients(lambda x: checkpoint(forward, x, use_reentrant=False))
    assert len(plain) > 5
    assert all(torch.equal(*pair) for pair in zip(plain, again, strict=True))


def test_gradients_of_smooth_neurons_are_right_in_double() -> None:
    stage = convolutional_stage(replace(CONFIG, attention="tcja"), 2, 3, "down").double()
    neurons: Any = stage.neurons
    neurons.surrogate_function.set_spiking_mode(False)
    neurons.detach_reset = False
    x_seq = torch.randn(T, 1, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    parameters = tuple(stage.parameters())
    assert torch.autograd.gradcheck(lambda x, *_: stage(x), (x_seq, *parameters))


def test_gradients_of_the_attention_are_right_in_double() -> None:
    attention = TemporalChannelJointAttention(C, T).double()
    x_seq = torch.randn(T, N, C, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, *_: attention(x), (x_seq, *attention.parameters()))


def test_gradients_of_gradients_are_those_of_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    stages = nn.Sequential(
        convolutional_stage(CONFIG, C, 32, "down"),
        convolutional_stage(CONFIG, 32, 32, "same"),
        TimeReadOut("weighted", T, 32, 1),
    )
    x_seq, meter = sequence(), RateMeter()
    stages.get_submodule("0.neurons").register_forward_hook(meter)

    def run() -> tuple[Tensor, ...]:
        given = x_seq.detach().requires_grad_()
        (grad,) = torch.autograd.grad(stages(given).sum() + 50 * meter.rates.pop(), given, create_graph=True)
        return torch.autograd.grad(grad.square().sum(), list(stages.parameters()), allow_unused=True)

    found, expected = run(), as_reference(run, monkeypatch)
    for ours, theirs in zip(found, expected, strict=True):
        if theirs is not None:
            torch.testing.assert_close(ours, theirs, rtol=1e-2, atol=1e-3 * float(theirs.abs().max()) + 1e-6)


def test_a_model_can_be_copied_pickled_and_saved_after_it_has_learned() -> None:
    model = SpikingVAE(CONFIG)
    outputs = model(torch.rand(4, 1, 12, 12))
    outputs.reconstruction.sum().backward()
    model.eval()
    expected = model.sample(2, seed=0)
    copied = copy.deepcopy(model)
    assert torch.equal(copied.sample(2, seed=0), expected)
    assert torch.equal(pickle.loads(pickle.dumps(model)).sample(2, seed=0), expected)
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    assert torch.equal(torch.load(file, weights_only=False).sample(2, seed=0), expected)


_COMPILED = """
import sys, torch
from torch import nn
from spikevae.config import ModelConfig
from spikevae.nn.vae import SpikingVAE

torch.manual_seed(0)
model = SpikingVAE(ModelConfig(image_size=12, time_steps=3, encoder_widths=(8, 32), decoder_widths=(32, 8),
                               latent_size=5, class_names=("a", "b"))).eval()

class Part(nn.Module):
    def __init__(self):
        super().__init__()
        self.model = model
    def forward(self, x):
        return getattr(self.model, sys.argv[1])(x)

part = Part()
given = (torch.rand(3, 2, 5) < 0.5).float() if sys.argv[1] == "decode" else torch.rand(2, 1, 12, 12)
with torch.no_grad():
    expected = part(given)
    exported = torch.export.export(part, (given,), strict=False).module()(given)
    compiled = torch.compile(part, backend="aot_eager")(given)
for other in (exported, compiled):
    torch.testing.assert_close(other, expected, rtol=1e-4, atol=1e-3)
"""


@pytest.mark.parametrize("part", ["decode", "classify"])
def test_decoding_and_classifying_can_be_exported_and_compiled(part: str) -> None:
    """In a process of its own: in this one every function is wrapped in a check of its types."""
    result = subprocess.run([sys.executable, "-c", _COMPILED, part], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-2000:]


@pytest.mark.parametrize("leak", [0.3, 0.5, 0.9])
def test_a_step_without_gradient_is_the_one_that_torch_computes(leak: float) -> None:
    torch.manual_seed(0)
    x, v = 3 * torch.randn(7, 171), torch.randn(7, 171)
    step = surrogate.ATan(alpha=2.0)
    before = v.clone()
    with torch.no_grad():
        spikes, after = lif_step(x, v, leak, step)
    expected_spikes, expected_after = lif_step_reference(x, v, leak, step)
    assert torch.equal(spikes, expected_spikes)
    assert torch.equal(after, expected_after)
    assert torch.equal(v, before)
    assert 0 < spikes.mean() < 1


def test_a_model_on_the_meta_device_gives_shapes() -> None:
    model = SpikingVAE(CONFIG).eval().to("meta")
    x = torch.zeros(2, 1, 12, 12, device="meta")
    assert model.reconstruct(x).shape == x.shape
    assert model.classify(x).shape == (2, 2)
    assert model.train()(x).reconstruction.shape == x.shape


@pytest.mark.parametrize("shape", [(N, C, H, W), (N, C)])
def test_an_input_at_every_step_has_the_gradient_of_a_plain_expand_in_its_own_layout(shape: tuple[int, ...]) -> None:
    x = torch.randn(shape)
    x = (x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x).requires_grad_()
    grad_seq = torch.randn(T, *shape).movedim(2, -1).contiguous().movedim(-1, 2)
    given, expected = at_every_step(x, T), at_every_step_reference(x, T)
    assert torch.equal(given, expected)
    assert given.stride(0) == 0
    (of_given,) = torch.autograd.grad(given, x, grad_seq)
    (of_expected,) = torch.autograd.grad(expected, x, grad_seq)
    assert torch.equal(of_given, of_expected)
    assert of_given.stride() == x.stride()


def test_machine_code_is_made_anew_where_any_file_of_loops_has_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    def loop(x: Any) -> Any:
        return x

    class Target:
        def magic_tuple(self) -> tuple[str]:
            return ("a processor",)

    cache: Any = compile._ForgivingCache(loop)  # type: ignore[no-untyped-call]
    before = cache._index_key((), Target())
    assert cache._index_key((), Target()) == before
    assert len(compile._sources()) == 64
    monkeypatch.setattr(compile, "_sources", lambda: "another text")
    assert cache._index_key((), Target()) != before
