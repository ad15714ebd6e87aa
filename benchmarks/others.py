"""Other people's counters: spikingjelly's ``op_counter`` and NeuroBench, and why they count otherwise than we do."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from spikingjelly.activation_based.neuron import BaseNode
from spikingjelly.activation_based.op_counter import (
    ACCounter,
    DispatchCounterMode,
    MACCounter,
    MemoryAccessCounter,
    SimpleEnergyConfig,
    SimpleEnergyProfiler,
    is_binary_tensor,
)
from torch import Tensor, nn
from torch.func import functional_call

from spikevae.evaluation.operations import connections_used
from spikevae.nn.attention import TemporalChannelJointAttention
from spikevae.nn.classifier import RateClassifier
from spikevae.nn.decoder import TimeReadOut
from spikevae.nn.stage import ExponentialSynapses

_SYNAPSES = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d)
_LEFT_OUT: list[type[nn.Module]] = [nn.BatchNorm2d]  # it folds into the weights beforehand

Seen = list[tuple[Tensor, Tensor]]
"""Inputs and outputs of a module, a pair for each call."""


@dataclass(frozen=True)
class Count:
    """Multiply-accumulates and accumulates, of all images together."""

    mac: float = 0.0
    ac: float = 0.0

    def __add__(self, other: Count) -> Count:
        return Count(self.mac + other.mac, self.ac + other.ac)

    def __sub__(self, other: Count) -> Count:
        return Count(self.mac - other.mac, self.ac - other.ac)


Reasons = dict[str, Count]
"""Why a counter counts more than we do, or less."""


def profile(network: nn.Module, x: Tensor) -> SimpleEnergyProfiler:
    """Run a network once under op_counter: its MAC, AC and SynOp counters and its memory accesses.

    Our neurons start each call from rest and keep no state. While they are watched they show the counter one of its
    size, so that it counts the traffic of a state that is read and written at every time step.
    """
    profiler = SimpleEnergyProfiler(config=SimpleEnergyConfig(extra_ignore_modules=_LEFT_OUT))
    neurons = [module for module in network.modules() if isinstance(module, BaseNode)]
    handles = [module.register_forward_hook(_show_state) for module in neurons]
    profiler.bind_model(network)
    with profiler:
        network(x)
    for handle, module in zip(handles, neurons, strict=True):
        handle.remove()
        module.reset()
    return profiler


def _show_state(module: BaseNode, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    module.v = torch.zeros_like(output[0])


def tensor_bytes(network: nn.Module, x: Tensor) -> int:
    """Bytes of every operator's inputs, weights and outputs, each moved once (op_counter's MemoryAccessCounter)."""
    counter = MemoryAccessCounter(extra_ignore_modules=_LEFT_OUT)
    with DispatchCounterMode([counter]):
        network(x)
    return int(counter.get_total())


def op_counter_counts(network: nn.Module, x: Tensor) -> dict[str, Count]:
    """What op_counter's MAC and AC counters count in each module itself, without the modules within.

    Not taken from :func:`profile`: there the counter of memory accesses adds up what it found in a convolution of plain
    spikes, and the AC counter, which is running, counts that sum as the network's.
    """
    counters = MACCounter(extra_ignore_modules=_LEFT_OUT), ACCounter(extra_ignore_modules=_LEFT_OUT)
    with DispatchCounterMode(list(counters)):
        network(x)
    macs, acs = (counter.get_counts() for counter in counters)
    root = type(network).__name__
    totals = {
        scope: Count(sum(macs.get(scope, {}).values()), sum(acs.get(scope, {}).values()))
        for scope in macs.keys() | acs.keys()
        if scope.startswith(f"{root}.")
    }
    own = dict(totals)
    for scope, total in totals.items():
        outer = scope.rpartition(".")[0]
        while outer and outer not in totals:  # of modules whose forward was not called, such as lists
            outer = outer.rpartition(".")[0]
        if outer:
            own[outer] -= total
    # Less than nothing is left of a container whose parts were called past it, as an encoder's upper stages are.
    return {scope.removeprefix(f"{root}."): count for scope, count in own.items() if count.mac > 0 or count.ac > 0}


def op_counter_reasons(module: nn.Module, seen: Seen) -> Reasons:
    """Why op_counter counts otherwise than we do in one module."""
    reasons: Reasons = {}
    for x, out in seen:
        for reason, count in _op_counter_reasons(module, x, out).items():
            reasons[reason] = reasons.get(reason, Count()) + count
    return reasons


def _op_counter_reasons(module: nn.Module, x: Tensor, out: Tensor) -> Reasons:
    nonzero = float(x.count_nonzero())
    if isinstance(module, _SYNAPSES) and not is_binary_tensor(x):
        inside = connections_used(module, torch.ones_like(x))
        weight = module.weight
        assert isinstance(weight, Tensor)
        places = x if isinstance(module, nn.ConvTranspose2d) else out
        outside = places.numel() * weight[0].numel() - inside
        return {"padding": Count(mac=outside), "zeros": Count(mac=inside - connections_used(module, x))}
    if isinstance(module, TemporalChannelJointAttention):  # the first number of a mean is no addition to it
        return {"zeros": Count(ac=x.numel() - x.shape[:3].numel() - nonzero)}
    if isinstance(module, TimeReadOut):
        return {"products": Count(mac=-nonzero), "sums over time": Count(ac=x[1:].numel())}
    if isinstance(module, ExponentialSynapses):
        return {"products": Count(mac=-out[1:].numel())}
    if isinstance(module, RateClassifier):
        return {"sums over time": Count(ac=x[1:].numel())}
    if isinstance(module, BaseNode):
        return {"threshold, reset": Count(ac=2 * out.numel())}
    return {}


@dataclass
class NeuroBench:
    """NeuroBench's figures for one call."""

    counts: dict[str, Count] = field(default_factory=dict)
    """Effective operations by layer."""
    dense: dict[str, float] = field(default_factory=dict)
    """Operations by layer, zeros too."""
    sparsity: float = 0.0
    """Share of activations that are 0."""
    footprint: int = 0
    """Bytes of weights and buffers."""


