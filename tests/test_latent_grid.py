"""Latent spikes on a grid: where each comes from, what it reaches, and what configs ask for."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from spikevae.config import ModelConfig, from_dict, to_dict
from spikevae.evaluation.energy import measure_costs
from spikevae.hub.checkpoints import load, save_release
from spikevae.nn.latents.grid import GridLatent
from spikevae.nn.latents.grid_density import GridMixtures
from spikevae.nn.stage import GridMaps
from spikevae.nn.vae import SpikingVAE

T, N, S, C = 3, 2, 7, 4
CONFIG = ModelConfig(
    class_names=("a", "b"),
    time_steps=T,
    latent="grid",
    latent_size=S * S * C,
    encoder_widths=(4, 6, 8),
    encoder_depth=1,
    decoder_widths=(6, 4, 4),
    prior_rank=3,
    prior_components=1,
)


def places(rows: Tensor) -> Tensor:
    """[T, N, L] as [T, N, S, S, C]."""
    return rows.reshape(*rows.shape[:2], S, S, C)


def fitted_model() -> SpikingVAE:
    model = SpikingVAE(CONFIG).train()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        model(torch.rand(32, 1, 28, 28))  # so that norms know their input, and about half of the neurons fire
    model.eval()
    model.latent.fit(torch.randn(80, T * CONFIG.latent_size), torch.arange(80) % 2)
    return model


def test_a_potential_is_the_convolution_of_firing_rates_around_its_place() -> None:
    latent = GridLatent(CONFIG, 6)
    features = torch.rand(T, N, 6, S, S)
    potential = latent.posterior(features).potential
    assert potential.shape == (T, N, CONFIG.latent_size)
    t, n, row, column, channel = 2, 1, 3, 5, 1
    around = features.mean(dim=0)[n, :, row - 1 : row + 2, column - 1 : column + 2]
    convolution = latent.synapses
    assert isinstance(convolution, torch.nn.Conv2d)
    assert convolution.bias is not None
    expected = (convolution.weight[t * C + channel] * around).sum() + convolution.bias[t * C + channel]
    torch.testing.assert_close(places(potential)[t, n, row, column, channel], expected)


def test_a_latent_spike_reaches_the_places_around_its_own() -> None:
    synapses = SpikingVAE(CONFIG).decoder.expand.synapses
    silence, spike = torch.zeros(1, CONFIG.latent_size), torch.zeros(1, S, S, C)
    spike[0, 2, 4, 3] = 1
    reached = (synapses(spike.flatten(1)) - synapses(silence))[0].abs().sum(dim=0) > 0
    expected = torch.zeros(S, S, dtype=torch.bool)
    expected[1:4, 3:6] = True
    assert torch.equal(reached, expected)


def test_maps_are_a_view_of_rows() -> None:
    rows = torch.rand(N, S * S * C)
    maps = GridMaps(S)(rows)
    assert maps.data_ptr() == rows.data_ptr()
    assert maps.is_contiguous(memory_format=torch.channels_last)
    assert maps[1, 2, 3, 4] == rows[1, (3 * S + 4) * C + 2]


def test_latent_spikes_come_from_the_maps_of_the_grids_size_and_classes_from_deeper_ones() -> None:
    model = fitted_model()
    x = torch.rand(N, 1, 28, 28)
    maps = model.encoder(2 * x - 1)
    assert maps.shape == (T, N, 6, S, S)
    assert model.features(x).shape == (T, N, 8 * 4 * 4)
    torch.testing.assert_close(model.encode(x).rate(), model.latent.posterior(maps).rate())


def test_every_weight_learns() -> None:
    model = SpikingVAE(CONFIG).train()
    x = torch.rand(8, 1, 28, 28)
    outputs = model(x)
    assert outputs.logits is not None
    assert outputs.divergence is not None
    (outputs.reconstruction.square().mean() + outputs.logits.square().mean() + outputs.divergence).backward()
    assert [name for name, weight in model.named_parameters() if weight.grad is None] == []


def test_a_new_image_does_not_depend_on_those_beside_it() -> None:
    model = fitted_model()
    together = model.sample(6, seed=3, label=[0, 1, 1, 0, 1, 0])
    alone = torch.cat([model.sample(1, seed=3, label=label, start=i) for i, label in enumerate([0, 1, 1, 0, 1, 0])])
    torch.testing.assert_close(together, alone)
    assert together.std(dim=0).max() > 0


def test_its_energy_counts_the_density_and_takes_binary_spikes_into_the_decoder() -> None:
    layers = measure_costs(fitted_model(), torch.rand(N, 1, 28, 28), seed=0)["sample"].layers
    assert layers["latent.density"].multiply_accumulates == T * S * S * C * 3 + 6
    first = layers["decoder.expand.synapses.1"]
    assert first.multiply_accumulates == 0 < first.accumulates


def test_hooks_hear_every_norm_that_computes_and_classes_alone_need_the_last_stage() -> None:
    model, heard = fitted_model(), []
    norms = {name for name, layer in model.named_modules() if isinstance(layer, torch.nn.BatchNorm2d)}
    for name in norms:
        model.get_submodule(name).register_forward_hook(lambda *_, name=name: heard.append(name))
    x = torch.rand(N, 1, 28, 28)
    model.decode(model.encode(x).mode())
    assert norms - set(heard) == {"encoder.stages.3.norm"}  # behind the grid: latent spikes do not come from it
    model.classify(x)
    assert set(heard) == norms


def test_what_is_saved_samples_the_same(tmp_path: Path) -> None:
    save_release(fitted_model(), tmp_path, dataset="fashion-mnist", card="")
    once, again = load(tmp_path), load(tmp_path)
    assert once.config == CONFIG
    assert torch.equal(once.sample(4, seed=1), again.sample(4, seed=1))


def correlated_potentials(count: int = 200) -> tuple[Tensor, Tensor]:
    """Two classes; everything in an image depends on everything else a little."""
    size = 2 * 4 * 3
    mixing = torch.randn(2, size, size) / size**0.5
    labels = torch.arange(count) % 2
    return torch.einsum("nde,ne->nd", mixing[labels], torch.randn(count, size)) + labels[:, None], labels


def test_only_the_leading_directions_vary() -> None:
    potentials, labels = correlated_potentials()
    density = GridMixtures(24, 2, rank=3, components=1)
    density.fit(potentials, labels)
    assert density.noise_size == 2 + 3
    noise = torch.from_numpy(np.stack([density.noise(np.random.default_rng(seed)) for seed in range(400)]))
    for group in range(2):
        drawn = density.sample(noise, torch.full((400,), group), 1.0)
        values, vectors = torch.linalg.eigh(torch.cov(potentials[labels == group].T))
        left = (drawn - density.mean[group]) @ vectors[:, :-3]
        torch.testing.assert_close(left, torch.zeros_like(left), atol=1e-4, rtol=0)
        along = torch.cov(((drawn - density.mean[group]) @ vectors[:, -3:]).T)
        torch.testing.assert_close(along, values[-3:].diag(), atol=0.25 * float(values[-1]), rtol=0)


def test_drawn_potentials_have_the_mean_and_covariance_that_was_fitted() -> None:
    potentials, labels = correlated_potentials()
    density = GridMixtures(24, 2, rank=24, components=1)  # all directions
    density.fit(potentials, labels)
    rng = np.random.default_rng(0)
    noise = torch.from_numpy(np.stack([density.noise(rng) for _ in range(20_000)]))
    drawn = density.sample(noise, torch.ones(len(noise), dtype=torch.int64), 1.0)
    members = potentials[labels == 1]
    torch.testing.assert_close(drawn.mean(dim=0), members.mean(dim=0), atol=0.05, rtol=0)
    torch.testing.assert_close(torch.cov(drawn.T), torch.cov(members.T), atol=0.1, rtol=0)


def test_low_temperatures_turn_to_one_image_of_the_density_with_firm_potentials() -> None:
    potentials, labels = correlated_potentials()
    density = GridMixtures(24, 2, rank=3, components=1)
    density.fit(potentials, labels)
    noise = torch.from_numpy(np.stack([density.noise(np.random.default_rng(seed)) for seed in range(300)]))
    ones = torch.ones(len(noise), dtype=torch.int64)
    typical, near, far = (density.sample(noise, ones, temperature) for temperature in (0.0, 0.5, 1.0))
    assert torch.equal(typical, typical[:1].expand_as(typical))
    assert typical[0].abs().mean() > far.abs().mean()
    centre = potentials[labels == 1].mean(dim=0)
    assert (typical[0] - centre).norm() < 1.5 * (far - centre).norm(dim=1).mean()
    torch.testing.assert_close(near, centre + 0.5 * (far - centre) + 0.75**1.5 * (typical - centre), atol=1e-4, rtol=0)


def test_a_typical_image_of_few_lies_no_further_out_than_others() -> None:
    density = GridMixtures(24, 0, rank=20, components=1)
    density.fit(torch.randn(3, 24), torch.full((3,), -1))
    noise = torch.from_numpy(np.stack([density.noise(np.random.default_rng(seed)) for seed in range(300)]))
    centre = density.mean[0]
    typical, far = ((density.sample(noise, None, each) - centre).norm(dim=1) for each in (0.0, 1.0))
    assert typical[0] < 1.7 * far.square().mean().sqrt()
    assert density.sample(noise[:0], None, 0.5).shape == (0, 24)


def noise_of(density: GridMixtures, count: int) -> Tensor:
    return torch.from_numpy(np.stack([density.noise(np.random.default_rng(seed)) for seed in range(count)]))


def anew(density: GridMixtures) -> GridMixtures:
    """The same buffers in a density that has drawn nothing yet."""
    other = GridMixtures(24, 2, rank=3, components=1).to(density.mean.dtype)
    other.load_state_dict(density.state_dict())
    return other


def test_a_typical_image_is_looked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    density, asked = GridMixtures(24, 2, rank=3, components=1), []
    density.fit(*correlated_potentials())
    look = GridMixtures._typical_noise

    def heard(self: GridMixtures, group: int, component: int) -> np.ndarray:
        asked.append((group, component))
        return look(self, group, component)

    monkeypatch.setattr(GridMixtures, "_typical_noise", heard)
    noise = noise_of(density, 9)
    once, again = (density.sample(noise, None, 0.3) for _ in range(2))
    assert sorted(asked) == [(0, 0), (1, 0)]
    assert torch.equal(once, again)
    assert set(density.state_dict()) == {"share", "mean", "basis", "weight", "centre", "factor"}


@pytest.mark.parametrize(
    "change",
    [
        lambda density: density.fit(*(each.flip(0) ** 3 for each in correlated_potentials())),
        lambda density: density.load_state_dict({n: v.flip(-1) for n, v in density.state_dict().items()}),
        lambda density: density.load_state_dict({n: -v for n, v in density.state_dict().items()}, assign=True),
        lambda density: density.basis.mul_(-2),
        lambda density: density.half(),
        lambda density: density.double(),
        copy.deepcopy,
        lambda density: pickle.loads(pickle.dumps(density)),
    ],
    ids=["fitted", "loaded", "assigned", "written to", "half", "double", "copied", "pickled"],
)
def test_typical_images_are_of_the_density_as_it_is(change: Callable[[GridMixtures], object]) -> None:
    torch.manual_seed(0)
    density = GridMixtures(24, 2, rank=3, components=1)
    density.fit(*correlated_potentials())
    noise = noise_of(density, 5)
    density.sample(noise, None, 0.3)
    found = change(density)
    for each in (density, found if isinstance(found, GridMixtures) else density):
        assert torch.equal(each.sample(noise, None, 0.3), anew(each).sample(noise, None, 0.3))


def test_a_density_of_inference_tensors_draws_typical_images_too() -> None:
    fitted = GridMixtures(24, 2, rank=3, components=1)
    fitted.fit(*correlated_potentials())
    with torch.inference_mode():
        density = anew(fitted)
        noise = noise_of(density, 5)
        first = density.sample(noise, None, 0.3)
        density.basis.mul_(2)
        torch.testing.assert_close(density.sample(noise, None, 0.3), anew(density).sample(noise, None, 0.3))
        assert not torch.equal(first, density.sample(noise, None, 0.3))


def test_a_class_of_one_image_has_no_density() -> None:
    with pytest.raises(ValueError, match="class 1 has 1 images"):
        GridMixtures(24, 2, rank=3, components=1).fit(torch.randn(5, 24), torch.tensor([0, 0, 0, 0, 1]))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"latent_size": 50},
            "latent_size=50: with image_size=28 a grid of 7x7 places needs a multiple of 49, such as 588",
        ),
        ({"encoder_widths": (4,)}, "the decoder starts at 7x7, but the encoder has maps of 14"),
        ({"encoder_depth": 7}, "encoder_depth=7 is outside 0 to 6"),
    ],
)
def test_a_grid_that_does_not_fit_is_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(CONFIG, **settings)  # type: ignore[arg-type]


def test_a_config_from_before_there_were_grids_still_loads() -> None:
    values = json.loads(json.dumps(to_dict(ModelConfig())))
    del values["encoder_depth"]
    assert from_dict(ModelConfig, values) == ModelConfig()
    del values["attention"]
    with pytest.raises(ValueError, match="the setting 'attention' is missing"):
        from_dict(ModelConfig, values)
