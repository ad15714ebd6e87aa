"""What turns gradients into steps: AdamW for everything, or Muon for the convolution kernels beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

from spikevae.config import TrainConfig
from spikevae.nn.networks import decaying


class KernelMuon(torch.optim.Muon):
    """Muon for convolution kernels, each taken as one matrix [C_out, C_in * height * width].

    A step goes along the averaged gradient with all its singular values made nearly equal, so that rare directions are
    learned as quickly as common ones. The root mean square of a step is that of AdamW at the same learning rate.

    Source: Jordan et al., Muon, 2024 (kellerjordan.github.io/posts/muon); Liu et al., "Muon is scalable for LLM
    training", arXiv:2502.16982.

    Args:
        kernels: what learns, each of two or more dimensions.
        learning_rate: as AdamW's.
        weight_decay: share of a kernel that a step takes away, times the learning rate.
    """

    def __init__(self, kernels: Iterable[nn.Parameter], learning_rate: float, weight_decay: float) -> None:
        self._kernels = list(kernels)
        self._matrices = [nn.Parameter(kernel.detach().flatten(1).clone()) for kernel in self._kernels]
        super().__init__(self._matrices, lr=learning_rate, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw")

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of all kernels that have a gradient."""
        with torch.enable_grad():
            loss = None if closure is None else closure()
        learned = [pair for pair in zip(self._kernels, self._matrices, strict=True) if pair[0].grad is not None]
        for kernel, matrix in learned:
            assert kernel.grad is not None
            matrix.zero_()
            matrix.grad = kernel.grad.flatten(1)
        (group,) = self.param_groups
        own = {name: group[name] for name in ("lr", "weight_decay")}
        # Torch's step would wait for a learning rate on a GPU, which a recording (recorded.py) forbids.
        group.update(lr=1.0, weight_decay=0.0)
        try:
            super().step()  # type: ignore[no-untyped-call]
        finally:
            group.update(own)
        for kernel, matrix in learned:
            kernel.mul_(1 - own["lr"] * own["weight_decay"]).add_(own["lr"] * matrix.view_as(kernel))
            matrix.grad = None
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of the kernels."""
        for kernel in self._kernels:
            kernel.grad = None


def optimizers_of(model: nn.Module, settings: TrainConfig) -> list[torch.optim.Optimizer]:
    """What learns a network's weights, as ``settings.optimizer`` says; all of it at one learning rate.

    Raises:
        ValueError: if Muon is asked for, and there is no kernel.
    """
    kernels = [each for each in model.parameters() if each.dim() == 4] if settings.optimizer == "muon" else []
    if settings.optimizer == "muon" and not kernels:
        raise ValueError("--train.optimizer muon is for convolution kernels, and this network has none; use adamw")
    taken = set(map(id, kernels))
    others = [each for each in model.parameters() if id(each) not in taken]
    rate, decay = settings.learning_rate, settings.weight_decay
    adamw = torch.optim.AdamW(decaying(others, decay), lr=rate, fused=True)
    return [adamw, KernelMuon(kernels, rate, decay)] if kernels else [adamw]
