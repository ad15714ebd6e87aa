"""Compiled loops over sequences of spikes on the CPU, in which every element is read once and written once.

Torch's operators would carry each intermediate value to memory and back. Sequences are passed as they lie in memory,
one-dimensional: float32, the bits of bfloat16 (uint16), or bytes. They are computed in float32. A loop works on
elements ``start`` to ``stop`` of every time step, so that threads can share them (:func:`in_parallel`), and there on
one block at a time that fits the cache.
"""

from __future__ import annotations

import functools
import inspect
import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numba
import numpy as np
import torch
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, register_jitable
from torch import Tensor

DTYPES = (torch.float32, torch.bfloat16)  # of sequences that the loops write
BLOCK = 2048  # elements, about: those of a few arrays fit the first cache
_PLANE_BLOCK = 512  # the same, where factors are laid out anew for every plane
_LEAST = 16_384  # elements a thread: fewer are done sooner than it is woken

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """The function as machine code, made at its first call and kept on disk where that can be written."""
    source = inspect.unwrap(function)  # the tests wrap every function in a check of its types
    try:
        loop: Function = numba.njit(source, nogil=True, error_model="numpy", cache=True)
    except RuntimeError:  # neither the package's folder nor the user's can be written
        loop = numba.njit(source, nogil=True, error_model="numpy")
    return loop


def part(function: Function) -> Function:
    """A function that compiled ones call."""
    inlined: Function = register_jitable(inspect.unwrap(function))
    return inlined


