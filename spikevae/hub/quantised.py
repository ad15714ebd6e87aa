"""Weights in fewer bits: a scale for each row, and whole numbers of 8 or 4 bits in place of floats."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Literal

import torch
from torch import Tensor, nn

from spikevae.nn.networks import Network
from spikevae.nn.vae import SpikingVAE

SCALE = "#scale"  # what a scale's name has behind that of its weight
STORED = ("I8", "U8")  # safetensors' names: int8, and two numbers of 4 bits in a byte
_LARGEST = 127
_LEAST4, _LARGEST4 = -8, 7
_WIDE = 2**15  # a matrix of fewer numbers stays int8 among those of 4 bits
_SHRINKS = torch.linspace(0.4, 1.0, 25)  # of the scale that reaches a row's largest number
_CALIBRATION = 512  # samples
_ALONG = {"latent.density.basis": 1}  # axis that a scale spans, where it is not all but the first: [K, D, R] over D
_LAST = ("latent.density.", "latent.discriminant.")  # of these it is the last one
_TRIANGULAR = "latent.density.factor"


def quantise(
    state: dict[str, Tensor], bits: Literal[8, 4] = 8, moments: Mapping[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """Matrices and kernels as int8 with a float32 scale for each row, under its name and ``#scale``.

    The rows of a layer's weights are its output channels. A density's basis has a scale for each direction, since
    their lengths differ by orders of magnitude, and its other buffers one for each of their last rows. Everything else
    stays as it is.

    Args:
        state: the weights.
        bits: 4 packs large matrices and the encoder's large kernels, two numbers in a byte. A row's scale is then the
            one with the least squared error. All else is int8; of the density's triangular factors one half is kept.
        moments: by weight, what :func:`input_moments` gives: these matrices are rounded for their inputs.
    """
    stored: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if not tensor.is_floating_point() or tensor.dim() < 2:
            stored[name] = tensor
        elif bits == 4 and _is_packed(name, tensor):
            scale = _best_scale(tensor.float(), _axes(name, tensor.dim()))
            moment = None if moments is None else moments.get(name)
            numbers = _nearest(tensor.float(), scale) if moment is None else _rounded_for(tensor.float(), scale, moment)
            stored[name], stored[name + SCALE] = _pack(numbers), scale
        else:
            scale = tensor.float().abs().amax(dim=_axes(name, tensor.dim()), keepdim=True) / _LARGEST
            scale = torch.where(scale > 0, scale, 1.0)  # a row of zeros
            numbers = (tensor.float() / scale).round().to(torch.int8)
            if bits == 4 and _is_triangular(name, tuple(tensor.shape)) and not bool(tensor.triu(1).any()):
                rows, columns = torch.tril_indices(*tensor.shape[-2:])
                numbers = numbers[..., rows, columns]
            stored[name], stored[name + SCALE] = numbers, scale
    return stored


def scale_shape(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of the scale of a weight of this name and shape."""
    axes = {axis % len(shape) for axis in _axes(name, len(shape))}
    return tuple(1 if axis in axes else size for axis, size in enumerate(shape))


