"""Compiled loops over sequences of neurons: every element is read once and written once.

All steps of a block of neurons are computed while its potentials lie in the cache. The channels of a place lie side by
side, and a block holds whole places, so that a value for each channel is a block of values, which repeats.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from spikevae.ops.cpu.compile import BLOCK, add, add_by_channel, compiled, copy, fused_multiply_add, narrow, part, wide


class Currents(NamedTuple):
    """What M leaky integrate-and-fire neurons receive: ``scale x + shift``."""

    x: Any
    """Step after step, as it lies in memory."""
    stride: int
    """Elements from a step to the next one; 0: one step, shown at all."""
    scale: Any
    """A block [B], float32."""
    shift: Any
    """Likewise."""
    leak: Any
    """1 / tau, float32."""
    neurons: int
    """M."""
    image: int
    """Neurons of an image, where planes matter: then it divides ``start`` and ``stop``; otherwise 0."""


@part
def charge(x: Any, scale: Any, shift: Any, leak: Any, v: Any, h: Any) -> None:
    """One step: potentials before the reset, and after it."""
    is_fast = leak >= np.float32(0.5)  # the nearer end of the way from v to the current is where rounding starts, as
    weight = leak - np.float32(1) if is_fast else leak  # in torch's lerp
    for i in range(len(x)):
        current = fused_multiply_add(wide(x[i]), scale[i], shift[i])
        potential = fused_multiply_add(weight, current - v[i], current if is_fast else v[i])
        h[i] = potential
        v[i] = np.float32(0) if potential >= np.float32(1) else potential


@part
def _emit(h: Any, spikes: Any) -> None:
    for i in range(len(spikes)):
        spikes[i] = narrow(np.float32(1) if h[i] >= np.float32(1) else np.float32(0), spikes)


@part
def _add_totals(totals: Any, currents: Any, begin: int, sums: Any) -> None:
    """To ``sums`` [T, N, C] add ``totals`` [T, B] of the image whose neurons begin here."""
    channels = len(sums) * currents.image // (len(totals) * currents.neurons)
    for t in range(len(totals)):
        plane = (t * currents.neurons + begin) // currents.image * channels
        add_by_channel(totals[t], sums[plane : plane + channels])


@compiled
def fire(currents: Any, spikes: Any, sums: Any, start: int, stop: int) -> None:
    """Spikes of neurons that start at rest.

    Args:
        currents: :class:`Currents`.
        spikes: [T * M], written; may be the ``x`` of the currents.
        sums: [T, N, C], zeros: the spikes of each plane are added, where planes matter.
        start, stop: of M.
    """
    x, stride, scale, shift, leak, count, image = currents
    block, time_steps = len(scale), len(spikes) // count
    v, h = np.empty(block, np.float32), np.empty(block, np.float32)
    totals = np.empty((time_steps, block), np.float32)
    length = image if image else stop - start
    for begin in range(start, stop, length):
        totals[:] = 0
        for first in range(begin, begin + length, block):
            size = min(block, begin + length - first)
            v[:] = 0
            for t in range(time_steps):
                here = t * stride + first
                charge(x[here : here + size], scale, shift, leak, v, h)
                here = t * count + first
                _emit(h, spikes[here : here + size])
                if image:
                    add(spikes[here : here + size], totals[t])
        if image:
            _add_totals(totals, currents, begin, sums)


@compiled
def fire_once(x: Any, leak: Any, v: Any, spikes: Any, start: int, stop: int) -> None:
    """One step of neurons: their spikes, and in ``v`` the potentials before it become those after it."""
    h, ones, zeros = np.empty(BLOCK, np.float32), np.ones(BLOCK, np.float32), np.zeros(BLOCK, np.float32)
    for first in range(start, stop, BLOCK):
        last = min(first + BLOCK, stop)
        charge(x[first:last], ones, zeros, leak, v[first:last], h)
        _emit(h, spikes[first:last])


@part
def _add_where_fired(grad: Any, h: Any, totals: Any) -> None:
    for i in range(len(grad)):
        totals[i] += wide(grad[i]) if h[i] >= np.float32(1) else np.float32(0)


@compiled
def sum_where_fired(currents: Any, grad: Any, sums: Any, start: int, stop: int) -> None:
    """To ``sums`` [T, N, C] add what ``grad`` [T * M] is where neurons fire, which is computed again."""
    x, stride, scale, shift, leak, count, image = currents
    block, time_steps = len(scale), len(grad) // count
    v, h = np.empty(block, np.float32), np.empty(block, np.float32)
    totals = np.empty((time_steps, block), np.float32)
    for begin in range(start, stop, image):
        totals[:] = 0
        for first in range(begin, begin + image, block):
            size = min(block, begin + image - first)
            v[:] = 0
            for t in range(time_steps):
                here = t * stride + first
                charge(x[here : here + size], scale, shift, leak, v, h)
                here = t * count + first
                _add_where_fired(grad[here : here + size], h, totals[t])
        _add_totals(totals, currents, begin, sums)


@part
def _repeat(planes: Any, currents: Any, begin: int, repeated: Any) -> None:
    """Of ``planes`` [T, N, C] the rows of the image whose neurons begin here, each repeated to a block."""
    channels = len(planes) * currents.image // (len(repeated) * currents.neurons)
    for t in range(len(repeated)):
        plane = (t * currents.neurons + begin) // currents.image * channels
        for first in range(0, repeated.shape[1], channels):
            copy(planes[plane : plane + channels], repeated[t, first : first + channels])


@part
def _push_back(grad: Any, factor: Any, addend: Any, h: Any, leak: Any, slope: Any, later: Any, grad_x: Any) -> None:
    """One step backwards: ``dx[t] = leak ds/dh ds[t] + (1 - leak) (1 - s[t]) dx[t+1]``, s held fixed.

    ``ds[t] = factor grad[t] + addend`` and ``ds/dh = slope / 2 / (1 + (pi / 2 slope (h - 1))^2)``; ``later`` is
    dx[t+1] before, and dx[t] then.
    """
    least, steepness = np.float32(2) / slope, np.float32(math.pi**2 / 2) * slope
    for i in range(len(grad)):
        beyond = h[i] - np.float32(1)
        of_spikes = fused_multiply_add(wide(grad[i]), factor[i], addend[i])
        through = of_spikes / fused_multiply_add(steepness * beyond, beyond, least)
        carried = np.float32(0) if beyond >= np.float32(0) else later[i]
        later[i] = fused_multiply_add(leak, through - carried, carried)
    for i in range(len(grad_x)):  # apart: a loop that may read what it has written is not vectorised
        grad_x[i] = narrow(later[i], grad_x)


@part
def _add_moments(now: Any, x: Any, mean: Any, moments: Any) -> None:
    total, product = moments[0], moments[1]
    for i in range(len(x)):
        total[i] += now[i]
        product[i] = fused_multiply_add(now[i], wide(x[i]) - mean[i], product[i])


@part
def _add_moved(now: Any, h: Any, before: Any, moved: Any) -> None:
    """Add ``dx (h - v)``, v the potentials after the reset of the step before, whose h is ``before``."""
    for i in range(len(moved)):
        v = np.float32(0) if before[i] >= np.float32(1) else before[i]
        moved[i] = fused_multiply_add(now[i], h[i] - v, moved[i])


@compiled
def push_back(
    currents: Any,
    slope: Any,
    grad: Any,
    factor: Any,
    addend: Any,
    grad_x: Any,
    mean: Any,
    wants_leak: bool,
    start: int,
    stop: int,
) -> Any:
    """Gradient of the scaled and shifted currents from that of the gated spikes; potentials are computed again.

    Args:
        currents: those of :func:`fire`.
        slope: of the arctan surrogate, float32.
        grad: [T * M], of what the layer sends.
        factor, addend: [T, N, C]: the gradient of the spikes is ``factor grad + addend``; not read if no planes matter.
        grad_x: [T * M], written.
        mean: of ``x``, a block; empty if the first two sums are not wanted.
        wants_leak: whether the third one is.
        start, stop: of M.

    Returns:
        [3, B], float64: ``sum dx``, ``sum dx (x - mean)`` and ``leak^2`` times the gradient of ``leak``, each spread
        over the places of a block.
    """
    x, stride, scale, shift, leak, count, image = currents
    time_steps, block = len(grad) // count, len(scale)
    sums, moments = np.zeros((3, block)), np.empty((3, block), np.float32)
    h = np.zeros((time_steps + 1, block), np.float32)  # the first row: at rest
    v, later = np.empty(block, np.float32), np.empty(block, np.float32)
    factors, addends = np.ones((time_steps, block), np.float32), np.zeros((time_steps, block), np.float32)
    length = image if image else stop - start
    for begin in range(start, stop, length):
        if image:
            _repeat(factor, currents, begin, factors)
            _repeat(addend, currents, begin, addends)
        for first in range(begin, begin + length, block):
            size = min(block, begin + length - first)
            v[:] = 0
            later[:] = 0
            moments[:] = 0
            for t in range(time_steps):
                here = t * stride + first
                charge(x[here : here + size], scale, shift, leak, v, h[t + 1])
            for t in range(time_steps - 1, -1, -1):
                here = t * count + first
                grad_here, grad_x_here = grad[here : here + size], grad_x[here : here + size]
                _push_back(grad_here, factors[t], addends[t], h[t + 1], leak, slope, later, grad_x_here)
                here = t * stride + first
                if len(mean):
                    _add_moments(later, x[here : here + size], mean, moments)
                if wants_leak:
                    _add_moved(later, h[t + 1], h[t], moments[2, :size])
            for k in range(3):
                add(moments[k, :size], sums[k])
    return sums


@compiled
def normalise_back(x: Any, grad: Any, mean: Any, of_grad: Any, of_x: Any, constant: Any, start: int, stop: int) -> None:
    """``grad <- of_grad grad + of_x (x - mean) + constant``; all but ``x`` and ``grad`` are blocks, which repeat."""
    block = len(mean)
    for first in range(start, stop, block):
        size = min(block, stop - first)
        _normalise_back(x[first : first + size], grad[first : first + size], mean, of_grad, of_x, constant)


@part
def _normalise_back(x: Any, grad: Any, mean: Any, of_grad: Any, of_x: Any, constant: Any) -> None:
    for i in range(len(x)):
        value = fused_multiply_add(
            of_grad[i], wide(grad[i]), fused_multiply_add(of_x[i], wide(x[i]) - mean[i], constant[i])
        )
        grad[i] = narrow(value, grad)
