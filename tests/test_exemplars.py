"""Exemplars of a grid's density: where new images begin, how far they go, and what a file holds of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode

from spikevae.config import ModelConfig, from_dict, to_dict
from spikevae.hub.checkpoints import load, save_release
from spikevae.hub.model_card import Training, model_card
from spikevae.nn.latents.gaussians import in_their_gaussians
from spikevae.nn.latents.grid_density import GridMixtures
from spikevae.nn.vae import SpikingVAE
from spikevae.presets import PRESETS, preset_for
from spikevae.train_command import preset_asked_for

D, RANK = 12, 12
CONFIG = ModelConfig(
    class_names=("a", "b"),
    time_steps=3,
    latent="grid",
    latent_size=196,
    encoder_widths=(4, 6, 8),
    encoder_depth=1,
    decoder_widths=(6, 4, 4),
    prior_rank=4,
    prior_components=2,
    prior_exemplars=5,
)


def two_rings(count: int = 800) -> tuple[Tensor, Tensor]:
    """Points that no Gaussian draws: a ring for each class, and a little of everything else."""
    labels, angle = torch.arange(count) % 2, torch.linspace(0, 50, count)
    points = 0.1 * torch.randn(count, D, generator=torch.Generator().manual_seed(0))
    points[:, 0] += (3 + labels) * angle.cos()
    points[:, 1] += (3 + labels) * angle.sin()
    return points, labels


def fitted(exemplars: int, bandwidth: float, components: int = 2) -> GridMixtures:
    density = GridMixtures(D, 2, RANK, components, exemplars, bandwidth)
    density.fit(*two_rings())
    return density


def drawn(density: GridMixtures, count: int = 2000, group: int = 0) -> Tensor:
    noise = torch.from_numpy(np.stack([density.noise(np.random.default_rng(seed)) for seed in range(count)]))
    return density.sample(noise, torch.full((count,), group), 1.0)


def test_points_lie_where_their_noise_draws_them() -> None:
    weight, centre = torch.tensor([0.5, 0.0, 0.5]).double(), torch.tensor([[0.0, 0.0], [9.0, 9.0], [5.0, 5.0]]).double()
    factor = torch.tensor([[1.0, 0.0], [0.5, 2.0]]).double().expand(3, 2, 2)
    noise, component = torch.randn(40, 2).double() / 4, torch.arange(40) % 2 * 2
    points = centre[component] + noise @ factor[0].T
    owner, white = in_their_gaussians(points, weight, centre, factor)
    assert torch.equal(owner, component)
    torch.testing.assert_close(white, noise)
    assert set(in_their_gaussians(points + 9, weight, centre, factor)[0].tolist()) == {2}  # not the one without weight


def test_a_narrow_bandwidth_draws_what_gaussians_cannot() -> None:
    gaussians, exemplars = (drawn(fitted(count, 0.2))[:, :2].norm(dim=1) for count in (0, 300))
    assert (gaussians < 1.5).float().mean() > 0.05  # inside the ring, where there is nothing
    assert (exemplars < 1.5).float().mean() < 0.01


@pytest.mark.parametrize("components", [1, 2])
def test_a_bandwidth_of_1_forgets_the_exemplars(components: int) -> None:
    plain, forgetful = fitted(0, 0.65, components), fitted(1, 1.0, components)
    assert torch.equal(drawn(plain, 50), drawn(forgetful, 50))


def test_several_processes_can_share_the_buffers() -> None:
    kinds = {buffer.dtype for buffer in GridMixtures(D, 2, RANK, 1, 3, 0.5).buffers()}
    assert kinds <= {torch.float32, torch.int32, torch.int64}  # gloo knows no int16


@pytest.mark.parametrize("bandwidth", [0.2, 0.65, 0.9])
def test_every_bandwidth_keeps_mean_and_variance(bandwidth: float) -> None:
    points, labels = two_rings()
    found = drawn(fitted(400, bandwidth, components=1), 8000)
    torch.testing.assert_close(found.mean(dim=0), points[labels == 0].mean(dim=0), atol=0.1, rtol=0)
    torch.testing.assert_close(torch.cov(found.T), torch.cov(points[labels == 0].T), atol=0.25, rtol=0)


def test_all_exemplars_are_used_alike() -> None:
    density = fitted(4, 0.01)
    points = drawn(density, 400)
    nearest = torch.cdist(points, points).lt(0.5).float().mean(dim=1)
    assert nearest.min() > 0.15
    assert nearest.max() < 0.35


def test_few_images_are_exemplars_several_times() -> None:
    density = GridMixtures(D, 0, 2, 1, 7, 0.5)
    density.fit(torch.randn(3, D), torch.full((3,), -1))
    assert len(density.exemplar[0].unique(dim=0)) == 3
    assert len(density.exemplar[0]) == 7


def test_the_same_images_give_the_same_exemplars() -> None:
    first, again = fitted(50, 0.5), fitted(50, 0.5)
    assert all(torch.equal(first.state_dict()[name], value) for name, value in again.state_dict().items())


def fitted_model() -> SpikingVAE:
    model = SpikingVAE(CONFIG).eval()
    model.latent.fit(torch.randn(80, 3 * 196), torch.arange(80) % 2)
    return model


def test_a_file_keeps_them_and_a_wrong_owner_does_no_harm(tmp_path: Path) -> None:
    model = fitted_model()
    save_release(model, tmp_path, dataset="fashion-mnist", card="")
    assert torch.equal(load(tmp_path).sample(6, seed=0), load(tmp_path).sample(6, seed=0))
    path = tmp_path / "model.safetensors"
    weights = safetensors.torch.load_file(path)
    weights["latent.density.owner"] = torch.full_like(weights["latent.density.owner"], 30_000)
    safetensors.torch.save_file(weights, path)
    assert bool(load(tmp_path).sample(6, seed=0).isfinite().all())
    weights["latent.density.owner"] = torch.full_like(weights["latent.density.owner"], -7)
    safetensors.torch.save_file(weights, path)
    assert bool(load(tmp_path).sample(6, seed=0).isfinite().all())


def test_who_looks_for_an_image_is_not_bound_to_exemplars() -> None:
    density, plain = fitted(5, 0.2), fitted(0, 0.2)
    noise = torch.from_numpy(np.stack([density.noise(np.random.default_rng(seed)) for seed in range(30)]))
    free, bound = (density.sample(noise, None, 1.0, at_exemplars=each) for each in (False, True))
    assert torch.equal(free, plain.sample(noise, None, 1.0))
    assert not torch.equal(free, bound)


def test_a_model_with_exemplars_is_completed_exported_and_copied() -> None:
    model = fitted_model()
    mask = torch.zeros(28, 28, dtype=torch.bool)
    mask[:14] = True
    assert model.inpaint(torch.rand(1, 28, 28), mask, count=1).shape == (1, 1, 28, 28)
    assert bool(model.double().sample(2, seed=0).isfinite().all())
    assert bool(model.half().float().sample(2, seed=0).isfinite().all())


def test_a_start_keeps_codes_of_single_pictures_only_of_the_same_data(tmp_path: Path) -> None:
    save_release(fitted_model(), tmp_path, dataset="fashion-mnist", card="")
    mine, same = (
        preset_asked_for([dataset, "--train.start-from", str(tmp_path)]) for dataset in ("folder:mine", "fashion-mnist")
    )
    assert (mine.model.prior_exemplars, same.model.prior_exemplars) == (0, CONFIG.prior_exemplars)
    preset = PRESETS["fashion-mnist"]
    assert preset.model.prior_exemplars > 0
    assert preset_for("folder:mine", "fashion-mnist").model.prior_exemplars == 0
    assert preset_for("fashion-mnist").model == preset.model


def test_a_start_from_a_folder_without_its_run_takes_no_lengths_for_its_own(tmp_path: Path) -> None:
    """How a model that somebody saved was trained is not known; that of another data set was taken for it."""
    save_release(fitted_model(), tmp_path, dataset="mnist", card="")
    for dataset in ("fashion-mnist", "mnist"):
        found = preset_asked_for([dataset, "--train.start-from", str(tmp_path)])
        assert (found.train.epochs, found.train.batch_size, found.train.warmup_images) == (0, 0, 0)
        assert found.model.prior_exemplars == (CONFIG.prior_exemplars if dataset == "mnist" else 0)


def test_a_card_says_that_single_images_are_kept() -> None:
    start = PRESETS["fashion-mnist"]
    training = Training(64, 16, 1, 1.0, "a machine", {})
    text = "keeps the codes of up to 9 training images of each class. A new image begins at one of them"
    assert text in model_card(replace(start, model=replace(start.model, prior_exemplars=9)), training)
    assert text not in model_card(replace(start, model=replace(start.model, prior_exemplars=0)), training)
    others = replace(start.model, prior_exemplars=9, latent="potential", encoder_depth=0)
    assert text not in model_card(replace(start, model=others), training)  # a grid alone has them


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"prior_exemplars": -1}, "prior_exemplars=-1"),
        ({"prior_bandwidth": 0.0}, "prior_bandwidth=0.0 is outside"),
        ({"prior_bandwidth": 1.5}, "prior_bandwidth=1.5 is outside"),
    ],
)
def test_exemplars_that_cannot_be_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(CONFIG, **settings)


def test_a_config_from_before_there_were_exemplars_still_loads() -> None:
    values = to_dict(replace(CONFIG, prior_exemplars=0))
    del values["prior_exemplars"], values["prior_bandwidth"]
    assert from_dict(ModelConfig, values) == replace(CONFIG, prior_exemplars=0)


def test_a_density_on_a_gpu_keeps_the_exemplars_of_points_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """No GPU is needed: tensors without content know where they lie."""
    seen: list[str] = []

    def note_devices(some: Tensor, *gaussians: Tensor) -> tuple[Tensor, Tensor]:
        seen.extend(tensor.device.type for tensor in (some, *gaussians))
        return torch.zeros(len(some)), torch.zeros_like(some)

    monkeypatch.setattr("spikevae.nn.latents.grid_density.in_their_gaussians", note_devices)
    with FakeTensorMode():
        density = GridMixtures(D, 2, RANK, 2, exemplars=5, bandwidth=0.5).to("cuda")
        density._keep(1, torch.eye(RANK).repeat(2, 1, 1), torch.zeros(D, RANK), torch.zeros(7, D), torch.zeros(7, RANK))
        assert density.exemplar.device.type == "cuda"
    assert seen == ["cpu"] * 4
