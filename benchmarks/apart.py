"""One measurement in a process of its own: ``python -m benchmarks.apart REQUEST`` prints a JSON object.

What needs it: peak memory, of which a process has one, and settings that a process has from its start.
"""

from __future__ import annotations

import contextlib
import json
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.subjects import build, layer_pass, our_layer, training_step, work
from spikevae.config import ModelConfig, from_dict
from spikevae.runtime import reuse_freed_memory

_STATUS = Path("/proc/self/status")
_SMALL = 131_072  # elements of an operation that is over before a thread has woken up


def peak_memory(request: dict[str, Any]) -> dict[str, float]:
    """Bytes that two calls of a subject need on top of the libraries and of the network with its input.

    On the CPU: growth of the process's largest resident size; on an accelerator: of the largest allocated size.
    Gradients, the optimizer's state and all temporary tensors are in it.
    """
    device = torch.device(request["device"])
    _subject(request, device, batch=2)()  # what the first call of all loads and compiles is not the subject's
    call = _subject(request, device, request["batch"])
    forget_largest_size(device)
    before = largest_size(device)
    call()
    call()
    return {"bytes": max(largest_size(device) - before, resource.getpagesize())}


def _subject(request: dict[str, Any], device: torch.device, batch: int) -> Callable[[], object]:
    config = from_dict(ModelConfig, request["config"])
    model = build(request["network"], config, device)
    return work(request["subject"], model, config, batch, device, request["precision"])


def speed(request: dict[str, Any]) -> dict[str, float]:
    """Seconds of a training step and of a spiking layer (unless ``is_small``), and of a small operation, on the CPU."""
    cpu = torch.device("cpu")
    x = torch.rand(_SMALL)
    answer = {"small": _median_seconds(lambda: x * x, 51)}
    if not request["is_small"]:
        config = from_dict(ModelConfig, request["config"])
        step = training_step(build("ours", config, cpu), config, request["batch"], cpu)
        answer["training"] = _median_seconds(step, 3)
        answer["layer"] = _median_seconds(layer_pass(our_layer(), torch.rand(request["layer"]) * 2), 3)
    return answer


def largest_size(device: torch.device) -> int:
    """Bytes of memory that this process has held at most."""
    if device.type != "cpu":
        torch.accelerator.synchronize()
        return torch.accelerator.max_memory_allocated()
    if _STATUS.exists():  # Linux. Its ru_maxrss would not do: a process inherits that of the one that started it
        (line,) = (line for line in _STATUS.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def forget_largest_size(device: torch.device) -> None:
    """Start from what is in use now: importing the libraries may for a moment have needed more."""
    if device.type != "cpu":
        torch.accelerator.reset_peak_memory_stats()
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")


def _median_seconds(call: Callable[[], object], count: int) -> float:
    call()
    seconds = []
    for _ in range(count):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def main() -> None:
    """Answer the request of the command line."""
    request = json.loads(sys.argv[1])
    if request["keep_memory"]:
        reuse_freed_memory()
    answer = {"memory": peak_memory, "speed": speed}[request["what"]](request)
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
