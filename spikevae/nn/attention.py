"""Temporal-channel joint attention: a learned gate for every (time step, channel) plane of a spike sequence."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from spikevae.config import Attention, ModelConfig
from spikevae.ops.planes import as_bytes, give_away, remember_spikes, scale_planes, sum_products, take_over


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
        branches: Attention = "tcja",
    ) -> None:
        super().__init__()
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

    def gate(self, x_seq: Float[Tensor, "T N C H W"]) -> Float[Tensor, "T N C"]:
        """The factor of each plane, in (0, 1)."""
        self._require_shape(x_seq)
        return self._gate_from(x_seq.mean(dim=(3, 4)))

    def _require_shape(self, x_seq: Tensor) -> None:
        if x_seq.dim() != 5 or x_seq.shape[0] != self.time_steps or x_seq.shape[2] != self.channels:
            raise ValueError(
                f"attention was built for [T={self.time_steps}, N, C={self.channels}, H, W], got {list(x_seq.shape)}"
            )

    def _gate_from(self, mean_seq: Float[Tensor, "T N C"]) -> Float[Tensor, "T N C"]:
        with torch.autocast(mean_seq.device.type, enabled=False):
            squeezed = mean_seq.float()
            score = torch.ones((), device=squeezed.device)
            if self.temporal is not None:
                score = score * _slide(self.temporal, squeezed.permute(1, 2, 0)).permute(2, 0, 1)  # in [N, C, T]
            if self.channel is not None:
                score = score * _slide(self.channel, squeezed.transpose(0, 1)).transpose(0, 1)  # in [N, T, C]
            return score.sigmoid()

    def forward(
        self, x_seq: Float[Tensor, "T N C H W"], *, sums: Float[Tensor, "T N C"] | None = None, consume: bool = False
    ) -> Float[Tensor, "T N C H W"]:
        """``x_seq`` with every plane multiplied by its gate.

        Args:
            x_seq: a sequence.
            sums: of its planes, if they are known.
            consume: ``x_seq`` holds spikes that nobody else needs, so the output takes their place in memory.
        """
        self._require_shape(x_seq)
        gates: list[Tensor] = []
        x_seq, mean_seq = _WithPlaneMeans.apply(x_seq, sums, gates, consume)
        gate = self._gate_from(mean_seq)
        gates.append(gate.detach())  # without its graph, which would hold itself in memory
        spike_seq = as_bytes(x_seq.detach()) if consume and torch.is_grad_enabled() else None
        gated_seq: Tensor = _Gated.apply(x_seq, gate, spike_seq, consume)
        if spike_seq is not None:
            remember_spikes(gated_seq, spike_seq, gates[0])
        return gated_seq


class _WithPlaneMeans(torch.autograd.Function):
    """A sequence and the means of its planes [T, N, C].

    The sequence is for :class:`_Gated` alone, which passes on the gradient that it gets: the factors of its part of it,
    ``gates`` [T, N, C], are applied here, together with the part of the means.
    """

    @staticmethod
    def forward(
        ctx: Any, x_seq: Tensor, sums: Tensor | None, gates: list[Tensor], consume: bool
    ) -> tuple[Tensor, Tensor]:
        ctx.places = x_seq.shape[3] * x_seq.shape[4]
        ctx.gates = gates
        ctx.consume = consume
        mean_seq = x_seq.mean(dim=(3, 4)) if sums is None else sums / ctx.places
        if consume:
            ctx.mark_dirty(x_seq)  # not yet, but by what follows, which may not change a view
        return x_seq if consume else x_seq.view_as(x_seq), mean_seq

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        grad_seq, grad_mean_seq = grads
        (gate,) = ctx.gates
        into = grad_seq if take_over(grad_seq) else None
        grad_x_seq = scale_planes(grad_seq, gate, grad_mean_seq / ctx.places, into=into)
        return give_away(grad_x_seq) if ctx.consume else grad_x_seq, None, None, None


class _Gated(torch.autograd.Function):
    """Planes times gates. Kept for the gradient is the sequence, or its spikes as bytes if it is consumed."""

    @staticmethod
    def forward(ctx: Any, x_seq: Tensor, gate: Tensor, spike_seq: Tensor | None, consume: bool) -> Tensor:
        ctx.save_for_backward(x_seq if spike_seq is None else spike_seq)
        if consume:
            ctx.mark_dirty(x_seq)
        return scale_planes(x_seq, gate, into=x_seq if consume else None)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None]:
        (x_seq,) = ctx.saved_tensors
        (grad_seq,) = grads
        return grad_seq, sum_products(grad_seq, x_seq), None, None


def _sliding(mixed: int, width: int) -> nn.Conv1d:
    """A kernel that mixes so many rows while it slides along them; see :func:`_slide`."""
    return nn.Conv1d(mixed, mixed, width, padding=(width - 1) // 2, bias=False)


def _slide(kernel: nn.Conv1d, rows: Float[Tensor, "N M S"]) -> Float[Tensor, "N M S"]:
    """Convolve and keep the size: an even width lacks one zero at the end (torch's own "same" warns about those)."""
    scores: Tensor = kernel(rows if kernel.kernel_size[0] % 2 else functional.pad(rows, (0, 1)))
    return scores


def attention_layer(config: ModelConfig, channels: int) -> nn.Module:
    """The attention after a stage of so many channels, as ``config.attention`` says; "none" passes everything."""
    if config.attention == "none":
        return nn.Identity()
    return TemporalChannelJointAttention(
        channels,
        config.time_steps,
        temporal_kernel=config.temporal_kernel,
        channel_kernel=config.channel_kernel,
        branches=config.attention,
    )
