"""What the machine offers, and how to use it well. Called at the edge (command line, app), never at import."""

from __future__ import annotations

import atexit
import ctypes
import functools
import gc
import os
import platform
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -2, -4, -8  # of glibc's mallopt


def reuse_freed_memory(stores: int | None = None) -> bool:
    """Let the C library keep freed memory for the next tensor instead of returning it to the system.

    By default glibc maps every large tensor anew and the system fills it with zeros, page by page: on the CPU that
    costs a spiking layer more time than its arithmetic (measured: 0.36 s against 0.09 s for spikingjelly's LIF layer,
    forward and backward, on [16, 64, 64, 16, 16]). Returns whether the setting took effect (Linux with glibc only).

    Args:
        stores: of freed memory, shared by the threads; to be set before there are threads. Otherwise glibc makes up to
            eight for each core, and in a server, whose threads come and go, each grows as large as a request needs.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    if stores is not None and not mallopt(_M_ARENA_MAX, stores):
        return False
    return bool(mallopt(_M_MMAP_MAX, 0) and mallopt(_M_TRIM_THRESHOLD, 2**31 - 1) and mallopt(_M_TOP_PAD, 2**26))


def sleep_while_waiting() -> None:
    """Let idle threads of the CPU's parallel regions sleep after some 20 microseconds instead of spinning on.

    Must be called before torch is imported. Spinning threads make every small operation up to 200 times slower as soon
    as another program wants the cores; sleeping at once (OMP_WAIT_POLICY=passive) costs a training step 40 % of its
    speed on an idle machine, and this does not.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "20000")


def share_cores() -> None:
    """Give each of several processes its share of the cores, unless the launcher has. Before torch is imported."""
    count = int(os.environ.get("LOCAL_WORLD_SIZE", os.environ.get("WORLD_SIZE", 1)))  # those of this machine
    if count > 1:
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // count)))


def rarely_look_for_cycles() -> None:
    """Let Python look for unreachable cycles of objects after 20,000 new ones in place of 700, and not at its end.

    After importing torch and numba there are 290,000 that stay. Looking through them again and again, and once more
    when all is done, takes a sixth of the time of a command that draws one image (measured: 4.6 s against 3.8 s).
    """
    gc.set_threshold(20_000)
    atexit.register(gc.freeze)


def forget_proxies() -> None:
    """Let nothing of this process go through a proxy: a server that asks itself whether it is up would ask there."""
    for name in [name for name in os.environ if name.lower() in ("http_proxy", "https_proxy", "all_proxy")]:
        del os.environ[name]


def memory_limit() -> int:
    """Bytes of memory that this process may use at most: those of the machine, or of the container that it runs in."""
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")] if hasattr(os, "sysconf") else [2**63]
    with suppress(OSError, ValueError):  # no such file outside Linux; "max" where there is no limit
        limits.append(int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return min(limits)


def check_memory(needed: int, what: str, advice: str, *, memory: str = "memory") -> None:
    """Refuse work that cannot fit the memory, before it is begun.

    Args:
        needed: bytes.
        what: needs them, in the plural.
        advice: what to do instead.
        memory: what for, such as "memory for their frames alone".

    Raises:
        ValueError: if this process may use fewer.
    """
    there = memory_limit()
    if needed > there:
        raise ValueError(
            f"{what} need {needed / 1e9:,.1f} GB of {memory}, and this machine has {there / 1e9:,.1f}; {advice}"
        )


def is_main_process() -> bool:
    """Whether this process writes and prints: the only one, or the first of those that a launcher has started."""
    return int(os.environ.get("RANK", 0)) == 0


def pick_device() -> torch.device:
    """The best device of this machine: CUDA (of several processes, each another card), Apple's MPS, or the CPU."""
    import torch

    if torch.cuda.is_available():
        index = os.environ.get("LOCAL_RANK")
        return torch.device("cuda" if index is None else f"cuda:{int(index) % torch.cuda.device_count()}")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def chosen_device(name: str | None) -> torch.device:
    """The device that ``--device`` names, or else the best that is there.

    Raises:
        ValueError: if this machine has none of this name, or nothing can be computed there.
    """
    import torch

    if name is None:
        return pick_device()
    there = ["cpu", *["cuda"] * torch.cuda.is_available(), *["mps"] * torch.backends.mps.is_available()]
    with suppress(RuntimeError, AssertionError):  # torch's words for a device that is not there
        device = torch.device(name)
        if device.type in there:
            torch.empty(1, device=device)
            return device
    raise ValueError(f"--device {name}: PyTorch has no such device here; use {' or '.join(there)}")


@functools.cache
def prefers_bfloat16(device: torch.device) -> bool:
    """Whether this device multiplies faster in bfloat16 than in float32.

    A GPU that has it does. Of processors with instructions for it some take half of float32's time, others twice as
    much, so a CPU is asked once. One thread multiplies, in turn for both, since another program may hold them up.
    """
    import torch

    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    has_instructions = device.type == "cpu" and torch.cpu.get_capabilities().get("avx512_bf16", False)
    if not has_instructions:
        return False
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    times = [[_product_seconds(dtype) for dtype in (torch.bfloat16, torch.float32)] for _ in range(5)]
    torch.set_num_threads(threads)
    in_bfloat16, in_float32 = map(min, zip(*times, strict=True))
    return bool(in_bfloat16 < in_float32)


def _product_seconds(dtype: torch.dtype) -> float:
    """The shortest of several times of one matrix product on the CPU."""
    import torch

    x, times = torch.ones(512, 512, dtype=dtype), []
    for _ in range(3):
        started = time.perf_counter()
        torch.mm(x, x)
        times.append(time.perf_counter() - started)
    return min(times)


def machine() -> str:
    """What this machine computes on, in a few words."""
    import torch

    count = int(os.environ.get("WORLD_SIZE", 1))
    if torch.cuda.is_available():
        return f"{'one' if count == 1 else count} {torch.cuda.get_device_name()}"
    each = "" if count == 1 else f"{count} processes, each on "
    return (
        f"{each}{torch.get_num_threads()} CPU cores ({platform.machine()}, {torch.backends.cpu.get_cpu_capability()})"
    )
