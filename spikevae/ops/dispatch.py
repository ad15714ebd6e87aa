"""Which way an operation takes: the fast one, or the one that PyTorch takes, operator by operator.

The fast way is taken only where nothing but the result can be seen. Whatever looks inside (hooks, tracing, compilation,
function transforms, counters) and whatever is unknown (other modules, devices, dtypes, tensor subclasses) gets the
plain way. ``SPIKEVAE_OPS=reference`` takes the plain way everywhere.
"""

from __future__ import annotations

import os
from functools import cache
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.modules import module as every_module

Module = TypeVar("Module", bound=type[nn.Module])

_KNOWN: set[type[nn.Module]] = {nn.BatchNorm2d, nn.Identity, nn.Linear, nn.PixelShuffle, nn.Sequential, nn.Unflatten}
_COMPUTING: set[type[nn.Module]] = {nn.Linear}  # of these, layers whose output is nobody else's
_READING: set[type[nn.Module]] = set()  # of these, layers that also take spikes as bytes with their gates
_HOOKS_OF_ALL = (
    every_module._global_forward_hooks, every_module._global_forward_pre_hooks,
    every_module._global_backward_hooks, every_module._global_backward_pre_hooks,
)  # fmt: skip


class RateMeter:
    """A forward hook of neurons that keeps their mean firing rate, a scalar with a gradient, for every call.

    A stage that does not call its neurons tells it all the same, so this hook does not keep it from the fast way.
    """

    def __init__(self) -> None:
        self.rates: list[Tensor] = []

    def __call__(self, neurons: nn.Module, inputs: object, spike_seq: Tensor) -> None:
        self.keep(spike_seq)

    def keep(self, fired: Tensor) -> None:
        """Keep the rate of spikes, or of the means of as many planes each."""
        self.rates.append(fired.float().mean())


def meters_of(neurons: nn.Module) -> list[RateMeter]:
    """Of the hooks those that are meters."""
    return [hook for hook in neurons._forward_hooks.values() if isinstance(hook, RateMeter)]


def known(module: Module) -> Module:
    """Mark a class, not its subclasses, as one whose arithmetic the fast way knows."""
    _KNOWN.add(module)
    return module


def known_synapses(module: Module) -> Module:
    """:func:`known` for synapses, whose currents are computed anew at every call."""
    _COMPUTING.add(module)
    return known(module)


def known_reader(module: Module) -> Module:
    """:func:`known` for what takes :class:`spikevae.ops.GatedSpikes` in the place of a sequence."""
    _READING.add(module)
    return known(module)


def reads_gated(module: nn.Module) -> bool:
    """Whether a module takes :class:`spikevae.ops.GatedSpikes`, and nobody watches what it is given."""
    return type(module) in _READING and is_known(module)


def makes_new(module: nn.Module) -> bool:
    """Whether what a module gives was computed for this call, and nobody has seen it."""
    if isinstance(module, nn.Sequential):
        first, *others = module
        return is_known(module) and makes_new(first) and all(map(is_known, others))
    return type(module) in _COMPUTING and is_known(module)


def is_known(module: nn.Module, *, may_be_metered: bool = False) -> bool:
    """Whether the fast way computes just what calling this module would, and nobody watches the call.

    Args:
        module: any.
        may_be_metered: whether meters of firing rates do not count as watching.
    """
    kind = type(module)
    if kind not in _KNOWN or not _methods_of(kind).isdisjoint(vars(module)):  # type: ignore[arg-type]
        return False  # of another class, or with a method of its own in the place of its class's
    return not is_watched(module, may_be_metered=may_be_metered)


def is_watched(module: object, *, may_be_metered: bool = False) -> bool:
    """Whether calling this, if it is a module, would call a hook, of its own or of all modules."""
    if not isinstance(module, nn.Module):
        return False
    meters = len(meters_of(module)) if may_be_metered else 0
    has_hooks = module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks
    return len(module._forward_hooks) != meters or bool(has_hooks) or any(_HOOKS_OF_ALL)


@cache
def _methods_of(kind: type[nn.Module]) -> frozenset[str]:
    return frozenset(name for name in dir(kind) if callable(getattr(kind, name, None)))


def reference_only() -> bool:
    """Whether ``SPIKEVAE_OPS`` asks for the plain way everywhere.

    Raises:
        ValueError: if it is neither "fused" nor "reference".
    """
    chosen = os.environ.get("SPIKEVAE_OPS", "fused")
    if chosen not in ("fused", "reference"):
        raise ValueError(f"SPIKEVAE_OPS={chosen}: expected fused or reference")
    return chosen == "reference"


def is_traced() -> bool:
    """Whether this call is being compiled, exported or traced, and values must not decide what is done."""
    return torch.compiler.is_compiling() or torch._C._get_tracing_state() is not None


def is_transformed() -> bool:
    """Whether this call is inside a transform of functions, as vmap or grad, or computes forward derivatives."""
    return torch._C._functorch.peek_interpreter_stack() is not None or forward_ad._current_level >= 0


def may_fuse(*tensors: Tensor, dtypes: tuple[torch.dtype, ...] = (torch.float32, torch.bfloat16)) -> bool:
    """Whether these are plain tensors on the CPU, of these dtypes, in a plain call."""
    if is_traced():
        return False
    for x in tensors:
        if type(x) not in (Tensor, nn.Parameter) or x.device.type != "cpu" or x.dtype not in dtypes:
            return False
    has_mode = torch._C._len_torch_dispatch_stack() or torch._C._len_torch_function_stack()
    return not (is_transformed() or has_mode or reference_only())
