"""The block of a residual network of spiking neurons.

Source: Hu et al., MS-ResNet, arXiv:2112.08954.
"""

from __future__ import annotations

from dataclasses import replace

from jaxtyping import Float
from torch import Tensor, nn

from spikevae.config import ModelConfig
from spikevae.nn.attention import attention_layer
from spikevae.nn.neurons import spiking_layer, threshold_scaled
from spikevae.nn.stage import SpikingStage
from spikevae.nn.synapses import SpikeConv2d
from spikevae.ops import each_step


class ResidualBlock(nn.Module):
    """Neurons, convolution, norm, twice, then attention; added to the currents that came in, which stay as they are.

    Args:
        config: neurons, attention and T.
        in_channels: maps of the input.
        out_channels: maps of the output.
        stride: 2 halves the image.
    """

    def __init__(self, config: ModelConfig, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.fire = spiking_layer(config)
        self.first = SpikingStage(
            replace(config, attention="none"), SpikeConv2d(in_channels, out_channels, stride), out_channels
        )
        self.second = nn.Sequential(
            SpikeConv2d(out_channels, out_channels), threshold_scaled(nn.BatchNorm2d(out_channels), config)
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or in_channels != out_channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False),
                threshold_scaled(nn.BatchNorm2d(out_channels), config),
            )
        self.attention = attention_layer(config, out_channels)

    def forward(self, x_seq: Float[Tensor, "T N C H W"]) -> Float[Tensor, "T N C2 H2 W2"]:
        """Currents of the next block."""
        inner = each_step(self.second, self.first(self.fire(x_seq)))
        currents: Tensor = self.attention(inner) + each_step(self.shortcut, x_seq)
        return currents
