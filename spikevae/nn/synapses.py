"""Synapses of spikes: on the CPU, in float32, only the weights of inputs that fire are read and added."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from spikevae.ops.cpu import compile
from spikevae.ops.cpu.synapses import BITS, LANES, MOST_INPUTS, Convolution, convolve, convolve_back

_MOST_ROWS = 128  # of a linear layer's input, whose spikes are listed together


class SpikeConv2d(nn.Conv2d):
    """A 3x3 convolution, without bias, that keeps the size of an image or, with a stride of 2, halves it (rounding up).

    The currents are those of torch's convolution, up to the order of summation. Torch's is used for inputs that are not
    float32 or not on the CPU, under autocast, and where the channels do not come in whole groups.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)

    def forward(self, input: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C2 H2 W2"]:
        """Currents."""
        if not _adds_what_fires(input, self.weight, self.in_channels, self.out_channels):
            return super().forward(input)
        currents: Tensor = _Convolve.apply(input, self.weight, self)
        return currents


class SpikeConvTranspose2d(nn.ConvTranspose2d):
    """A 3x3 transposed convolution, without bias, that doubles the size of an image; otherwise :class:`SpikeConv2d`."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 3, stride=2, padding=1, output_padding=1, bias=False)

    def forward(
        self, input: Float[Tensor, "N C H W"], output_size: list[int] | None = None
    ) -> Float[Tensor, "N C2 H2 W2"]:
        """Currents; ``output_size`` is torch's."""
        if output_size is not None or not _adds_what_fires(input, self.weight, self.in_channels, self.out_channels):
            return super().forward(input, output_size)
        currents: Tensor = _Convolve.apply(input, self.weight, self)
        return currents


class SpikeLinear(nn.Linear):
    """Linear synapses, without bias, whose input comes step by step."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features, bias=False)
        self._tiles: Tensor | None = None  # the same for all steps of a sequence

    def forward(self, input: Float[Tensor, "N F"]) -> Float[Tensor, "N F2"]:
        """Currents of one step."""
        if torch.is_grad_enabled() or not _adds_what_fires(input, self.weight, self.in_features, self.out_features):
            return super().forward(input)
        if self._tiles is None:
            self._tiles = _tiled(self.weight[:, :, None, None]).contiguous()
        count = len(input)
        rows = max(1, min(-(-count // torch.get_num_threads()), _MOST_ROWS))
        sizes = Convolution(rows, 1, self.in_features, rows, 1, self.out_features, 1, 1, 0, False)
        currents = torch.empty(count, self.out_features)
        compile.in_parallel(
            convolve, compile.flat(input.contiguous()), compile.flat(self._tiles), compile.flat(currents), sizes,
            count=-(-count // rows), together=1, work=rows * self.in_features,
        )  # fmt: skip
        return currents

    def end_sequence(self) -> None:
        """The weights may change before the next one."""
        self._tiles = None

    def whole(self, x: Float[Tensor, "M F"], currents: Float[Tensor, "M F2"]) -> Float[Tensor, "M F2"]:
        """The currents of all steps and images, which are known already, with a gradient."""
        learned: Tensor = _Connected.apply(x, self.weight, currents)
        return learned


def _adds_what_fires(x: Tensor, weight: Tensor, inputs: int, outputs: int) -> bool:
    return (
        x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
        and inputs % BITS == 0
        and inputs <= MOST_INPUTS
        and outputs % LANES == 0
    )


class _Convolve(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, layer: SpikeConv2d | SpikeConvTranspose2d) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.layer = layer
        x = x.contiguous(memory_format=torch.channels_last)
        tiles, sizes = _tiled(weight.detach(), layer.transposed).contiguous(), _sizes(x, layer)
        currents = torch.empty(len(x), sizes.out_height, sizes.out_width, sizes.out_channels)
        compile.in_parallel(
            convolve, compile.flat(x), compile.flat(tiles), compile.flat(currents), sizes,
            count=len(x), together=1, work=x.shape[1:].numel(),
        )  # fmt: skip
        return currents.permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        (grad,) = grads
        x, weight = ctx.saved_tensors
        layer: SpikeConv2d | SpikeConvTranspose2d = ctx.layer
        grad_x = grad_weight = None
        if ctx.needs_input_grad[0]:
            grad_x, _, _ = torch.ops.aten.convolution_backward(
                grad, x, weight, None, layer.stride, layer.padding, layer.dilation, layer.transposed,
                layer.output_padding, layer.groups, [True, False, False],
            )  # fmt: skip
        if ctx.needs_input_grad[1]:
            x, grad = (each.contiguous(memory_format=torch.channels_last) for each in (x, grad))
            parts = compile.in_parallel(
                convolve_back, compile.flat(x), compile.flat(grad), _sizes(x, layer),
                count=len(x), together=1, work=x.shape[1:].numel(),
            )  # fmt: skip
            tiles = sum(parts, np.zeros(weight.numel(), np.float32))
            grad_weight = torch.empty_like(weight)
            into = _tiled(grad_weight, layer.transposed)
            into.copy_(torch.from_numpy(tiles).view(into.shape))
        return grad_x, grad_weight, None


class _Connected(torch.autograd.Function):
    """The gradient of a matrix product whose result is known; computed in the precision that this one has."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, currents: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.dtype = currents.dtype
        return currents.view_as(currents)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, weight = ctx.saved_tensors
        (grad,) = (grad.to(ctx.dtype) for grad in grads)
        grad_x = (grad @ weight.to(ctx.dtype)).to(x.dtype) if ctx.needs_input_grad[0] else None
        grad_weight = (grad.T @ x.to(ctx.dtype)).to(weight.dtype) if ctx.needs_input_grad[1] else None
        return grad_x, grad_weight, None


def _sizes(x: Tensor, layer: SpikeConv2d | SpikeConvTranspose2d) -> Convolution:
    height, width = x.shape[2:]
    if layer.transposed:
        out_height, out_width = 2 * height, 2 * width
    else:
        out_height, out_width = -(-height // layer.stride[0]), -(-width // layer.stride[0])
    return Convolution(
        height, width, layer.in_channels, out_height, out_width, layer.out_channels,
        layer.kernel_size[0], layer.stride[0], 1, layer.transposed,
    )  # fmt: skip


def _tiled(weight: Tensor, is_transposed: bool = False) -> Tensor:
    """A view of the weights [C2, C, k, k] (transposed: [C, C2, k, k]) as [C2 / LANES, k, k, C, LANES]."""
    rows = weight.permute(2, 3, 0, 1) if is_transposed else weight.permute(2, 3, 1, 0)
    tiles: Tensor = rows.unflatten(3, (-1, LANES))
    return tiles.permute(3, 0, 1, 2, 4)
