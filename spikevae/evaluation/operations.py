"""Operations of each layer, counted by hooks while a network computes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from spikingjelly.activation_based import neuron
from spikingjelly.activation_based.op_counter import is_binary_tensor
from torch import Tensor, nn
from torch.nn.functional import conv1d, conv2d, conv_transpose2d
from torch.utils.hooks import RemovableHandle

from spikevae.evaluation.costs import Cost, Folded, LayerCost
from spikevae.nn.attention import TemporalChannelJointAttention
from spikevae.nn.classifier import RateClassifier
from spikevae.nn.decoder import TimeReadOut
from spikevae.nn.encoder import SpikingEncoder
from spikevae.nn.stage import ExponentialSynapses

_SYNAPSES = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d)


class Counter:
    """Hooks on every layer of a network that add to a `Cost`, until `remove`.

    Args:
        network: in eval mode.
        images: that it computes while it is watched; counts are divided by their number.
    """

    def __init__(self, network: nn.Module, images: int) -> None:
        self.cost = Cost()
        self.images = images
        self._maps: Tensor | None = None  # [T, N, C, S, S], the encoder's output of a grid latent
        self._features: Tensor | None = None  # [T, N, C, P], the encoder's output by channel, or [T, N, 1, F]
        self._last_used: dict[str, float] = {}
        self._counts: dict[str, bool] = {}  # whether a layer's last input was whole numbers
        self._handles: list[RemovableHandle] = []
        self._encoder = next((part for part in network.modules() if isinstance(part, SpikingEncoder)), None)
        attentions = [module for module in network.modules() if isinstance(module, TemporalChannelJointAttention)]
        self._is_rounded = bool(attentions) and all(attention.is_rounded for attention in attentions)
        self._in_attention = {id(part) for attention in attentions for part in attention.modules()}
        hooks: tuple[tuple[type[nn.Module] | tuple[type[nn.Module], ...], Any], ...] = (
            (_SYNAPSES, self._count_synapses),
            (TemporalChannelJointAttention, self._count_squeeze),
            (TimeReadOut, self._count_read_out),
            (ExponentialSynapses, self._count_decay),
            (SpikingEncoder, self._keep_features),
            (neuron.BaseNode, self._count_spikes),
        )
        for name, module in network.named_modules():
            for kind, hook in hooks:
                if isinstance(module, kind):
                    self._handles.append(module.register_forward_hook(_named(hook, name)))
            if isinstance(module, RateClassifier):  # of a grid latent it reads deeper stages than the latent
                self._handles.append(module.register_forward_pre_hook(self._keep_classified))

    def remove(self) -> None:
        """Take all hooks off the network."""
        for handle in self._handles:
            handle.remove()

    def _layer(self, name: str) -> LayerCost:
        return self.cost.layers.setdefault(name, LayerCost(name))

    def _count_synapses(self, name: str, layer: nn.Module, x: Tensor, output: Tensor) -> None:
        used = self._last_used[name] = connections_used(layer, x) / self.images
        self._counts[name] = is_count(x)
        if self._counts[name]:
            self._layer(name).add(used, 0.0, Folded(accumulates=used))
        else:
            self._layer(name).add(0.0, used, self._folded(layer, x, used))
        if id(layer) not in self._in_attention and self._layer(name).dense == 0:
            self._layer(name).dense = connections_used(layer, torch.ones_like(x[:1]))

    def _by_gates(self, folded: Folded) -> Folded:
        """Operations of which every product is one with a gate."""
        return folded.with_shifts() if self._is_rounded else folded

    def _folded(self, layer: nn.Module, x: Tensor, used: float) -> Folded:
        """The cheaper way to compute a layer of which some inputs are neither 0 nor 1."""
        plain = Folded(multiply_accumulates=used)
        if isinstance(layer, nn.Conv2d) and (on_rates := self._folded_on_rates(layer, x, used)):
            return on_rates
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) and is_gated(x):
            # In each time step every channel's kernel, C_out x k x k weights, is multiplied by the channel's gate.
            return self._by_gates(Folded(used, multiplies=len(x) / self.images * layer.weight.numel()))
        if isinstance(layer, nn.Linear):
            return self._folded_linear(layer, x, used) or plain
        return plain

    def _folded_linear(self, layer: nn.Linear, x: Tensor, used: float) -> Folded | None:
        """A linear layer on the encoder's gated spikes, step by step or on their mean; None for other inputs."""
        if self._features is None:
            return None
        time_steps, _, channels, _ = self._features.shape
        rates = self._features.mean(0).flatten(1)  # [N, F]
        is_mean = x.shape == rates.shape and torch.allclose(x, rates)
        if not is_mean and not torch.equal(x, self._features.flatten(2).flatten(0, 1)):
            return None
        spikes = float((self._features != 0).sum(dtype=torch.float64)) / self.images
        is_plain = is_binary_tensor(self._features)
        gates = 0 if is_plain else time_steps * channels
        # Either every spike adds its gate to a rate, and rates are multiplied; or every spike adds its weight to a sum
        # of its channel and step, and these sums are multiplied by their gates.
        rates_first = Folded(spikes if is_mean else 0.0, 0.0, used, order="rates first")
        spikes_first = self._by_gates(
            Folded(spikes * layer.out_features, 0.0, float(gates * layer.out_features), order="spikes first")
        )
        return min(rates_first, spikes_first, key=lambda folded: folded.picojoule)

    def _folded_on_rates(self, layer: nn.Conv2d, x: Tensor, used: float) -> Folded | None:
        """A convolution of the mean over time of the encoder's gated maps, or of every step; None for other inputs."""
        maps = self._maps
        if maps is None or x.shape != maps.shape[1:] or not torch.allclose(x, maps.mean(0)):
            return None
        spikes = float((maps != 0).sum(dtype=torch.float64)) / self.images
        factors = 0.0 if is_binary_tensor(maps) else float(len(maps) * layer.weight.numel())
        rates_first = Folded(spikes, multiply_accumulates=used, order="rates first")
        uses = connections_used(layer, maps.flatten(0, 1)) / self.images
        spikes_first = self._by_gates(Folded(uses, factors, order="spikes first"))
        return min(rates_first, spikes_first, key=lambda folded: folded.picojoule)

    def _count_squeeze(self, name: str, module: nn.Module, x: Tensor, output: Tensor) -> None:
        # TCJA's spatial mean adds every spike once. Its gates scale spikes, which picks a value and multiplies nothing.
        spikes = float((x != 0).sum(dtype=torch.float64)) / self.images
        self._layer(f"{name}.squeeze").add(spikes, 0.0, Folded(accumulates=spikes))
        if not is_gated(x.flatten(0, 1)):  # currents, of a residual block: each is multiplied, and then added to others
            products = x.numel() / self.images
            self._layer(f"{name}.products").add(0.0, products, self._by_gates(Folded(products, products)))

    def _count_read_out(self, name: str, module: TimeReadOut, x: Tensor, output: Tensor) -> None:
        """The weighted sum over time, and the convolution that has just been counted as one of its result."""
        time_steps, _, channels = x.shape[:3]
        added = float((x != 0).sum(dtype=torch.float64)) / self.images
        convolution = self._layer(f"{name}.convolution")
        used = self._last_used[f"{name}.convolution"]
        is_plain = is_binary_tensor(x)
        if not is_plain and not is_gated(x.flatten(0, 1)):
            self._layer(f"{name}.time").add(0.0, added, Folded(multiply_accumulates=added))
            return
        # A step's weight times a channel's gate is one number. Without gates it is the step's weight, and nothing is
        # multiplied while the network runs.
        factors = 0.0 if is_plain else float(time_steps * channels)
        if self._counts[f"{name}.convolution"]:  # sums of whole numbers, which the convolution adds
            self._layer(f"{name}.time").add(0.0, added, self._by_gates(Folded(added, factors)))
            return
        spike_uses = connections_used(module.convolution, x.flatten(0, 1)) / self.images
        kernel = module.convolution.weight[:, 0].numel()
        orders = {
            "sums first": (self._by_gates(Folded(added, factors)), Folded(multiply_accumulates=used)),
            "spikes first": (
                self._by_gates(Folded(0.0, factors)),
                self._by_gates(Folded(spike_uses, factors * kernel)),
            ),
        }
        order, (in_time, in_space) = min(orders.items(), key=lambda item: sum(part.picojoule for part in item[1]))
        convolution.folded += Folded(multiply_accumulates=-used)  # counted a moment ago, as if sums came first
        convolution.add(0.0, 0.0, replace(in_space, order=order))
        self._layer(f"{name}.time").add(0.0, added, replace(in_time, order=order))

    def _count_decay(self, name: str, module: nn.Module, x: Tensor, output: Tensor) -> None:
        # A decaying current is multiplied once at every step after the first.
        used = output[1:].numel() / self.images
        self._layer(name).add(0.0, used, Folded(multiply_accumulates=used))

    def _keep_features(self, name: str, module: SpikingEncoder, x: Tensor, output: Tensor) -> None:
        if output.dim() > 3:  # maps of a grid, which no linear layer reads
            known = is_binary_tensor(output) or is_gated(output.flatten(0, 1))
            self._maps = output.detach().clone() if known else None
        else:
            self._keep_flat(module, output)

    def _keep_classified(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if self._encoder is not None:
            self._keep_flat(self._encoder, inputs[0])

    def _keep_flat(self, encoder: SpikingEncoder, feature_seq: Tensor) -> None:
        attentions = [part for part in encoder.modules() if isinstance(part, TemporalChannelJointAttention)]
        channels = attentions[-1].channels if attentions else 1
        features = feature_seq.detach().unflatten(2, (channels, -1))
        known = is_binary_tensor(features) or is_gated(features.flatten(0, 1))
        self._features = features.clone() if known else None

    def _count_spikes(self, name: str, module: neuron.BaseNode, x: Tensor, output: Tensor) -> None:
        steps = output if module.step_mode == "m" else output[None]  # [T, N, …]
        self.cost.firing_rates.setdefault(name, []).extend(steps.flatten(1).float().mean(1).tolist())


def is_gated(x: Tensor) -> bool:
    """Whether the values of every plane, of [M, C, …], are 0 and one positive number: spikes with a gate."""
    planes = x.flatten(2)
    return bool((planes >= 0).all()) and bool(((planes == 0) | (planes == planes.amax(2, keepdim=True))).all())


def is_count(x: Tensor) -> bool:
    """Whether all values are numbers of spikes or of camera events: 0, 1, 2 …"""
    return bool(((x >= 0) & (x == x.round())).all())


def connections_used(layer: nn.Module, x: Tensor) -> float:
    """How often a layer uses its weights for input ``x``, padding excluded.

    Once for each (input that is not zero, weight) pair; where inputs are counts, once for each spike or event of them.
    """
    active = x.detach().float() if is_count(x) else (x != 0).float()
    if isinstance(layer, nn.Linear):
        return float(active.sum(dtype=torch.float64)) * layer.out_features
    if isinstance(layer, nn.Conv1d | nn.Conv2d):
        # Convolving the mask with ones counts, for each output position, the inputs that reach it.
        convolve = conv1d if isinstance(layer, nn.Conv1d) else conv2d
        ones = torch.ones_like(layer.weight[:1], dtype=active.dtype)  # not in the weights' dtype
        reached = convolve(active, ones, None, layer.stride, layer.padding, layer.dilation)
        return float(reached.sum(dtype=torch.float64)) * layer.out_channels
    assert isinstance(layer, nn.ConvTranspose2d)
    ones = torch.ones_like(layer.weight[:, :1], dtype=active.dtype)
    assert not isinstance(layer.padding, str)  # torch refuses that for transposed convolutions
    reached = conv_transpose2d(active, ones, None, layer.stride, layer.padding, layer.output_padding, 1, layer.dilation)
    return float(reached.sum(dtype=torch.float64)) * layer.out_channels


def _named(hook: Any, name: str) -> Any:
    return lambda module, inputs, output: hook(name, module, inputs[0], output)
