"""What visitors leave behind on the server, and its removal.

Gradio keeps a little of every session for ever; and its own cleaner of files (``delete_cache``) stops for good at the
first request that comes while it looks through them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import gradio as gr
from gradio.queueing import Queue

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

        async def forget() -> None:
            # A page fetches its answers a moment after it asked, and may find them fetched by its stream before.
            finished.append(finished_sessions(page._queue))
            if len(finished) == _LOOKS:
                forget_finished_sessions(page._queue, set.intersection(*finished))

        async def delete() -> None:
            await asyncio.to_thread(delete_old_files, page, files)

        # Answers that nobody fetches. Those that somebody waits for are far fewer, and newer.
        page._queue.pending_messages_per_session.max_size = 4 * limits.QUEUE_SIZE
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


def finished_sessions(queue: Queue) -> set[str]:
    """Sessions that wait for nothing. To be called by the event loop that the queue runs in."""
    waiting, mailboxes = queue.pending_event_ids_session, queue.pending_messages_per_session
    return {name for name in waiting.keys() | mailboxes.keys() if not waiting.get(name) or name not in mailboxes}


def forget_finished_sessions(queue: Queue, sessions: set[str]) -> None:
    """Drop the mailboxes of those of some sessions that wait for nothing. To be called as above."""
    for session in sessions & finished_sessions(queue):
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