def run_neurobench(network: nn.Module, x: Tensor) -> NeuroBench:
    """Run a network once under NeuroBench's metrics.

    Raises:
        ImportError: if it is not installed.
    """
    from neurobench.metrics.static import Footprint
    from neurobench.metrics.workload import ActivationSparsity, SynapticOperations
    from neurobench.models import TorchModel

    model = TorchModel(network)
    model.add_activation_module(BaseNode)
    model.register_hooks()
    predictions = model(x)
    names = {id(module): name for name, module in network.named_modules()}
    data = (x.new_zeros(1),)  # a data set of one sample, so that means are sums
    found = NeuroBench(
        footprint=int(Footprint()(model)), sparsity=float(ActivationSparsity()(model, predictions, data))
    )
    hooks = list(model.connection_hooks)
    for hook in hooks:
        if not hook.inputs:
            continue
        model.connection_hooks = [hook]
        counts = SynapticOperations()(model, predictions, data)
        name = names[id(hook.layer)]
        found.counts[name] = Count(counts["Effective_MACs"], counts["Effective_ACs"])
        found.dense[name] = float(counts["Dense"])
    model.connection_hooks = hooks
    model.cleanup_hooks()
    return found


def neurobench_reasons(module: nn.Module, seen: Seen, ours: Count, theirs: Count) -> Reasons:
    """Why NeuroBench counts otherwise than we do in one module."""
    if not isinstance(module, _SYNAPSES) or isinstance(module, nn.ConvTranspose2d):
        return {"no layer to it": Count() - ours}
    weight = module.weight
    idle = sum(_uses(module, x, weight == 0) for x, _ in seen)
    exact = sum(_uses(module, x, weight != 0) for x, _ in seen)
    rounding = theirs.mac + theirs.ac - exact
    if theirs.ac:
        return {"weights of 0": Count(ac=-idle), "sums in float32": Count(ac=rounding)}
    return {"weights of 0": Count(mac=-idle), "sums in float32": Count(mac=rounding)}


def _uses(layer: nn.Module, x: Tensor, weights: Tensor) -> float:
    """How many inputs that are not 0 meet one of these weights."""
    parameters = {"weight": weights.double()}
    if isinstance(layer.bias, Tensor):
        parameters["bias"] = torch.zeros_like(layer.bias, dtype=torch.float64)
    return float(functional_call(layer, parameters, ((x != 0).double(),)).sum())
