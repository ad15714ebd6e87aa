"""Long attacks on a demo in a process of its own: `make test-security`. Each prints what it measured."""

from __future__ import annotations

import io
import os
import resource
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import app
from tests.requests_spoilt import spoilt_requests
from tests.visitor import Visitor

pytestmark = [
    pytest.mark.security_slow,
    pytest.mark.skipif(sys.platform != "linux", reason="memory and open files are read from /proc"),
]
MODEL = "tiny"
SAMPLE: list[Any] = [MODEL, 1, 0, "any", 1.0]
EXAMPLE = sorted((Path(app.__file__).parent / "examples").glob("*.png"))[0]


@contextmanager
def demo(model: Path, folder: Path, *options: str) -> Iterator[tuple[Visitor, int]]:
    """A demo with its temporary files in a folder; gives a visitor, and the process's number."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "spikevae.cli", "demo", str(model), "--port", str(port), *options]
    environment = {**os.environ, "TMPDIR": str(folder), "PYTHONPATH": os.pathsep.join(sys.path)}
    with (
        (folder.parent / "log").open("w") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment) as server,
    ):
        assert server.stdout is not None
        assert server.stdout.readline()  # it says where it is as soon as it can be visited
        try:
            yield Visitor(f"http://127.0.0.1:{port}"), server.pid
        finally:
            server.terminate()
            server.wait(timeout=60)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "files").mkdir()
    return tmp_path / "files"


def memory(process: int) -> float:
    """Resident MiB of a process with all its descendants."""
    total = int(Path(f"/proc/{process}/statm").read_text().split()[1]) * resource.getpagesize() / 2**20
    for task in Path(f"/proc/{process}/task").iterdir():
        for child in (task / "children").read_text().split():
            total += memory(int(child))
    return total


def log_of(folder: Path) -> str:
    return (folder.parent / "log").read_text()


def file_of(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def test_memory_after_1000_refused_requests_is_as_before(tiny_release: Path, folder: Path) -> None:
    tiff = file_of(Image.fromarray(np.full((4096, 4096), np.nan, np.float32)), "TIFF", compression="tiff_adobe_deflate")
    with demo(tiny_release, folder) as (visitor, process):
        for _ in range(20):
            assert visitor.call("sample", [MODEL, 64, 0, "any", 1.0])[0] == "complete"
        _, path = visitor.upload(tiff)
        _, text = visitor.upload(b"no picture")
        kinds: list[Callable[[], Any]] = [
            lambda: visitor.call("reconstruct", [MODEL, {"path": text}, "auto"])[0],
            lambda: visitor.post("/gradio_api/call/sample", b'{"data":["' + b"a" * 11_900_000)[0],
            lambda: visitor.post("/gradio_api/call/sample", b'{"data":["' + b"a" * 500_000)[0],
            lambda: visitor.post("/gradio_api/call/sample", b"[" * 500_000)[0],
            lambda: visitor.post("/gradio_api/call/sample", b'{"data":[' + b"{}," * 170_000 + b"{}]}")[0],
            lambda: visitor.call("sample", [MODEL, "m" * 1900, 0, "any", 1.0])[0],
            lambda: visitor.call("reconstruct", [MODEL, {"path": "/etc/passwd"}, "auto"])[0],
            lambda: visitor.get("/gradio_api/file=/etc/passwd"),
        ]
        for kind in kinds:  # what is imported and cached at the first of each kind
            kind()
        before = memory(process)
        answers = Counter(kinds[number % len(kinds)]() for number in range(980))
        answers.update(visitor.call("reconstruct", [MODEL, {"path": path}, "auto"])[0] for _ in range(20))
        after = memory(process)
        print(f"1,000 refused requests: {before:,.0f} MiB become {after:,.0f}; {dict(answers)}")
        assert "complete" not in answers
        assert 200 not in answers
        assert after - before < 100
        assert visitor.call("sample", SAMPLE)[0] == "complete"
    assert list(folder.iterdir()) == []


def test_10000_mutated_requests_end_in_an_answer_and_leave_nothing(tiny_release: Path, folder: Path) -> None:
    with demo(tiny_release, folder) as (visitor, process):
        uploaded = visitor.upload(EXAMPLE.read_bytes())[1]
        place = Path(uploaded).parents[1]
        present = set(folder.iterdir())
        requests = spoilt_requests(0, MODEL, uploaded)
        lock = threading.Lock()

        def attack(_: int) -> int:
            with lock:
                method, path, body, headers = next(requests)
            return visitor.ask(method, path, body, headers)[0]

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(attack, range(1000)))
            before = memory(process)
            answers = Counter(pool.map(attack, range(10_000)))
        after = memory(process)
        print(f"10,000 mutated requests: {dict(answers)}; {before:,.0f} MiB become {after:,.0f}")
        log = log_of(folder)
        assert "Traceback" not in log
        assert "\x1b" not in log
        assert not [status for status in answers if status >= 500 and status not in (503, 507)]
        assert answers[0] < 200  # a request that is no HTTP ends its connection
        assert after - before < 100
        assert set(folder.iterdir()) == present  # nothing outside the server's own folder
        assert not [path for path in place.iterdir() if path.name.startswith(".")]
        assert visitor.call("sample", SAMPLE)[0] == "complete"
    assert list(folder.iterdir()) == []


def test_200_calls_at_once_are_taken_up_to_the_queues_length(tiny_release: Path, folder: Path) -> None:
    with demo(tiny_release, folder) as (visitor, _):

        def ask(seed: int) -> int:
            return visitor.post("/gradio_api/call/sample", {"data": [MODEL, 64, seed, "any", 1.0]})[0]

        with ThreadPoolExecutor(200) as pool:
            answers = Counter(pool.map(ask, range(600)))
        print(f"600 calls at once: {dict(answers)}")
        assert set(answers) <= {200, 503}
        assert answers[200] >= 100


def test_uploads_of_one_visitor_are_bounded(tiny_release: Path, folder: Path) -> None:
    with demo(tiny_release, folder) as (visitor, _):
        content = os.urandom(8 * 2**20 - 2000)
        answers = Counter(visitor.upload(number.to_bytes(8, "big") + content)[0] for number in range(50))
        kept = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**20
        print(f"50 uploads of 8 MiB: {dict(answers)}; {kept:,.0f} MiB are kept")
        assert set(answers) == {200, 429}
        assert kept < 390
        assert visitor.call("sample", SAMPLE)[0] == "complete"


def test_half_sent_headers_lock_nobody_out(tiny_release: Path, folder: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 1400:
        pytest.skip(f"no more than {hard} open files are allowed here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (1400, hard))
    links = []
    try:
        with demo(tiny_release, folder) as (visitor, process):
            resource.prlimit(process, resource.RLIMIT_NOFILE, (1024, 1024))
            for _ in range(1100):
                link = socket.create_connection((visitor.host, visitor.port), 5, source_address=("127.0.0.2", 0))
                links.append(link)
                link.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
            status = visitor.ask("GET", "/", timeout=20)[0]
            print(f"beside 1,100 half-sent headers a visitor gets {status}")
            assert status == 200
    finally:
        for link in links:
            link.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_killed_demo_leaves_nothing_after_the_next(tiny_release: Path, folder: Path) -> None:
    with demo(tiny_release, folder) as (visitor, process):
        visitor.call("sample", [MODEL, 64, 0, "any", 1.0])
        os.kill(process, 9)
    assert list(folder.iterdir()) != []
    with demo(tiny_release, folder):
        pass
    assert list(folder.iterdir()) == []


def test_32_visitors_are_served_for_a_minute() -> None:
    from benchmarks.visitors import served, visit

    with served(("fashion-mnist",)) as (address, _):
        report = visit(address, "fashion-mnist", visitors=32, seconds=60.0)
    print(f"32 visitors: {report.requests:,} requests, 95 % within {report.quantile(0.95):.2f} s")
    assert report.failures == []
