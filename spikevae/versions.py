"""Which software computed something, and on what."""

from __future__ import annotations

import importlib.metadata
import platform
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_LIBRARIES = ("spikevae", "torch", "torchvision", "torch-fidelity", "spikingjelly", "accelerate", "numpy")


def library_versions(device: torch.device | None = None) -> dict[str, str]:
    """Versions that numbers can depend on, of torch with the name of its build; and the device, if one is given."""
    import torch

    found = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed as a package"
    found["torch"] = torch.__version__
    if device is not None:
        is_cuda = device.type == "cuda"
        found["device"] = torch.cuda.get_device_name(device) if is_cuda else f"{device.type}, {platform.machine()}"
    return found
