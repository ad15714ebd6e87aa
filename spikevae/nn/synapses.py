"""Synapses of spikes: convolutions that may read and add only the weights of inputs that fire."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from spikevae.ops import known_synapses, spike_convolution


@known_synapses
class SpikeConv2d(nn.Conv2d):
    """A 3x3 convolution, without bias, that keeps the size of an image or, with a stride of 2, halves it (rounding up).

    The currents are those of torch's convolution, up to the order of summation.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)

    def forward(self, input: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C2 H2 W2"]:
        """Currents."""
        return spike_convolution(input, self.weight, self.stride[0])


@known_synapses
class SpikeConvTranspose2d(nn.ConvTranspose2d):
    """A 3x3 transposed convolution, without bias, that doubles the size of an image; otherwise :class:`SpikeConv2d`."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 3, stride=2, padding=1, output_padding=1, bias=False)

    def forward(
        self, input: Float[Tensor, "N C H W"], output_size: list[int] | None = None
    ) -> Float[Tensor, "N C2 H2 W2"]:
        """Currents; ``output_size`` is torch's."""
        if output_size is not None:
            return super().forward(input, output_size)
        return spike_convolution(input, self.weight, self.stride[0], transposed=True)
