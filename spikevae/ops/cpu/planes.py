"""Compiled loops over planes: all places of a time step, image and channel."""

from __future__ import annotations

from typing import Any

import numpy as np

from spikevae.ops.cpu.compile import compiled, copy, fused_multiply_add, narrow, part, repeat, whole_rows, wide


@compiled
def scale_planes(x: Any, factor: Any, scaled: Any, channels: int, start: int, stop: int) -> None:
    """``scaled <- factor x``, plane by plane.

    Args:
        x, scaled: [P, places, C], P steps and images; ``scaled`` is written, and may be ``x``.
        factor: [P, C] float32.
        channels: C.
        start, stop: of P.
    """
    length, size = whole_rows(channels), len(x) * channels // len(factor)
    factors, block = np.empty(length, np.float32), np.empty(length, np.float32)
    for plane in range(start, stop):
        repeat(factor[plane * channels : (plane + 1) * channels], factors)
        for first in range(plane * size, (plane + 1) * size, length):
            last = min(first + length, (plane + 1) * size)
            _scale(x[first:last], factors, block, scaled[first:last])


@part
def _scale(x: Any, factor: Any, block: Any, scaled: Any) -> None:
    for i in range(len(x)):
        block[i] = wide(x[i]) * factor[i]
    for i in range(len(scaled)):  # apart: a loop that may read what it has written is not vectorised
        scaled[i] = narrow(block[i], scaled)


@compiled
def sum_gated(
    spikes: Any, gates: Any, weights: Any, summed: Any, channels: int, images: int, start: int, stop: int
) -> None:
    """``summed <- sum_t weights[t] gates[t] spikes[t]``.

    Args:
        spikes: [T, N, places, C] bytes.
        gates: [T, N, C] float32.
        weights: [T] float32.
        summed: [N, places, C] float32, written.
        channels: C.
        images: N.
        start, stop: of N.
    """
    length, size = whole_rows(channels), len(summed) // images
    factors, block = np.empty((len(weights), length), np.float32), np.empty(length, np.float32)
    for image in range(start, stop):
        for t in range(len(weights)):
            plane = t * images + image
            repeat(gates[plane * channels : (plane + 1) * channels], factors[t])
        for first in range(0, size, length):
            count = min(length, size - first)
            block[:] = 0
            for t in range(len(weights)):
                here = (t * images + image) * size + first
                _add_gated(spikes[here : here + count], factors[t], weights[t], block)
            copy(block, summed[image * size + first : image * size + first + count])


@part
def _add_gated(spikes: Any, factor: Any, weight: Any, sums: Any) -> None:
    for i in range(len(spikes)):
        sums[i] = fused_multiply_add(wide(spikes[i]) * factor[i], weight, sums[i])


@compiled
def split_gated(x: Any, spikes: Any, gates: Any, channels: int, start: int, stop: int) -> bool:
    """Write which elements are not 0, and the value that all of these have in a plane.

    Args:
        x: [P, places, C].
        spikes: [P, places, C] bytes, written.
        gates: [P, C] float32, written; 0 where nothing fires.
        channels: C.
        start, stop: of P.

    Returns:
        Whether every plane holds at most one value beside 0.
    """
    length, size = whole_rows(channels), len(x) * channels // len(gates)
    found, others = np.empty(length, np.float32), np.zeros(length, np.float32)
    for plane in range(start, stop):
        found[:] = 0
        for first in range(plane * size, (plane + 1) * size, length):
            last = min(first + length, (plane + 1) * size)
            _find(x[first:last], found, others)
            _mark(x[first:last], spikes[first:last])
        _merge(found, others, gates[plane * channels : (plane + 1) * channels])
        if others.any():
            return False
    return True


@part
def _find(x: Any, found: Any, others: Any) -> None:
    for i in range(len(x)):
        value = wide(x[i])
        fires = value != np.float32(0)
        others[i] += np.float32(1) if fires and found[i] != np.float32(0) and found[i] != value else np.float32(0)
        found[i] = value if fires else found[i]


@part
def _mark(x: Any, spikes: Any) -> None:
    for i in range(len(spikes)):
        spikes[i] = narrow(np.float32(1) if wide(x[i]) != np.float32(0) else np.float32(0), spikes)


@part
def _merge(found: Any, others: Any, gates: Any) -> None:
    """Of the rows [.., C] of a block one."""
    channels = len(gates)
    for c in range(channels):
        gates[c] = 0
        for i in range(c, len(found), channels):
            if found[i] != 0:
                if gates[c] != 0 and gates[c] != found[i]:
                    others[c] += 1
                gates[c] = found[i]
