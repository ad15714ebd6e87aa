"""The repeated part of encoder and decoder."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import pytest
import torch
from torch import Tensor, nn

from spikevae.config import ModelConfig, Synapses
from spikevae.nn.decoder import SpikingDecoder, TimeReadOut
from spikevae.nn.encoder import SpikingEncoder
from spikevae.nn.stage import ExponentialSynapses, SpikingStage, convolutional_stage, latent_stage
from spikevae.nn.synapses import SpikeConv2d
from spikevae.ops.stage import fuses_norm

T, N = 3, 2
TINY = ModelConfig(image_size=12, time_steps=T, encoder_widths=(4, 6), decoder_widths=(6, 4), latent_size=5)


@pytest.mark.parametrize("is_training", [False, True])
def test_an_input_convolved_once_gives_what_its_copies_give(is_training: bool) -> None:
    stage = convolutional_stage(TINY, 3, 4, "down").train(is_training)
    x = 2 * torch.randn(N, 3, 9, 9)
    once = stage(x.expand(T, *x.shape))
    copied = stage(torch.stack([x] * T))
    assert once.count_nonzero() > 20
    torch.testing.assert_close(once, copied)
    weights = torch.randn(once.shape)
    once_grads = torch.autograd.grad((once * weights).sum(), list(stage.parameters()))
    copied_grads = torch.autograd.grad((copied * weights).sum(), list(stage.parameters()))
    torch.testing.assert_close(once_grads, copied_grads, rtol=1e-4, atol=1e-5)


def test_hooks_see_what_the_first_stage_makes_of_an_image() -> None:
    encoder = SpikingEncoder(TINY).eval()
    seen: list[torch.Tensor] = []
    for stage in encoder.stages:
        stage.register_forward_hook(lambda _, inputs, output: seen.extend([inputs[0], output]))
    x = torch.randn(N, 1, 12, 12)
    encoder(x)
    assert [len(x_seq) for x_seq in seen] == [T] * 4
    assert torch.equal(seen[0][-1], x)
    assert torch.equal(seen[1], seen[2])


def test_an_input_shown_at_every_step_still_passes_synapses_that_last() -> None:
    stage = latent_stage(replace(TINY, latent_synapses="exponential"), 6, 3).eval()
    z = (torch.rand(N, 5) < 0.5).float()
    torch.testing.assert_close(stage(z.expand(T, N, 5)), stage(torch.stack([z] * T)), rtol=0, atol=0)


@pytest.mark.parametrize("upsampling", ["subpixel", "transposed"])
@pytest.mark.parametrize(("resize", "before", "after"), [("down", 8, 4), ("down", 7, 4), ("same", 7, 7), ("up", 7, 14)])
def test_a_stage_halves_rounding_up_keeps_or_doubles_the_image(
    upsampling: Literal["subpixel", "transposed"], resize: Literal["down", "same", "up"], before: int, after: int
) -> None:
    stage = convolutional_stage(replace(TINY, upsampling=upsampling), 4, 5, resize)
    assert stage(torch.randn(T, N, 4, before, before)).shape == (T, N, 5, after, after)


def test_steps_do_not_mix_but_through_neurons_and_attention() -> None:
    stage = convolutional_stage(replace(TINY, attention="none"), 4, 5, "same").eval()
    x_seq = 3 * torch.randn(T, N, 4, 6, 6)
    changed = x_seq.clone()
    changed[2] = -x_seq[2]
    first, second = stage(x_seq), stage(changed)
    assert torch.equal(first[:2], second[:2])  # nothing runs backwards in time
    assert not torch.equal(first[2], second[2])


def test_without_attention_a_stage_sends_spikes_and_with_it_their_gates() -> None:
    x_seq = 3 * torch.randn(T, N, 4, 6, 6)
    plain = convolutional_stage(replace(TINY, attention="none"), 4, 5, "same")(x_seq)
    assert set(plain.unique().tolist()) == {0.0, 1.0}
    gated = convolutional_stage(TINY, 4, 5, "same")(x_seq)
    planes = gated.flatten(3)
    assert torch.equal(planes[planes > 0], planes.amax(-1, keepdim=True).expand_as(planes)[planes > 0])


def test_a_stage_leaves_the_gradient_that_it_is_given_to_others() -> None:
    stage = convolutional_stage(replace(TINY, attention="none"), 4, 5, "same").train()
    x_seq, shortcut = torch.randn(T, N, 4, 6, 6), torch.zeros(T, N, 5, 6, 6)
    shortcut = shortcut.flatten(0, 1).contiguous(memory_format=torch.channels_last).unflatten(0, (T, N))
    shortcut.requires_grad_()
    weights = torch.randn_like(shortcut)
    doubled = 2 * shortcut  # before the stage, so that its gradient is asked for after the stage's
    ((stage(x_seq) + doubled) * weights).sum().backward()
    assert shortcut.grad is not None
    assert torch.equal(shortcut.grad, 2 * weights)


def test_the_gradient_of_one_image_at_one_step_is_that_of_the_image_in_a_batch() -> None:
    """Both fit two layouts in memory, of which torch's batch norm takes the wrong one."""
    decoder = SpikingDecoder(replace(TINY, time_steps=1, temporal_kernel=1)).eval()
    parameters = [decoder.expand.norm.weight, decoder.expand.synapses.get_parameter("0.weight")]

    def gradients(count: int) -> list[Tensor]:
        z_seq = torch.ones(1, count, 5, requires_grad=True)
        image = decoder(z_seq)[0]
        of_z, *others = torch.autograd.grad(image.square().sum(), [z_seq, *parameters])
        return [of_z[:, 0], *others]

    alone, in_batch = gradients(1), gradients(2)
    assert all(gradient.count_nonzero() for gradient in in_batch)
    torch.testing.assert_close(alone, in_batch)


