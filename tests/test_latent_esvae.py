"""ESVAE's latent: spikes against rates, the divergence against a plain double loop, and all that a model does."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import spikevae
from app.actions import Actions
from spikevae.config import ModelConfig, RunConfig
from spikevae.evaluation.energy import measure_costs
from spikevae.hub.checkpoints import save_release
from spikevae.nn.latents.poisson import BANDWIDTHS, PRIOR_GAIN, PoissonLatent, PoissonPosterior, squared_mmd
from spikevae.nn.vae import SpikingVAE
from tests.test_cli import one_line, run

T, N, L, F = 4, 6, 5, 7
CONFIG = ModelConfig(
    image_size=12,
    class_names=("a", "b"),
    time_steps=T,
    encoder_widths=(6, 8),
    decoder_widths=(8, 6),
    latent="esvae",
    latent_size=L,
)


def latent() -> PoissonLatent:
    """In training, so that batch norm lets neurons fire."""
    return PoissonLatent(CONFIG, F)


def features() -> Tensor:
    return 2 * torch.rand(T, N, F)


def rngs(count: int) -> list[np.random.Generator]:
    """The random numbers of so many images, always the same."""
    return [np.random.default_rng(seed) for seed in range(count)]


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model in which neurons fire. Do not change it."""
    folder = tmp_path_factory.mktemp("models") / "poisson"
    torch.manual_seed(0)
    model = SpikingVAE(replace(CONFIG, image_size=28))
    with torch.no_grad():  # statistics for batch norm
        for _ in range(40):
            model(torch.rand(8, 1, 28, 28))
    save_release(model.eval(), folder, dataset="mnist", card="# poisson\n\nMade.\n")
    return folder


# ---------------------------------------------------------------- spikes and their rates


def test_spikes_fire_as_often_as_their_rates_say_at_every_step_alike(generator: torch.Generator) -> None:
    rate = torch.rand(N, L)
    posterior = PoissonPosterior(latent(), rate)
    drawn = torch.stack([posterior.sample(generator) for _ in range(4000)])
    assert drawn.shape == (4000, T, N, L)
    torch.testing.assert_close(drawn.mean(dim=0), rate.expand(T, N, L), rtol=0, atol=0.04)
    pairs = (drawn[:, 1:] * drawn[:, :-1]).mean(dim=0)  # no step knows of the one before
    torch.testing.assert_close(pairs, rate.square().expand(T - 1, N, L), rtol=0, atol=0.04)


def test_rates_are_those_of_the_neurons() -> None:
    posterior = latent().posterior(features())
    counts = posterior.unit_rate * T
    torch.testing.assert_close(counts, counts.round())
    assert len(counts.round().unique()) > 2


def test_without_randomness_a_unit_fires_exactly_as_often_as_its_rate_says() -> None:
    rate = torch.arange(T + 1)[:, None].expand(T + 1, L) / T  # [T + 1 images, L]
    spikes = PoissonPosterior(latent(), rate).mode()
    assert torch.equal(spikes.mean(dim=0), rate)
    assert len({tuple(spikes[:, 1, unit].tolist()) for unit in range(T)}) == T  # neighbours fire at other steps
    assert torch.equal(PoissonPosterior(latent(), rate).rate(), rate.expand(T, -1, -1))


def test_a_spike_passes_its_gradient_to_rates_near_its_threshold() -> None:
    rate = torch.tensor([[0.0, 0.2, 0.5, 0.7, 1.0]]).requires_grad_()
    module = latent()
    drawn = PoissonPosterior(module, rate).spikes(torch.Generator().manual_seed(3))
    threshold = torch.rand(T, 1, L, generator=torch.Generator().manual_seed(3))
    assert torch.equal(drawn.z_seq, (rate > threshold).float())
    (grad,) = torch.autograd.grad(drawn.z_seq.sum(), rate)
    assert torch.equal(grad, ((rate - threshold).abs() < 0.5).float().sum(dim=0))
    assert 0 < float(grad.sum()) < T * L


# ---------------------------------------------------------------- the divergence