def stored_shape(name: str, shape: tuple[int, ...], kind: str, dimensions: int) -> tuple[int, ...]:
    """The shape that a weight has in a file, where its numbers are of this kind and its shape of so many dimensions."""
    if kind == "U8":
        return ((prod(shape) + 1) // 2,)
    if _is_triangular(name, shape) and dimensions == len(shape) - 1:
        return (*shape[:-2], shape[-1] * (shape[-1] + 1) // 2)
    return shape


def dequantise(values: Tensor, scale: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The float32 weight of this shape that values of :func:`quantise` and their scales stand for."""
    if values.dtype == torch.uint8:
        numbers = torch.stack([values & 15, values >> 4], dim=1).flatten()[: prod(shape)].float() + _LEAST4
        return numbers.view(shape) * scale
    if values.dim() == len(shape):
        return values.float() * scale
    full = torch.zeros(shape)
    rows, columns = torch.tril_indices(*shape[-2:])
    full[..., rows, columns] = values.float()
    return full * scale


@torch.no_grad()
def input_moments(model: Network) -> dict[str, Tensor]:
    """For the weights of linear layers the mean of x xᵀ over their inputs x, [I, I].

    The inputs are those of the model's own samples, which it also encodes. Of a network without a decoder: none.
    """
    if not isinstance(model, SpikingVAE):
        return {}
    sums: dict[str, Tensor] = {}
    counts: dict[str, int] = {}

    def add(name: str, inputs: tuple[Tensor, ...]) -> None:
        x = inputs[0].detach().double().cpu()
        sums[name] = sums.get(name, torch.zeros(())) + x.T @ x
        counts[name] = counts.get(name, 0) + len(x)

    handles = [
        module.register_forward_pre_hook(lambda _, inputs, name=f"{name}.weight": add(name, inputs))
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and module.weight.numel() >= _WIDE
    ]
    try:
        model.encode(model.sample(_CALIBRATION, seed=0)).mode()
    finally:
        for handle in handles:
            handle.remove()
    return {name: total / counts[name] for name, total in sums.items()}


def _axes(name: str, dimensions: int) -> tuple[int, ...]:
    """Axes that share a scale."""
    if name in _ALONG:
        return (_ALONG[name],)
    return (-1,) if name.startswith(_LAST) else tuple(range(1, dimensions))


def _is_triangular(name: str, shape: tuple[int, ...]) -> bool:
    return name == _TRIANGULAR and len(shape) == 4


def _is_packed(name: str, tensor: Tensor) -> bool:
    """Whether a weight takes 4 bits. The decoder's kernels do not: its images show their error."""
    is_kernel = tensor.dim() > 2 and name not in _ALONG
    return tensor.numel() >= _WIDE and not (is_kernel and not name.startswith("encoder."))


def _best_scale(tensor: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Of every row the scale with the least squared error."""
    widest = tensor.abs().amax(dim=axes, keepdim=True) / _LARGEST4
    widest = torch.where(widest > 0, widest, 1.0)
    scales = [widest * shrink for shrink in _SHRINKS]
    errors = [(_nearest(tensor, scale) * scale - tensor).square().sum(dim=axes, keepdim=True) for scale in scales]
    best = torch.stack(errors).argmin(dim=0, keepdim=True)
    return torch.stack(scales).gather(0, best)[0]


def _nearest(tensor: Tensor, scale: Tensor) -> Tensor:
    return (tensor / scale).round().clamp(_LEAST4, _LARGEST4)


def _rounded_for(weight: Tensor, scale: Tensor, moment: Tensor) -> Tensor:
    """Whole numbers [O, I] whose outputs are close to those of the weight, for inputs with this second moment [I, I].

    Column after column is rounded, and the columns that follow make up for its error as well as they can.

    Source: Frantar et al., GPTQ, arXiv:2210.17323, with its order of columns (largest moment first).
    """
    order = moment.diagonal().argsort(descending=True)
    moment = moment[order][:, order] + 0.01 * moment.diagonal().mean().clamp(min=1e-12) * torch.eye(len(moment))
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(moment))
    spread = torch.linalg.cholesky(inverse, upper=True).float()
    rows, row_scale = weight.float().T[order], scale[:, 0].float()
    numbers, errors = torch.empty_like(rows), torch.empty_like(rows)  # [I, O]
    for column, row in enumerate(rows):
        wanted = row - spread[:column, column] @ errors[:column]
        numbers[column] = _nearest(wanted, row_scale)
        errors[column] = (wanted - numbers[column] * row_scale) / spread[column, column]
    return numbers[order.argsort()].T


def _pack(numbers: Tensor) -> Tensor:
    """Two numbers of 4 bits in a byte, the first one in its lower half."""
    flat = (numbers.flatten() - _LEAST4).to(torch.uint8)
    pairs = nn.functional.pad(flat, (0, len(flat) % 2)).view(-1, 2)
    return pairs[:, 0] | pairs[:, 1] << 4
