"""What goes on inside a network while it computes one picture: spikes, gates, the forming picture, operations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from spikingjelly.activation_based import neuron
from torch import Tensor, nn

from spikevae.evaluation.costs import Cost
from spikevae.evaluation.energy import counting
from spikevae.nn.attention import TemporalChannelJointAttention
from spikevae.nn.decoder import TimeReadOut
from spikevae.nn.images import crop
from spikevae.nn.vae import SpikingVAE


@dataclass(frozen=True)
class Observation:
    """One picture's computation."""

    image: Tensor
    """[C, H, W], in [0, 1]."""
    forming: Tensor
    """[T, C, H, W]: what the read-out makes of the spikes up to each time step; the last is ``image``."""
    partial: Tensor
    """[T * stages, C, H, W]: the same while the spikes of each time step arrive, in a fixed random order."""
    spikes: dict[str, Tensor]
    """By spiking layer, in order: [T, M] in {0, 1}, M its neurons."""
    gates: dict[str, Tensor]
    """By attention, in order: [T, C] in (0, 1)."""
    cost: Cost


def watch(network: SpikingVAE, run: Callable[[], Tensor], stages: int = 1) -> Observation:
    """What ``run`` makes the network do for one picture. Nothing stays attached to the network.

    Nobody else may use the network meanwhile.

    Args:
        network: in eval mode.
        run: computes [1, C, H, W].
        stages: in which the spikes of a time step arrive at the read-out.
    """
    fired: dict[str, list[Tensor]] = {}
    arrived: dict[str, Tensor] = {}
    handles = []
    for name, module in network.named_modules():
        if isinstance(module, neuron.BaseNode):
            handles.append(module.register_forward_hook(_keep_spikes(fired, name, module.step_mode)))
        elif isinstance(module, TemporalChannelJointAttention | TimeReadOut):
            handles.append(module.register_forward_pre_hook(_keep_input(arrived, name)))
    try:
        with counting(network, images=1) as cost:
            image = run()[0]
    finally:
        for handle in handles:
            handle.remove()
    gates = {
        name: module.gate(arrived[name])[:, 0]
        for name, module in network.named_modules()
        if isinstance(module, TemporalChannelJointAttention) and name in arrived
    }
    spikes = {name: torch.cat(steps).flatten(1) for name, steps in fired.items()}
    partial = _partial(network, arrived["decoder.read_out"], stages)
    return Observation(image, partial[stages - 1 :: stages], partial, spikes, gates, cost)


@torch.inference_mode()
def _partial(network: SpikingVAE, x_seq: Tensor, stages: int) -> Tensor:
    """[T * stages, C, H, W]: the read-out of [T, 1, K, H, W] spikes of which those that come later are left out."""
    order = torch.rand(x_seq.shape[1:], generator=torch.Generator().manual_seed(0)).to(x_seq.device)
    steps = []
    for t in range(len(x_seq)):
        seen = x_seq.clone()
        seen[t + 1 :] = 0
        for stage in range(stages):
            seen[t] = x_seq[t] * (order < (stage + 1) / stages)
            steps.append(network.decoder.read_out(seen))
    return crop(torch.cat(steps), network.config.image_size).add(1).div(2)


def _keep_spikes(fired: dict[str, list[Tensor]], name: str, step_mode: str) -> Any:
    def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        steps = output if step_mode == "m" else output[None]  # [T or 1, 1, ...]
        # A copy: an attention of the user's own may scale the spikes in place.
        fired.setdefault(name, []).append(steps[:, 0].detach().clone())

    return hook


def _keep_input(arrived: dict[str, Tensor], name: str) -> Any:
    def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        arrived[name] = inputs[0].detach().clone()

    return hook
