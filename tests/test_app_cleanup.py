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
from typing import Any, cast

import gradio as gr
import pytest
from gradio.queueing import Event, Queue
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient

from app import cleanup, limits
from app.access import Access
from app.calls import Calls
from app.connections import Connections
from app.files import Files
from app.guard import Guard
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


@pytest.fixture
def queue() -> Queue:
    """A queue that computes nothing yet."""
    return Queue(
        live_updates=False,
        concurrency_count=1,
        update_intervals=1,
        max_size=None,
        blocks=gr.Blocks(),
        default_concurrency_limit=1,
    )


def asked(queue: Queue, session: str, *, done: bool) -> str:
    """The name of a call that a session made, and that waits or has an answer which was not fetched."""
    with gr.Blocks() as page:
        gr.Button().click(lambda: None, concurrency_id="model")
    (fn,) = page.fns.values()
    event = Event(session, fn, cast(Any, None), None)
    queue.create_event_queue_for_fn(fn)
    queue.pending_messages_per_session.setdefault(session, asyncio.Queue())
    queue.pending_event_ids_session.setdefault(session, set()).add(event._id)
    if not done:
        queue.event_ids_to_events[event._id] = event
        queue.event_queue_per_concurrency_id["model"].queue.append(event)
    return event._id


def test_only_sessions_that_wait_are_remembered(queue: Queue) -> None:
    mailboxes, waiting = queue.pending_messages_per_session, queue.pending_event_ids_session
    for session, events in {"waits": {"a"}, "was answered": set(), "lost its mailbox": {"b"}}.items():
        mailboxes[session] = asyncio.Queue()
        waiting[session] = events
    del mailboxes["lost its mailbox"]
    mailboxes["went away"] = asyncio.Queue()
    cleanup.forget_finished_sessions(queue, cleanup.finished_sessions(queue))
    assert set(mailboxes) == set(waiting) == {"waits"}


def test_no_mailbox_is_dropped_of_a_call_that_waits_or_is_computed(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "ANSWERS", 8)
    for number in range(3):
        asked(queue, f"waits {number}", done=False)
    queue.active_jobs = [[queue.event_queue_per_concurrency_id["model"].queue.pop(0)]]
    for number in range(50):
        assert cleanup.make_room(queue)
        asked(queue, f"is done {number}", done=True)
        assert sum(map(len, queue.pending_event_ids_session.values())) <= limits.ANSWERS
    kept = {"waits 0", "waits 1", "waits 2", "is done 49", "is done 48"}
    assert kept <= queue.pending_messages_per_session.keys()
    assert "is done 0" not in queue.pending_messages_per_session
    queue.broadcast_estimations("model")  # it failed, and the queue stopped, where a mailbox was missing


def test_a_call_is_refused_where_all_that_is_remembered_waits(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ANSWERS", 3)
    asked(queue, "waits, and fetches nothing", done=True)
    for _ in range(2):
        asked(queue, "waits, and fetches nothing", done=False)
    assert not cleanup.make_room(queue)
    assert len(queue.pending_event_ids_session["waits, and fetches nothing"]) == 3


def test_an_answer_that_nobody_fetches_is_dropped_after_a_while(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    over: dict[str, float] = {}
    for session in ("old", "waits"):
        asked(queue, session, done=True)
    asked(queue, "waits", done=False)
    cleanup.forget_unfetched(queue, over)
    now += limits.ANSWER_SECONDS - 1
    asked(queue, "young", done=True)
    cleanup.forget_unfetched(queue, over)
    assert queue.pending_messages_per_session.keys() == {"old", "waits", "young"}
    now += 2
    cleanup.forget_unfetched(queue, over)
    assert queue.pending_messages_per_session.keys() == {"waits", "young"}
    now += limits.ANSWER_SECONDS
    cleanup.forget_unfetched(queue, over)
    assert queue.pending_messages_per_session.keys() == queue.pending_event_ids_session.keys() == {"waits"}


def test_a_call_that_gradio_lost_is_forgotten(queue: Queue) -> None:
    lost, waiting = asked(queue, "lost", done=False), asked(queue, "waits", done=False)
    queue.event_queue_per_concurrency_id["model"].queue.pop(0)
    cleanup.forget_unfetched(queue, {})
    assert lost not in queue.event_ids_to_events
    assert waiting in queue.event_ids_to_events


def test_answers_that_nobody_fetches_do_not_stop_the_queue(
    tiny_release: Path, monkeypatch: pytest.MonkeyPatch, unused_port: int
) -> None:
    monkeypatch.setattr(limits, "ANSWERS", 12)
    with running([str(tiny_release)], Access(port=unused_port)) as address:
        visitor = Visitor(address)
        call = "/gradio_api/call/random_seed"
        events = []
        for _ in range(40):
            visitor.post("/gradio_api/call/sample", {"data": ["tiny", 64, 0, "any", 1.0]})
            status, body = visitor.post(call, {"data": []})
            if status == 200:
                events.append(json.loads(body)["event_id"])
        assert visitor.get(f"{call}/{events[0]}") == 404
        while (answer := visitor.call("sample", ["tiny", 1, 0, "any", 1.0]))[0] == "503":
            threading.Event().wait(0.1)
        assert answer[0] == "complete"
        assert visitor.get("/") == 200


@pytest.mark.parametrize(("stopped", "status"), [(False, 200), (True, 503)])
def test_a_server_whose_queue_has_stopped_says_so_on_its_page(tmp_path: Path, stopped: bool, status: int) -> None:
    with gr.Blocks() as page:
        gr.Button()
    page._queue.stopped = stopped
    files = Files(tmp_path)
    guard = Guard(PlainTextResponse("the page"), Access(), Calls(page, files), files, Connections(9, 9, frozenset()))
    assert TestClient(guard, "http://localhost").get("/").status_code == status


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
