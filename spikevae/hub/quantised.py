"""Weights as int8: a scale for each row, and matrices of a quarter of their float32 size."""

from __future__ import annotations

import torch
from torch import Tensor

SCALE = "#scale"  # what a scale's name has behind that of its weight
_LARGEST = 127
_ALONG = {"latent.density.basis": 1}  # axis that a scale spans, where it is not all but the first: [K, D, R] over D
_LAST = ("latent.density.", "latent.discriminant.")  # of these it is the last one


def quantise(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Matrices and kernels as int8 with a float32 scale for each row, under its name and ``#scale``.

    The rows of a layer's weights are its output channels. A density's basis has a scale for each direction, since
    their lengths differ by orders of magnitude, and its other buffers one for each of their last rows. Everything else
    stays as it is.
    """
    stored: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if not tensor.is_floating_point() or tensor.dim() < 2:
            stored[name] = tensor
            continue
        scale = tensor.float().abs().amax(dim=_axes(name, tensor.dim()), keepdim=True) / _LARGEST
        scale = torch.where(scale > 0, scale, 1.0)  # a row of zeros
        stored[name] = (tensor.float() / scale).round().to(torch.int8)
        stored[name + SCALE] = scale
    return stored


def scale_shape(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of the scale of a weight of this name and shape."""
    axes = {axis % len(shape) for axis in _axes(name, len(shape))}
    return tuple(1 if axis in axes else size for axis, size in enumerate(shape))


def dequantise(values: Tensor, scale: Tensor) -> Tensor:
    """The float32 weights that int8 values and their scales stand for."""
    return values.float() * scale


def _axes(name: str, dimensions: int) -> tuple[int, ...]:
    """Axes that share a scale."""
    if name in _ALONG:
        return (_ALONG[name],)
    return (-1,) if name.startswith(_LAST) else tuple(range(1, dimensions))
