"""Compiled loops over sequences of neurons, in which every element is read once and written once."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from spikevae.ops.cpu.compile import add_by_channel, compiled, copy, fused_multiply_add, narrow, part, whole_rows, wide


@part
def _charge(x: Any, scale: Any, shift: Any, leak: Any, v: Any, h: Any) -> None:
    """One step: potentials before the reset, and after it, of neurons that receive scaled and shifted currents."""
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


@compiled
def fire(
    x: Any,
    stride: int,
    scale: Any,
    shift: Any,
    leak: Any,
    spikes: Any,
    count: int,
    sums: Any,
    image: int,
    start: int,
    stop: int,
) -> None:
    """Spikes of neurons that start at rest.

    Args:
        x: currents, step after step, ``stride`` elements apart (0: one step, shown at all).
        scale, shift: of the currents, a block of them, that repeats.
        leak: 1 / tau, float32.
        spikes: written; [T * count]; may be ``x``.
        count: M, neurons.
        sums: [T, N, C], zeros: the spikes of each plane are added. Empty: they are not wanted.
        image: neurons of an image, if sums are wanted; then they divide ``start`` and ``stop``.
    """
    block, time_steps = len(scale), len(spikes) // count
    channels = len(sums) * image // len(spikes)
    v, h = np.empty(block, np.float32), np.empty(block, np.float32)
    totals = np.empty((time_steps, whole_rows(channels)), np.float32)
    length = image if channels else stop - start
    for begin in range(start, stop, length):
        totals[:] = 0
        for first in range(begin, begin + length, block):
            size = min(block, begin + length - first)
            v[:] = 0
            for t in range(time_steps):
                here = t * stride + first
                _charge(x[here : here + size], scale, shift, leak, v, h)
                here = t * count + first
                _emit(h, spikes[here : here + size])
                if channels:
                    add_by_channel(spikes[here : here + size], totals[t])
        if channels:
            for t in range(time_steps):
                plane = (t * count + begin) // image * channels
                add_by_channel(totals[t], sums[plane : plane + channels])


@part
def _where_fired(grad: Any, h: Any, kept: Any) -> None:
    for i in range(len(grad)):
        kept[i] = wide(grad[i]) if h[i] >= np.float32(1) else np.float32(0)


@compiled
def sum_where_fired(
    x: Any,
    stride: int,
    scale: Any,
    shift: Any,
    leak: Any,
    grad: Any,
    count: int,
    sums: Any,
    image: int,
    start: int,
    stop: int,
) -> None:
    """To ``sums`` [T, N, C] add what ``grad`` [T * count] is where neurons fire; the rest as in :func:`fire`."""
    block, time_steps = len(scale), len(grad) // count
    channels = len(sums) * image // len(grad)
    v, h, kept = np.empty(block, np.float32), np.empty(block, np.float32), np.empty(block, np.float32)
    totals = np.empty((time_steps, whole_rows(channels)), np.float32)
    for begin in range(start, stop, image):
        totals[:] = 0
        for first in range(begin, begin + image, block):
            size = min(block, begin + image - first)
            v[:] = 0
            for t in range(time_steps):
                here = t * stride + first
                _charge(x[here : here + size], scale, shift, leak, v, h)
                here = t * count + first
                _where_fired(grad[here : here + size], h, kept)
                add_by_channel(kept[:size], totals[t])
        for t in range(time_steps):
            plane = (t * count + begin) // image * channels
            add_by_channel(totals[t], sums[plane : plane + channels])


@part
def _repeat(rows: Any, step: int, first: int, channels: int, repeated: Any) -> None:
    """Of each time step the row [C] that begins ``first`` elements after the step does, until ``repeated`` is full."""
    for t in range(len(repeated)):
        row = rows[t * step + first : t * step + first + channels]
        for i in range(0, repeated.shape[1], channels):
            copy(row, repeated[t, i : i + channels])


@part
def _through_gate(grad: Any, factors: Any, addends: Any, spike_grad: Any) -> None:
    """Gradient of spikes from that of gated spikes; factors and addends are rows of their plane."""
    for first in range(0, len(grad), len(factors)):
        last = min(first + len(factors), len(grad))
        _scale_and_add(grad[first:last], factors, addends, spike_grad[first:last])


@part
def _scale_and_add(x: Any, factors: Any, addends: Any, into: Any) -> None:
    for i in range(len(x)):
        into[i] = fused_multiply_add(wide(x[i]), factors[i], addends[i])


@part
def _push_back(grad: Any, h: Any, leak: Any, slope: Any, later: Any, grad_x: Any) -> None:
    """One step backwards: ``dx[t] = leak ds/dh grad[t] + (1 - leak) (1 - s[t]) dx[t+1]``, s held fixed.

    ``ds/dh = slope / 2 / (1 + (pi / 2 slope (h - 1))^2)``.
    """
    least, steepness = np.float32(2) / slope, np.float32(math.pi**2 / 2) * slope
    for i in range(len(grad)):
        beyond = h[i] - np.float32(1)
        through = wide(grad[i]) / fused_multiply_add(steepness * beyond, beyond, least)
        carried = np.float32(0) if beyond >= np.float32(0) else later[i]
        later[i] = fused_multiply_add(leak, through - carried, carried)
    for i in range(len(grad_x)):  # apart: a loop that may read what it has written is not vectorised
        grad_x[i] = narrow(later[i], grad_x)


@part
def _add_moments(now: Any, x: Any, mean: Any, total: Any, product: Any) -> None:
    for i in range(len(x)):
        total[i] += now[i]
        product[i] = fused_multiply_add(now[i], wide(x[i]) - mean[i], product[i])


@part
def _moved(now: Any, h: Any, before: Any, size: int) -> float:
    """``sum dx (h - v)``, v the potentials after the reset of the step before, whose h is ``before``."""
    total = 0.0
    for i in range(size):
        v = np.float32(0) if before[i] >= np.float32(1) else before[i]
        total += float(now[i] * (h[i] - v))
    return total


@compiled
def push_back(
    x: Any,
    stride: int,
    scale: Any,
    shift: Any,
    leak: Any,
    slope: Any,
    grad: Any,
    grad_x: Any,
    mean: Any,
    channels: int,
    count: int,
    wants_leak: bool,
    factor: Any,
    addend: Any,
    image: int,
    start: int,
    stop: int,
) -> Any:
    """Gradient of the scaled and shifted currents from that of the (gated) spikes; potentials are computed again.

    Args:
        x, stride, scale, shift, leak, count: those of :func:`fire`.
        slope: of the arctan surrogate, float32.
        grad: [T * count], of what the layer sends.
        grad_x: [T * count], written.
        mean: of the currents, a block of them, that repeats.
        channels: C, the period in which scale and shift repeat; 0: no sums are wanted.
        wants_leak: whether the last sum is.
        factor, addend: [T, N, C]: the gradient of the spikes is ``factor grad + addend``. Empty: it is ``grad``.
        image: neurons of an image, if there are factors; then they divide ``start`` and ``stop``.

    Returns:
        [2 C + 1], float64: by channel ``sum dx`` and ``sum dx (x - mean)``; ``leak^2`` times the gradient of ``leak``.
    """
    time_steps, block = len(grad) // count, len(scale)
    sums = np.zeros(2 * channels + 1)
    h = np.zeros((time_steps + 1, block), np.float32)  # the first row: at rest
    v, later = np.empty(block, np.float32), np.empty(block, np.float32)
    total, product = np.empty(block, np.float32), np.empty(block, np.float32)
    gated, spike_grad = len(factor) > 0, np.empty(block, np.float32)
    gates = len(factor) * image // len(grad)
    factors = np.empty((time_steps, whole_rows(gates)), np.float32)
    addends = np.empty((time_steps, whole_rows(gates)), np.float32)
    length = image if gated else stop - start
    for begin in range(start, stop, length):
        if gated:
            plane = begin // image * gates
            _repeat(factor, len(factor) // time_steps, plane, gates, factors)
            _repeat(addend, len(factor) // time_steps, plane, gates, addends)
        for first in range(begin, begin + length, block):
            size = min(block, begin + length - first)
            v[:] = 0
            later[:] = 0
            total[:] = 0
            product[:] = 0
            for t in range(time_steps):
                here = t * stride + first
                _charge(x[here : here + size], scale, shift, leak, v, h[t + 1])
            for t in range(time_steps - 1, -1, -1):
                here = t * count + first
                if gated:
                    _through_gate(grad[here : here + size], factors[t], addends[t], spike_grad)
                    _push_back(spike_grad[:size], h[t + 1], leak, slope, later, grad_x[here : here + size])
                else:
                    _push_back(grad[here : here + size], h[t + 1], leak, slope, later, grad_x[here : here + size])
                if channels:
                    here = t * stride + first
                    _add_moments(later, x[here : here + size], mean, total, product)
                if wants_leak:
                    sums[-1] += _moved(later, h[t + 1], h[t], size)
            if channels:
                add_by_channel(total[:size], sums[:channels])
                add_by_channel(product[:size], sums[channels:-1])
    return sums


@compiled
def normalise_back(x: Any, grad: Any, mean: Any, of_grad: Any, of_x: Any, constant: Any, start: int, stop: int) -> None:
    """``grad <- of_grad grad + of_x (x - mean) + constant``; all but ``x`` and ``grad`` a block, that repeats."""
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
