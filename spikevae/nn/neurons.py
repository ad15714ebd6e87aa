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
from spikevae.nn.precision import at_least_float32
from spikevae.ops import THRESHOLD, known, lif, lif_step, reference_only
from spikevae.registry import choose

Norm = TypeVar("Norm", nn.BatchNorm1d, nn.BatchNorm2d)


class _FromRest(neuron.BaseNode):
    """What the spiking layers share: a call is a whole sequence, from rest, and leaves no state behind.

    ``h[t] = v[t-1] + (x[t] - v[t-1]) / tau``, ``s[t] = h[t] >= 1``, ``v[t] = h[t] (1 - s[t])``, ``v[-1] = 0``.
    The gradient of the step function is that of an arctan; none passes through the reset.
    In step mode "s" a call is one time step instead, and potentials carry over until ``reset()``.
    """

    v: Tensor | float
    leak: float | Tensor

    @property
    def surrogate_slope(self) -> float:
        """Slope of the arctan surrogate at the threshold."""
        alpha = self.surrogate_function.alpha
        assert isinstance(alpha, float)
        return alpha

    @property
    def is_standard(self) -> bool:
        """Whether these are the equations above, and no setting of spikingjelly's was changed."""
        settings = (self.step_mode, self.v_threshold, self.v_reset, self.detach_reset, self.decay_input)
        is_arctan = type(self.surrogate_function) is surrogate.ATan and self.surrogate_function.spiking
        return settings == ("m", THRESHOLD, 0.0, True, True) and is_arctan and not self.store_v_seq

    def multi_step_forward(
        self, x_seq: Float[Tensor, "T N *F"], *args: Tensor, **kwargs: Any
    ) -> Float[Tensor, "T N *F"]:
        """Spikes in {0, 1} for input currents. On CUDA spikingjelly's own kernels run."""
        if self.is_standard and (not x_seq.is_cuda or reference_only()):
            return lif(x_seq, self.leak, self.surrogate_function, self.surrogate_slope)
        neuron.BaseNode.reset(self)
        spike_seq: Tensor = super().multi_step_forward(x_seq, *args, **kwargs)
        v_seq = self.v_seq
        neuron.BaseNode.reset(self)
        self.v_seq = v_seq  # what monitors read
        return spike_seq

    def single_step_forward(self, x: Float[Tensor, "N ..."], *args: Tensor, **kwargs: object) -> Float[Tensor, "N ..."]:
        """Spikes in {0, 1} for the input currents of one step."""
        v = self.v if isinstance(self.v, Tensor) else x.new_full((), self.v)
        wide = torch.promote_types(x.dtype, torch.float32)
        spikes, self.v = lif_step(x.to(wide), v.to(wide), self.leak, self.surrogate_function)
        return spikes.to(x.dtype)


@known
class SpikingLayer(_FromRest, neuron.LIFNode):
    """Leaky integrate-and-fire neurons with a fixed time constant.

    Args:
        tau: membrane time constant, in time steps, larger than 1.
        surrogate_slope: slope of the arctan surrogate at the threshold.
        step_mode: "m" for whole sequences, "s" where the input of a step is not known before the one before has fired.
    """

    def __init__(self, tau: float, surrogate_slope: float, step_mode: Literal["m", "s"] = "m") -> None:
        super().__init__(
            tau=tau,
            v_threshold=THRESHOLD,
            surrogate_function=surrogate.ATan(alpha=surrogate_slope),
            detach_reset=True,
            step_mode=step_mode,
        )

    @property
    def leak(self) -> float:  # type: ignore[override]
        """1 / tau."""
        return 1.0 / self.tau


@known
class ParametricSpikingLayer(_FromRest, neuron.ParametricLIFNode):
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

    @property
    def leak(self) -> Tensor:  # type: ignore[override]
        """1 / tau, a scalar tensor."""
        return self.w.sigmoid()


class Rectifier(nn.ReLU):
    """Rectified linear units, which do not spike: they make an ordinary network of the same layers, to compare with."""


NEURONS: dict[str, Callable[[ModelConfig], nn.Module]] = {
    "lif": lambda config: SpikingLayer(float(config.tau), config.surrogate_slope),
    "plif": lambda config: ParametricSpikingLayer(float(config.tau), config.surrogate_slope),
    "relu": lambda config: Rectifier(),
}
"""By the name that a config gives: neurons that turn currents [T, N, ...] into spikes."""


def spiking_layer(config: ModelConfig) -> nn.Module:
    """The neurons that ``config.neuron`` names, with its time constant and surrogate gradient.

    Raises:
        ValueError: if there is none of this name.
    """
    return choose(NEURONS, "neuron", config.neuron)(config)


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
        self._steps: list[Tensor] = []  # values of this sequence, in training

    def forward(self, x: Float[Tensor, "N F"]) -> Float[Tensor, "N F"]:
        """Normalised values of one step."""
        assert self.running_mean is not None
        assert self.running_var is not None
        values = at_least_float32(x)
        if self.training:
            self._steps.append(values.detach())
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        return torch.addcmul(torch.addcmul(self.bias, scale, -self.running_mean), values, scale)

    def reset(self) -> None:
        """Forget a sequence that has not ended."""
        self._steps = []

    @torch.no_grad()
    def end_sequence(self) -> None:
        """Take in the statistics of the sequence that has ended, over all processes."""
        if not self._steps:
            return
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        values = torch.cat(self._steps)
        self.reset()
        sums = torch.stack([torch.ones_like(values[0]) * len(values), values.sum(dim=0), values.square().sum(dim=0)])
        count, total, squares = sum_over_processes(sums)
        self.num_batches_tracked.add_(1)
        share = 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        mean = total / count
        variance = (squares / count - mean.square()).clamp(min=0.0)
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_(variance.to(self.running_var.dtype), share)