def in_parallel(loop: Callable[..., Any], *args: Any, count: int, together: int, work: int = 1) -> list[Any]:
    """Run ``loop(*args, start, stop)`` over ``count`` elements, shared by as many threads as torch uses.

    Args:
        loop: compiled.
        count: of elements.
        together: elements that are not separated.
        work: how often each is visited, as by the steps of a sequence.

    Returns:
        What each share gave, in order.
    """
    if not count:
        return []
    threads = max(1, min(torch.get_num_threads(), count * work // _LEAST))
    share = -(-count // (threads * together)) * together
    starts = range(0, count, share)
    waiting = [_threads(os.getpid()).submit(loop, *args, start, min(start + share, count)) for start in starts[1:]]
    first = loop(*args, 0, min(share, count))
    return [first, *(future.result() for future in waiting)]


@functools.lru_cache(maxsize=1)
def _threads(process: int) -> ThreadPoolExecutor:
    # Of one process: a fork has the object, but not its threads.
    return ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="spikevae")


def flat(x: Tensor, count: int | None = None) -> Any:
    """So many elements (as many as ``x`` has) from where it begins, in the order of memory, which they share."""
    view = x.detach().as_strided((x.numel() if count is None else count,), (1,))
    return view.view(torch.uint16).numpy() if x.dtype == torch.bfloat16 else view.numpy()


# ------------------------------------------------------------ numbers


def machine_code(generator: Callable[..., Any]) -> Callable[..., Any]:
    """A function that compiled ones call, from what generates its instructions; it is called without the context."""
    function: Callable[..., Any] = intrinsic(generator)
    return function


def multiply_add(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """Instructions for ``a b + c``, rounded once where the processor has one for that; elsewhere it takes too long."""
    kind = a.type
    name = f"llvm.fmuladd.v{kind.count}f32" if isinstance(kind, ir.VectorType) else "llvm.fmuladd.f32"
    declared = ir.FunctionType(kind, [kind] * 3)
    function = cgutils.get_or_insert_function(builder.module, declared, name)  # type: ignore[no-untyped-call]
    return builder.call(function, (a, b, c))


@machine_code
def _fused(context: Any, a: Any, b: Any, c: Any) -> Any:
    """``a b + c``, rounded as torch's vectorised operators do."""

    def generate(target: Any, builder: Any, signature: Any, args: Any) -> Any:
        return multiply_add(builder, *args)

    return types.float32(types.float32, types.float32, types.float32), generate


@machine_code
def _wide(context: Any, number: Any) -> Any:
    """An element as float32."""

    def generate(target: Any, builder: Any, signature: Any, args: Any) -> Any:
        if number == types.float32:
            return args[0]
        if number == types.uint8:
            return builder.uitofp(args[0], target.get_value_type(types.float32))
        bits = builder.zext(args[0], target.get_value_type(types.uint32))
        return builder.bitcast(builder.shl(bits, bits.type(16)), target.get_value_type(types.float32))

    return types.float32(number), generate


@machine_code
def _narrow(context: Any, number: Any, x: Any) -> Any:
    """A float32 as an element of ``x``: the nearest, the even one in between (a byte: the whole part)."""

    def generate(target: Any, builder: Any, signature: Any, args: Any) -> Any:
        if x.dtype == types.float32:
            return args[0]
        if x.dtype == types.uint8:
            return builder.fptoui(args[0], target.get_value_type(types.uint8))
        bits = builder.bitcast(args[0], target.get_value_type(types.uint32))
        is_odd = builder.and_(builder.lshr(bits, bits.type(16)), bits.type(1))
        bits = builder.lshr(builder.add(bits, builder.add(is_odd, bits.type(0x7FFF))), bits.type(16))
        return builder.trunc(bits, target.get_value_type(types.uint16))

    return x.dtype(number, x), generate


@part
def _copy(x: Any, into: Any) -> None:
    for i in range(len(into)):  # numba takes seconds to compile an assignment of slices
        into[i] = x[i]


@part
def _whole_rows(channels: int) -> int:
    """Elements of a small block of whole rows [C]."""
    return max(1, _PLANE_BLOCK // channels) * channels if channels else 0


@part
def _add(x: Any, sums: Any) -> None:
    for i in range(len(x)):
        sums[i] += _wide(x[i])


@part
def _add_by_channel(x: Any, sums: Any) -> None:
    """To each of ``sums`` [C], or several rows of it, what ``x`` [..., C] has of its channel."""
    for first in range(0, len(x), len(sums)):
        _add(x[first : first + len(sums)], sums)


# ------------------------------------------------------------ neurons


@part
def _charge(x: Any, scale: Any, shift: Any, leak: Any, v: Any, h: Any) -> None:
    """One step: potentials before the reset, and after it, of neurons that receive scaled and shifted currents."""
    is_fast = leak >= np.float32(0.5)  # the nearer end of the way from v to the current is where rounding starts, as
    weight = leak - np.float32(1) if is_fast else leak  # in torch's lerp
    for i in range(len(x)):
        current = _fused(_wide(x[i]), scale[i], shift[i])
        potential = _fused(weight, current - v[i], current if is_fast else v[i])
        h[i] = potential
        v[i] = np.float32(0) if potential >= np.float32(1) else potential


@part
def _emit(h: Any, spikes: Any) -> None:
    for i in range(len(spikes)):
        spikes[i] = _narrow(np.float32(1) if h[i] >= np.float32(1) else np.float32(0), spikes)


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
    totals = np.empty((time_steps, _whole_rows(channels)), np.float32)
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
                    _add_by_channel(spikes[here : here + size], totals[t])
        if channels:
            for t in range(time_steps):
                plane = (t * count + begin) // image * channels
                _add_by_channel(totals[t], sums[plane : plane + channels])


@compiled
def fire_once(
    x: Any, scale: Any, shift: Any, leak: Any, before: Any, after: Any, spikes: Any, start: int, stop: int
) -> None:
    """One step of :func:`fire`, from the potentials [M] ``before``; those ``after`` and ``spikes`` [M] are written."""
    block = len(scale)
    h = np.empty(block, np.float32)
    for first in range(start, stop, block):
        last = min(stop, first + block)
        _copy(before[first:last], after[first:last])
        _charge(x[first:last], scale, shift, leak, after[first:last], h)
        _emit(h, spikes[first:last])


@part
def _push_back(grad: Any, h: Any, leak: Any, slope: Any, later: Any, grad_x: Any) -> None:
    """One step backwards: ``dx[t] = leak ds/dh grad[t] + (1 - leak) (1 - s[t]) dx[t+1]``, s held fixed.

    ``ds/dh = slope / 2 / (1 + (pi / 2 slope (h - 1))^2)``.
    """
    least, steepness = np.float32(2) / slope, np.float32(math.pi**2 / 2) * slope
    for i in range(len(grad)):
        beyond = h[i] - np.float32(1)
        through = _wide(grad[i]) / _fused(steepness * beyond, beyond, least)
        carried = np.float32(0) if beyond >= np.float32(0) else later[i]
        later[i] = _fused(leak, through - carried, carried)
    for i in range(len(grad_x)):  # apart: a loop that may read what it has written is not vectorised
        grad_x[i] = _narrow(later[i], grad_x)


@part
def _add_moments(now: Any, x: Any, mean: Any, total: Any, product: Any) -> None:
    for i in range(len(x)):
        total[i] += now[i]
        product[i] = _fused(now[i], _wide(x[i]) - mean[i], product[i])


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
    start: int,
    stop: int,
) -> Any:
    """Gradient of the scaled and shifted currents from that of the spikes; potentials are computed again.

    Args:
        x, stride, scale, shift, leak, count: those of :func:`fire`.
        slope: of the arctan surrogate, float32.
        grad: [T * count], of the spikes.
        grad_x: [T * count], written; may be ``grad``.
        mean: of the currents, a block of them, that repeats.
        channels: C, the period in which scale and shift repeat; 0: no sums are wanted.
        wants_leak: whether the last sum is.

    Returns:
        [2 C + 1], float64: by channel ``sum dx`` and ``sum dx (x - mean)``; ``leak^2`` times the gradient of ``leak``.
    """
    time_steps, block = len(grad) // count, len(scale)
    sums = np.zeros(2 * channels + 1)
    h = np.zeros((time_steps + 1, block), np.float32)  # the first row: at rest
    v, later = np.empty(block, np.float32), np.empty(block, np.float32)
    total, product = np.empty(block, np.float32), np.empty(block, np.float32)
    for first in range(start, stop, block):
        size = min(block, stop - first)
        v[:] = 0
        later[:] = 0
        total[:] = 0
        product[:] = 0
        for t in range(time_steps):
            here = t * stride + first
            _charge(x[here : here + size], scale, shift, leak, v, h[t + 1])
        for t in range(time_steps - 1, -1, -1):
            here = t * count + first
            _push_back(grad[here : here + size], h[t + 1], leak, slope, later, grad_x[here : here + size])
            if channels:
                here = t * stride + first
                _add_moments(later, x[here : here + size], mean, total, product)
            if wants_leak:
                sums[-1] += _moved(later, h[t + 1], h[t], size)
        if channels:
            _add_by_channel(total[:size], sums[:channels])
            _add_by_channel(product[:size], sums[channels:-1])
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
        value = _fused(of_grad[i], _wide(grad[i]), _fused(of_x[i], _wide(x[i]) - mean[i], constant[i]))
        grad[i] = _narrow(value, grad)


# ------------------------------------------------------------ planes


@part
def _repeat(row: Any, block: Any) -> None:
    for first in range(0, len(block), len(row)):
        _copy(row, block[first : first + len(row)])


@compiled
def scale_planes(x: Any, factor: Any, addend: Any, scaled: Any, channels: int, start: int, stop: int) -> None:
    """``scaled <- factor x + addend``, plane by plane.

    Args:
        x, scaled: [P, places, C], P steps and images; ``scaled`` is written, and may be ``x``.
        factor, addend: [P, C] float32.
        channels: C.
        start, stop: of P.
    """
    length, size = _whole_rows(channels), len(x) * channels // len(factor)
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
        block[i] = _fused(_wide(x[i]), factor[i], addend[i])
    for i in range(len(scaled)):  # apart, as in _push_back
        scaled[i] = _narrow(block[i], scaled)


@compiled
def sum_products(x: Any, y: Any, sums: Any, channels: int, start: int, stop: int) -> None:
    """To ``sums`` [P, C] add those over places of ``x y``, [P, places, C] each, as in :func:`scale_planes`."""
    size = len(x) * channels // len(sums)
    total = np.empty(_whole_rows(channels), np.float32)
    for plane in range(start, stop):
        total[:] = 0
        for first in range(plane * size, (plane + 1) * size, len(total)):
            last = min(first + len(total), (plane + 1) * size)
            _add_products(x[first:last], y[first:last], total)
        _add_by_channel(total, sums[plane * channels : (plane + 1) * channels])


@part
def _add_products(x: Any, y: Any, total: Any) -> None:
    for i in range(len(x)):
        total[i] = _fused(_wide(x[i]), _wide(y[i]), total[i])
