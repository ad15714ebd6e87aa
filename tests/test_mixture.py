"""The density of latent potentials: what is fitted comes back, and an image depends on its own noise alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from spikevae.nn.latents.gaussians import fit_gaussians, leading_directions, one_thread_each
from spikevae.nn.latents.mixture import ClassMixtures

D, K = 6, 3


def covariance_of(density: ClassMixtures, group: int) -> Tensor:
    return density.basis[group] @ density.basis[group].T + density.spread[group].square().diag()


def noise(density: ClassMixtures, count: int, seed: int = 0) -> Tensor:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(np.stack([density.noise(rng) for _ in range(count)]))


def fitted() -> ClassMixtures:
    """Three classes of 100, 200 and 100 images."""
    density = ClassMixtures(D, K, 2, 1)
    labels = torch.tensor([0, 1, 2, 1] * 100)
    density.fit(torch.randn(400, D) * torch.arange(1.0, D + 1) + 10.0 * labels[:, None], labels)
    return density


def test_a_gaussian_of_low_rank_is_recovered() -> None:
    directions = torch.randn(D, 2)
    mean = torch.randn(D)
    potentials = mean + torch.randn(50_000, 2) @ directions.T
    density = ClassMixtures(D, 0, 2, 1)
    density.fit(potentials, torch.full((50_000,), -1))
    torch.testing.assert_close(density.mean[0], mean, rtol=0, atol=0.03)
    torch.testing.assert_close(covariance_of(density, 0), directions @ directions.T, rtol=0.03, atol=0.03)
    assert density.spread.max() < 1e-3


@pytest.mark.parametrize("rank", [1, 3, D, 5 * D])
def test_variances_are_exact_at_any_rank_and_covariances_at_full_rank(rank: int) -> None:
    potentials = torch.randn(500, D) @ torch.randn(D, D)
    density = ClassMixtures(D, 0, rank, 1)
    density.fit(potentials, torch.full((500,), -1))
    expected = potentials.T.cov()
    torch.testing.assert_close(covariance_of(density, 0).diagonal(), expected.diagonal(), rtol=1e-4, atol=1e-5)
    if rank >= D:
        torch.testing.assert_close(covariance_of(density, 0), expected, rtol=1e-4, atol=1e-4)


def test_clumps_of_a_class_are_found_and_drawn_as_often_as_they_are() -> None:
    centres = torch.tensor([[8.0, 0, 0, 0, 0, 0], [-8.0, 4, 0, 0, 0, 0]])
    clump = torch.tensor([0, 1, 0, 0] * 1000)
    density = ClassMixtures(D, 0, 3, 2)
    density.fit(centres[clump] + torch.randn(4000, D), torch.full((4000,), -1))
    assert sorted(density.weight[0].tolist()) == pytest.approx([0.25, 0.75], abs=0.01)
    drawn = density.sample(noise(density, 8000), None, 1.0)
    is_left = drawn[:, 0] < 0
    assert is_left.float().mean() == pytest.approx(0.25, abs=0.02)
    for side, centre in ((~is_left, centres[0]), (is_left, centres[1])):
        torch.testing.assert_close(drawn[side].mean(0), centre, rtol=0, atol=0.15)
        torch.testing.assert_close(drawn[side].T.cov().diagonal(), torch.ones(D), rtol=0, atol=0.15)
    typical = density.sample(noise(density, 50), None, 0.0)
    assert len(typical.unique(dim=0)) == 2  # the centre of each
    heaviest = density.typical(torch.tensor([0]))
    torch.testing.assert_close(heaviest[0], centres[0], rtol=0, atol=0.15)
    assert (typical == heaviest).all(dim=1).any()


def test_a_class_of_few_images_gets_one_gaussian() -> None:
    potentials, labels = torch.randn(30, D), torch.full((30,), -1)
    few, one = ClassMixtures(D, 0, 4, 8), ClassMixtures(D, 0, 4, 1)
    few.fit(potentials, labels)
    one.fit(potentials, labels)
    assert few.weight[0].tolist() == [1.0] + [0.0] * 7
    assert torch.equal(few.sample(noise(few, 20), None, 1.0), one.sample(noise(one, 20), None, 1.0))


def test_fitting_again_gives_the_same_to_the_last_bit() -> None:
    potentials, labels = torch.randn(600, D).cumsum(1), torch.tensor([0, 1, 2] * 200)
    first, again = ClassMixtures(D, K, 3, 4), ClassMixtures(D, K, 3, 4)
    first.fit(potentials, labels)
    again.fit(potentials[:300].repeat(2, 1), labels)  # what an earlier fit left does not matter
    again.fit(potentials, labels)
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in first.state_dict().items())


def test_draws_have_the_mean_and_covariance_that_were_fitted() -> None:
    density = fitted()
    drawn = density.sample(noise(density, 20_000), torch.ones(20_000, dtype=torch.int64), 1.0)
    torch.testing.assert_close(drawn.mean(0), density.mean[1], rtol=0.02, atol=0.1)
    torch.testing.assert_close(drawn.T.cov(), covariance_of(density, 1), rtol=0.05, atol=0.5)


def test_classes_come_as_often_as_in_the_data_and_unlabelled_images_count_for_none() -> None:
    density = ClassMixtures(D, K, 2, 1)
    labels = torch.tensor([0, 1, 2, 1, -1] * 100)
    density.fit(torch.randn(500, D) + 100.0 * labels[:, None], labels)
    assert density.share.tolist() == [0.25, 0.5, 0.25]
    drawn = density.sample(noise(density, 8_000), None, 1.0)
    classes = (drawn.mean(1) / 100).round().long()
    shares = torch.bincount(classes, minlength=K) / 8_000
    torch.testing.assert_close(shares, density.share, rtol=0, atol=0.02)


def test_a_label_gives_its_class_and_temperature_0_its_mean() -> None:
    density = fitted()
    labels = torch.tensor([2, 0, 1, 2])
    typical = density.sample(noise(density, 4), labels, 0.0)
    assert torch.equal(typical, density.mean[labels])
    drawn = density.sample(noise(density, 4), labels, 1.0)
    halved = density.sample(noise(density, 4), labels, 0.5)
    torch.testing.assert_close(halved - typical, (drawn - typical) / 2)


def test_an_image_does_not_depend_on_its_batch() -> None:
    density = fitted()
    draws = noise(density, 9)
    together = density.sample(draws, None, 1.0)
    torch.testing.assert_close(torch.cat([density.sample(one, None, 1.0) for one in draws.split(1)]), together)
    order = torch.randperm(9)
    torch.testing.assert_close(density.sample(draws[order], None, 1.0), together[order])


def test_every_class_is_drawn_even_by_noise_at_the_ends() -> None:
    density = fitted()
    draws = noise(density, 2)
    draws[0, 0], draws[1, 0] = 0.0, 1.0 - 2**-24
    drawn = density.sample(draws, None, 0.0)
    assert torch.equal(drawn, density.mean[[0, K - 1]])


def test_what_was_fitted_travels_with_the_weights() -> None:
    density, other = fitted(), ClassMixtures(D, K, 2, 1)
    other.load_state_dict(density.state_dict())
    assert torch.equal(other.sample(noise(density, 5), None, 1.0), density.sample(noise(density, 5), None, 1.0))


def test_too_few_images_and_a_wrong_temperature_are_refused() -> None:
    density = fitted()
    with pytest.raises(ValueError, match="class 1 has 1 images; a density needs at least 2"):
        density.fit(torch.randn(5, D), torch.tensor([0, 0, 1, 2, 2]))
    for temperature in (-0.1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=f"temperature={temperature}"):
            density.sample(noise(density, 2), None, temperature)


def test_gaussians_that_still_change_after_the_last_round_are_used_and_said_so_in_a_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("spikevae.nn.latents.gaussians._MOST_ROUNDS", 1)
    torch.manual_seed(0)
    with one_thread_each():
        weight, _, _ = fit_gaussians(torch.randn(60, 2).double(), 4)
    assert len(weight) == 4
    assert [record.getMessage() for record in caplog.records] == [
        "4 Gaussians still changed after 1 rounds; the last ones are used"
    ]


@pytest.mark.parametrize("count", [30, 12])
def test_leading_directions_are_those_of_the_covariance_for_fewer_images_than_dimensions_too(count: int) -> None:
    vectors = torch.randn(count, 20, dtype=torch.float64) * torch.linspace(1, 5, 20)
    values, directions = leading_directions(vectors - vectors.mean(dim=0), 6)
    expected = torch.linalg.eigh(torch.cov(vectors.T))
    torch.testing.assert_close(values, expected[0][-6:])
    torch.testing.assert_close((directions.T @ expected[1][:, -6:]).abs(), torch.eye(6, dtype=torch.float64))


def test_directions_in_which_nothing_varies_are_not_drawn() -> None:
    vectors = torch.randn(3, 20, dtype=torch.float64)
    values, directions = leading_directions(vectors - vectors.mean(dim=0), 8)
    assert (values > 1e-9).sum() == 2
    assert (directions[:, :6] == 0).all()
    density = ClassMixtures(D, 0, 8, 2)
    density.fit(torch.ones(5, D), torch.full((5,), -1))
    assert torch.equal(density.sample(noise(density, 3), None, 1.0), torch.ones(3, D))
