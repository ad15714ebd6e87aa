"""Several processes that act as one, started by `torchrun` or `accelerate launch`. Alone, a process does everything."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm

Value = TypeVar("Value")


def is_one_of_many() -> bool:
    """Whether a launcher has started this process beside others."""
    return int(os.environ.get("WORLD_SIZE", 1)) > 1


def world_size() -> int:
    """Processes that are connected; 1 if this one is alone."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def rank() -> int:
    """Number of this process among them; 0 is the main one."""
    return distributed.get_rank() if distributed.is_initialized() else 0


@contextmanager
def together() -> Iterator[None]:
    """Connect the processes that a launcher has started, if it has; afterwards each is alone again."""
    if not is_one_of_many():
        yield
        return
    from accelerate import PartialState

    state = PartialState(cpu=True)  # what is exchanged lies on the CPU
    try:
        yield
    finally:
        state.destroy_process_group()
        PartialState._reset_state()


def from_all(value: Value) -> list[Value]:
    """What each process gives here, in order of their numbers."""
    if world_size() == 1:
        return [value]
    from accelerate.utils import gather_object

    values: list[Value] = gather_object([value])
    return values


def shared_batches(make: Callable[[range], Tensor], count: int, batch_size: int) -> Iterator[Tensor]:
    """All batches of ``count`` images, in order, in every process, though each was made in one of them only.

    Args:
        make: from the numbers of some images to these images.
        count: images over all.
        batch_size: images of a batch. A batch holds the same images however many processes there are.
    """
    batches = [range(start, min(start + batch_size, count)) for start in range(0, count, batch_size)]
    for first in range(0, len(batches), world_size()):
        turn = batches[first : first + world_size()]
        own = make(turn[rank()]) if rank() < len(turn) else None
        yield from (part for part in from_all(own) if part is not None)


# ---------------------------------------------------------------- training


def share_batch_norm(model: nn.Module) -> None:
    """Let the batch norms inside a model take the statistics of all processes. Names and values of weights stay."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            is_plain = type(child) in (nn.BatchNorm1d, nn.BatchNorm2d)  # a class of its own sums by itself
            if isinstance(child, _BatchNorm) and is_plain:
                on_cpu = child.weight.device.type == "cpu"
                shared = SharedBatchNorm(child) if on_cpu else nn.SyncBatchNorm.convert_sync_batchnorm(child)
                module.add_module(name, shared)


class SharedBatchNorm(_BatchNorm):
    """Batch norm whose statistics, in training, are those of the images of all processes, also for the gradient.

    torch's own, ``SyncBatchNorm``, computes on GPUs only.

    Args:
        norm: takes its place, with its weights.
    """

    def __init__(self, norm: _BatchNorm) -> None:
        super().__init__(norm.num_features, norm.eps, norm.momentum)
        self.load_state_dict(norm.state_dict())
        self.weight, self.bias = norm.weight, norm.bias  # the very tensors, which an optimizer may know

    def forward(self, x: Tensor) -> Tensor:
        """Normalise [N, C, ...] over all axes but C."""
        if not self.training:
            return super().forward(x)
        values = x.float()
        variance, mean = torch.var_mean(values, dim=[0, *range(2, x.dim())], correction=0)  # [C], of this process
        count = mean.new_tensor([x.numel() / x.shape[1]])
        whole = sum_over_processes(torch.cat([count * mean, count]))
        total = whole[-1]
        whole_mean = whole[:-1] / total
        whole_variance = sum_over_processes(count * (variance + (mean - whole_mean).square())) / total
        with torch.no_grad():
            assert self.running_mean is not None
            assert self.running_var is not None
            assert self.num_batches_tracked is not None
            self.num_batches_tracked.add_(1)
            self.running_mean.lerp_(whole_mean, self.momentum or 0.0)
            self.running_var.lerp_(whole_variance * total / (total - 1), self.momentum or 0.0)
        axes = (-1, *[1] * (x.dim() - 2))
        scale = self.weight * (whole_variance + self.eps).rsqrt()
        shift = self.bias - whole_mean * scale
        return torch.addcmul(shift.view(axes), values, scale.view(axes)).to(x.dtype)

    def _check_input_dim(self, x: Tensor) -> None:
        """Any number of axes will do."""


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.contiguous().clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return sum_over_processes(grads[0])


def sum_over_processes(x: Tensor) -> Tensor:
    """The sum of what each process gives; its gradient is that of the losses of all of them."""
    if world_size() == 1:
        return x
    total: Tensor = _Sum.apply(x)
    return total
