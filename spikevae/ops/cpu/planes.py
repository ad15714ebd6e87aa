"""Compiled loops over planes: all places of a time step, image and channel."""

from __future__ import annotations

from typing import Any

import numpy as np

from spikevae.ops.cpu.compile import add_by_channel, compiled, copy, fused_multiply_add, narrow, part, whole_rows, wide


@part
def _repeat(row: Any, block: Any) -> None:
    for first in range(0, len(block), len(row)):
        copy(row, block[first : first + len(row)])


@compiled
def scale_planes(x: Any, factor: Any, addend: Any, scaled: Any, channels: int, start: int, stop: int) -> None:
    """``scaled <- factor x + addend``, plane by plane.

    Args:
        x, scaled: [P, places, C], P steps and images; ``scaled`` is written, and may be ``x``.
        factor, addend: [P, C] float32.
        channels: C.
        start, stop: of P.
    """
    length, size = whole_rows(channels), len(x) * channels // len(factor)
    factors, addends = np.empty(length, np.float32), np.empty(length, np.float32)
    block = np.empty(length, np.float32)
    for plane in range(start, stop):
        _repeat(factor[plane * channels : (plane + 1) * channels], factors)
        _repeat(addend[plane * channels : (plane + 1) * channels], addends)
        for first in range(plane * size, (plane + 1) * size, len(factors)):
            last = min(first + len(factors), (plane + 1) * size)
            _scale(x[first:last], factors, addends, block, scaled[first:last])


@part
def _scale(x: Any, factor: Any, addend: Any, block: Any, scaled: Any) -> None:
    for i in range(len(x)):
        block[i] = fused_multiply_add(wide(x[i]), factor[i], addend[i])
    for i in range(len(scaled)):  # apart, as in _push_back
        scaled[i] = narrow(block[i], scaled)


@compiled
def sum_products(x: Any, y: Any, sums: Any, channels: int, start: int, stop: int) -> None:
    """To ``sums`` [P, C] add those over places of ``x y``, [P, places, C] each, as in :func:`scale_planes`."""
    size = len(x) * channels // len(sums)
    total = np.empty(whole_rows(channels), np.float32)
    for plane in range(start, stop):
        total[:] = 0
        for first in range(plane * size, (plane + 1) * size, len(total)):
            last = min(first + len(total), (plane + 1) * size)
            _add_products(x[first:last], y[first:last], total)
        add_by_channel(total, sums[plane * channels : (plane + 1) * channels])


@part
def _add_products(x: Any, y: Any, total: Any) -> None:
    for i in range(len(x)):
        total[i] = fused_multiply_add(wide(x[i]), wide(y[i]), total[i])
