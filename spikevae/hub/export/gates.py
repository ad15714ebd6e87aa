"""TCJA's gates fixed to their means, for runtimes that have none."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from spikevae.nn.attention import TemporalChannelJointAttention
from spikevae.nn.vae import SpikingVAE


class FixedGate(nn.Module):
    """A gate for each channel that neither image nor time step changes.

    Args:
        gate: [C] factors.
    """

    gate: Tensor

    def __init__(self, gate: Float[Tensor, " C"]) -> None:
        super().__init__()
        self.register_buffer("gate", gate)

    def forward(self, x_seq: Float[Tensor, "T N C H W"]) -> Float[Tensor, "T N C H W"]:
        """``x_seq`` with every channel multiplied by its gate."""
        return x_seq * self.gate[:, None, None]


@torch.no_grad()
def fold_gates(model: SpikingVAE, images: Float[Tensor, "N C H W"]) -> SpikingVAE:
    """A copy of a model whose encoder's gates are fixed: each channel's mean over time steps and images.

    Stages are calibrated one after the other, each behind those that are fixed already. The copy is an approximation:
    TCJA's gates depend on the image and the time step.
    """
    fixed = copy.deepcopy(model)
    _fix(fixed.encoder.stages, lambda: fixed.features(images))
    return fixed


@torch.no_grad()
def fold_decoder_gates(model: SpikingVAE, z_seq: Float[Tensor, "T N L"]) -> SpikingVAE:
    """The same of the decoder's gates, with means over these latent spikes."""
    fixed = copy.deepcopy(model)
    _fix([fixed.decoder.expand, *fixed.decoder.stages], lambda: fixed.decode(z_seq))
    return fixed


def _fix(stages: Iterable[nn.Module], run: Callable[[], object]) -> None:
    for stage in stages:
        attention = stage.attention
        if not isinstance(attention, TemporalChannelJointAttention):
            continue
        seen: list[Tensor] = []
        hook = attention.register_forward_pre_hook(lambda _, given, seen=seen: seen.append(given[0]))
        run()
        hook.remove()
        stage.attention = FixedGate(attention.gate(seen[0]).mean(dim=(0, 1)))
