"""3x3 convolutions of spikes: only the weights of inputs that fire are read and added, where that pays."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from spikevae.ops.cpu import compile
from spikevae.ops.cpu.synapses import BITS, LANES, MOST_INPUTS, Convolution, convolve, convolve_back, reached
from spikevae.ops.dispatch import may_fuse
from spikevae.ops.planes import join_gated, split_gated, stand_in

_SIZE, _PADDING = 3, 1
_MOST_THAT_FIRE = 0.35  # share of the inputs, above which every weight is multiplied in training


def spike_convolution(x: Tensor, weight: Tensor, stride: int = 1, *, transposed: bool = False) -> Tensor:
    """Currents [M, C2, H2, W2] of spikes [M, C, H, W] through 3x3 kernels, padded by 1, without bias.

    On the CPU it adds, in float32, the kernels of what fires, and keeps spikes for the gradient as bytes.

    Args:
        x: spikes, gated or not (or anything else: nothing is assumed of the values).
        weight: [C2, C, 3, 3]; transposed [C, C2, 3, 3].
        stride: 1 keeps the size of the maps, 2 halves it (rounding up) or, transposed, doubles it.
        transposed: whether the maps grow.
    """
    inputs = weight.shape[0 if transposed else 1]
    if x.dim() != 4 or x.shape[1] != inputs or not may_fuse(x, weight):  # PyTorch says what does not fit
        return spike_convolution_reference(x, weight, stride, transposed=transposed)
    if torch.is_autocast_enabled("cpu"):
        dtype = torch.get_autocast_dtype("cpu")
        if dtype == torch.float16:  # the loops know none
            return spike_convolution_reference(x, weight, stride, transposed=transposed)
        x, weight = x.to(dtype), weight.to(dtype)
    if not torch.is_grad_enabled():
        return _convolve(x, weight, stride, transposed, adds=_may_add(x, weight, transposed))
    currents: Tensor = _Convolution.apply(x, weight, stand_in(x), stride, transposed)
    return currents


def spike_convolution_reference(x: Tensor, weight: Tensor, stride: int = 1, *, transposed: bool = False) -> Tensor:
    """The same, by PyTorch."""
    if transposed:
        return functional.conv_transpose2d(x, weight, stride=stride, padding=_PADDING, output_padding=stride - 1)
    return functional.conv2d(x, weight, stride=stride, padding=_PADDING)


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, zeros: Tensor, stride: int, transposed: bool) -> Tensor:
        ctx.stride, ctx.transposed, ctx.dtype = stride, transposed, x.dtype
        kept = split_gated(x) if ctx.needs_input_grad[1] else None
        ctx.save_for_backward(weight, zeros, *(kept or (x,)))
        ctx.adds = _adds_in_training(x, weight, transposed)
        return _convolve(x, weight, stride, transposed, adds=ctx.adds)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grads
        weight, zeros, *kept = ctx.saved_tensors
        x = kept[0] if len(kept) == 1 else join_gated(kept[0], kept[1], ctx.dtype)
        wants_x, wants_weight = ctx.needs_input_grad[:2]
        has_gradient_itself = torch.is_grad_enabled()
        if has_gradient_itself and len(kept) == 2:
            x = x + zeros
        adds = ctx.adds and not has_gradient_itself
        of_x, of_weight, _ = torch.ops.aten.convolution_backward(
            grad, x, weight, None, [ctx.stride] * 2, [_PADDING] * 2, [1, 1], ctx.transposed,
            [ctx.stride - 1 if ctx.transposed else 0] * 2, 1, [wants_x, wants_weight and not adds, False],
        )  # fmt: skip
        if wants_weight and adds:
            of_weight = _weight_gradient_of_what_fires(x, weight, grad, ctx.stride, ctx.transposed)
        return of_x, of_weight, None, None, None


def _convolve(x: Tensor, weight: Tensor, stride: int, transposed: bool, *, adds: bool) -> Tensor:
    if adds:
        return _add_what_fires(x, weight, stride, transposed)
    return spike_convolution_reference(x, weight, stride, transposed=transposed)


def _may_add(x: Tensor, weight: Tensor, transposed: bool) -> bool:
    return x.dtype == weight.dtype == torch.float32 and adds_what_fires(weight, transposed)


def _adds_in_training(x: Tensor, weight: Tensor, transposed: bool) -> bool:
    """Whether the loops pay, by what fires in two or three of the inputs.

    In use they always run, so that no result hangs on the batch.
    """
    if not _may_add(x, weight, transposed):
        return False
    some = x[:: max(1, len(x) // 2)]  # of T*N: of the first time step, and of one in the middle
    return int(some.count_nonzero()) <= _MOST_THAT_FIRE * some.numel()


def adds_what_fires(weight: Tensor, transposed: bool) -> bool:
    """Whether the loops take these channels: they read inputs and write outputs in whole groups."""
    outputs, inputs = weight.shape[:2] if not transposed else (weight.shape[1], weight.shape[0])
    return inputs % BITS == 0 and inputs <= MOST_INPUTS and outputs % LANES == 0


def _add_what_fires(x: Tensor, weight: Tensor, stride: int, transposed: bool) -> Tensor:
    x = x.contiguous(memory_format=torch.channels_last)
    tiles, sizes = tiled(weight.detach(), transposed).contiguous(), convolution_sizes(x, weight, stride, transposed)
    currents = torch.empty(len(x), sizes.out_height, sizes.out_width, sizes.out_channels, dtype=torch.float32)
    compile.in_parallel(
        convolve, compile.flat(x), compile.flat(tiles), compile.flat(currents), sizes, reached(sizes),
        count=len(x), together=1, work=x.shape[1:].numel(),
    )  # fmt: skip
    return currents.permute(0, 3, 1, 2)


def _weight_gradient_of_what_fires(x: Tensor, weight: Tensor, grad: Tensor, stride: int, transposed: bool) -> Tensor:
    x, grad = (each.contiguous(memory_format=torch.channels_last) for each in (x, grad))
    sizes = convolution_sizes(x, weight, stride, transposed)
    parts = compile.in_parallel(
        convolve_back, compile.flat(x), compile.flat(grad), sizes, reached(sizes),
        count=len(x), together=1, work=x.shape[1:].numel(),
    )  # fmt: skip
    tiles = sum(parts, np.zeros(weight.numel(), np.float32))
    of_weight = torch.empty_like(weight)
    into = tiled(of_weight, transposed)
    into.copy_(torch.from_numpy(tiles).view(into.shape))
    return of_weight


def convolution_sizes(x: Tensor, weight: Tensor, stride: int, transposed: bool) -> Convolution:
    """The sizes, for inputs [M, C, H, W]."""
    height, width = x.shape[2:]
    out_height, out_width = (stride * side if transposed else -(-side // stride) for side in (height, width))
    inputs, outputs = (weight.shape[0], weight.shape[1]) if transposed else (weight.shape[1], weight.shape[0])
    return Convolution(height, width, inputs, out_height, out_width, outputs, _SIZE, stride, _PADDING, transposed)


def tiled(weight: Tensor, is_transposed: bool) -> Tensor:
    """A view of the weights [C2, C, k, k] (transposed: [C, C2, k, k]) as [C2 / LANES, k, k, C, LANES]."""
    rows = weight.permute(2, 3, 0, 1) if is_transposed else weight.permute(2, 3, 1, 0)
    tiles: Tensor = rows.unflatten(3, (-1, LANES))
    return tiles.permute(3, 0, 1, 2, 4)
