"""The precision that values of a model are computed in."""

from __future__ import annotations

import torch
from torch import Tensor


def at_least_float32(x: Tensor) -> Tensor:
    """Half precision as float32; float64 stays."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
