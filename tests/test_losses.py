"""The loss, its terms and their weights."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from spikevae.config import ObjectiveConfig
from spikevae.nn.neurons import ParametricSpikingLayer, SpikingLayer
from spikevae.training.adversarial import Shift
from spikevae.training.losses import (
    discriminator_hinge_loss,
    feature_distance,
    firing_rate_excess,
    firing_rates,
    reconstruction_error,
    vae_objective,
)

N, K = 5, 3
WEIGHTS = ObjectiveConfig(divergence_weight=0.5, classification_weight=0.25, label_smoothing=0.0)


def test_the_error_is_measured_on_the_scale_from_minus_1_to_1() -> None:
    x, y = torch.rand(N, 1, 4, 4), torch.rand(N, 1, 4, 4)
    centred = ((2 * x - 1) - (2 * y - 1)).square().mean()
    torch.testing.assert_close(reconstruction_error(y, x), centred)
    torch.testing.assert_close(reconstruction_error(y, x), 4 * (x - y).square().mean())
    assert reconstruction_error(torch.ones(N, 1, 4, 4), torch.zeros(N, 1, 4, 4)) == 4.0
    assert reconstruction_error(x, x) == 0.0


def test_the_loss_is_the_weighted_sum_of_its_terms() -> None:
    x, y = torch.rand(N, 1, 4, 4), torch.rand(N, 1, 4, 4)
    logits = torch.randn(N, K)
    labels = torch.tensor([0, 1, 2, 1, 0])
    terms = vae_objective(y, x, torch.tensor(0.3), logits, labels, WEIGHTS)
    expected = -logits.log_softmax(dim=1)[torch.arange(N), labels].mean()
    torch.testing.assert_close(terms.cross_entropy, expected)
    torch.testing.assert_close(terms.loss, terms.reconstruction_error + 0.5 * 0.3 + 0.25 * expected)


def test_smoothing_gives_a_share_of_each_label_to_all_classes() -> None:
    logits = torch.randn(N, K)
    labels = torch.tensor([0, 1, 2, 1, 0])
    weights = ObjectiveConfig(label_smoothing=0.3)
    x = torch.rand(N, 1, 2, 2)
    terms = vae_objective(x, x, torch.tensor(0.0), logits, labels, weights)
    target = 0.7 * torch.eye(K)[labels] + 0.3 / K
    torch.testing.assert_close(terms.cross_entropy, -(target * logits.log_softmax(dim=1)).sum(dim=1).mean())


def test_unlabelled_images_do_not_count_in_the_classification() -> None:
    x = torch.rand(N, 1, 2, 2)
    logits = torch.randn(N, K, requires_grad=True)
    some = vae_objective(x, x, torch.tensor(0.0), logits, torch.tensor([0, -1, 2, -1, -1]), WEIGHTS)
    labelled = vae_objective(x[:2], x[:2], torch.tensor(0.0), logits[[0, 2]], torch.tensor([0, 2]), WEIGHTS)
    torch.testing.assert_close(some.cross_entropy, labelled.cross_entropy)
    (grad,) = torch.autograd.grad(some.loss, logits)
    assert not grad[[1, 3, 4]].any()
    none = vae_objective(x, x, torch.tensor(0.2), logits, torch.full((N,), -1), WEIGHTS)
    assert none.cross_entropy.item() == 0.0
    assert none.loss.item() == pytest.approx(0.1)
    without = vae_objective(x, x, torch.tensor(0.2), None, torch.tensor([0, 1, 2, 0, 1]), WEIGHTS)
    assert without.loss == pytest.approx(0.1)


def test_half_precision_outputs_are_judged_in_float32() -> None:
    x = torch.rand(N, 1, 4, 4)
    terms = vae_objective(
        x.bfloat16(), x, torch.tensor(0.0), torch.randn(N, K).bfloat16(), torch.zeros(N, dtype=torch.int64), WEIGHTS
    )
    assert terms.loss.dtype == torch.float32
    assert math.isfinite(terms.loss)


def test_where_reconstructions_are_perfect_the_rest_is_learned() -> None:
    x, logits, labels = torch.rand(N, 1, 2, 2), torch.randn(N, K), torch.tensor([0, 1, 2, 1, 0])
    terms = vae_objective(x, x, torch.tensor(0.0), logits, labels, WEIGHTS)
    assert terms.reconstruction_error == 0.0
    torch.testing.assert_close(terms.loss, 0.25 * terms.cross_entropy)


def test_only_firing_above_the_target_costs() -> None:
    rates = [torch.tensor(0.05), torch.tensor(0.3, requires_grad=True)]
    excess = firing_rate_excess(rates, 0.1)
    assert excess.item() == pytest.approx((0.2**2) / 2)
    (grad,) = torch.autograd.grad(excess, rates[1])
    assert grad > 0


def test_the_firing_rates_of_all_spiking_layers_are_measured_while_it_is_asked_for() -> None:
    layers = nn.Sequential(SpikingLayer(2.0, 2.0), ParametricSpikingLayer(2.0, 2.0), SpikingLayer(2.0, 2.0, "s"))
    x_seq = torch.randn(4, N, 3, requires_grad=True)
    with firing_rates(layers[:2]) as rates:
        spike_seq = layers[0](x_seq)
        layers[1](2 * spike_seq)
    layers[0](x_seq)
    assert len(rates) == 2
    torch.testing.assert_close(rates[0], spike_seq.mean())
    assert rates[0].requires_grad
    with firing_rates(layers) as rates:
        layers[2](x_seq[0])
    assert rates == []


def test_a_discriminator_that_is_sure_and_right_pays_nothing() -> None:
    assert discriminator_hinge_loss(torch.full((N, 2, 2), 1.5), torch.full((N, 2, 2), -1.0)) == 0.0
    assert discriminator_hinge_loss(torch.zeros(N, 2, 2), torch.zeros(N, 2, 2)) == 2.0
    assert discriminator_hinge_loss(torch.full((N,), -1.0), torch.full((N,), 1.0)) == 4.0


def test_the_distance_of_features_averages_layers_and_moves_only_the_fake_ones() -> None:
    real = [torch.zeros(N, 2, 4, 4, requires_grad=True), torch.zeros(N, 3, 2, 2, requires_grad=True)]
    fake = [torch.full((N, 2, 4, 4), 1.0, requires_grad=True), torch.full((N, 3, 2, 2), -3.0, requires_grad=True)]
    distance = feature_distance(real, fake)
    assert distance == 2.0  # each layer counts alike, however many numbers it has
    distance.backward()
    assert all(maps.grad is None for maps in real)
    assert all(maps.grad is not None for maps in fake)


def test_the_discriminator_sees_all_images_moved_alike() -> None:
    x = torch.rand(3, 2, 6, 8, dtype=torch.float64)
    assert torch.equal(Shift(0, x)(x), x)
    seen = set()
    for seed in range(60):
        torch.manual_seed(seed)
        shift = Shift(1, x)
        moved = shift(x)
        down, right = (int(places[3]) - 3 for places in shift.places)
        seen.add((down, right))
        padded = nn.functional.pad(x, (1, 1, 1, 1), mode="replicate")
        assert torch.equal(moved, padded[:, :, 1 + down : 7 + down, 1 + right : 9 + right])
        assert torch.equal(shift(x[:1]), moved[:1])
    assert seen == {(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)}
    assert torch.autograd.gradcheck(Shift(1, x), x.requires_grad_())
