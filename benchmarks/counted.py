"""Networks for other people's counters: the parts of a model, and the same layers in two other forms."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import torch
from spikingjelly.activation_based.op_counter import SimpleEnergyCostConfig
from torch import Tensor, nn
from torch.func import functional_call

from spikevae.evaluation.costs import AC_PICOJOULE, MULTIPLY_PICOJOULE, SHIFT_PICOJOULE
from spikevae.evaluation.operations import connections_used, is_count, is_gated
from spikevae.nn.attention import TemporalChannelJointAttention
from spikevae.nn.images import pad
from spikevae.nn.stage import SpikingStage
from spikevae.nn.synapses import SpikeConv2d, SpikeConvTranspose2d
from spikevae.nn.vae import SpikingVAE

MEMORY_PICOJOULE = SimpleEnergyCostConfig().e_memory_pj_per_byte
WEIGHT_BYTES = 4


class Sample(nn.Module):
    """Latent spikes [T, N, L] to images: what a sample costs but for the density of the latent."""

    def __init__(self, model: SpikingVAE) -> None:
        super().__init__()
        self.decoder = model.decoder

    def forward(self, z_seq: Tensor) -> Tensor:
        """Images [N, C, H, W] in [-1, 1]."""
        image: Tensor = self.decoder(z_seq)
        return image


class Classify(nn.Module):
    """Padded images in [-1, 1] to logits: one view each."""

    def __init__(self, model: SpikingVAE) -> None:
        super().__init__()
        self.encoder = model.encoder
        self.classifier = model.classifier

    def forward(self, x: Tensor) -> Tensor:
        """Logits [N, K]."""
        assert self.classifier is not None
        logits: Tensor = self.classifier(self.encoder.upper(self.encoder(x)))
        return logits


def ordinary(model: SpikingVAE) -> SpikingVAE:
    """The same layers as a network without spikes: ReLU in place of neurons and gates, each layer run once.

    It has the spiking model's weights where they fit, and was never trained so: its shapes are right, its answers not.
    """
    config = dataclasses.replace(model.config, time_steps=1, temporal_kernel=1, attention="none")
    network = SpikingVAE(config).eval().requires_grad_(False)
    shapes = {name: tensor.shape for name, tensor in network.state_dict().items()}
    fitting = {name: tensor for name, tensor in model.state_dict().items() if shapes.get(name) == tensor.shape}
    network.load_state_dict(fitting, strict=False)
    for module in network.modules():
        if isinstance(module, SpikingStage):
            module.neurons = nn.ReLU()
    return network


class FoldedConvolution(nn.Module):
    """A convolution of gated spikes that folds each plane's gate into its kernel, and then adds for plain spikes.

    Args:
        layer: the convolution; an input without gates is handed to it as it is.
    """

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer
        self.folds = self.gates = self.uses = 0
        """Weights times gates, gates, and uses of a gated spike, in all calls so far."""

    def forward(self, x: Tensor) -> Tensor:
        """Currents of [M, C, H, W], one row (a time step of an image) after the other."""
        if is_count(x) or not is_gated(x):
            plain: Tensor = self.layer(x)
            return plain
        weight = self.layer.weight
        assert isinstance(weight, Tensor)
        by_channel = (1, -1, 1, 1) if isinstance(self.layer, nn.Conv2d) else (-1, 1, 1, 1)
        self.folds += len(x) * weight.numel()
        self.gates += x[..., 0, 0].numel()
        self.uses += round(connections_used(self.layer, x))
        kernels = (weight * row.amax(dim=(1, 2)).view(by_channel) for row in x)
        spikes = (x != 0).to(x.dtype)
        rows = [
            functional_call(self.layer, {"weight": kernel}, row)
            for kernel, row in zip(kernels, spikes.split(1), strict=True)
        ]
        return torch.cat(rows)


class ShiftedConvolution(nn.Module):
    """A convolution of spikes whose gates are powers of two: for each power a sum over plain spikes, which is shifted.

    ``sum over k of 2^-k * convolution(spikes with gate 2^-k)`` is the same as the convolution of the gated spikes, and
    every input of a convolution is 0 or 1.

    Args:
        layer: the convolution, without bias; an input without gates is handed to it as it is.
    """

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer
        self.gates = self.shifts = self.additions = 0
        """Gates, sums that were shifted, and shifted sums that were added to others, in all calls so far."""

    def forward(self, x: Tensor) -> Tensor:
        """Currents of [M, C, H, W].

        Raises:
            ValueError: if a gate is no power of two.
        """
        if is_count(x) or not is_gated(x):
            plain: Tensor = self.layer(x)
            return plain
        self.gates += x[..., 0, 0].numel()
        powers = x[x > 0].unique()
        if not torch.equal(powers.log2().round().exp2(), powers):
            raise ValueError("gates are no powers of two; give the model of --model.gate pow2")
        shifted, rows = [], 0
        for power in powers:
            spikes = (x == power).to(x.dtype)
            sums = self.layer(spikes)
            rows += int(spikes.amax(dim=(1, 2, 3)).count_nonzero())
            shifted.append(power * sums)
        size = shifted[0][0].numel()
        self.shifts += rows * size
        self.additions += (rows - int(x.amax(dim=(1, 2, 3)).count_nonzero())) * size
        return torch.stack(shifted).sum(dim=0)


def folded(network: nn.Module) -> nn.Module:
    """A copy of a part whose convolutions fold the gates of their input."""
    return _with_convolutions(network, FoldedConvolution)


def shifted(network: nn.Module) -> nn.Module:
    """A copy of a part whose convolutions shift sums over plain spikes; its gates must be powers of two."""
    return _with_convolutions(network, ShiftedConvolution)


def has_shifts(network: nn.Module) -> bool:
    """Whether all gates of a part are powers of two."""
    gates = [module for module in network.modules() if isinstance(module, TemporalChannelJointAttention)]
    return bool(gates) and all(module.is_rounded for module in gates)


def _with_convolutions(network: nn.Module, kind: Callable[[nn.Module], nn.Module]) -> nn.Module:
    network = copy.deepcopy(network)
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, SpikeConv2d | SpikeConvTranspose2d):
                setattr(parent, name, kind(child))
    return network


@dataclass(frozen=True)
class GateCost:
    """Energy of gates, in picojoules: what op_counter has no rule for."""

    folded: float
    """Each gate is read; for every weight and time step a product, a weight that is read and one that is written."""
    multiplied: float
    """Each gate is read; for every use of a gated spike a product."""


def gate_cost(network: nn.Module) -> GateCost:
    """Energy of the gates of a :func:`folded` network, in both ways, for all calls so far."""
    layers = [module for module in network.modules() if isinstance(module, FoldedConvolution)]
    read = WEIGHT_BYTES * MEMORY_PICOJOULE
    gates = sum(layer.gates for layer in layers) * read
    folds, uses = (sum(getattr(layer, name) for layer in layers) for name in ("folds", "uses"))
    return GateCost(gates + folds * (MULTIPLY_PICOJOULE + 2 * read), gates + uses * MULTIPLY_PICOJOULE)


def shift_cost(network: nn.Module) -> float:
    """Energy of the gates of a :func:`shifted` network in picojoules, for all calls so far.

    Each gate is read. A shift is an addition to an exponent. A sum that is added to another one is an addition, and the
    other one is read and written.
    """
    layers = [module for module in network.modules() if isinstance(module, ShiftedConvolution)]
    access = WEIGHT_BYTES * MEMORY_PICOJOULE
    return sum(
        layer.gates * access + layer.shifts * SHIFT_PICOJOULE + layer.additions * (AC_PICOJOULE + 2 * access)
        for layer in layers
    )


@dataclass(frozen=True)
class Part:
    """A part of a model, the same layers as an ordinary network, and an input for each."""

    name: str
    network: nn.Module
    x: Tensor
    ordinary: nn.Module
    ordinary_x: Tensor


def parts(model: SpikingVAE, x: Tensor) -> list[Part]:
    """``sample`` and, if the model can, ``classify``, for as many images as ``x`` [N, C, H, W] in [0, 1] holds."""
    relu = ordinary(model)
    z_seq = model.sample_prior(range(len(x)), seed=0)
    values = torch.randn(1, *z_seq.shape[1:], generator=torch.Generator().manual_seed(0))  # no spikes
    found = [Part("sample", Sample(model), z_seq, Sample(relu), values)]
    if model.classifier is not None:
        images = pad(2.0 * x - 1.0, model.config.padded_size)  # as the encoder takes them
        found.append(Part("classify", Classify(model), images, Classify(relu), images))
    return found
