"""How loops over sequences of spikes are compiled for the CPU, shared by threads, and what they have in common.

Torch's operators would carry each intermediate value to memory and back. Sequences are passed as they lie in memory,
one-dimensional: float32, the bits of bfloat16 (uint16), or bytes. They are computed in float32. A loop works on
elements ``start`` to ``stop`` of every time step, so that threads can share them (:func:`in_parallel`), and there on
one block at a time that fits the cache.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import numba
import torch
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.caching import FunctionCache
from numba.extending import intrinsic, register_jitable
from torch import Tensor

log = logging.getLogger(__name__)

BLOCK = 512  # elements, about: those of many arrays fit the first cache
_LEAST = 16_384  # elements a thread: fewer are done sooner than it is woken

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """The function as machine code, made at its first call and kept on disk where that can be written."""
    return _compiled(function, set())


def compiled_in_any_order(function: Function) -> Function:
    """:func:`compiled`, but the processor may add up several parts of a sum side by side."""
    return _compiled(function, {"reassoc"})


def _compiled(function: Function, liberties: set[str]) -> Function:
    source = inspect.unwrap(function)  # the tests wrap every function in a check of its types
    loop: Any = numba.njit(source, nogil=True, error_model="numpy", fastmath=liberties)
    # Where a user has no home, numba would make a folder of the name "~".
    has_place = os.path.expanduser("~") != "~" or {"XDG_CACHE_HOME", "NUMBA_CACHE_DIR"} & os.environ.keys()
    with suppress(RuntimeError):  # neither the package's folder nor the user's can be written
        if has_place:
            loop._cache = _ForgivingCache(source)  # type: ignore[no-untyped-call]
    compiled_function: Function = loop
    return compiled_function


class _ForgivingCache(FunctionCache):
    """Machine code on disk. A damaged file or a full disk costs the time to compile once more, and nothing else.

    Loops have parts and constants of other files in them, so a change of any file here makes all anew: numba itself
    looks at the file of the loop alone.
    """

    def _index_key(self, sig: Any, codegen: Any) -> Any:
        return (*super()._index_key(sig, codegen), _sources())  # type: ignore[no-untyped-call]

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """What was kept for these types, or None."""
        try:
            return super().load_overload(sig, target_context)  # type: ignore[no-untyped-call]
        except Exception as error:  # whatever a damaged file makes pickle and LLVM raise
            log.debug("%s is made anew: %s", self.cache_path, error)
            with suppress(OSError):
                self.flush()  # type: ignore[no-untyped-call]  # else saving would read the damaged file too
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep it if that is possible."""
        try:
            super().save_overload(sig, data)  # type: ignore[no-untyped-call]
        except OSError as error:
            log.debug("compiled code is not kept: %s", error)


@functools.lru_cache(maxsize=1)
def _sources() -> str:
    """A hash of all files that loops are made of."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


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
def fused_multiply_add(context: Any, a: Any, b: Any, c: Any) -> Any:
    """``a b + c``, rounded as torch's vectorised operators do."""

    def generate(target: Any, builder: Any, signature: Any, args: Any) -> Any:
        return multiply_add(builder, *args)

    return types.float32(types.float32, types.float32, types.float32), generate


@machine_code
def wide(context: Any, number: Any) -> Any:
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
def narrow(context: Any, number: Any, x: Any) -> Any:
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
def copy(x: Any, into: Any) -> None:
    for i in range(len(into)):  # numba takes seconds to compile an assignment of slices
        into[i] = x[i]


@part
def repeat(x: Any, into: Any) -> None:
    for first in range(0, len(into), len(x)):
        copy(x, into[first : first + len(x)])


@part
def whole_rows(channels: int) -> int:
    """Elements of a small block of whole rows [C]."""
    return max(1, BLOCK // channels) * channels


@part
def add(x: Any, sums: Any) -> None:
    for i in range(len(x)):
        sums[i] += wide(x[i])


@part
def add_by_channel(x: Any, sums: Any) -> None:
    """To each of ``sums`` [C], or several rows of it, what ``x`` [..., C] has of its channel."""
    for first in range(0, len(x), len(sums)):
        add(x[first : first + len(sums)], sums)
