"""Spiking layers: leaky integrate-and-fire neurons over whole sequences, from rest to the last step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeVar

import torch
from jaxtyping import Float
from spikingjelly.activation_based import neuron, surrogate
from torch import Tensor, nn

from spikevae.config import ModelConfig
from spikevae.distributed import sum_over_processes
from spikevae.ops.lif import THRESHOLD, fire_once, lif_sequence

Norm = TypeVar("Norm", nn.BatchNorm1d, nn.BatchNorm2d)


def spiking_layer(config: ModelConfig) -> SpikingLayer | ParametricSpikingLayer:
    """The layer that ``config.neuron``, ``config.tau`` and ``config.surrogate_slope`` ask for."""
    layer = ParametricSpikingLayer if config.neuron == "plif" else SpikingLayer
    return layer(float(config.tau), config.surrogate_slope)


class SpikingLayer(neuron.LIFNode):
    """Leaky integrate-and-fire neurons, hard reset, arctan surrogate gradient, reset detached from the gradient.

    ``h[t] = v[t-1] + (x[t] - v[t-1]) / tau``, ``s[t] = h[t] >= 1``, ``v[t] = h[t] (1 - s[t])``, ``v[-1] = 0``.
    Every call is a whole sequence and starts at rest, so nothing is carried from one call to the next. On the CPU the
    whole sequence is one autograd operator (5 to 7 times faster than step by step, the spikes being equal); elsewhere
    spikingjelly's own multi-step kernels run.

    In step mode "s" a call is one time step instead, and potentials carry over until ``reset()``.

    Args:
        tau: membrane time constant, in time steps, larger than 1.
        surrogate_slope: slope of the arctan surrogate at the threshold.
        step_mode: "m" for whole sequences, "s" where the input of a step is not known before the one before has fired.
    """

    v: Tensor | float

    def __init__(self, tau: float, surrogate_slope: float, step_mode: Literal["m", "s"] = "m") -> None:
        super().__init__(
            tau=tau,
            v_threshold=THRESHOLD,
            surrogate_function=surrogate.ATan(alpha=surrogate_slope),
            detach_reset=True,
            step_mode=step_mode,
        )
        self.surrogate_slope = surrogate_slope

    @property
    def leak(self) -> float:
        """1 / tau."""
        return 1.0 / self.tau

    def multi_step_forward(
        self, x_seq: Float[Tensor, "T N *F"], *args: Tensor, **kwargs: Any
    ) -> Float[Tensor, "T N *F"]:
        """Spikes in {0, 1} for input currents; ``norm`` and ``sums``, on the CPU, as :func:`lif_sequence` has them."""
        if x_seq.device.type == "cpu":
            return lif_sequence(x_seq, self.leak, self.surrogate_slope, **kwargs)
        return from_rest(self, super().multi_step_forward, x_seq)

    def single_step_forward(self, x: Float[Tensor, "N ..."], *args: Tensor, **kwargs: object) -> Float[Tensor, "N ..."]:
        """Spikes in {0, 1} for the input currents of one step.

        With a gradient, and off the CPU, by plain operators: spikingjelly's own step goes through an operator that
        takes longer than its arithmetic here, and whose first call loads torch's compiler, which takes seconds.
        """
        if x.device.type == "cpu" and not torch.is_grad_enabled():
            without_gradient, self.v = fire_once(x, self.leak, self.v)
            return without_gradient
        current = x.float()
        h = torch.lerp(self.v, current, self.leak) if isinstance(self.v, Tensor) else current / self.tau
        spikes: Tensor = self.surrogate_function(h - THRESHOLD)
        self.v = torch.addcmul(h, h, spikes.detach(), value=-1)
        return spikes.to(x.dtype)


class ParametricSpikingLayer(neuron.ParametricLIFNode):
    """:class:`SpikingLayer` whose time constant is learned, one per layer: 1 / tau = sigmoid(w).

    Source: Fang et al., PLIF, ICCV 2021, arXiv:2007.05785.
    """

    def __init__(self, tau: float, surrogate_slope: float) -> None:
        super().__init__(
            init_tau=tau,
            v_threshold=THRESHOLD,
            surrogate_function=surrogate.ATan(alpha=surrogate_slope),
            detach_reset=True,
            step_mode="m",
        )
        self.surrogate_slope = surrogate_slope

    @property
    def leak(self) -> Tensor:
        """1 / tau, a scalar tensor."""
        return self.w.sigmoid()

    def multi_step_forward(
        self, x_seq: Float[Tensor, "T N *F"], *args: Tensor, **kwargs: Any
    ) -> Float[Tensor, "T N *F"]:
        """Spikes in {0, 1} for input currents; ``norm`` and ``sums``, on the CPU, as :func:`lif_sequence` has them."""
        if x_seq.device.type == "cpu":
            return lif_sequence(x_seq, self.leak, self.surrogate_slope, **kwargs)
        return from_rest(self, super().multi_step_forward, x_seq)


def from_rest(layer: neuron.BaseNode, forward: Callable[[Tensor], Any], x_seq: Tensor) -> Tensor:
    """Run spikingjelly's own multi-step ``forward`` with no state from before and none left behind."""
    layer.reset()
    spike_seq: Tensor = forward(x_seq)
    layer.reset()
    return spike_seq


