"""Points of mixtures of Gaussians that span a few directions of a large space."""

from __future__ import annotations

import torch
from torch import Tensor

from spikevae.ops.cpu import compile
from spikevae.ops.cpu.density import draw
from spikevae.ops.dispatch import may_fuse


def points_of_gaussians(
    mean: Tensor,
    basis: Tensor,
    centre: Tensor,
    factor: Tensor,
    group: Tensor,
    component: Tensor,
    noise: Tensor,
) -> Tensor:
    """``mean[g] + basis[g] @ (centre[g, m] + factor[g, m] @ noise)``, [N, D].

    In float64 on the CPU, so that a point depends neither on the batch that it is drawn in, nor on the device.

    Args:
        mean: [K, D].
        basis: [K, D, R].
        centre: [K, M, R].
        factor: [K, M, R, R], lower triangles; or [K, M, R (R + 1) / 2], their rows one after the other.
        group: [N], g of each point.
        component: [N], m of each point.
        noise: [N, R], float64, on the CPU.
    """
    learns = torch.is_grad_enabled() and any(x.requires_grad for x in (mean, basis, centre, factor, noise))
    if learns or not (
        may_fuse(mean, basis, centre, factor, dtypes=(torch.float32,)) and may_fuse(noise, dtypes=(torch.float64,))
    ):
        return points_of_gaussians_reference(mean, basis, centre, factor, group, component, noise)
    order = group.argsort(stable=True)
    sorted_points = torch.empty(len(noise), mean.shape[1], dtype=torch.float64)
    compile.in_parallel(
        draw, *(each.detach().contiguous().numpy() for each in (mean, basis, centre, factor.flatten(2))),
        *(each[order].detach().numpy() for each in (group, component, noise)), sorted_points.numpy(),
        count=len(noise), together=1, work=basis[0].numel(),
    )  # fmt: skip
    return torch.empty_like(sorted_points).index_copy_(0, order, sorted_points)


def points_of_gaussians_reference(
    mean: Tensor,
    basis: Tensor,
    centre: Tensor,
    factor: Tensor,
    group: Tensor,
    component: Tensor,
    noise: Tensor,
) -> Tensor:
    """The same, by PyTorch."""
    points = torch.empty(len(noise), mean.shape[1], dtype=torch.float64)
    for each in group.unique().tolist():
        rows = group == each
        chosen = component[rows]
        factors = factor[each].cpu()[chosen].double()
        if factors.dim() == 2:
            factors = triangles(factors, basis.shape[2])
        offset = (factors @ noise[rows][:, :, None])[..., 0]
        coordinates = centre[each].cpu().double()[chosen] + offset
        points[rows] = mean[each].cpu().double() + coordinates @ basis[each].cpu().double().T
    return points


def triangles(packed: Tensor, size: int) -> Tensor:
    """Lower triangular matrices [k, B, B] of their rows, one after the other, [k, B (B + 1) / 2]."""
    row, column = torch.tril_indices(size, size)
    matrices = packed.new_zeros(len(packed), size, size)
    matrices[:, row, column] = packed
    return matrices
