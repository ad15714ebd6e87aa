"""Which way an operation takes: the fast one, or the one that PyTorch takes, operator by operator.

The fast way is taken only where nothing but the result can be seen. Whatever looks inside (hooks, tracing, compilation,
function transforms, counters) and whatever is unknown (other modules, devices, dtypes, tensor subclasses) gets the
plain way. ``SPIKEVAE_OPS=reference`` takes the plain way everywhere.
"""

from __future__ import annotations

import os
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.modules import module as every_module

Module = TypeVar("Module", bound=type[nn.Module])

_KNOWN: set[type[nn.Module]] = {nn.BatchNorm2d, nn.Identity}
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def known(module: Module) -> Module:
    """Mark a class, not its subclasses, as one whose arithmetic the fast way knows."""
    _KNOWN.add(module)
    return module


def is_known(module: nn.Module) -> bool:
    """Whether the fast way computes just what calling this module would, and nobody watches the call."""
    if type(module) not in _KNOWN or "forward" in vars(module):
        return False
    return not any(
        getattr(module, hooks) or getattr(every_module, f"_global{hooks}") for hooks in _HOOKS
    )  # every module may be hooked at once, too


def reference_only() -> bool:
    """Whether ``SPIKEVAE_OPS`` asks for the plain way everywhere.

    Raises:
        ValueError: if it is neither "fused" nor "reference".
    """
    chosen = os.environ.get("SPIKEVAE_OPS", "fused")
    if chosen not in ("fused", "reference"):
        raise ValueError(f"SPIKEVAE_OPS={chosen}: expected fused or reference")
    return chosen == "reference"


def may_fuse(*tensors: Tensor, dtypes: tuple[torch.dtype, ...] = (torch.float32, torch.bfloat16)) -> bool:
    """Whether these are plain tensors on the CPU, of these dtypes, in a plain call."""
    if torch.compiler.is_compiling() or torch._C._get_tracing_state() is not None:
        return False
    if not all(type(x) in (Tensor, nn.Parameter) and x.device.type == "cpu" and x.dtype in dtypes for x in tensors):
        return False
    is_transformed = torch._C._functorch.peek_interpreter_stack() is not None or forward_ad._current_level >= 0
    has_mode = torch._C._len_torch_dispatch_stack() or torch._C._len_torch_function_stack()
    return not (is_transformed or has_mode or reference_only())
