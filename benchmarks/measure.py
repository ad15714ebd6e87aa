"""How a figure is taken: sides in turn within one run, medians, processes of their own, and what machine it was."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from tqdm import tqdm

import spikevae

ROOT = Path(__file__).parents[1]
_LEAST_SECONDS = 0.2  # of one timing; what is faster is repeated, and the time divided

Unit = Literal["times faster", "times", "seconds", "images/s", "share"]


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    case: str
    """Name of the case that measured it, as ``--only`` takes it."""
    what: str
    against: str
    """What it is compared with; empty for a figure that stands alone."""
    figure: float
    unit: Unit
    bar: float | None = None
    stretch: float | None = None
    details: dict[str, Any] = field(default_factory=dict)
    """Medians of both sides and all that is behind the figure, by name."""

    @property
    def is_lower_better(self) -> bool:
        return self.unit not in ("times faster", "images/s")

    @property
    def outcome(self) -> str:
        """Whether the bar was reached; empty where there is none."""
        if self.bar is None:
            return ""
        if self._reaches(self.stretch):
            return "stretch reached"
        return "reached" if self._reaches(self.bar) else "not reached"

    def _reaches(self, goal: float | None) -> bool:
        return goal is not None and (self.figure <= goal if self.is_lower_better else self.figure >= goal)


@dataclass(frozen=True)
class Meter:
    """Takes figures.

    Args:
        device: where networks compute.
        runs: rounds, of which the median is reported; a warm-up comes first.
        is_quick: take each figure once and hurriedly, to see whether everything works.
    """

    device: torch.device
    runs: int = 5
    is_quick: bool = False

    def seconds(self, sides: Mapping[str, Callable[[], object]]) -> dict[str, list[float]]:
        """Seconds of one call of each side, in every round. The sides take turns, so that a drift meets all alike."""
        repeats = {}
        for name, call in sides.items():
            call()  # warm-up
            elapsed = self._timed(call, 1)
            repeats[name] = 1 if self.is_quick else max(1, math.ceil(_LEAST_SECONDS / elapsed))
        return self.rounds({name: lambda n=name, c=call: self._timed(c, repeats[n]) for name, call in sides.items()})  # type: ignore[misc]

    def rounds(self, sides: Mapping[str, Callable[[], float]]) -> dict[str, list[float]]:
        """What each side returns, in every round; every other round goes backwards."""
        figures: dict[str, list[float]] = {name: [] for name in sides}
        count = 1 if self.is_quick else self.runs
        with tqdm(total=count * len(sides), unit="figure", leave=False, dynamic_ncols=True) as bar:
            for number in range(count):
                for name in list(sides)[:: -1 if number % 2 else 1]:
                    bar.set_description(name)
                    figures[name].append(sides[name]())
                    bar.update()
        return figures

    def synchronize(self) -> None:
        """Wait for what was asked of an accelerator."""
        if self.device.type != "cpu":
            torch.accelerator.synchronize()

    def _timed(self, call: Callable[[], object], repeats: int) -> float:
        self.synchronize()
        start = time.perf_counter()
        for _ in range(repeats):
            call()
        self.synchronize()
        return (time.perf_counter() - start) / repeats


def ratio(numerators: Sequence[float], denominators: Sequence[float]) -> float:
    """Median over the rounds of the ratio within a round."""
    return statistics.median(a / b for a, b in zip(numerators, denominators, strict=True))


def medians(figures: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """The median of each side."""
    return {name: statistics.median(values) for name, values in figures.items()}


def straight_line(x: Sequence[float], y: Sequence[float]) -> tuple[float, float, float]:
    """The line ``y = intercept + slope x`` with the smallest relative errors (least squares), and the largest of them.

    Returns:
        intercept, slope, and the largest ``|y - line| / line``.
    """
    # Dividing every equation by its y makes the errors relative ones.
    left = torch.tensor([[1 / b, a / b] for a, b in zip(x, y, strict=True)], dtype=torch.float64)
    solution = torch.linalg.lstsq(left, torch.ones(len(x), 1, dtype=torch.float64)).solution
    intercept, slope = (float(value) for value in solution)
    lines = [intercept + slope * a for a in x]
    return intercept, slope, max(abs(b - line) / line for b, line in zip(y, lines, strict=True))


def in_a_process(request: Mapping[str, Any], environment: Mapping[str, str | None] | None = None) -> dict[str, float]:
    """What ``benchmarks.apart`` answers to ``request``; variables that are None are taken out of the environment."""
    command = [sys.executable, "-m", "benchmarks.apart", json.dumps(request)]
    answer: dict[str, float] = json.loads(run(command, environment).splitlines()[-1])
    return answer


def run(command: Sequence[str], environment: Mapping[str, str | None] | None = None) -> str:
    """The output of a program, run from the root of the repository.

    Raises:
        RuntimeError: if it fails; the message is the end of what it said.
    """
    variables: dict[str, str | None] = {**os.environ, **(environment or {})}
    result = subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={name: value for name, value in variables.items() if value is not None},
    )
    if result.returncode:
        raise RuntimeError(f"{' '.join(command[:3])} failed: {result.stderr.strip()[-500:]}")
    return result.stdout


@contextlib.contextmanager
def busy_processes(count: int) -> Iterator[None]:
    """As many other programs that want a core each."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def describe_machine(device: torch.device) -> dict[str, Any]:
    """What the figures were taken on."""
    facts: dict[str, Any] = {
        "device": str(device.type),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}",
        "load_at_start": os.getloadavg()[0],
    }
    if device.type == "cuda":
        facts["accelerator"] = torch.cuda.get_device_name(device)
    return facts


def describe_versions() -> dict[str, str]:
    """What the figures were taken with."""
    libraries = ("torch", "spikingjelly", "numba", "numpy")
    own = {"python": platform.python_version(), "spikevae": spikevae.__version__}
    return own | {name: importlib.metadata.version(name) for name in libraries}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
