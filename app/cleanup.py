"""What visitors leave behind on the server, and its removal.

Gradio keeps a little of every session for ever; and its own cleaner of files (``delete_cache``) stops for good at the
first request that comes while it looks through them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import gradio as gr
from gradio.queueing import Event, Queue

from . import limits
from .files import Files

log = logging.getLogger(__name__)

_LOOKS = 4  # times in a row that a session waits for nothing before it is forgotten


def tidying(page: gr.Blocks, files: Files) -> Callable[[object], AbstractAsyncContextManager[None]]:
    """A lifespan for the page's server: as long as it runs, it forgets sessions that are over and deletes old files.

    Args:
        page: its queue must be set up.
        files: what is part of the page stays.
    """

    @contextlib.asynccontextmanager
    async def lifespan(server: object) -> AsyncIterator[None]:
        finished: deque[set[str]] = deque(maxlen=_LOOKS)
        over: dict[str, float] = {}

        async def forget() -> None:
            # A page fetches its answers a moment after it asked, and may find them fetched by its stream before.
            finished.append(finished_sessions(page._queue))
            if len(finished) == _LOOKS:
                forget_finished_sessions(page._queue, set.intersection(*finished))
            forget_unfetched(page._queue, over)

        async def delete() -> None:
            await asyncio.to_thread(delete_old_files, page, files)

        # Gradio would drop the oldest mailbox, even of a call that still waits; the next message to it would stop the
        # queue for good. `make_room` bounds them instead.
        page._queue.pending_messages_per_session.max_size = sys.maxsize
        tasks = [
            asyncio.create_task(_every(seconds, tidy))
            for seconds, tidy in ((limits.FORGET_SECONDS, forget), (limits.KEEP_SECONDS / 3, delete))
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    return lifespan


# The following functions are to be called by the event loop that the queue runs in.


def finished_sessions(queue: Queue) -> set[str]:
    """Sessions that wait for nothing."""
    waiting, mailboxes = queue.pending_event_ids_session, queue.pending_messages_per_session
    idle = (waiting.keys() | mailboxes.keys()) - busy_sessions(queue)
    return {name for name in idle if not waiting.get(name) or name not in mailboxes}


def busy_sessions(queue: Queue) -> set[str]:
    """Sessions with a call that is queued or computed. The queue needs their mailboxes."""
    return {event.session_hash for event in _unfinished(queue)}


def forget_finished_sessions(queue: Queue, sessions: set[str]) -> None:
    """Drop the mailboxes of those of some sessions that wait for nothing."""
    for session in sessions & finished_sessions(queue):
        _forget(queue, session)


def forget_unfetched(queue: Queue, over: dict[str, float]) -> None:
    """Drop sessions of which nothing is computed and an answer was not fetched for ``limits.ANSWER_SECONDS``.

    Args:
        queue: of the page.
        over: when each call was first found over, by its name. It is brought up to date.
    """
    now, busy = time.monotonic(), busy_sessions(queue)
    unfetched = {
        event: session
        for session, events in queue.pending_event_ids_session.items()
        if session not in busy
        for event in events
    }
    since = {event: over.get(event, now) for event in unfetched}
    over.clear()
    over.update(since)
    for event, session in unfetched.items():
        if now - since[event] > limits.ANSWER_SECONDS:
            _forget(queue, session)
    # Gradio keeps a call for ever that was cancelled twice at once.
    for name in queue.event_ids_to_events.keys() - {event._id for event in _unfinished(queue)}:
        del queue.event_ids_to_events[name]


def make_room(queue: Queue) -> bool:
    """Drop the oldest answers that nobody fetched where there are too many; whether there is room for one more call."""
    held = sum(map(len, queue.pending_event_ids_session.values()))
    if held >= limits.ANSWERS:
        busy = busy_sessions(queue)
        for session, events in tuple(queue.pending_event_ids_session.items()):
            if held >= limits.ANSWERS and events and session not in busy:
                held -= len(events)
                _forget(queue, session)
    return held < limits.ANSWERS


def _unfinished(queue: Queue) -> list[Event]:
    waiting = [event for events in queue.event_queue_per_concurrency_id.values() for event in events.queue]
    return waiting + [event for job in queue.active_jobs for event in job or ()]


def _forget(queue: Queue, session: str) -> None:
    queue.pending_event_ids_session.pop(session, None)
    queue.pending_messages_per_session.pop(session, None)


def delete_old_files(page: gr.Blocks, files: Files) -> None:
    """Delete what was written more than ``limits.KEEP_SECONDS`` ago, and what Gradio remembers of it."""
    files.delete_old()
    for names in page.temp_file_sets:
        names.difference_update([name for name in tuple(names) if not Path(name).exists()])


async def _every(seconds: float, tidy: Callable[[], Awaitable[None]]) -> None:
    while True:
        await asyncio.sleep(seconds)
        try:
            await tidy()
        except Exception:
            log.exception("tidying up failed; it is tried again")