def test_statistics_of_a_single_value_are_refused_and_ruin_no_norm() -> None:
    stage = convolutional_stage(replace(TINY, time_steps=1, temporal_kernel=1), 3, 4, "down")
    before = stage.state_dict()["norm.running_var"].clone()
    with pytest.raises(ValueError, match="take larger batches"):
        stage(torch.rand(1, 1, 3, 2, 2))
    assert torch.equal(stage.state_dict()["norm.running_var"], before)
    assert stage(torch.rand(1, 2, 3, 2, 2)).isfinite().all()


@pytest.mark.parametrize("part", ["attention.gate", "attention.gate_of_means", "neurons.multi_step_forward"])
def test_a_method_that_is_replaced_on_one_module_takes_part(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = convolutional_stage(TINY, 4, 5, "same").eval()
    x_seq = 3 * torch.randn(T, N, 4, 6, 6)
    before = stage(x_seq)
    owner, method = part.split(".")
    module = getattr(stage, owner)
    plain = getattr(module, method)
    monkeypatch.setattr(module, method, lambda *given: plain(*given) / 2)
    fused = stage(x_seq)
    monkeypatch.setenv("SPIKEVAE_OPS", "reference")
    torch.testing.assert_close(fused, stage(x_seq), rtol=0, atol=0)
    assert not torch.equal(fused, before)


def test_latent_spikes_become_maps() -> None:
    stage = latent_stage(TINY, 6, 3)
    assert stage(torch.ones(T, N, 5)).shape == (T, N, 6, 3, 3)


def test_a_current_decays_from_step_to_step_with_the_rate_of_its_channel() -> None:
    synapses = ExponentialSynapses(2)
    torch.nn.init.constant_(synapses.w[1:], 2.0)
    x_seq = torch.zeros(T, 1, 2, 1, 1)
    x_seq[0] = 1.0
    x_seq[2] = 3.0
    slow = float(torch.tensor(2.0).sigmoid())
    expected = torch.tensor([[1.0, 1.0], [0.5, slow], [3.25, 3.0 + slow**2]])
    torch.testing.assert_close(synapses(x_seq)[:, 0, :, 0, 0], expected)


@pytest.mark.parametrize(("synapses", "lasts"), [("instant", False), ("exponential", True)])
def test_a_latent_spike_is_felt_later_only_through_exponential_synapses(synapses: Synapses, lasts: bool) -> None:
    stage = latent_stage(replace(TINY, latent_synapses=synapses), 6, 3).eval()
    currents: list[Tensor] = []
    stage.norm.register_forward_hook(lambda _, __, output: currents.append(output.unflatten(0, (T, N))))
    z_seq = torch.zeros(T, N, 5)
    stage(z_seq)
    z_seq[0] = 1.0
    stage(z_seq)
    silent, after_a_spike = currents
    assert not torch.equal(silent[0], after_a_spike[0])
    assert torch.equal(silent[1:], after_a_spike[1:]) is not lasts


def test_a_sequence_of_another_length_is_refused_even_where_it_could_be_folded() -> None:
    stage = convolutional_stage(TINY, 4, 5, "same")
    with pytest.raises(ValueError, match="built for 3 time steps, got 6"):
        stage(torch.zeros(6, 1, 4, 6, 6))


@pytest.mark.parametrize(("size", "features"), [(12, 6 * 3 * 3), (10, 6 * 3 * 3), (9, 6 * 3 * 3), (8, 6 * 2 * 2)])
def test_the_encoder_knows_how_many_features_it_gives(size: int, features: int) -> None:
    config = replace(TINY, image_size=size)
    encoder = SpikingEncoder(config)
    x = torch.randn(N, 1, config.padded_size, config.padded_size)
    assert encoder.features == features
    assert encoder(x).shape == (T, N, features)


def test_the_encoder_equals_its_stages_on_copies_of_the_image() -> None:
    encoder = SpikingEncoder(TINY).eval()
    x = torch.randn(N, 1, 12, 12)
    x_seq = torch.stack([x] * T)
    for stage in encoder.stages:
        assert isinstance(stage, SpikingStage)
        x_seq = stage(x_seq)
    torch.testing.assert_close(encoder(x), x_seq.flatten(2))


@pytest.mark.parametrize(
    ("kind", "weights"),
    [
        ("weighted", [1 / 3, 1 / 3, 1 / 3]),  # at the start
        ("membrane", [0.8**2, 0.8, 1.0]),  # v[t] = 0.8 v[t-1] + x[t], the last one
    ],
)
def test_the_image_is_read_out_as_its_kind_says(kind: Literal["weighted", "membrane"], weights: list[float]) -> None:
    read_out = TimeReadOut(kind, T, 4, 3)
    x_seq = torch.rand(T, N, 4, 6, 6)
    each = torch.stack([nn.functional.conv2d(x, read_out.convolution.weight, padding=1) for x in x_seq])
    bias = read_out.convolution.bias
    assert bias is not None
    expected = torch.einsum("t,tnchw->nchw", torch.tensor(weights), each) + bias[:, None, None]
    torch.testing.assert_close(read_out(x_seq), expected.tanh())
    assert sum(p.numel() for p in read_out.parameters()) == 3 * 4 * 9 + 3 + (T if kind == "weighted" else 0)

    x_seq.requires_grad_()
    wanted = [x_seq, *read_out.parameters()]
    summed = torch.einsum("t,tnchw->nchw", read_out.weights, x_seq)
    weighted = torch.randn(N, 3, 6, 6)
    grads = torch.autograd.grad((read_out(x_seq) * weighted).sum(), wanted)
    expected_grads = torch.autograd.grad((read_out.convolution(summed).tanh() * weighted).sum(), wanted)
    torch.testing.assert_close(grads, expected_grads)


def test_a_norm_of_another_width_is_refused_as_torch_refuses_it() -> None:
    config = ModelConfig(time_steps=2, temporal_kernel=2, attention="none")
    stage = SpikingStage(config, SpikeConv2d(2, 3), 5).eval()
    with torch.no_grad(), pytest.raises(RuntimeError, match="should contain 3 elements not 5"):
        stage(torch.ones(2, 1, 2, 4, 4))


def test_a_norm_without_running_statistics_uses_those_of_the_batch_as_torch_does() -> None:
    stage = convolutional_stage(replace(TINY, attention="none"), 4, 5, "same").eval()
    norm, x_seq = stage.norm, 3 * torch.randn(T, N, 4, 6, 6)
    assert isinstance(norm, nn.BatchNorm2d)
    with torch.no_grad():
        assert fuses_norm(norm)
        norm.running_mean = norm.running_var = None
        assert not fuses_norm(norm)
        spike_seq = stage(x_seq)
        assert (stage(4 * x_seq) != spike_seq).float().mean() < 0.01  # those of the batch take the factor away
