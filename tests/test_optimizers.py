"""What takes the steps: Muon for convolution kernels beside AdamW."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from spikevae.config import RunConfig, TrainConfig
from spikevae.training.learner import Batch, Learner, make_accelerator
from spikevae.training.optimizers import KernelMuon, optimizers_of
from spikevae.training.phases import joint_step
from spikevae.training.run_folder import Progress, load_state, save_state
from tests.test_training import differences


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
def test_a_step_of_muon_has_all_directions_and_the_size_of_adamws(layout: torch.memory_format) -> None:
    torch.manual_seed(0)
    start = torch.randn(32, 16, 3, 3)
    kernel = nn.Parameter(start.clone().to(memory_format=layout))
    muon = KernelMuon([kernel], learning_rate=0.01, weight_decay=0.0)
    slope = torch.randn(32, 1) @ torch.randn(1, 144) + 0.02 * torch.randn(32, 144)  # nearly all along one direction
    muon.zero_grad()
    (kernel.flatten(1) * slope).sum().backward()
    muon.step()
    change = (kernel.detach() - start).flatten(1)
    values = torch.linalg.svdvals(change)
    assert torch.linalg.svdvals(slope)[0] > 20 * torch.linalg.svdvals(slope)[1]
    assert values.max() < 2.5 * values.min()
    assert 0.8 < float(change.square().mean().sqrt()) / (0.2 * 0.01) < 1.1
    assert float((change * slope).sum()) < 0
    assert kernel.is_contiguous(memory_format=layout)


def test_weight_decay_takes_a_share_of_the_kernels_and_none_of_a_frozen_one() -> None:
    kernel, frozen = nn.Parameter(torch.ones(2, 2, 1, 1)), nn.Parameter(torch.ones(2, 2, 1, 1))
    muon = KernelMuon([kernel, frozen], learning_rate=0.1, weight_decay=0.5)
    kernel.grad = torch.zeros_like(kernel)
    muon.step()
    assert torch.allclose(kernel, torch.full_like(kernel, 0.95))
    assert torch.equal(frozen, torch.ones_like(frozen))


def test_a_learning_rate_that_is_a_tensor_is_never_waited_for_and_gives_the_same_step() -> None:
    """As on a GPU, which could not record the step otherwise. A meta tensor refuses to tell its value."""
    kernels = [nn.Parameter(torch.ones(3, 2, 2, 1)) for _ in range(2)]
    for kernel, rate in zip(kernels, (0.5, torch.tensor(0.5)), strict=True):
        muon = KernelMuon([kernel], learning_rate=0.1, weight_decay=0.5)
        muon.param_groups[0]["lr"] = rate
        kernel.grad = torch.arange(12.0).view_as(kernel)
        muon.step()
        assert muon.param_groups[0]["lr"] is rate
        assert muon.param_groups[0]["weight_decay"] == 0.5
    assert torch.equal(*kernels)
    valueless = nn.Parameter(torch.ones(3, 2, 2, 1, device="meta"))
    muon = KernelMuon([valueless], learning_rate=0.1, weight_decay=0.5)
    muon.param_groups[0]["lr"] = torch.tensor(0.5, device="meta")
    valueless.grad = torch.ones_like(valueless)
    muon.step()


def test_every_weight_learns_by_one_optimizer() -> None:
    convolution = nn.Conv2d(3, 4, 3)
    network = nn.Sequential(convolution, nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))
    assert len(optimizers_of(network, TrainConfig())) == 1
    adamw, muon = optimizers_of(network, TrainConfig(optimizer="muon", weight_decay=0.3))
    assert isinstance(muon, KernelMuon)
    others = {id(each) for group in adamw.param_groups for each in group["params"]}
    assert others == {id(each) for each in network.parameters()} - {id(convolution.weight)}
    assert [group["weight_decay"] for group in (*adamw.param_groups, *muon.param_groups)] == [0.3, 0.0, 0.3]
    kernel = convolution.weight.detach().clone()
    network(torch.randn(2, 3, 3, 3)).sum().backward()
    muon.step()
    assert not torch.equal(convolution.weight, kernel)
    muon.zero_grad()
    assert convolution.weight.grad is None


def test_muon_is_refused_for_a_network_without_kernels() -> None:
    """AdamW would learn all of it, as if nothing had been asked for."""
    with pytest.raises(ValueError, match="this network has none; use adamw"):
        optimizers_of(nn.Linear(3, 2), TrainConfig(optimizer="muon"))


def test_an_interrupted_run_with_muon_goes_on_bit_for_bit(config: RunConfig, tmp_path: Path) -> None:
    """Also in the adversarial phase, whose momentum is another. tests/test_training.py goes through whole runs."""
    with_muon = replace(config, train=replace(config.train, optimizer="muon"))
    batch = Batch(torch.rand(2, 1, 28, 28), torch.tensor([3, 1]), 2)

    def step(learner: Learner) -> None:
        torch.manual_seed(0)
        joint_step(learner, batch)

    whole, resumed = (Learner(with_muon, make_accelerator("float32")) for _ in range(2))
    step(whole)
    whole.forget_quickly()
    save_state(tmp_path, whole.state(), Progress())
    found = load_state(tmp_path)
    assert found is not None
    resumed.load(found[0])
    step(whole)
    step(resumed)
    assert differences(resumed.state(), whole.state()) == []
    momentum = whole.state()["kernel_optimizer"]
    assert momentum["param_groups"][0]["momentum"] == 0.5
    assert len(momentum["state"]) == sum(each.dim() == 4 for each in whole.plain_model.parameters())
