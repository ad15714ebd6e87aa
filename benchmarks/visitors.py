"""Many visitors at once: ``python -m benchmarks.visitors [ADDRESS] --seconds 30``."""

from __future__ import annotations

import contextlib
import functools
import json
import random
import resource
import socket
import statistics
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro
from tyro.conf import Positional, arg

_WARM_UP_SECONDS = 10.0  # meanwhile the server fills what it keeps a fixed number of


@dataclass
class Report:
    """What the visitors met with."""

    seconds: list[float] = field(default_factory=list)
    """From each request to its pictures."""
    failures: list[str] = field(default_factory=list)

    @property
    def requests(self) -> int:
        """How many were answered rightly."""
        return len(self.seconds)

    def quantile(self, share: float) -> float:
        """Seconds that so large a share of the requests took at most."""
        return sorted(self.seconds)[min(int(share * self.requests), self.requests - 1)]


def visit(address: str, model: str, *, visitors: int, seconds: float, count: int = 4) -> Report:
    """Let visitors ask for pictures one after the other, each of them until the time is over.

    Two visitors who ask for the same seed must be given the same files; anything else counts as a failure.

    Args:
        address: where the page is served.
        model: whose pictures.
        visitors: how many at once.
        seconds: how long; a request that has begun is waited for.
        count: pictures of a request.
    """
    report, lock = Report(), threading.Lock()
    first: dict[int, list[str]] = {}
    end = time.monotonic() + seconds

    def stay(visitor: int) -> None:
        wishes = random.Random(visitor)
        while True:
            seed, start = wishes.randrange(8), time.monotonic()
            try:
                files = _sample(address, model, count, seed)
            except Exception as error:
                with lock:
                    report.failures.append(f"{type(error).__name__}: {error}")
                return
            with lock:
                report.seconds.append(time.monotonic() - start)
                if first.setdefault(seed, files) != files:
                    report.failures.append(f"seed {seed} gave other pictures")
            if time.monotonic() > end:
                return

    threads = [threading.Thread(target=stay, args=(visitor,)) for visitor in range(visitors)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return report


def _sample(address: str, model: str, count: int, seed: int) -> list[str]:
    """The pictures' files, whose names follow from their content; the first one is fetched too."""
    call = f"{address}/gradio_api/call/sample"
    body = json.dumps({"data": [model, count, seed, "any", 1.0]}).encode()
    request = urllib.request.Request(call, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as answer:
        event = json.loads(answer.read())["event_id"]
    with urllib.request.urlopen(f"{call}/{event}", timeout=120) as answer:
        events = answer.read().decode().strip().split("\n\n")
    kind, data = events[-1].split("\n", 1)
    if kind != "event: complete":
        raise RuntimeError(events[-1][:200])
    pictures: list[dict[str, Any]] = [entry["image"] for entry in json.loads(data.removeprefix("data: "))[0]]
    with urllib.request.urlopen(f"{address}/gradio_api/file={pictures[0]['path']}", timeout=120) as answer:
        if not answer.read().startswith(b"\x89PNG"):
            raise RuntimeError("the file is no PNG")
    return [picture["path"] for picture in pictures]


def main(
    models: Positional[Annotated[tuple[str, ...], arg(metavar="MODEL ...")]] = ("fashion-mnist",),
    visitors: int = 32,
    seconds: float = 30.0,
    count: int = 4,
) -> None:
    """Serve the page and let visitors ask for pictures; print their waiting times and the server's memory.

    Args:
        models: Bundled names or folders; the visitors ask for the first one's pictures.
        visitors: How many at once.
        seconds: How long.
        count: Pictures of a request.
    """
    with served(models) as (address, process):
        ask = functools.partial(visit, address, Path(models[0]).name, visitors=visitors, count=count)
        ask(seconds=min(_WARM_UP_SECONDS, seconds))
        start = time.monotonic()
        report, memory = watched(lambda: ask(seconds=seconds), process, every=seconds / 5)
        took = time.monotonic() - start
    if report.failures:
        sys.exit(f"{len(report.failures)} of {report.requests + len(report.failures)} failed: {report.failures[0]}")
    first, *later = (f"{size:.0f}" for size in memory)
    print(
        f"{visitors} visitors, {took:.0f} s: {report.requests:,} requests of {count} pictures, no failure, "
        f"{report.requests / took:.1f} a second\n"
        f"from request to pictures: median {statistics.median(report.seconds):.2f} s, "
        f"95 % within {report.quantile(0.95):.2f} s, longest {max(report.seconds):.2f} s\n"
        f"the server's memory: {first} MiB after warming up, then every {seconds / 5:.0f} s {', '.join(later)} MiB"
    )


@contextlib.contextmanager
def served(models: Sequence[str]) -> Iterator[tuple[str, int]]:
    """The page in a process of its own, as `spikevae demo` serves it; gives its address and the process's number."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "app", *models, "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        if not server.stdout.readline():  # it says where it is as soon as it can be visited
            sys.exit("the page could not be served")
        try:
            yield f"http://127.0.0.1:{port}", server.pid
        finally:
            server.terminate()
            server.wait()


def watched(visits: Callable[[], Report], process: int, every: float) -> tuple[Report, list[float]]:
    """What visitors met with, and resident MiB of a process: before, so often meanwhile, and at the end (Linux)."""
    memory = [resident(process)]
    with ThreadPoolExecutor(1) as pool:
        report = pool.submit(visits)
        while not wait([report], timeout=every).done:
            memory.append(resident(process))
        memory.append(resident(process))
    return report.result(), memory


def resident(process: int) -> float:
    """Resident MiB of a process (Linux)."""
    pages = Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * resource.getpagesize() / 2**20


if __name__ == "__main__":
    tyro.cli(main, prog="python -m benchmarks.visitors")
