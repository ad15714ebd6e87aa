"""Many visitors at once: ``python -m benchmarks.visitors [ADDRESS] --seconds 30``."""

from __future__ import annotations

import json
import random
import socket
import statistics
import sys
import threading
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro
from tyro.conf import Positional, arg

from spikevae.runtime import reuse_freed_memory, sleep_while_waiting


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
    """Serve the page and let visitors ask for pictures; print their waiting times and the memory before and after.

    Args:
        models: Bundled names or folders; the visitors ask for the first one's pictures.
        visitors: How many at once.
        seconds: How long.
        count: Pictures of a request.
    """
    reuse_freed_memory()
    from app.server import running

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with running(models, "127.0.0.1", port, None) as address:
        visit(address, Path(models[0]).name, visitors=visitors, seconds=min(5.0, seconds), count=count)
        before = _memory()
        start = time.monotonic()
        report = visit(address, Path(models[0]).name, visitors=visitors, seconds=seconds, count=count)
        took, after = time.monotonic() - start, _memory()
    if report.failures:
        sys.exit(f"{len(report.failures)} of {report.requests + len(report.failures)} failed: {report.failures[0]}")
    print(
        f"{visitors} visitors, {took:.0f} s: {report.requests:,} requests of {count} pictures, no failure, "
        f"{report.requests / took:.1f} a second\n"
        f"from request to pictures: median {statistics.median(report.seconds):.2f} s, "
        f"95 % within {report.quantile(0.95):.2f} s, longest {max(report.seconds):.2f} s\n"
        f"memory of server and visitors together: {before:.0f} MiB before, {after:.0f} MiB after"
    )


def _memory() -> float:
    """Resident MiB of this process (Linux)."""
    fields = Path("/proc/self/statm").read_text(encoding="ascii").split()
    return int(fields[1]) * 4096 / 2**20


if __name__ == "__main__":
    sleep_while_waiting()  # before torch is imported
    tyro.cli(main, prog="python -m benchmarks.visitors")
