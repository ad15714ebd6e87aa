"""Temporal-channel joint attention: a learned gate for every (time step, channel) plane of a spike sequence."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from spikevae.config import ModelConfig
from spikevae.ops import known
from spikevae.registry import choose


@known
class TemporalChannelJointAttention(nn.Module):
    """Rescale every (time step, channel) plane of a spike sequence by a learned gate.

    The spatial mean of ``x_seq`` is a [N, C, T] table Z. One convolution slides along T and mixes all channels (TLA,
    weights C x C x k_t), one slides along C and mixes all steps (CLA, weights T x T x k_c); both keep the size, with
    zeros beyond the ends, and have no bias; a kernel of even width reaches one place further forwards than backwards.
    ``gate = sigmoid(TLA(Z) * CLA(Z))``, element by element, and the output is ``x_seq * gate``.

    Args:
        channels: C, feature maps of the input.
        time_steps: T, simulated steps. Fixed here: the channel branch mixes T inputs.
        temporal_kernel: width of the kernel that slides along T, in time steps.
        channel_kernel: width of the kernel that slides along C, in channels.
        branches: "tcja", or one branch alone for ablation: "tla" (gate = sigmoid(TLA(Z))) or "cla".
        gate: "sigmoid", or "pow2" to round it to the nearest 2^-k in the exponent (gradient straight through).

    Raises:
        ValueError: if a kernel is wider than the axis it slides along, or ``branches`` names none; in ``forward`` if
            T or C differs.

    Source: Zhu et al., TCJA-SNN, arXiv:2206.10177. The authors' code calls the kernel that slides along C
    ``kernel_size_t``; ours are named after the axis they slide along.
    """

    def __init__(
        self,
        channels: int,
        time_steps: int,
        *,
        temporal_kernel: int = 3,
        channel_kernel: int = 3,
        branches: str = "tcja",
        gate: Literal["sigmoid", "pow2"] = "sigmoid",
    ) -> None:
        super().__init__()
        self.is_rounded = gate == "pow2"
        if branches not in ("tcja", "tla", "cla"):
            raise ValueError(f"branches={branches!r} is none of tcja, tla, cla")
        if temporal_kernel > time_steps and branches != "cla":
            raise ValueError(f"temporal_kernel={temporal_kernel} is wider than time_steps={time_steps}")
        if channel_kernel > channels and branches != "tla":
            raise ValueError(f"channel_kernel={channel_kernel} is wider than channels={channels}")
        self.channels = channels
        self.time_steps = time_steps
        self.temporal: nn.Conv1d | None = None
        self.channel: nn.Conv1d | None = None
        if branches in ("tcja", "tla"):
            self.temporal = _sliding(channels, temporal_kernel)
        if branches in ("tcja", "cla"):
            self.channel = _sliding(time_steps, channel_kernel)

    def forward(self, x_seq: Float[Tensor, "T N C H W"]) -> Float[Tensor, "T N C H W"]:
        """``x_seq`` with every plane multiplied by its gate."""
        return x_seq * self.gate(x_seq)[..., None, None].to(x_seq.dtype)

    def gate(self, x_seq: Float[Tensor, "T N C H W"]) -> Float[Tensor, "T N C"]:
        """The factor of each plane, in [0, 1]."""
        self.require_shape(x_seq)
        return self.gate_of_means(x_seq.mean(dim=(3, 4)))

    def gate_of_means(self, mean_seq: Float[Tensor, "T N C"]) -> Float[Tensor, "T N C"]:
        """The factor of each plane of which only the mean is known."""
        with torch.autocast("cpu" if mean_seq.is_meta else mean_seq.device.type, enabled=False):
            scores = []
            if self.temporal is not None:
                squeezed = mean_seq.to(self.temporal.weight.dtype)
                scores.append(_slide(self.temporal, squeezed.permute(1, 2, 0)).permute(2, 0, 1))  # in [N, C, T]
            if self.channel is not None:
                squeezed = mean_seq.to(self.channel.weight.dtype)
                scores.append(_slide(self.channel, squeezed.transpose(0, 1)).transpose(0, 1))  # in [N, T, C]
            gate = math.prod(scores[1:], start=scores[0]).sigmoid()
            return _nearest_power_of_two(gate) if self.is_rounded else gate

    def require_shape(self, x_seq: Tensor) -> None:
        """Refuse a sequence that this attention was not built for.

        Raises:
            ValueError: if it is not [T, N, C, H, W] with this T and C.
        """
        if x_seq.dim() != 5 or x_seq.shape[0] != self.time_steps or x_seq.shape[2] != self.channels:
            raise ValueError(
                f"attention was built for [T={self.time_steps}, N, C={self.channels}, H, W], got {list(x_seq.shape)}"
            )


def _nearest_power_of_two(gate: Tensor) -> Tensor:
    """2^-k with k the nearest whole number to -log2(gate), at most 126; the gradient is that of the gate."""
    smallest = torch.finfo(torch.float32).tiny  # 2^-126: a sigmoid may underflow to 0, whose logarithm is no number
    rounded = gate.detach().clamp(min=smallest).log2().round().exp2()
    return rounded + (gate - gate.detach()) if gate.requires_grad else rounded


def _sliding(mixed: int, width: int) -> nn.Conv1d:
    """A kernel that mixes so many rows while it slides along them; see :func:`_slide`."""
    return nn.Conv1d(mixed, mixed, width, padding=(width - 1) // 2, bias=False)


def _slide(kernel: nn.Conv1d, rows: Float[Tensor, "N M S"]) -> Float[Tensor, "N M S"]:
    """Convolve and keep the size: an even width lacks one zero at the end (torch's own "same" warns about those)."""
    scores: Tensor = kernel(rows if kernel.kernel_size[0] % 2 else functional.pad(rows, (0, 1)))
    return scores


def _joint_attention(config: ModelConfig, channels: int) -> nn.Module:
    return TemporalChannelJointAttention(
        channels,
        config.time_steps,
        temporal_kernel=config.temporal_kernel,
        channel_kernel=config.channel_kernel,
        branches=config.attention,
        gate=config.gate,
    )


ATTENTIONS: dict[str, Callable[[ModelConfig, int], nn.Module]] = {
    "tcja": _joint_attention,
    "tla": _joint_attention,
    "cla": _joint_attention,
    "none": lambda config, channels: nn.Identity(),
}
"""By the name that a config gives: what follows the neurons of a stage, from the config and the stage's channels."""


def attention_layer(config: ModelConfig, channels: int) -> nn.Module:
    """The attention after a stage of so many channels, as ``config.attention`` says; "none" passes everything.

    Raises:
        ValueError: if there is none of this name.
    """
    return choose(ATTENTIONS, "attention", config.attention)(config, channels)
