"""What a network costs: spikes, synaptic operations, and energy by the field's convention.

A synaptic operation is one use of one weight by one input that is not zero. Where the input is binary spikes it is an
accumulate (AC); where it is anything else, an image, a rate, or spikes scaled by TCJA's gates, it is a
multiply-accumulate (MAC). Batch norm folds into the weights beforehand and the neurons' own leak is left out, as the
field does. A 45 nm chip needs 4.6 pJ for a 32-bit MAC and 0.9 pJ for an AC (Horowitz, ISSCC 2014); moving data, which
costs real chips more than either, is not in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from math import prod
from typing import Any

import torch
from spikingjelly.activation_based import neuron
from spikingjelly.activation_based.op_counter import is_binary_tensor
from torch import Tensor, nn
from torch.nn.functional import conv1d, conv2d, conv_transpose2d
from tqdm import tqdm

from spikevae.nn.attention import TemporalChannelJointAttention
from spikevae.nn.decoder import TimeReadOut
from spikevae.nn.stage import ExponentialSynapses
from spikevae.nn.vae import SpikingVAE

MAC_PICOJOULE = 4.6
AC_PICOJOULE = 0.9
_SYNAPSES = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d)


@dataclass
class LayerCost:
    """Operations of one layer, for one image."""

    name: str
    accumulates: float = 0.0
    multiply_accumulates: float = 0.0
    dense: float = 0.0
    """Multiply-accumulates of the same layer in an ordinary network, run once; 0 where such a one has no such layer."""

    @property
    def picojoule(self) -> float:
        """Energy of the spiking layer."""
        return MAC_PICOJOULE * self.multiply_accumulates + AC_PICOJOULE * self.accumulates


@dataclass
class Cost:
    """Operations and spikes of one call, for one image."""

    layers: dict[str, LayerCost] = field(default_factory=dict)
    firing_rates: dict[str, list[float]] = field(default_factory=dict)
    """By spiking layer: share of its neurons that fire at each time step."""

    @property
    def accumulates(self) -> float:
        """AC in all layers."""
        return sum(layer.accumulates for layer in self.layers.values())

    @property
    def multiply_accumulates(self) -> float:
        """MAC in all layers."""
        return sum(layer.multiply_accumulates for layer in self.layers.values())

    @property
    def microjoule(self) -> float:
        """Energy of all layers."""
        return sum(layer.picojoule for layer in self.layers.values()) / 1e6

    @property
    def ann_microjoule(self) -> float:
        """Energy of the same layers as an ordinary network: each run once, every connection a MAC."""
        return MAC_PICOJOULE * sum(layer.dense for layer in self.layers.values()) / 1e6

    def to_dict(self) -> dict[str, Any]:
        """Totals and layers, ready for JSON."""
        return {
            "accumulates": self.accumulates,
            "multiply_accumulates": self.multiply_accumulates,
            "microjoule": self.microjoule,
            "ann_multiply_accumulates": sum(layer.dense for layer in self.layers.values()),
            "ann_microjoule": self.ann_microjoule,
            "layers": [asdict(layer) for layer in self.layers.values()],
        }


def measure_costs(model: SpikingVAE, x: Tensor, *, seed: int) -> dict[str, Cost]:
    """Costs per image of encoding, decoding, sampling and (if the model can) classifying.

    Args:
        model: in eval mode.
        x: images [N, C, H, W] in [0, 1] to encode, decode again and classify; as many are sampled.
        seed: of the samples.
    """
    with torch.inference_mode():
        z_seq = model.encode(x).mode()
        calls: dict[str, Callable[[], object]] = {
            "encode": lambda: model.encode(x).mode(),
            "decode": lambda: model.decode(z_seq),
            "sample": lambda: model.sample(len(x), seed=seed, batch_size=len(x)),
        }
        if model.classifier is not None:
            calls["classify"] = lambda: model.classify(x, batch_size=len(x))
        costs = {}
        for name, call in tqdm(calls.items(), desc="operations", leave=False, delay=2):
            with counting(model, images=len(x)) as costs[name]:
                call()
    density = getattr(model.latent, "density", None)
    if density is not None:
        # Not a module's forward, so no hook sees it: one matrix of D x R, and D products.
        connections = float(density.basis[0].numel() + density.factor[0, 0].numel() + density.spread[0].numel())
        costs["sample"].layers["latent.density"] = LayerCost("latent.density", 0.0, connections, connections)
    return costs


@contextmanager
def counting(network: nn.Module, *, images: int) -> Iterator[Cost]:
    """Count what ``network`` does inside the block, divided by the number of images it is done for.

    The counts of a layer that runs several times add up; ``dense`` is that of its first run for one image.
    """
    cost = Cost()
    handles = []
    attention = {
        id(part) for module in network.modules() if isinstance(module, TemporalChannelJointAttention)
        for part in module.modules()
    }  # fmt: skip
    for name, module in network.named_modules():
        if isinstance(module, _SYNAPSES):
            handles.append(
                module.register_forward_hook(_synapse_hook(cost, name, images, in_ann=id(module) not in attention))
            )
        elif isinstance(module, TemporalChannelJointAttention):
            handles.append(module.register_forward_hook(_squeeze_hook(cost, f"{name}.squeeze", images)))
        elif isinstance(module, TimeReadOut):
            handles.append(module.register_forward_hook(_read_out_hook(cost, f"{name}.time", images)))
        elif isinstance(module, ExponentialSynapses):
            handles.append(module.register_forward_hook(_decay_hook(cost, name, images)))
        elif isinstance(module, neuron.BaseNode):
            handles.append(module.register_forward_hook(_rate_hook(cost, name, module.step_mode)))
    try:
        yield cost
    finally:
        for handle in handles:
            handle.remove()


def connections_used(layer: nn.Module, x: Tensor) -> float:
    """How many (input that is not zero, weight) pairs a layer multiplies for input ``x``, padding excluded."""
    active = (x != 0).float()
    if isinstance(layer, nn.Linear):
        return float(active.sum(dtype=torch.float64)) * layer.out_features
    if isinstance(layer, nn.Conv1d | nn.Conv2d):
        # Convolving the mask with ones counts, for each output position, the inputs that reach it.
        convolve = conv1d if isinstance(layer, nn.Conv1d) else conv2d
        ones = torch.ones_like(layer.weight[:1])
        reached = convolve(active, ones, None, layer.stride, layer.padding, layer.dilation)
        return float(reached.sum(dtype=torch.float64)) * layer.out_channels
    assert isinstance(layer, nn.ConvTranspose2d)
    ones = torch.ones_like(layer.weight[:, :1])
    assert not isinstance(layer.padding, str)  # torch refuses that for transposed convolutions
    reached = conv_transpose2d(active, ones, None, layer.stride, layer.padding, layer.output_padding, 1, layer.dilation)
    return float(reached.sum(dtype=torch.float64)) * layer.out_channels


def _synapse_hook(cost: Cost, name: str, images: int, *, in_ann: bool) -> Any:
    def hook(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        x = inputs[0]
        entry = cost.layers.setdefault(name, LayerCost(name))
        used = connections_used(layer, x) / images
        if is_binary_tensor(x):
            entry.accumulates += used
        else:
            entry.multiply_accumulates += used
        if in_ann and entry.dense == 0:
            entry.dense = connections_used(layer, torch.ones_like(x[:1]))

    return hook


def _squeeze_hook(cost: Cost, name: str, images: int) -> Any:
    # TCJA's spatial mean adds every spike once. Its gates scale spikes, which picks a value and multiplies nothing.
    def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        spikes = float((inputs[0] != 0).sum(dtype=torch.float64)) / images
        cost.layers.setdefault(name, LayerCost(name)).accumulates += spikes

    return hook


def _read_out_hook(cost: Cost, name: str, images: int) -> Any:
    # The weighted sum over time: one product and sum for every value that is not zero.
    def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        used = float((inputs[0] != 0).sum(dtype=torch.float64)) / images
        cost.layers.setdefault(name, LayerCost(name)).multiply_accumulates += used

    return hook


def _decay_hook(cost: Cost, name: str, images: int) -> Any:
    # A decaying current is multiplied once at every step after the first.
    def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        cost.layers.setdefault(name, LayerCost(name)).multiply_accumulates += output[1:].numel() / images

    return hook


def _rate_hook(cost: Cost, name: str, step_mode: str) -> Any:
    def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        steps = output if step_mode == "m" else output[None]  # [T, N, …]
        cost.firing_rates.setdefault(name, []).extend(steps.flatten(1).float().mean(1).tolist())

    return hook


def parameter_count(network: nn.Module) -> int:
    """Numbers that are learned."""
    return sum(prod(weight.shape) for weight in network.parameters())
