"""The repeated part of encoder and decoder: convolution, normalisation, spiking neurons, attention."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from spikevae.config import ModelConfig
from spikevae.nn.attention import attention_layer
from spikevae.nn.neurons import spiking_layer, threshold_scaled
from spikevae.nn.synapses import SpikeConv2d, SpikeConvTranspose2d
from spikevae.ops import known, spiking_stage

Resize = Literal["down", "same", "up"]


@known
class SpikingStage(nn.Module):
    """Synapses → filter over time, if any → batch norm over time and batch together → spiking neurons → attention.

    Args:
        config: neuron, attention and T.
        synapses: from the input of one step to [T*N, C, H, W]; without bias, since the norm that follows has one.
        channels: C, feature maps of the output.
        filter: from currents [T, N, C, H, W] to what of them the neurons receive; None passes them on.
    """

    def __init__(
        self, config: ModelConfig, synapses: nn.Module, channels: int, filter: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.time_steps = config.time_steps
        self.synapses = synapses
        self.filter = filter or nn.Identity()
        self.norm = threshold_scaled(nn.BatchNorm2d(channels), config)
        self.neurons = spiking_layer(config)
        self.attention = attention_layer(config, channels)

    def forward(self, x_seq: Float[Tensor, "T N ..."]) -> Float[Tensor, "T N C H W"]:
        """Gated spikes. Of one input that is expanded over T steps, without a copy, the synapses are computed once.

        Raises:
            ValueError: if the sequence has not T steps.
        """
        if x_seq.shape[0] != self.time_steps:
            raise ValueError(f"this stage was built for {self.time_steps} time steps, got {x_seq.shape[0]}")
        return spiking_stage(x_seq, self.synapses, self.filter, self.norm, self.neurons, self.attention)


def convolutional_stage(config: ModelConfig, in_channels: int, out_channels: int, resize: Resize) -> SpikingStage:
    """A stage of 3x3 kernels that halves ("down", rounding up), doubles ("up") or keeps ("same") the image."""
    if resize == "up" and config.upsampling == "transposed":
        synapses: nn.Module = SpikeConvTranspose2d(in_channels, out_channels)
    elif resize == "up":
        synapses = nn.Sequential(SpikeConv2d(in_channels, 4 * out_channels), nn.PixelShuffle(2))
    else:
        synapses = SpikeConv2d(in_channels, out_channels, stride=2 if resize == "down" else 1)
    return SpikingStage(config, synapses, out_channels)


@known
class ExponentialSynapses(nn.Module):
    """Currents that decay instead of ending with the time step that caused them.

    ``i[t] = decay i[t-1] + x[t]``, ``i[-1] = 0``, with a decay for each channel, sigmoid(w), that starts at 1/2.

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(channels))

    def forward(self, x_seq: Float[Tensor, "T N C H W"]) -> Float[Tensor, "T N C H W"]:
        """Filtered currents."""
        decay = self.w.sigmoid().to(x_seq.dtype)[:, None, None]
        steps = [x_seq[0]]
        for x in x_seq[1:]:
            steps.append(torch.addcmul(x, steps[-1], decay))
        return torch.stack(steps)


def latent_stage(config: ModelConfig, out_channels: int, side: int) -> SpikingStage:
    """The decoder's first stage: a linear layer from L latent spikes to ``out_channels`` maps of ``side`` x ``side``.

    With exponential synapses a neuron sees the spikes of all steps so far, not those of one step only.
    """
    synapses = nn.Sequential(
        nn.Linear(config.latent_size, out_channels * side**2, bias=False),
        nn.Unflatten(1, (out_channels, side, side)),
    )
    return SpikingStage(config, synapses, out_channels, _lasting(config, out_channels))


def grid_stage(config: ModelConfig, out_channels: int, side: int) -> SpikingStage:
    """The decoder's first stage after a grid of latent spikes: a 3x3 convolution of the spikes of each step."""
    synapses = nn.Sequential(GridMaps(side), SpikeConv2d(config.latent_channels, out_channels))
    return SpikingStage(config, synapses, out_channels, _lasting(config, out_channels))


class GridMaps(nn.Module):
    """Rows of latent spikes, place after place, as maps."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def forward(self, z: Float[Tensor, "N L"]) -> Float[Tensor, "N C S S"]:
        """A view, with the channels of a place side by side."""
        maps: Tensor = z.unflatten(1, (self.side, self.side, -1))
        return maps.permute(0, 3, 1, 2)


def _lasting(config: ModelConfig, channels: int) -> nn.Module | None:
    return ExponentialSynapses(channels) if config.latent_synapses == "exponential" else None
