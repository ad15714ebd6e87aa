"""A server that has had many visitors is no larger than one that has had a few."""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from gradio.queueing import Queue

from app import cleanup, limits
from app.access import Access
from app.files import Files
from app.server import running
from tests.visitor import Visitor


def ask(address: str, times: int) -> None:
    """As many visitors, one after the other, with one request each."""
    call = f"{address}/gradio_api/call/random_seed"
    for _ in range(times):
        request = urllib.request.Request(call, b'{"data": []}', {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            event = json.loads(answer.read())["event_id"]
        with urllib.request.urlopen(f"{call}/{event}", timeout=60) as answer:
            assert b"event: complete" in answer.read()


def calls(visitor: Visitor) -> list[dict[str, Any]]:
    """What the page can call."""
    return list(json.loads(visitor.ask("GET", "/config")[2])["dependencies"])


def objects() -> int:
    gc.collect()
    return len(gc.get_objects())


def test_visitors_leave_no_objects_behind(
    tiny_release: Path, monkeypatch: pytest.MonkeyPatch, unused_port: int
) -> None:
    monkeypatch.setattr(limits, "SESSIONS", 4)
    with running([str(tiny_release)], Access(port=unused_port)) as address:
        ask(address, 20)
        threading.Event().wait(2 * limits.FORGET_SECONDS)
        before = objects()
        ask(address, 60)
        allowed = before + 3 * 60  # a session that is kept is 200 objects, its empty mailbox is 6
        for _ in range(50):  # what is over is forgotten a little later
            if (found := objects()) <= allowed:
                break
            threading.Event().wait(0.2)
        assert found <= allowed


def test_a_session_is_told_however_late_that_it_has_had_its_answers(
    tiny_release: Path, monkeypatch: pytest.MonkeyPatch, unused_port: int
) -> None:
    monkeypatch.setattr(limits, "FORGET_SECONDS", 0.05)
    with running([str(tiny_release)], Access(port=unused_port)) as address:
        visitor = Visitor(address)
        (number,) = (call["id"] for call in calls(visitor) if call["api_name"] == "random_seed")
        asked = {"fn_index": number, "data": [], "session_hash": "slow"}
        for _ in range(2):
            assert visitor.post("/gradio_api/queue/join", asked)[0] == 200
            answers = [answer["msg"] for _, answer in visitor.events("/gradio_api/queue/data?session_hash=slow")]
            assert answers[-2:] == ["process_completed", "close_stream"]
            for _ in range(2):  # soon, and when its mailbox is gone
                late = [answer["msg"] for _, answer in visitor.events("/gradio_api/queue/data?session_hash=slow")]
                assert late == ["close_stream"]
                threading.Event().wait(1)
        assert visitor.get("/gradio_api/queue/data?session_hash=other") == 404


def test_only_sessions_that_wait_are_remembered() -> None:
    queue = Queue(
        live_updates=False,
        concurrency_count=1,
        update_intervals=1,
        max_size=None,
        blocks=gr.Blocks(),
        default_concurrency_limit=1,
    )
    mailboxes, waiting = queue.pending_messages_per_session, queue.pending_event_ids_session
    for session, events in {"waits": {"a"}, "was answered": set(), "lost its mailbox": {"b"}}.items():
        mailboxes[session] = asyncio.Queue()
        waiting[session] = events
    del mailboxes["lost its mailbox"]
    mailboxes["went away"] = asyncio.Queue()
    cleanup.forget_finished_sessions(queue, cleanup.finished_sessions(queue))
    assert set(mailboxes) == set(waiting) == {"waits"}


def test_gradio_forgets_the_names_of_files_that_are_gone(tmp_path: Path) -> None:
    with gr.Blocks() as page:
        gr.Image()
    (tmp_path / "here.png").write_bytes(b"")
    page.temp_file_sets[-1].update({str(tmp_path / "here.png"), str(tmp_path / "gone.png")})
    cleanup.delete_old_files(page, Files(tmp_path))
    assert page.temp_file_sets[-1] == {str(tmp_path / "here.png")}


def test_tidying_goes_on_after_a_failure(caplog: pytest.LogCaptureFixture) -> None:
    calls: list[int] = []

    async def tidied() -> None:
        calls.append(len(calls))
        if len(calls) == 1:
            raise RuntimeError("a failure of the test's")
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cleanup._every(0, tidied))
    assert calls == [0, 1]
    assert "it is tried again" in caplog.text


@pytest.mark.skipif(sys.platform != "linux", reason="a setting of glibc")
def test_a_servers_threads_share_two_stores_of_freed_memory(tmp_path: Path) -> None:
    code = f"""
import ctypes
import threading

from spikevae.runtime import reuse_freed_memory

if reuse_freed_memory(stores=2):
    library = ctypes.CDLL(None)
    library.malloc.restype = library.fopen.restype = ctypes.c_void_p
    together = threading.Barrier(6)
    threads = [threading.Thread(target=lambda: (together.wait(), library.malloc(1000))) for _ in range(6)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    file = ctypes.c_void_p(library.fopen({str(tmp_path / "stores.xml")!r}.encode(), b"w"))
    library.malloc_info(0, file)
    library.fclose(file)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    report = tmp_path / "stores.xml"
    if not report.exists():
        pytest.skip("another C library than glibc")
    assert report.read_text().count("<heap nr=") <= 2