def threshold_scaled(norm: Norm, config: ModelConfig) -> Norm:
    """The norm in front of spiking neurons, with a weight that lets them fire from the start of training on.

    A neuron divides its currents by tau, so currents of a standard deviation of tau thresholds move its membrane by one
    threshold. (With a weight of 1 and tau = 2 only 2 % of neurons fire, fewer the deeper they lie.)

    Source: threshold-dependent batch norm, Zheng et al., AAAI 2021, arXiv:2011.05280, for neurons that divide by tau.
    """
    nn.init.constant_(norm.weight, config.tau * THRESHOLD)
    return norm


class SequenceNorm(nn.BatchNorm1d):
    """Batch norm for sequences that are drawn step by step, over time and batch together.

    The statistics of a sequence are known only when it has ended, and those of single steps would differ from what the
    network is used with. So the running statistics normalise in training as well, without a gradient.
    """

    def __init__(self, features: int) -> None:
        super().__init__(features)
        self._scale_and_shift: tuple[Tensor, Tensor] | None = None  # the same for all steps of a sequence

    def forward(self, x: Float[Tensor, "N F"]) -> Float[Tensor, "N F"]:
        """Normalised values of one step."""
        if self._scale_and_shift is None:
            self._scale_and_shift = self._of_running_statistics()
        scale, shift = self._scale_and_shift
        return torch.addcmul(shift, x.float(), scale)

    def end_sequence(self) -> None:
        """The weights and statistics may change before the next one."""
        self._scale_and_shift = None

    def whole(self, x: Float[Tensor, "M F"]) -> Float[Tensor, "M F"]:
        """Normalised values of all steps and images of a sequence, whose statistics are taken in while training."""
        scale, shift = self._of_running_statistics()
        if self.training:
            self._take_in(x.detach().float())
        return torch.addcmul(shift, x.float(), scale)

    def _of_running_statistics(self) -> tuple[Tensor, Tensor]:
        assert self.running_mean is not None
        assert self.running_var is not None
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        return scale, torch.addcmul(self.bias, scale, -self.running_mean)

    @torch.no_grad()
    def _take_in(self, values: Float[Tensor, "M F"]) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        sums = torch.stack([torch.ones_like(values[0]) * len(values), values.sum(dim=0), values.square().sum(dim=0)])
        count, total, squares = sum_over_processes(sums)
        self.num_batches_tracked.add_(1)
        share = 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        mean = total / count
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_((squares / count - mean.square()).clamp(min=0.0), share)


def fires_in_loops(neurons: nn.Module, x_seq: Tensor) -> bool:
    """Whether the neurons are ours and step through a sequence in our own operator, as on the CPU."""
    return isinstance(neurons, SpikingLayer | ParametricSpikingLayer) and x_seq.device.type == "cpu"


def normalised_spikes(
    norm: nn.Module, neurons: nn.Module, x_seq: Float[Tensor, "T N C H W"]
) -> tuple[Float[Tensor, "T N C H W"], Float[Tensor, "T N C"] | None]:
    """Spikes of neurons whose input currents are first normalised over time and batch together.

    On the CPU both are one operator, so that the normalised currents are never written to memory. It may overwrite
    ``x_seq`` where no gradient is wanted.

    Returns:
        The spikes, and their sums over H and W where they come for nothing.
    """
    if (
        type(norm) is nn.BatchNorm2d  # not one that shares its statistics with other processes
        and fires_in_loops(neurons, x_seq)
        and norm.training == torch.is_grad_enabled()
        and norm.momentum is not None
    ):
        sums = torch.zeros(x_seq.shape[:3])
        return neurons(x_seq, norm=norm, sums=sums), sums
    return neurons(norm(x_seq.flatten(0, 1)).unflatten(0, x_seq.shape[:2])), None
