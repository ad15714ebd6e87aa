"""Compiled loops over whole stages, image by image: the currents of an image never leave the cache."""

from __future__ import annotations

from typing import Any

import numpy as np

from spikevae.ops.cpu.compile import add_by_channel, compiled, copy, narrow, part, repeat, whole_rows
from spikevae.ops.cpu.neurons import charge
from spikevae.ops.cpu.synapses import BITS, list_nonzero, visit_image


@compiled
def fire_convolved(
    x: Any,
    gates: Any,
    weights: Any,
    convolution: Any,
    reach: Any,
    enlarges: bool,
    scale: Any,
    shift: Any,
    leak: Any,
    spikes: Any,
    sums: Any,
    images: int,
    start: int,
    stop: int,
) -> None:
    """Spikes of neurons that start at rest and receive ``scale current + shift`` of convolved spikes.

    Args:
        x: [T, N, height, width, in_channels], bytes in {0, 1}.
        gates: [T, N, in_channels], float32: how much their spikes count.
        weights: as :func:`spikevae.ops.cpu.synapses.convolve` reads them.
        convolution: the sizes.
        reach: that of :func:`spikevae.ops.cpu.synapses.reached`.
        enlarges: whether the channels of a place, [2, 2, C], become those of as many small places.
        scale, shift: [C], float32.
        leak: 1 / tau, float32.
        spikes: [T, N, H, W, C], bytes in {0, 1}, written.
        sums: [T, N, C], zeros: the spikes of each plane are added.
        images: N.
        start, stop: of N.
    """
    height, width, channels, out_height, out_width, out_channels = convolution[:6]
    size, out_size = height * width * channels, out_height * out_width * out_channels
    chosen, values = np.empty(size + BITS, np.uint16), np.empty(size, np.float32)
    ends = np.zeros(height * width + 1, np.int64)
    currents, small = np.empty(out_size, np.float32), np.empty(out_size if enlarges else 0, np.float32)
    v, length = np.empty(out_size, np.float32), whole_rows(len(scale))
    scales, shifts = np.empty(length, np.float32), np.empty(length, np.float32)
    repeat(scale, scales)
    repeat(shift, shifts)
    for image in range(start, stop):
        v[:] = 0
        for plane in range(image, len(sums) // len(scale), images):
            values_here = gates[plane * channels : (plane + 1) * channels]
            list_nonzero(x[plane * size : (plane + 1) * size], values_here, channels, chosen, values, ends)
            convolved = small if enlarges else currents
            convolved[:] = 0
            visit_image(weights, convolved, convolution, reach, chosen, values, ends, False)
            if enlarges:
                _enlarge(small, out_width * out_channels, out_channels // 2, currents)
            fired = spikes[plane * out_size : (plane + 1) * out_size]
            _fire_step(currents, scales, shifts, leak, v, fired, sums[plane * len(scale) : (plane + 1) * len(scale)])


@part
def _enlarge(x: Any, row: int, part: int, into: Any) -> None:
    """From places of 2 x 2 small places each to the small places, in rows.

    Args:
        x: [height, width, 2, 2, C].
        row: width * 2 * 2 * C.
        part: 2 * C, what lies side by side in both.
        into: [2 height, 2 width, C], written.
    """
    there = 0
    for first in range(0, len(x), row):
        for half in range(2):
            for here in range(first + half * part, first + row, 2 * part):
                copy(x[here : here + part], into[there : there + part])
                there += part


@part
def _fire_step(x: Any, scale: Any, shift: Any, leak: Any, v: Any, spikes: Any, sums: Any) -> None:
    """Spikes of a step of an image [H * W * C], and in ``v`` potentials; ``scale`` and ``shift`` repeat."""
    block = len(scale)
    h, totals = np.empty(block, np.float32), np.zeros(block, np.float32)
    for first in range(0, len(x), block):
        last = min(first + block, len(x))
        charge(x[first:last], scale, shift, leak, v[first:last], h)
        _emit_and_count(h, spikes[first:last], totals)
    add_by_channel(totals, sums)


@part
def _emit_and_count(h: Any, spikes: Any, totals: Any) -> None:
    for i in range(len(spikes)):
        spike = np.float32(1) if h[i] >= np.float32(1) else np.float32(0)
        spikes[i] = narrow(spike, spikes)
        totals[i] += spike
