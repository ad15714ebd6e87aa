"""A decoder as a chain of nodes of NIR, all at the size of its lowest maps.

NIR has nothing that enlarges maps. It need not: maps [C, s S, s S] hold the same numbers as maps [C s^2, S, S], where
the s x s pixels of a place are channels of it. A layer that doubles a map, or works on a large one, is then an ordinary
3x3 convolution at S x S, most of whose weights are 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad, pixel_shuffle, pixel_unshuffle

from spikevae.hub.export.nir_nodes import convolution, gate_of, leak_of, neurons, norm_of
from spikevae.nn.decoder import SpikingDecoder, TimeReadOut
from spikevae.nn.stage import ExponentialSynapses, GridMaps, SpikingStage
from spikevae.nn.synapses import SpikeConv2d


@torch.no_grad()
def decoder_nodes(decoder: SpikingDecoder, side: int) -> dict[str, Any]:
    """Nodes from maps of latent spikes, of :func:`steps_seen` time steps, to one step of the read-out.

    Args:
        decoder: without gates or with fixed ones.
        side: S, height and width of its lowest maps.

    Raises:
        ValueError: if a module has no counterpart in NIR.
    """
    import nir

    kernel, in_side = _first_kernel(decoder.expand, side)
    nodes: dict[str, Any] = {"input": nir.Input({"input": np.array([kernel.shape[1], in_side, in_side])})}
    scale, gate = 1, torch.ones(kernel.shape[1])
    for number, stage in enumerate([decoder.expand, *decoder.stages]):
        assert isinstance(stage, SpikingStage)
        name = f"decoder.stages.{number - 1}" if number else "decoder.expand"
        if number:
            kernel = _kernel(stage.synapses, len(gate) // scale**2, scale)
            in_side, scale = side, 2 * scale
        leak = leak_of(stage.neurons, f"{name}.neurons")
        factor, shift = (each.repeat_interleave(scale**2) for each in norm_of(stage))
        weight = kernel.double() * gate.double()[:, None, None] * factor[:, None, None, None]
        padding = (side - in_side + kernel.shape[-1] - 1) // 2
        nodes[f"stage_{number}_synapses"] = convolution(in_side, leak * weight, leak * shift, padding=padding)
        nodes[f"stage_{number}_neurons"] = neurons((len(shift), side, side), leak)
        gate = gate_of(stage.attention, len(shift) // scale**2, f"{name}.attention").repeat_interleave(scale**2)
    weights = decoder.read_out.convolution.weight
    assert isinstance(weights, Tensor)
    kernel = _kernel(lambda x: conv2d(x, weights, padding=1), weights.shape[1], scale) * gate[:, None, None]
    nodes["read_out"] = convolution(side, kernel, torch.zeros(len(kernel)))
    nodes["output"] = nir.Output({"output": np.array([len(kernel), side, side])})
    return nodes


def steps_seen(decoder: SpikingDecoder) -> int:
    """Of how many time steps the graph is shown latent spikes at once: this one and those before it.

    More than one where their currents last: a further input channel stands for what is left of an earlier current.
    NIR's own neurons with such currents, CubaLIF, would need a decay for each channel, and a constant input behind it
    for the shift of the batch norm. spikingjelly reads neither.
    """
    return decoder.latent_shape[0] if isinstance(decoder.expand.filter, ExponentialSynapses) else 1


def decoder_metadata(decoder: SpikingDecoder, image_size: int) -> dict[str, str]:
    """What a reader of the graph needs besides: how to show latent spikes, and how an image comes from its output."""
    read_out = decoder.read_out
    assert isinstance(read_out, TimeReadOut)
    assert read_out.convolution.bias is not None
    return {
        "input": "maps of the latent spikes of a time step, then those of the steps before it as further channels",
        "steps_seen": str(steps_seen(decoder)),
        "read_out": "sum the outputs times step_weights, shuffle channels into pixels, add bias, and take the tanh",
        "step_weights": _numbers(read_out.weights),
        "bias": _numbers(read_out.convolution.bias),
        "pixels": str(2 ** len(decoder.stages)),
        "image_size": str(image_size),
    }


def _numbers(values: Tensor) -> str:
    return " ".join(map(repr, values.tolist()))


def _first_kernel(stage: SpikingStage, side: int) -> tuple[Tensor, int]:
    """Kernel [C, L, k, k] from latent spikes, with further inputs where they last, and the side of the input's maps.

    A linear layer to maps is a convolution of a single place, whose kernel is as large as the maps.
    """
    assert isinstance(stage.synapses, nn.Sequential)
    first, second = stage.synapses
    kernel: Tensor
    if isinstance(first, GridMaps):
        assert isinstance(second, SpikeConv2d)
        kernel, in_side = second.weight, side
    else:
        assert isinstance(first, nn.Linear)
        responses = stage.synapses(torch.eye(first.in_features))  # [L, C, S, S]
        kernel, in_side = responses.transpose(0, 1).flip(2, 3), 1
    if isinstance(stage.filter, ExponentialSynapses):
        decay = stage.filter.w.double().sigmoid()[:, None, None, None]
        kernel = torch.cat([kernel * decay**steps for steps in range(stage.time_steps)], dim=1)
    return kernel, in_side


def _kernel(synapses: Callable[[Tensor], Tensor], channels: int, scale: int) -> Float[Tensor, "C2 C 3 3"]:
    """Kernel, at the lowest maps' size, of linear synapses of so many channels on maps ``scale`` times as large.

    It is the response, mirrored, to each pixel of a place that has a place without spikes on every side.
    """
    pixels = torch.eye(channels * scale**2)[:, :, None, None]
    responses = synapses(pixel_shuffle(pad(pixels, (1, 1, 1, 1)), scale))
    return pixel_unshuffle(responses, responses.shape[-1] // 3).transpose(0, 1).flip(2, 3)
