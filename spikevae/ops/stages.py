"""Several spiking stages in turn, without gradient: what goes from one to the next are spikes as bytes, and gates."""

from __future__ import annotations

from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from spikevae.ops.cpu import compile
from spikevae.ops.cpu.stages import fire_convolved
from spikevae.ops.cpu.synapses import reached
from spikevae.ops.dispatch import is_known, makes_new, may_fuse, reads_gated
from spikevae.ops.planes import GatedSpikes, split_gated
from spikevae.ops.stage import Attention, Neurons, fuses_neurons, fuses_norm
from spikevae.ops.synapses import adds_what_fires, convolution_sizes, tiled


@runtime_checkable
class Stage(Protocol):
    """What a stage consists of, as :func:`spikevae.ops.spiking_stage` takes it."""

    synapses: nn.Module
    filter: nn.Module
    norm: nn.Module
    neurons: nn.Module
    attention: nn.Module
    time_steps: int


def spiking_stages(x_seq: Tensor, stages: nn.Sequential, reader: nn.Module) -> Tensor | GatedSpikes:
    """Gated spikes [T, N, C, H, W] behind stages of 3x3 convolutions.

    On the CPU an image passes through convolution, norm and neurons of a stage while its currents lie in the cache, if
    nobody wants a gradient or watches. Additions keep their order, so that the numbers are those of the stages.

    Args:
        x_seq: [T, N, C, H, W] gated spikes.
        stages: one after the other.
        reader: what reads the result. Only one that is known to take :class:`GatedSpikes` gets them.
    """
    is_plain = torch.is_grad_enabled() or torch.is_autocast_enabled("cpu") or not is_known(stages)
    if is_plain or not may_fuse(x_seq, dtypes=(torch.float32,)):
        return cast(Tensor, stages(x_seq))
    passed: Tensor | GatedSpikes = x_seq
    for stage in stages:
        gated = _gated(passed) if _fuses(stage, passed) else None
        passed = stage(_tensor(passed)) if gated is None else _fire_convolved(gated, cast(Stage, stage))
    return passed if reads_gated(reader) else _tensor(passed)


def _tensor(x_seq: Tensor | GatedSpikes) -> Tensor:
    return x_seq.tensor() if isinstance(x_seq, GatedSpikes) else x_seq


def _gated(x_seq: Tensor | GatedSpikes) -> GatedSpikes | None:
    if isinstance(x_seq, GatedSpikes):
        return x_seq
    split = split_gated(x_seq.flatten(0, 1))
    return None if split is None else GatedSpikes(*(each.unflatten(0, x_seq.shape[:2]) for each in split))


def _fuses(module: nn.Module, x_seq: Tensor | GatedSpikes) -> bool:
    """Whether the loop computes just what calling this stage would, and nobody watches."""
    if not is_known(module):
        return False
    stage = cast(Stage, module)
    convolution, enlarges = _convolution(stage.synapses)
    has_parts = is_known(stage.filter) and isinstance(stage.filter, nn.Identity) and fuses_norm(stage.norm)
    if convolution is None or not has_parts or not fuses_neurons(stage.neurons, stage.attention):
        return False
    leak, norm = cast(Neurons, stage.neurons).leak, cast(nn.BatchNorm2d, stage.norm)
    weight, is_transposed = convolution.weight, convolution.transposed
    inputs, outputs = weight.shape[:2] if is_transposed else (weight.shape[1], weight.shape[0])
    shape = (x_seq.spikes if isinstance(x_seq, GatedSpikes) else x_seq).shape
    has_shape = len(shape) == 5 and shape[0] == stage.time_steps and shape[2] == inputs
    numbers = (weight, norm.weight, *stage.attention.parameters(), *([leak] if isinstance(leak, Tensor) else []))
    return (
        has_shape
        and norm.num_features == (outputs // 4 if enlarges else outputs)
        and adds_what_fires(weight, is_transposed)
        and may_fuse(*numbers, dtypes=(torch.float32,))
    )


def _convolution(synapses: nn.Module) -> tuple[Any, bool]:
    """The convolution of the synapses, if the loop knows them, and whether its channels become places of an image."""
    first, *others = synapses if isinstance(synapses, nn.Sequential) else [synapses]
    enlarges = [(type(x), x.upscale_factor) for x in others if isinstance(x, nn.PixelShuffle)] == [(nn.PixelShuffle, 2)]
    is_whole = makes_new(synapses) and hasattr(first, "stride") and len(others) == enlarges
    is_known_way = is_whole and not (enlarges and first.transposed)
    return (first, enlarges) if is_known_way else (None, False)


def _fire_convolved(x_seq: GatedSpikes, stage: Stage) -> GatedSpikes:
    convolution, enlarges = _convolution(stage.synapses)
    time_steps, images = x_seq.spikes.shape[:2]
    sizes = convolution_sizes(x_seq.spikes[0], convolution.weight, convolution.stride[0], convolution.transposed)
    shape = [sizes.out_height, sizes.out_width, sizes.out_channels]
    if enlarges:
        shape = [2 * sizes.out_height, 2 * sizes.out_width, sizes.out_channels // 4]
    norm = cast(Any, stage.norm)
    scale = (norm.weight * (norm.running_var + norm.eps).rsqrt()).detach()
    shift = (norm.bias - norm.running_mean * scale).detach()
    spikes = torch.empty(time_steps, images, *shape, dtype=torch.uint8)
    sums = torch.zeros(time_steps, images, shape[2], dtype=torch.float32)
    weight = convolution.weight.detach()
    if enlarges:  # of the four channels that become one the first ones first
        weight = weight.unflatten(0, (-1, 4)).transpose(0, 1).flatten(0, 1)
    tiles = tiled(weight, convolution.transposed).contiguous()
    compile.in_parallel(
        fire_convolved, compile.flat(x_seq.spikes), compile.flat(x_seq.gates), compile.flat(tiles), sizes,
        reached(sizes), enlarges,
        compile.flat(scale), compile.flat(shift), np.float32(float(cast(Neurons, stage.neurons).leak)),
        compile.flat(spikes), compile.flat(sums), images,
        count=images, together=1, work=x_seq.spikes[:, 0].numel(),
    )  # fmt: skip
    spikes = spikes.permute(0, 1, 4, 2, 3)
    if isinstance(stage.attention, nn.Identity):
        return GatedSpikes(spikes, torch.ones_like(sums))
    attention = cast(Attention, stage.attention)
    attention.require_shape(spikes)
    return GatedSpikes(spikes, attention.gate_of_means(sums / (shape[0] * shape[1])).float().contiguous())
