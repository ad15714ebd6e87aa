"""A compiled loop over mixtures of Gaussians in a few directions of a large space."""

from __future__ import annotations

from typing import Any

import numpy as np

from spikevae.ops.cpu.compile import BLOCK, compiled_in_any_order


@compiled_in_any_order
def draw(
    mean: Any,
    basis: Any,
    centre: Any,
    factor: Any,
    group: Any,
    component: Any,
    noise: Any,
    drawn: Any,
    start: int,
    stop: int,
) -> None:
    """``drawn[n] <- mean[g] + basis[g] (centre[g, m] + factor[g, m] noise[n])``, added in float64.

    Args:
        mean: [K, D].
        basis: [K, D, R].
        centre: [K, M, R].
        factor: [K, M, R, R] lower triangles, or [K, M, R (R + 1) / 2], row after row.
        group, component: [N] g and m, so ordered that equal groups follow each other.
        noise: [N, R], float64.
        drawn: [N, D], float64, written.
        start, stop: of N.
    """
    size, rank = basis.shape[1:]
    is_packed = factor.shape[2] < rank * rank
    coordinates = np.empty((stop - start, rank), np.float64)
    for n in range(start, stop):
        triangle, row = factor[group[n], component[n]], 0
        for i in range(rank):
            total = 0.0
            for j in range(i + 1):
                total += np.float64(triangle[row + j]) * noise[n, j]
            coordinates[n - start, i] = np.float64(centre[group[n], component[n], i]) + total
            row += i + 1 if is_packed else rank
    first = start
    while first < stop:
        last = first + 1
        while last < stop and group[last] == group[first]:
            last += 1
        here, origin = basis[group[first]], mean[group[first]]
        for begin in range(0, size, BLOCK):  # so many rows of a basis stay in the cache for all that need them
            for n in range(first, last):
                for d in range(begin, min(begin + BLOCK, size)):
                    total = 0.0
                    for r in range(rank):
                        total += np.float64(here[d, r]) * coordinates[n - start, r]
                    drawn[n, d] = np.float64(origin[d]) + total
        first = last
