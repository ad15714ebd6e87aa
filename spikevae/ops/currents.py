"""Input currents of neurons, laid out as the compiled loops take them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from spikevae.ops.cpu import compile, neurons


class Norm(NamedTuple):
    """The numbers of a batch norm, [C] each."""

    weight: Tensor
    bias: Tensor
    mean: Tensor
    inverse_deviation: Tensor


class LaidOut:
    """Input currents as the loops take them.

    Args:
        x_seq: [T, N, ...], every step dense in memory; [T, N, C, H, W], channels last, if normalised or gated.
        leak: 1 / tau, a scalar.
        has_gates: whether planes matter for what comes after the neurons.
        norm: what normalises them, or None.
    """

    def __init__(self, x_seq: Tensor, leak: Tensor, has_gates: bool, norm: Norm | None) -> None:
        channels = x_seq.shape[2] if has_gates or norm is not None else 1
        self._repeats = max(1, compile.BLOCK // channels)
        if norm is not None:
            weight = (norm.weight * norm.inverse_deviation).detach()
            scale, shift = self.block(weight), self.block(norm.bias - norm.mean * weight)
        else:
            scale, shift = np.ones(self._repeats * channels, np.float32), np.zeros(self._repeats * channels, np.float32)
        count = x_seq[0].numel()
        stride = x_seq.stride(0) if count else 0
        x = compile.flat(x_seq, stride * (len(x_seq) - 1) + count)
        image = x_seq.shape[2:].numel() if has_gates else 0
        self.loop = neurons.Currents(x, stride, scale, shift, np.float32(float(leak)), count, image)

    def shares(self, x_seq: Tensor) -> dict[str, int]:
        """How threads share the neurons: whole images at a time where planes matter, otherwise blocks."""
        return {"count": self.loop.neurons, "together": self.loop.image or len(self.loop.scale), "work": len(x_seq)}

    def block(self, values: Tensor) -> Any:
        """A value for each channel, repeated to a block."""
        return values.detach().float().repeat(self._repeats).numpy()


def channels_last(x_seq: Tensor, *, may_be_constant: bool) -> Tensor:
    """[T, N, C, H, W] with the channels last in memory; one step shown again and again may stay one in memory."""
    if may_be_constant and x_seq.stride(0) == 0 and x_seq[0].is_contiguous(memory_format=torch.channels_last):
        return x_seq
    laid_out: Tensor = x_seq.flatten(0, 1).contiguous(memory_format=torch.channels_last).unflatten(0, x_seq.shape[:2])
    return laid_out


def is_dense(x: Tensor) -> bool:
    """Whether the elements of ``x`` fill one block of memory, in whatever order."""
    expected = 1
    for stride, size in sorted((stride, size) for stride, size in zip(x.stride(), x.shape, strict=True) if size > 1):
        if stride != expected:
            return False
        expected *= size
    return True


def strides(x_seq: Tensor) -> tuple[int, ...]:
    """Strides of a sequence laid out like the steps of ``x_seq``, which may all be one, one step after another."""
    step = x_seq[0]
    return (step.numel(), *step.stride())