def plain_mmd(x: list[list[float]], y: list[list[float]]) -> float:
    """The definition, pair by pair."""

    def distance(a: list[float], b: list[float]) -> float:
        return sum((i - j) ** 2 for i, j in zip(a, b, strict=True))

    points = x + y
    pairs = [distance(points[i], points[j]) for i in range(len(points)) for j in range(len(points)) if i != j]
    width = sum(pairs) / len(pairs)

    def mean(some: list[list[float]], others: list[list[float]]) -> float:
        total = sum(math.exp(-distance(a, b) / (s * width)) for a in some for b in others for s in BANDWIDTHS)
        return total / (len(some) * len(others))

    return mean(x, x) + mean(y, y) - 2 * mean(x, y)


def test_the_mmd_is_that_of_a_double_loop() -> None:
    x, y = torch.rand(N, L), torch.rand(N + 3, L).square()
    assert float(squared_mmd(x, y)) == pytest.approx(plain_mmd(x.tolist(), y.tolist()), abs=1e-5)
    assert float(squared_mmd(x, y)) > 0.01


def test_the_mmd_of_equal_sets_is_zero_and_of_far_apart_ones_large() -> None:
    x = torch.rand(N, L)
    assert float(squared_mmd(x, x[torch.randperm(N)])) == pytest.approx(0, abs=1e-6)
    nothing = torch.zeros(N, L, requires_grad=True)
    squared_mmd(nothing, torch.zeros(N, L)).backward()  # no distance to divide by
    assert nothing.grad is not None
    assert torch.equal(nothing.grad, torch.zeros(N, L))
    assert float(squared_mmd(torch.zeros(N, L), torch.ones(N, L))) > 3


