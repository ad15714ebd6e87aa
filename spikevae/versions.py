"""Which software computed a number, and on what."""

from __future__ import annotations

import importlib.metadata
import platform

import torch

_LIBRARIES = ("spikevae", "torch", "torchvision", "torch-fidelity", "spikingjelly", "numpy")


def library_versions() -> dict[str, str]:
    """Versions that numbers can depend on, and what they were computed on."""
    found = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed as a package"
    found["device"] = torch.cuda.get_device_name() if torch.cuda.is_available() else f"cpu, {platform.machine()}"
    return found
