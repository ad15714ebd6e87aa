"""What the graphs of an encoder and of a decoder have in common: nodes of NIR, and what is folded into them."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from spikevae.hub.export.gates import FixedGate
from spikevae.nn.attention import TemporalChannelJointAttention
from spikevae.nn.neurons import ParametricSpikingLayer, SpikingLayer
from spikevae.nn.stage import SpikingStage
from spikevae.ops import THRESHOLD

if TYPE_CHECKING:
    import nir

TIME_STEP = 1e-4  # seconds; what simulators that read NIR take a step for


def chain(nodes: dict[str, Any]) -> nir.NIRGraph:
    """A graph of nodes of which each one feeds the next."""
    import nir

    return nir.NIRGraph(nodes, list(pairwise(nodes)))


def convolution(side: int, weight: Tensor, bias: Tensor, *, stride: int = 1, padding: int = 1) -> nir.Conv2d:
    """A convolution of maps of ``side`` x ``side``."""
    import nir

    both = (stride, stride), (padding, padding)
    return nir.Conv2d((side, side), array(weight), *both, (1, 1), 1, array(bias))


def neurons(shape: tuple[int, ...], leak: float) -> nir.LIF:
    """Neurons whose input is multiplied by the leak already: r = tau in steps."""
    import nir

    ones = np.ones(shape, dtype=np.float32)
    return nir.LIF(
        tau=ones * np.float32(TIME_STEP / leak),
        r=ones * np.float32(1 / leak),
        v_leak=0 * ones,
        v_threshold=ones * np.float32(THRESHOLD),
        v_reset=0 * ones,
    )


def leak_of(neurons: nn.Module, name: str) -> float:
    """1 / tau.

    Raises:
        ValueError: if these neurons are not those of :func:`neurons`.
    """
    if type(neurons) not in (SpikingLayer, ParametricSpikingLayer) or not neurons.is_standard:
        raise ValueError(f"{name} ({type(neurons).__name__}) cannot be written as NIR; use neuron=lif or neuron=plif")
    return float(neurons.leak)  # type: ignore[arg-type]


def gate_of(attention: nn.Module, channels: int, name: str) -> Tensor:
    """[C] factors of the spikes behind a stage.

    Raises:
        ValueError: if they depend on the spikes.
    """
    if isinstance(attention, FixedGate):
        return attention.gate
    if isinstance(attention, nn.Identity):
        return torch.ones(channels)
    can_be_fixed = isinstance(attention, TemporalChannelJointAttention)
    raise ValueError(
        f"{name} ({type(attention).__name__}) cannot be written as NIR, which has no gate; use a model trained with "
        "--model.attention none"
        + (", or fix the gates with --calibrate 256 (an approximation)" if can_be_fixed else "")
    )


def norm_of(stage: SpikingStage) -> tuple[Tensor, Tensor]:
    """What a stage's batch norm multiplies its currents by, and then adds, each [C] in float64."""
    norm = stage.norm
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_var is not None
    assert norm.running_mean is not None
    scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    return scale, norm.bias.double() - norm.running_mean.double() * scale


def array(tensor: Tensor) -> np.ndarray:
    """In float32, as NIR takes it."""
    return tensor.detach().float().contiguous().numpy()
