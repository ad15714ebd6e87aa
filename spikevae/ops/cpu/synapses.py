"""Compiled loops over synapses on the CPU, whose work is in proportion to the inputs that are not zero.

An input that fires adds its row of weights to what it reaches, LANES outputs at a time, which stay in registers while
all inputs of a place are added; those of the others are never read.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from spikevae.ops.cpu.compile import compiled, machine_code, multiply_add, part

LANES = 32  # outputs that are summed at a time; they divide the outputs
BITS = 8  # inputs that are compared with zero at a time; they divide the inputs
MOST_INPUTS = 2**16  # of a place, whose numbers have 16 bits


class Convolution(NamedTuple):
    """From images [height, width, in_channels] to [out_height, out_width, out_channels]."""

    height: int
    width: int
    in_channels: int
    out_height: int
    out_width: int
    out_channels: int
    kernel: int
    stride: int
    padding: int
    is_transposed: bool


@functools.lru_cache(maxsize=64)
def reached(convolution: Convolution) -> tuple[Any, Any]:
    """Which row, and which column, an input reaches through each place of the kernel, [kernel, size]; -1: none."""
    sides = (convolution.height, convolution.out_height), (convolution.width, convolution.out_width)
    rows, columns = (_along(size, out_size, convolution) for size, out_size in sides)
    return rows, columns


def _along(size: int, out_size: int, convolution: Convolution) -> Any:
    """Of one side."""
    inputs, places = np.arange(size), np.arange(convolution.kernel)[:, None]
    if convolution.is_transposed:
        outputs = inputs * convolution.stride - convolution.padding + places
        is_between = np.zeros_like(outputs, dtype=bool)
    else:
        outputs, rest = np.divmod(inputs + convolution.padding - places, convolution.stride)
        is_between = rest > 0
    return np.where((outputs < 0) | (outputs >= out_size) | is_between, -1, outputs)


@compiled
def convolve(x: Any, weights: Any, y: Any, convolution: Convolution, reach: Any, start: int, stop: int) -> None:
    """Every weight times its input.

    Args:
        x: [P, height, width, in_channels], float32.
        weights: [out_channels / LANES, kernel, kernel, in_channels, LANES], float32.
        y: [P, out_height, out_width, out_channels], float32, written.
        convolution: the sizes.
        reach: that of :func:`reached`.
        start, stop: of P.
    """
    _visit(x, weights, y, convolution, reach, False, start, stop)


@compiled
def convolve_back(x: Any, grad: Any, convolution: Convolution, reach: Any, start: int, stop: int) -> Any:
    """Gradient of the weights from that of ``y``, both laid out as for :func:`convolve`."""
    weights = np.zeros(convolution.out_channels * convolution.kernel**2 * convolution.in_channels, np.float32)
    _visit(x, weights, grad, convolution, reach, True, start, stop)
    return weights


# ------------------------------------------------------------ their parts


def _load(builder: Any, pointer: Any, lanes: int) -> Any:
    vector = builder.load(builder.bitcast(pointer, ir.VectorType(ir.FloatType(), lanes).as_pointer()))
    vector.align = 4
    return vector


def _store(builder: Any, vector: Any, pointer: Any) -> None:
    builder.store(vector, builder.bitcast(pointer, vector.type.as_pointer())).align = 4


def _pointer(target: Any, builder: Any, kind: Any, array: Any, place: Any) -> Any:
    return builder.gep(target.make_array(kind)(target, builder, array).data, [place])


def _repeated(builder: Any, number: Any, lanes: int) -> Any:
    """A vector of the same number."""
    kind = ir.VectorType(ir.FloatType(), lanes)
    single = builder.insert_element(ir.Constant(kind, ir.Undefined), number, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(single, single, ir.Constant(ir.VectorType(ir.IntType(32), lanes), None))


@machine_code
def _nonzero(context: Any, x: Any, place: Any) -> Any:
    """A number whose BITS lowest bits tell which elements of ``x``, from a place on, are not zero."""

    def generate(target: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = _pointer(target, builder, x, *args)
        kind = ir.VectorType(pointer.type.pointee, BITS)
        vector = builder.load(builder.bitcast(pointer, kind.as_pointer()))
        vector.align = kind.element.width // 8 if x.dtype == types.uint8 else 4
        differ = builder.icmp_unsigned if x.dtype == types.uint8 else builder.fcmp_unordered
        bits = differ("!=", vector, ir.Constant(kind, None))
        return builder.zext(builder.bitcast(bits, ir.IntType(BITS)), ir.IntType(64))

    return types.int64(x, types.int64), generate


def _over_rows(count: int, is_backward: bool) -> Callable[..., Any]:
    """For ``count`` outputs i, and j from ``first`` to ``last``: ``y_i += factors[j] rows_i[chosen[j]]``.

    Backwards it is ``rows_i[chosen[j]] += factors[j] y_i``. An output and a row are LANES long. The first output begins
    at ``y_place``, its rows at ``row_place``, and those of the next ones a step further each. Several outputs at a time
    hide how long a single sum takes.
    """

    def over_rows(
        context: Any,
        rows: Any,
        row_place: Any,
        row_step: Any,
        chosen: Any,
        factors: Any,
        first: Any,
        last: Any,
        y: Any,
        y_place: Any,
        y_step: Any,
    ) -> Any:
        def generate(target: Any, builder: Any, signature: Any, args: Any) -> Any:
            integer = ir.IntType(64)

            def each(kind: Any, array: Any, place: Any, step: Any) -> list[Any]:
                places = [builder.add(place, builder.mul(step, integer(i))) for i in range(count)]
                return [_pointer(target, builder, kind, array, place) for place in places]

            row_zeros, y_pointers = each(rows, *args[:3]), each(y, *args[7:])
            loaded = [_load(builder, pointer, LANES) for pointer in y_pointers]
            registers = [cgutils.alloca_once_value(builder, value) for value in loaded]  # type: ignore[no-untyped-call]
            with cgutils.for_range_slice(builder, args[5], args[6], integer(1)) as (j, _):
                factor = _repeated(builder, builder.load(_pointer(target, builder, factors, args[4], j)), LANES)
                index = builder.zext(builder.load(_pointer(target, builder, chosen, args[3], j)), integer)
                for row_zero, register in zip(row_zeros, registers, strict=True):
                    row = builder.gep(row_zero, [builder.mul(index, integer(LANES))])
                    if is_backward:
                        sums = multiply_add(builder, factor, builder.load(register), _load(builder, row, LANES))
                        _store(builder, sums, row)
                    else:
                        sums = multiply_add(builder, factor, _load(builder, row, LANES), builder.load(register))
                        builder.store(sums, register)
            if not is_backward:
                for register, pointer in zip(registers, y_pointers, strict=True):
                    _store(builder, builder.load(register), pointer)
            return target.get_dummy_value()

        place = types.int64
        return types.void(rows, place, place, chosen, factors, place, place, y, place, place), generate

    return over_rows


_add_rows, _add_rows_of_three = (machine_code(_over_rows(count, is_backward=False)) for count in (1, 3))
_add_to_rows, _add_to_rows_of_three = (machine_code(_over_rows(count, is_backward=True)) for count in (1, 3))

# Of every number with BITS bits: the places of those that are set, before the others, and how many they are.
_SET = np.array([sorted(range(BITS), key=lambda i: (not bits >> i & 1, i)) for bits in range(2**BITS)], np.uint16)
_COUNT = np.array([bits.bit_count() for bits in range(2**BITS)])


@part
def list_nonzero(x: Any, gates: Any, channels: int, chosen: Any, values: Any, ends: Any) -> None:
    """Channel and value of what is not zero, place after place of ``x`` [places, channels], and where each place ends.

    Args:
        x: float32; or bytes, where gates have the values of what is not zero.
        gates: [channels] float32; empty where ``x`` has the values.
        channels: of a place.
        chosen: written; BITS longer than ``x``.
        values: written; as long as ``x``.
        ends: written from its second element on.
    """
    count = 0
    for place in range(len(x) // channels):
        first = count
        for channel in range(0, channels, BITS):
            bits = _nonzero(x, place * channels + channel)
            for i in range(BITS):
                chosen[count + i] = _SET[bits, i] + np.uint16(channel)
            count += _COUNT[bits]
        for j in range(first, count):
            values[j] = gates[chosen[j]] if len(gates) else x[place * channels + chosen[j]]
        ends[place + 1] = count


@part
def visit_image(
    weights: Any, outputs: Any, convolution: Any, reach: Any, chosen: Any, values: Any, ends: Any, is_backward: bool
) -> None:
    """For every weight and listed input of an image: ``outputs += weight value``, backwards ``weight += value output``.

    ``reach`` is that of :func:`reached`, and the inputs are those of :func:`list_nonzero`.
    """
    _, width, channels, _, out_width, out_channels, kernel = convolution[:7]
    to_row, to_column = reach
    # What an output receives is added in the order of the kernel's places, from left to right, also if it is turned.
    is_reversed = convolution.is_transposed and not is_backward
    for tile in range(0, out_channels, LANES):
        for ky in range(kernel):
            # The weights of a tile and a row of the kernel fit the first cache: all places take turns.
            rows, step = (tile * kernel + ky * LANES) * kernel * channels, LANES * channels
            for row in range((len(ends) - 1) // width):
                out_row = to_row[ky, row]
                if out_row < 0:
                    continue
                y_row = out_row * out_width * out_channels + tile
                for place in range(width):
                    column = width - 1 - place if is_reversed else place
                    first, last = ends[row * width + column], ends[row * width + column + 1]
                    if first == last:
                        continue
                    if kernel == 3 and min(to_column[0, column], to_column[1, column], to_column[2, column]) >= 0:
                        out, out_step = to_column[0, column], to_column[1, column] - to_column[0, column]
                        y, y_step = y_row + out * out_channels, out_step * out_channels
                        if is_backward:
                            _add_to_rows_of_three(weights, rows, step, chosen, values, first, last, outputs, y, y_step)
                        else:
                            _add_rows_of_three(weights, rows, step, chosen, values, first, last, outputs, y, y_step)
                        continue
                    for kx in range(kernel):
                        if to_column[kx, column] >= 0:
                            here, y = rows + kx * step, y_row + to_column[kx, column] * out_channels
                            if is_backward:
                                _add_to_rows(weights, here, 0, chosen, values, first, last, outputs, y, 0)
                            else:
                                _add_rows(weights, here, 0, chosen, values, first, last, outputs, y, 0)


@part
def _visit(
    x: Any, weights: Any, y: Any, convolution: Any, reach: Any, is_backward: bool, start: int, stop: int
) -> None:
    """For every weight and input of the images: ``y += weight x``, backwards ``weight += x y``."""
    height, width, channels, out_height, out_width, out_channels = convolution[:6]
    size, out_size = height * width * channels, out_height * out_width * out_channels
    chosen, values = np.empty(size + BITS, np.uint16), np.empty(size, np.float32)
    ends, no_gates = np.zeros(height * width + 1, np.int64), np.empty(0, np.float32)
    for image in range(start, stop):
        outputs = y[image * out_size : (image + 1) * out_size]
        list_nonzero(x[image * size : (image + 1) * size], no_gates, channels, chosen, values, ends)
        if not is_backward:
            outputs[:] = 0
        visit_image(weights, outputs, convolution, reach, chosen, values, ends, is_backward)
