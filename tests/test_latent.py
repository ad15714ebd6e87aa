"""Latent spikes: the two kinds, against a re-run of every prefix, by hand, and by what they must not depend on."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from spikevae.config import ModelConfig
from spikevae.nn.latents import build_latent
from spikevae.nn.latents.autoregressive import AutoregressiveLatent, StepNetwork, post_synaptic_potential
from spikevae.nn.latents.base import LatentSpikes, straight_through
from spikevae.nn.latents.bernoulli import PotentialLatent, PotentialPosterior
from spikevae.nn.neurons import SequenceNorm

T, N, L, F = 4, 3, 5, 7
AUTOREGRESSIVE = ModelConfig(time_steps=T, latent_size=L, latent="autoregressive", latent_choices=6, neuron="lif")
POTENTIAL = ModelConfig(time_steps=T, latent_size=L, class_names=("a", "b"), prior_rank=2, prior_components=1)


def autoregressive(config: ModelConfig = AUTOREGRESSIVE) -> AutoregressiveLatent:
    """In eval mode, with norms that make about half of the outputs fire."""
    latent = AutoregressiveLatent(config, F)
    for module in latent.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            module.running_mean = 0.1 * torch.randn(module.num_features)
            module.running_var = torch.rand(module.num_features) + 0.1
            module.weight.data.fill_(2.0)
            module.bias.data.fill_(1.0)
    return latent.eval()


def features() -> Tensor:
    return 2 * torch.rand(T, N, F)


def rngs(count: int) -> list[np.random.Generator]:
    """The random numbers of so many images, always the same."""
    return [np.random.default_rng(seed) for seed in range(count)]


def last_outputs(network: StepNetwork, inputs: list[Tensor]) -> Tensor:
    """What the network answers to the last of these inputs when it is shown all of them from rest."""
    network.reset()
    outputs = torch.zeros(())
    for x in inputs:
        outputs = network(x)
    network.reset()
    return outputs


def draw(
    latent: AutoregressiveLatent, network: StepNetwork, current_seq: Tensor | None, u_seq: Tensor, **of: Tensor
) -> LatentSpikes:
    """Spikes that follow one of the outputs each, and the shares of them that fire."""
    output_seq = latent.outputs(network, current_seq, u_seq, **of)
    return LatentSpikes(latent.chosen(output_seq, u_seq), output_seq.mean(dim=3))


def chosen(outputs: Tensor, u: Tensor) -> Tensor:
    """One of the k outputs of every unit, by a number from U(0, 1)."""
    picked = torch.zeros(N, L)
    for n in range(N):
        for unit in range(L):
            picked[n, unit] = outputs[n, unit, int(u[n, unit] * outputs.shape[2])]
    return picked


def test_the_posterior_is_that_of_running_every_prefix_again(generator: torch.Generator) -> None:
    latent = autoregressive()
    posterior = latent.posterior(features())
    drawn = posterior.spikes(generator)
    u_seq = torch.rand(T, N, L, generator=torch.Generator().manual_seed(0))
    current_seq = posterior.current_seq
    z_steps: list[Tensor] = []
    for t in range(T):  # T (T + 1) / 2 steps of work
        seen = [torch.zeros(N, L), *z_steps]
        inputs = [torch.cat([current_seq[s], seen[s]], dim=1) for s in range(t + 1)]
        outputs = last_outputs(latent.posterior_network, inputs)
        torch.testing.assert_close(drawn.rate[t], outputs.mean(dim=2))
        z_steps.append(chosen(outputs, u_seq[t]))
        assert torch.equal(drawn.z_seq[t], z_steps[t]), t
    assert 0.1 < drawn.z_seq.mean() < 0.9


def test_the_prior_is_that_of_running_every_prefix_again() -> None:
    latent = autoregressive()
    z_seq = latent.sample_prior(rngs(N))
    noise = torch.from_numpy(np.stack([rng.random((T, L), dtype=np.float32) for rng in rngs(N)]))
    z_steps: list[Tensor] = []
    for t in range(T):
        outputs = last_outputs(latent.prior_network, [torch.zeros(N, L), *z_steps])
        z_steps.append(chosen(outputs, noise[:, t]))
    assert torch.equal(z_seq, torch.stack(z_steps))
    assert 0.05 < z_seq.mean() < 0.95


def test_a_guided_prior_follows_the_posterior_for_the_guided_images_only() -> None:
    latent = autoregressive()
    u_seq = torch.rand(T, N, L)
    guide = (torch.rand(T, N, L) < 0.5).float()
    guided = torch.tensor([[1.0], [0.0], [1.0]])
    free = draw(latent, latent.prior_network, None, u_seq)
    led = draw(latent, latent.prior_network, None, u_seq, guide=guide, guided=guided)
    assert torch.equal(led.z_seq[:, 1], free.z_seq[:, 1])
    outputs = last_outputs(latent.prior_network, [torch.zeros(N, L), *guide[: T - 1]])
    assert torch.equal(led.rate[-1, [0, 2]], outputs.mean(dim=2)[[0, 2]])


def test_without_randomness_every_unit_follows_the_same_of_its_outputs() -> None:
    latent = autoregressive()
    posterior = latent.posterior(features())
    typical = draw(latent, latent.posterior_network, posterior.current_seq, torch.full((T, N, L), 0.5)).z_seq
    assert torch.equal(posterior.mode(), typical)
    assert torch.equal(posterior.mode(), posterior.mode())
    z_steps: list[Tensor] = []
    for t in range(T):
        seen = [torch.zeros(N, L), *z_steps]
        inputs = [torch.cat([posterior.current_seq[s], seen[s]], dim=1) for s in range(t + 1)]
        z_steps.append(last_outputs(latent.posterior_network, inputs)[:, :, 3])  # of outputs 0 to 5
    assert torch.equal(posterior.mode(), torch.stack(z_steps))
    assert posterior.potential is None


def test_callers_in_several_threads_do_not_disturb_each_other() -> None:
    latent = autoregressive()

    def sample(seed: int) -> Tensor:
        return latent.sample_prior([np.random.default_rng(seed + n) for n in range(2 + seed % 3)])

    alone = [sample(seed) for seed in range(12)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(sample, range(12)))
    assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))


def test_no_draw_leaves_a_trace_in_the_next(generator: torch.Generator) -> None:
    latent = autoregressive()
    posterior = latent.posterior(features())
    before = posterior.mode()
    posterior.sample(generator)
    with pytest.raises(IndexError):  # stopped half way, potentials in the air
        draw(latent, latent.posterior_network, posterior.current_seq[:2], torch.rand(T, N, L))
    assert torch.equal(posterior.mode(), before)


def test_a_sample_sees_weights_that_have_changed_since_the_last() -> None:
    wide = replace(AUTOREGRESSIVE, latent_size=16, latent_choices=4)  # whose spikes are added one by one
    latent, other = autoregressive(wide), autoregressive(wide)
    with torch.no_grad():
        before = latent.sample_prior(rngs(N))
        latent.load_state_dict(other.state_dict())
        after = latent.sample_prior(rngs(N))
        assert not torch.equal(before, after)
        assert torch.equal(after, other.sample_prior(rngs(N)))


def test_training_draws_what_use_draws_and_learns_the_statistics_of_whole_sequences() -> None:
    latent = autoregressive()
    u_seq = torch.rand(T, N, L)
    used = draw(latent, latent.prior_network, None, u_seq)
    synapses, norm = latent.prior_network.get_submodule("layers.0.0"), latent.prior_network.get_submodule("layers.0.1")
    assert isinstance(norm, SequenceNorm)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    mean, var = norm.running_mean.clone(), norm.running_var.clone()
    drawn = draw(latent.train(), latent.prior_network, None, u_seq)
    assert torch.equal(drawn.z_seq, used.z_seq)
    currents = synapses(torch.cat([torch.zeros(1, N, L), used.z_seq[:-1]]).flatten(0, 1))  # [T N, F]
    torch.testing.assert_close(norm.running_mean, mean.lerp(currents.mean(0), 0.1))
    torch.testing.assert_close(norm.running_var, var.lerp(currents.var(0, correction=0), 0.1))
    draw(latent.eval(), latent.prior_network, None, u_seq)
    torch.testing.assert_close(norm.running_mean, mean.lerp(currents.mean(0), 0.1))


def test_no_gradient_passes_through_the_spikes_that_a_network_sees() -> None:
    latent = autoregressive()
    guide = torch.rand(T, N, L).requires_grad_()
    guided = torch.tensor([[1.0], [0.0], [1.0]])
    drawn = draw(latent, latent.prior_network, None, torch.rand(T, N, L), guide=guide, guided=guided)
    assert drawn.z_seq.requires_grad
    (grad,) = torch.autograd.grad(drawn.z_seq.sum(), guide, allow_unused=True)
    assert grad is None


def test_weights_learn_after_they_were_cast_without_a_gradient() -> None:
    latent = autoregressive()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        drawn = draw(latent, latent.prior_network, None, torch.rand(T, N, L))
    drawn.rate.sum().backward()
    for layer in (f"layers.{number}.0.weight" for number in range(3)):
        grad = latent.prior_network.get_parameter(layer).grad
        assert grad is not None
        assert grad.abs().sum() > 0


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_an_autoregressive_latent_of_another_type_gives_spikes_and_learns(dtype: torch.dtype) -> None:
    latent, x = autoregressive(), features()
    spikes = latent.posterior(x).mode()
    assert 0 < spikes.mean() < 1
    latent.to(dtype)
    assert (latent.posterior(x.to(dtype)).mode() == spikes).float().mean() > 0.9  # bfloat16 rounds currents
    assert latent.sample_prior(rngs(N)).shape == (T, N, L)
    before = [buffer.clone() for name, buffer in latent.named_buffers() if "running" in name]
    latent.train().posterior(x.to(dtype)).kl().backward()
    after = [buffer for name, buffer in latent.named_buffers() if "running" in name]
    assert all(not torch.equal(*each) and each[1].dtype == dtype for each in zip(before, after, strict=True))


def test_rates_are_shares_of_the_choices() -> None:
    rate = autoregressive().posterior(features()).rate()
    torch.testing.assert_close(rate * 6, (rate * 6).round())
    assert len(rate.unique()) > 3


def test_the_divergence_is_the_distance_of_filtered_rates(generator: torch.Generator) -> None:
    latent = autoregressive()
    posterior = latent.posterior(features())
    drawn = posterior.spikes(generator)
    divergence = posterior.kl(drawn, torch.Generator().manual_seed(1))
    again = torch.Generator().manual_seed(1)
    u_seq = torch.rand(T, N, L, generator=again)
    guided = (torch.rand(N, 1, generator=again) >= 0.3).float()
    prior = draw(latent, latent.prior_network, None, u_seq, guide=drawn.z_seq, guided=guided)
    expected = (post_synaptic_potential(drawn.rate) - post_synaptic_potential(prior.rate)).square().mean()
    torch.testing.assert_close(divergence, expected)
    assert divergence > 0


def test_equal_posterior_and_prior_do_not_diverge(monkeypatch: pytest.MonkeyPatch) -> None:
    latent = autoregressive()
    posterior = latent.posterior(features())
    drawn = posterior.spikes(random=False)
    monkeypatch.setattr(latent, "outputs", lambda *_, **__: drawn.rate[..., None])
    assert posterior.kl(drawn) == 0.0


def test_the_filter_worked_by_hand() -> None:
    x_seq = torch.tensor([1.0, 0.0, 1.0, 1.0])[:, None, None].expand(T, 2, 3)
    expected = torch.tensor([0.5, 0.25, 0.625, 0.8125])
    assert torch.equal(post_synaptic_potential(x_seq)[:, 0, 0], expected)


@pytest.mark.parametrize("config", [AUTOREGRESSIVE, POTENTIAL])
def test_drawn_spikes_are_0_or_1_exactly_and_pass_the_gradient_of_their_rates(config: ModelConfig) -> None:
    latent = build_latent(config, F)
    feature_seq = features().requires_grad_()
    posterior = latent.posterior(feature_seq)
    for draw in (posterior.spikes(torch.Generator().manual_seed(0)), posterior.spikes(random=False)):
        assert draw.z_seq.requires_grad
        assert set(draw.z_seq.unique().tolist()) <= {0.0, 1.0}
        assert draw.rate.min() >= 0
        assert draw.rate.max() <= 1
        (grad,) = torch.autograd.grad(draw.z_seq.sum(), feature_seq, retain_graph=True)
        assert grad.abs().sum() > 0


def test_the_gradient_goes_straight_through() -> None:
    rate = torch.rand(50, requires_grad=True)
    spikes = (rate > torch.rand(50)).float()
    passed = straight_through(spikes, rate)
    assert torch.equal(passed, spikes)
    (grad,) = torch.autograd.grad((passed * torch.arange(50.0)).sum(), rate)
    assert torch.equal(grad, torch.arange(50.0))


def test_spikes_fire_as_often_as_their_rates_say(generator: torch.Generator) -> None:
    latent = PotentialLatent(POTENTIAL, F)
    posterior = latent.posterior(features())
    drawn = torch.stack([posterior.sample(generator).detach() for _ in range(2000)])
    torch.testing.assert_close(drawn.mean(0), posterior.rate().detach(), rtol=0, atol=0.06)
    assert torch.equal(posterior.mode(), (posterior.potential > 0).float())


def test_a_seed_decides_what_is_drawn() -> None:
    posterior = PotentialLatent(POTENTIAL, F).posterior(features())
    first, same, other = (posterior.sample(torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_the_divergence_of_potentials_is_a_distance_to_even_odds() -> None:
    def divergence(rate: float) -> float:
        return float(PotentialPosterior(torch.full((T, N, L), rate).logit()).kl())

    assert divergence(0.5) == pytest.approx(0, abs=1e-6)
    assert divergence(0.9) == pytest.approx(np.log(2) + 0.9 * np.log(0.9) + 0.1 * np.log(0.1), abs=1e-6)
    assert divergence(0.1) == pytest.approx(divergence(0.9), abs=1e-6)
    assert divergence(0.0) == pytest.approx(np.log(2), abs=1e-4)


def test_new_spikes_come_from_the_fitted_potentials() -> None:
    latent = PotentialLatent(POTENTIAL, F)
    labels = torch.tensor([0, 1] * 20)
    feature_seq = torch.rand(T, 40, F) + labels[:, None]
    potential = latent.posterior(feature_seq).potential.detach()
    latent.density.fit(potential.transpose(0, 1).flatten(1), labels)
    wanted = torch.tensor([1, 0, 1])
    drawn = latent.sample_potential(rngs(N), wanted)
    assert drawn.shape == (T, N, L)
    assert torch.equal(latent.sample_prior(rngs(N), wanted), (drawn > 0).float())
    typical = latent.sample_potential(rngs(N), wanted, 0.0)
    torch.testing.assert_close(typical[:, 1], potential[:, labels == 0].mean(1))


def test_the_autoregressive_latent_has_neither_classes_nor_a_temperature() -> None:
    latent = autoregressive()
    with pytest.raises(ValueError, match="has no classes"):
        latent.sample_prior(rngs(N), torch.zeros(N, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"temperature=0\.5"):
        latent.sample_prior(rngs(N), None, 0.5)


def test_a_config_names_its_latent() -> None:
    assert isinstance(build_latent(POTENTIAL, F), PotentialLatent)
    assert isinstance(build_latent(replace(POTENTIAL, latent="autoregressive"), F), AutoregressiveLatent)


def test_a_latent_that_is_not_there_is_refused_with_those_that_are() -> None:
    known = "potential, grid, autoregressive, esvae"
    with pytest.raises(ValueError, match=f"latent='potental' is none of {known}; did you mean"):
        build_latent(replace(POTENTIAL, latent="potental"), F)
