"""Several spiking stages in turn, without gradient: what goes from one to the next are spikes as bytes, and gates."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, cast, runtime_checkable
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn

from spikevae.ops.cpu import compile
from spikevae.ops.cpu.stages import fire_convolved
from spikevae.ops.cpu.synapses import reached
from spikevae.ops.dispatch import is_known, makes_new, may_fuse, meters_of, reads_gated
from spikevae.ops.fused import fire_gated
from spikevae.ops.planes import GatedSpikes, split_gated
from spikevae.ops.stage import Neurons, currents, fuses_neurons, fuses_norm, gate_of, norm_fire_gate
from spikevae.ops.synapses import adds_what_fires, convolution_sizes, tiled


@runtime_checkable  # the tests check types
class Stage(Protocol):
    """What a stage consists of, as :func:`spikevae.ops.spiking_stage` takes it."""

    synapses: nn.Module
    filter: nn.Module
    norm: nn.Module
    neurons: nn.Module
    attention: nn.Module
    time_steps: int


def spiking_stages(x_seq: Tensor, first: nn.Module, others: nn.Sequential, reader: nn.Module) -> Tensor | GatedSpikes:
    """Gated spikes [T, N, C, H, W] behind a stage, and others of 3x3 convolutions.

    On the CPU an image passes through convolution, norm and neurons of a stage while its currents lie in the cache, if
    nobody wants a gradient or watches. Additions keep their order, so that the numbers are those of the stages.

    Args:
        x_seq: [T, N, ...] what the first stage takes.
        first: a stage of any synapses.
        others: one after the other.
        reader: what reads the result. Only one that is known to take :class:`GatedSpikes` gets them.
    """
    is_plain = torch.is_grad_enabled() or torch.is_autocast_enabled("cpu") or not is_known(others)
    if is_plain or not may_fuse(x_seq, dtypes=(torch.float32,)):
        return cast(Tensor, others(first(x_seq)))
    passed = _fired(first, x_seq)
    for stage in others:
        synapses = _known_synapses(stage, passed)
        gated = None if synapses is None else _gated(passed)
        if synapses is None or gated is None:
            passed = stage(_tensor(passed))
        else:
            passed = _fire_convolved(gated, cast(Stage, stage), synapses)
    return passed if reads_gated(reader) else _tensor(passed)


def _fired(module: nn.Module, x_seq: Tensor) -> Tensor | GatedSpikes:
    """What a stage of any synapses gives; spikes and gates apart, if nobody watches."""
    if not _is_known_stage(module) or len(x_seq) != cast(Stage, module).time_steps:
        return cast(Tensor, module(x_seq))
    stage = cast(Stage, module)
    current_seq = currents(x_seq, stage.synapses, stage.filter)
    if current_seq.dim() != 5 or not may_fuse(current_seq, *_numbers(stage), dtypes=(torch.float32,)):
        return norm_fire_gate(current_seq, stage.norm, stage.neurons, stage.attention)
    gate = gate_of(stage.attention, current_seq)
    return fire_gated(current_seq, cast(Neurons, stage.neurons).leak, cast(nn.BatchNorm2d, stage.norm), gate)


def _is_known_stage(module: nn.Module) -> bool:
    """Whether the loops compute just what this stage would behind its synapses, and nobody watches."""
    if not (is_known(module) and hasattr(module, "synapses")):
        return False
    stage = cast(Stage, module)
    is_watched = meters_of(stage.neurons)
    return fuses_norm(stage.norm) and fuses_neurons(stage.neurons, stage.attention) and not is_watched


def _numbers(stage: Stage) -> list[Tensor]:
    """Tensors that the loops read as float32."""
    leak = cast(Neurons, stage.neurons).leak
    return [
        cast(Tensor, stage.norm.weight),
        *stage.attention.parameters(),
        *([leak] if isinstance(leak, Tensor) else []),
    ]


def _tensor(x_seq: Tensor | GatedSpikes) -> Tensor:
    return x_seq.tensor() if isinstance(x_seq, GatedSpikes) else x_seq


def _gated(x_seq: Tensor | GatedSpikes) -> GatedSpikes | None:
    if isinstance(x_seq, GatedSpikes):
        return x_seq
    split = split_gated(x_seq.flatten(0, 1))
    return None if split is None else GatedSpikes(*(each.unflatten(0, x_seq.shape[:2]) for each in split))


class _Synapses(NamedTuple):
    """A convolution that the loop knows."""

    convolution: Any
    enlarges: bool  # whether its channels become places of an image


def _known_synapses(module: nn.Module, x_seq: Tensor | GatedSpikes) -> _Synapses | None:
    """The synapses of a stage, if the loop computes what calling it with these spikes would, and nobody watches."""
    if not _is_known_stage(module):
        return None
    stage = cast(Stage, module)
    first, *others = stage.synapses if isinstance(stage.synapses, nn.Sequential) else [stage.synapses]
    enlarges = [(type(x), x.upscale_factor) for x in others if isinstance(x, nn.PixelShuffle)] == [(nn.PixelShuffle, 2)]
    is_whole = makes_new(stage.synapses) and hasattr(first, "stride") and len(others) == enlarges
    has_filter = not (is_known(stage.filter) and isinstance(stage.filter, nn.Identity))
    if not is_whole or has_filter or (enlarges and first.transposed):
        return None
    weight, is_transposed = cast(Tensor, first.weight), cast(bool, first.transposed)
    inputs, outputs = weight.shape[:2] if is_transposed else (weight.shape[1], weight.shape[0])
    shape = (x_seq.spikes if isinstance(x_seq, GatedSpikes) else x_seq).shape
    fits = (
        len(shape) == 5
        and (shape[0], shape[2]) == (stage.time_steps, inputs)
        and cast(nn.BatchNorm2d, stage.norm).num_features == (outputs // 4 if enlarges else outputs)
        and adds_what_fires(weight, is_transposed)
        and may_fuse(weight, *_numbers(stage), dtypes=(torch.float32,))
    )
    return _Synapses(first, enlarges) if fits else None


def _fire_convolved(x_seq: GatedSpikes, stage: Stage, synapses: _Synapses) -> GatedSpikes:
    convolution, enlarges = synapses
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
    compile.in_parallel(
        fire_convolved, compile.flat(x_seq.spikes), compile.flat(x_seq.gates), _tiles(synapses), sizes, reached(sizes),
        enlarges, compile.flat(scale), compile.flat(shift), np.float32(float(cast(Neurons, stage.neurons).leak)),
        compile.flat(spikes), compile.flat(sums), images,
        count=images, together=1, work=time_steps * x_seq.spikes.shape[2:].numel(),
    )  # fmt: skip
    spikes = spikes.permute(0, 1, 4, 2, 3)
    gate = gate_of(stage.attention, spikes)
    if gate is None:
        return GatedSpikes(spikes, torch.ones_like(sums))
    return GatedSpikes(spikes, gate.of_means(sums / (shape[0] * shape[1])).float().contiguous())


_LAID_OUT: WeakKeyDictionary[nn.Module, tuple[Any, Any, Any]] = WeakKeyDictionary()


def _tiles(synapses: _Synapses) -> Any:
    """Weights as the loop reads them, laid out anew where a single bit of them has changed since the last call.

    The bits are compared, for a weight can change without a trace in its version: through ``data``, or an array.
    """
    weight = synapses.convolution.weight.detach()
    if not weight.is_contiguous(memory_format=torch.channels_last):
        weight = weight.contiguous()
    layout, bits = (synapses.enlarges, weight.shape, weight.stride()), compile.flat(weight).view(np.uint32)
    known_layout, known_bits, tiles = _LAID_OUT.get(synapses.convolution, (None, None, None))
    if layout == known_layout and np.array_equal(bits, known_bits):
        return tiles
    known_bits = bits.copy()
    if synapses.enlarges:  # of the four channels that become one the first ones first
        weight = weight.unflatten(0, (-1, 4)).transpose(0, 1).flatten(0, 1)
    tiles = compile.flat(tiled(weight, synapses.convolution.transposed).contiguous())
    _LAID_OUT[synapses.convolution] = layout, known_bits, tiles
    return tiles
