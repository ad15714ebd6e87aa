"""Which software computed something, and on what."""

from __future__ import annotations

import importlib.metadata
import platform
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_LIBRARIES = ("spikevae", "torch", "torchvision", "torch-fidelity", "spikingjelly", "accelerate", "numpy")


def library_versions(device: torch.device | None = None) -> dict[str, str]:
    """Versions that numbers can depend on, and what they were computed on (None: the best device of this machine)."""
    import torch

    from spikevae.runtime import pick_device

    found = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed as a package"
    used = device or pick_device()
    is_cuda = used.type == "cuda"
    found["device"] = torch.cuda.get_device_name(used) if is_cuda else f"{used.type}, {platform.machine()}"
    return found
