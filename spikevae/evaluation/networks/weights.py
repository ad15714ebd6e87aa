"""Weights that others saved with torch: read as tensors alone, whatever else the file holds; and the hash of any."""

from __future__ import annotations

import hashlib
import pickle
import zipfile
from pathlib import Path

import torch
from torch import Tensor, nn

from spikevae.files import open_regular

_LARGEST = 2**30  # bytes that a file of weights may unpack to


def hash_weights(network: nn.Module) -> str:
    """SHA-256 of a network's weights and buffers, with their names, types and shapes, in hexadecimal."""
    digest = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def read_weights(path: Path) -> dict[str, Tensor]:
    """Tensors by name of a file that ``torch.save`` wrote. Nothing in it is executed.

    Raises:
        OSError: if it cannot be opened.
        ValueError: if it is no file, too large, damaged, or holds something else than tensors.
    """
    with open_regular(path) as file:
        try:
            if zipfile.is_zipfile(file):
                with zipfile.ZipFile(file) as archive:
                    size = sum(member.file_size for member in archive.infolist())
                if size > _LARGEST:
                    raise ValueError(f"it unpacks to {size:,} bytes")
            file.seek(0)
            state = torch.load(file, map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, LookupError, zipfile.BadZipFile) as error:
            is_pickle = isinstance(error, pickle.UnpicklingError)  # whose words are about torch's own settings
            reason = "it holds more than tensors, or is damaged" if is_pickle else (str(error).splitlines() or ["?"])[0]
            raise ValueError(f"{path} is not a file of weights, and was not used: {reason[:200]}") from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(f"{path} is not a file of weights: it holds something else than tensors by name")
    return state