def test_the_divergence_compares_the_rates_with_those_of_noise() -> None:
    module = latent()
    posterior = module.posterior(features())
    noise = torch.randn(N, L, generator=torch.Generator().manual_seed(2))
    prior = (PRIOR_GAIN * (noise @ module.bottleneck.weight.T + module.bottleneck.bias)).sigmoid()
    found = posterior.kl(generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(found, squared_mmd(posterior.unit_rate, prior))


@pytest.mark.usefixtures("unchecked_types")
def test_a_seed_in_place_of_a_generator_is_refused_by_the_divergence_too() -> None:
    anything: Any = latent().posterior(features())
    for seed in (0, 3):
        with pytest.raises(ValueError, match=rf"generator={seed}: expected a torch\.Generator"):
            anything.kl(generator=seed)


def test_the_divergence_teaches_the_prior_and_the_encoder() -> None:
    module = latent()
    feature_seq = features().requires_grad_()
    posterior = module.posterior(feature_seq)
    posterior.kl(posterior.spikes(), torch.Generator().manual_seed(0)).backward()
    for learned in (feature_seq, module.synapses.weight, module.bottleneck.weight, module.bottleneck.bias):
        assert learned.grad is not None
        assert learned.grad.isfinite().all()
        assert learned.grad.abs().sum() > 0


def test_the_prior_learns_the_rates_of_the_posterior() -> None:
    module = latent()
    target = torch.tensor([0.1, 0.3, 0.5, 0.7, 0.9]) + 0.05 * torch.randn(256, L)
    optimizer = torch.optim.Adam(module.bottleneck.parameters(), lr=0.005)
    for step in range(300):
        optimizer.zero_grad()
        PoissonPosterior(module, target).kl(generator=torch.Generator().manual_seed(step)).backward()
        optimizer.step()
    drawn = module.sample_prior(rngs(512))
    torch.testing.assert_close(drawn.mean(dim=(0, 1)), target.mean(dim=0), rtol=0, atol=0.06)


# ---------------------------------------------------------------- new images


def test_an_image_depends_on_its_own_random_numbers_alone() -> None:
    module = latent()
    together = module.sample_prior(rngs(N))
    assert together.shape == (T, N, L)
    assert set(together.unique().tolist()) == {0.0, 1.0}
    apart = torch.cat([module.sample_prior([rng]) for rng in rngs(N)], dim=1)
    assert torch.equal(together, apart)
    assert not torch.equal(together[:, 0], together[:, 1])


def test_seeds_decide_and_batches_do_not(release: Path) -> None:
    model = spikevae.load(release)
    images = model.sample(5, seed=1)
    assert torch.equal(images, model.sample(5, seed=1))
    torch.testing.assert_close(images, model.sample(5, seed=1, batch_size=2))
    assert not torch.equal(images, model.sample(5, seed=2))


@pytest.mark.parametrize(
    ("settings", "named"), [({"label": "a"}, "a label: "), ({"temperature": 0.5}, r"temperature=0\.5: ")]
)
def test_classes_and_temperatures_are_refused_in_one_line(release: Path, settings: dict[str, str], named: str) -> None:
    with pytest.raises(ValueError, match=rf"{named}a model with latent='esvae' has neither") as caught:
        spikevae.load(release).sample(2, **settings)
    assert "\n" not in str(caught.value)


# ---------------------------------------------------------------- a whole model


def test_a_saved_model_comes_back_the_same(release: Path, tmp_path: Path) -> None:
    model = spikevae.load(release)
    x = torch.rand(3, 1, 28, 28)
    save_release(model, tmp_path, dataset="mnist", card="a card")
    again = spikevae.load(tmp_path)
    assert torch.equal(again.reconstruct(x), model.reconstruct(x))
    assert torch.equal(again.sample(3, seed=4), model.sample(3, seed=4))
    assert float(model.reconstruct(x).std(dim=0).mean()) > 0, "all images are alike: nothing was compared"


def test_training_takes_its_steps_and_teaches_the_bottleneck(config: RunConfig, tmp_path: Path) -> None:
    settings = replace(config.train, epochs=2, deterministic_share=0.5, adversarial_share=0.0, image_limit=40)
    scores = spikevae.train(
        replace(config, model=replace(config.model, latent="esvae"), train=settings), tmp_path / "run"
    )
    assert np.isfinite(scores["reconstruction_error"])
    trained = spikevae.load(tmp_path / "run")
    torch.manual_seed(settings.seed)
    before, after = (
        model.latent.get_parameter("bottleneck.weight").detach() for model in (SpikingVAE(trained.config), trained)
    )
    assert float((after - before).abs().mean()) > 1e-3  # saved as float16, which alone moves it by 1e-5
    assert trained.sample(2).shape == (2, 1, 28, 28)


def test_adversarial_fine_tuning_is_refused(config: RunConfig, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="needs a latent with a density, as potential, not 'esvae'"):
        spikevae.train(replace(config, model=replace(config.model, latent="esvae")), tmp_path / "run")


def test_the_energy_of_a_sample_counts_the_bottleneck(release: Path) -> None:
    costs = measure_costs(spikevae.load(release), torch.rand(2, 1, 28, 28), seed=0)
    layer = costs["sample"].layers["latent.bottleneck"]
    assert layer.multiply_accumulates == layer.dense == L * L
    assert "latent.bottleneck" not in costs["encode"].layers
    assert costs["sample"].microjoule > costs["sample"].microjoule_folded


def test_the_page_walks_and_looks_inside_and_offers_neither_classes_nor_temperature(release: Path) -> None:
    actions = Actions([str(release)])
    assert not actions.has_class_choice("poisson")
    assert not actions.models.has_density("poisson")
    walk = actions.walk_samples("poisson", 1, "any", 2, "any", 5)
    torch.testing.assert_close(walk.images[0], spikevae.load(release).sample(1, seed=1)[0])
    assert actions.sample("poisson", 2, 0, "any", 1.0).images.shape == (2, 1, 28, 28)


def test_completing_and_editing_are_refused(release: Path) -> None:
    x, mask = torch.rand(1, 1, 28, 28), torch.zeros(1, 1, 28, 28, dtype=torch.bool)
    with pytest.raises(ValueError, match="no density"):
        spikevae.load(release).inpaint(x, mask)


def test_nir_is_refused_in_one_line(release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("export", release, "--format", "nir", "--part", "encoder", "--out", tmp_path / "a.nir") == 1
    assert "latent (PoissonLatent)" in one_line(capsys)


@pytest.mark.parametrize("part", ["encoder", "decoder"])
def test_onnx_holds_encoder_and_decoder(release: Path, tmp_path: Path, part: str) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    assert run("export", release, "--format", "onnx", "--part", part, "--out", tmp_path / "a.onnx") == 0
    model, x = spikevae.load(release), torch.rand(3, 1, 28, 28)
    z_seq = model.encode(x).mode()
    given, wanted = (x, z_seq) if part == "encoder" else (z_seq, model.decode(z_seq))
    session = onnxruntime.InferenceSession(str(tmp_path / "a.onnx"))
    (found,) = session.run(None, {session.get_inputs()[0].name: given.numpy()})
    torch.testing.assert_close(torch.from_numpy(found), wanted, rtol=0, atol=1e-4)
