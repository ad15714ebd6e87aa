"""What latent spikes tell of their class, and that new images look like theirs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from torch import Tensor

from spikevae.config import ModelConfig
from spikevae.nn.latents.bernoulli import PotentialLatent
from spikevae.nn.latents.discriminant import LatentDiscriminant

D, K, M = 8, 3, 300


def spikes_of_classes(classes: int = K) -> tuple[Tensor, Tensor]:
    """Every class fires with rates of its own, which overlap."""
    labels = torch.arange(M) % classes
    rates = torch.rand(classes, D)
    return (torch.rand(M, D) < rates[labels]).float(), labels


@pytest.mark.parametrize("classes", [2, K])
def test_a_class_is_plausible_if_it_is_more_probable_than_by_chance(classes: int) -> None:
    spikes, labels = spikes_of_classes(classes)
    discriminant = LatentDiscriminant(D, classes)
    discriminant.fit(spikes, labels)
    analysis = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(spikes.numpy(), labels.numpy())
    probabilities = analysis.predict_proba(spikes.numpy())[np.arange(M), labels.numpy()]
    expected = torch.from_numpy(probabilities >= 1 / classes)
    assert 0.1 * M < expected.sum() < M  # some of each
    assert torch.equal(discriminant.accepts(spikes, labels), expected)


def test_before_fitting_every_class_is_plausible() -> None:
    spikes, labels = spikes_of_classes()
    assert LatentDiscriminant(D, K).accepts(spikes, labels).all()


def test_images_without_a_label_do_not_count() -> None:
    spikes, labels = spikes_of_classes()
    labels[::7] = -1
    all_of_them, known_only = LatentDiscriminant(D, K), LatentDiscriminant(D, K)
    all_of_them.fit(spikes, labels)
    known_only.fit(spikes[labels >= 0], labels[labels >= 0])
    assert torch.equal(all_of_them.weight, known_only.weight)


def test_units_that_never_fire_or_fire_alike_do_no_harm() -> None:
    spikes, labels = spikes_of_classes()
    spikes = torch.cat([spikes, torch.zeros(M, 2), spikes[:, :2]], dim=1)
    discriminant = LatentDiscriminant(D + 4, K)
    discriminant.fit(spikes, labels)
    assert discriminant.weight.isfinite().all()
    assert discriminant.accepts(spikes, labels).float().mean() > 0.6


def fitted_latent() -> PotentialLatent:
    """Two classes whose potentials overlap."""
    latent = PotentialLatent(ModelConfig(class_names=("a", "b"), time_steps=3, latent_size=4, prior_rank=2), 5)
    labels = torch.arange(M) % 2
    latent.fit(torch.randn(M, 12) + 0.8 * labels[:, None], labels)
    return latent


def rngs(count: int) -> list[np.random.Generator]:
    return [np.random.default_rng(seed) for seed in range(count)]


def test_new_spikes_look_like_their_class_and_those_that_did_stay() -> None:
    latent, labels = fitted_latent(), torch.tensor([0, 1, 1] * 40)
    assert latent.discriminant is not None
    drawn = latent.sample_potential(rngs(120), labels)
    first = latent.sample_potential(rngs(120), labels, reject=False)
    was_accepted = latent.discriminant.accepts((first > 0).float().transpose(0, 1).flatten(1), labels)
    assert 10 < was_accepted.sum() < 110
    assert latent.discriminant.accepts((drawn > 0).float().transpose(0, 1).flatten(1), labels).all()
    assert torch.equal(drawn[:, was_accepted], first[:, was_accepted])


def test_a_new_image_depends_on_its_own_random_numbers_alone() -> None:
    latent = fitted_latent()
    together = latent.sample_potential(rngs(40))
    alone = [latent.sample_potential([rng]) for rng in rngs(40)]
    torch.testing.assert_close(torch.cat(alone, dim=1), together)


def test_the_typical_image_is_drawn_once() -> None:
    latent, labels = fitted_latent(), torch.zeros(40, dtype=torch.int64)
    drawn = latent.sample_potential(rngs(40), labels, 0.0)
    assert torch.equal(drawn, latent.sample_potential(rngs(40), labels, 0.0, reject=False))


def test_a_rare_class_is_accepted_as_often_as_a_frequent_one(generator: torch.Generator) -> None:
    """It was asked for; how often it occurs in the data says nothing of the spikes that were drawn."""
    rates = torch.stack([torch.full((D,), 0.4), torch.full((D,), 0.6)])

    def spikes_of(labels: torch.Tensor) -> torch.Tensor:
        return (torch.rand(len(labels), D, generator=generator) < rates[labels]).float()

    discriminant, labels = LatentDiscriminant(D, 2), torch.tensor([0] * 1900 + [1] * 100)
    discriminant.fit(spikes_of(labels), labels)
    shares = []
    for label in (0, 1):
        asked = torch.full((2000,), label)
        shares.append(float(discriminant.accepts(spikes_of(asked), asked).float().mean()))
    assert abs(shares[0] - shares[1]) < 0.1, shares
    assert min(shares) > 0.6
