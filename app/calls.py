"""Calls of the page's functions: only well-formed ones reach Gradio, and only as they are written anew here."""

from __future__ import annotations

import json
import re
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import gradio as gr
from gradio.block_function import BlockFunction

from spikevae.text import printable

from . import limits
from .cleanup import make_room
from .files import Files
from .pictures import PNG_URL

_TEXT = 10_000  # characters of a text, if it is no drawing: 24 favourites with long names of models and classes
_DEPTH, _VALUES = 8, 1000  # of a call's values
_SESSION = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SESSIONS = 10_000  # that are remembered by name; beyond, those that asked longest ago are forgotten
_CALLED = re.compile(r"/gradio_api/call/(v2/)?(\w+)/?")


class BadCall(Exception):  # noqa: N818 - a status and a line, not a failure
    """A call that is refused: a status of HTTP, and a line."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status, self.words = status, words


class Calls:
    """Checks calls against the functions that a page has.

    Args:
        page: whose functions.
        files: what visitors may name.
    """

    def __init__(self, page: gr.Blocks, files: Files) -> None:
        self._page, self._files = page, files
        self._by_number = {number: fn for number, fn in page.fns.items() if fn.fn is not None}
        named = [fn for fn in self._by_number.values() if fn.api_visibility == "public"]
        self._by_name = {fn.api_name: fn for fn in named}
        self._parameters = {
            name.lstrip("/"): entry["parameters"] for name, entry in page.get_api_info()["named_endpoints"].items()
        }
        self._sessions: OrderedDict[str, None] = OrderedDict()  # that asked for something, the latest last

    def checked(self, path: str, body: bytes) -> bytes:
        """The same call, with nothing in it that is not expected.

        Args:
            path: of the request.
            body: JSON.

        Raises:
            BadCall: if there is no such function, or these are no values for it.
        """
        try:
            asked = json.loads(body)
        except (ValueError, RecursionError):
            raise BadCall(400, "The request is not JSON") from None
        if not isinstance(asked, dict):
            raise BadCall(400, "The request is not a JSON object")
        if path == "/gradio_api/queue/join":
            return json.dumps(self._joined(asked)).encode()
        if called := _CALLED.fullmatch(path):
            call = self._named(called[2], asked) if called[1] else self._called(called[2], asked)
            self._require_room(call.get("session_hash"))
            return json.dumps(call).encode()
        return json.dumps(_cancelled(asked)).encode()

    @property
    def is_stopped(self) -> bool:
        """Whether the queue has stopped, so that no call is answered any more."""
        return self._page._queue.stopped

    def knows_session(self, session: str) -> bool:
        """Whether a session waits for answers."""
        return session in self._page._queue.pending_messages_per_session

    def waits_for_nothing(self, session: str) -> bool:
        """Whether a session asked for something, and has had all answers that it will get (some may have been lost)."""
        return session in self._sessions and not self._page._queue.pending_event_ids_session.get(session)

    def knows_event(self, event: str) -> bool:
        """Whether a call has, or will have, an answer."""
        queue = self._page._queue
        waiting = queue.pending_event_ids_session.values()
        return event in queue.event_ids_to_events or self.knows_session(event) or any(event in ids for ids in waiting)

    # ------------------------------------------------------------ details

    def _joined(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        number = asked.get("fn_index")
        if not isinstance(number, int) or isinstance(number, bool) or number not in self._by_number:
            raise BadCall(404, f"There is no function {printable(number, 40)} here")
        trigger = asked.get("trigger_id")
        session = _session(asked.get("session_hash"))
        call = {
            "fn_index": number,
            "data": self._values(self._by_number[number], asked.get("data")),
            "session_hash": session,
            "trigger_id": trigger if isinstance(trigger, int) and abs(trigger) < 2**31 else None,
        }
        self._require_room(session)
        self._remember(session)
        return call | {"event_data": _chosen(asked.get("event_data"))}

    def _called(self, name: str, asked: Mapping[str, Any]) -> dict[str, Any]:
        call = {"data": self._values(self._function(name), asked.get("data"))}
        if asked.get("session_hash") is None:
            return call
        return call | {"session_hash": _session(asked["session_hash"])}

    def _named(self, name: str, asked: Mapping[str, Any]) -> dict[str, Any]:
        self._function(name)
        parameters = self._parameters[name]
        known = [parameter["parameter_name"] for parameter in parameters]
        for given in asked:
            if given not in known:
                raise BadCall(422, f"{name} has no parameter {printable(given, 40)!r}; it takes {', '.join(known)}")
        for parameter in parameters:
            if parameter["parameter_name"] not in asked and not parameter["parameter_has_default"]:
                raise BadCall(422, f"{name} needs {parameter['parameter_name']}; it takes {', '.join(known)}")
        cleaned: dict[str, Any] = {given: self._cleaned(value) for given, value in asked.items()}
        return cleaned

    def _require_room(self, session: str | None) -> None:
        """Refuse a session that asks on and on and fetches no answer, and anyone while all are asking."""
        queue = self._page._queue
        if session is not None and len(queue.pending_event_ids_session.get(session, ())) >= limits.QUEUE_SIZE:
            raise BadCall(
                429, "Too many requests of this page wait; fetch their answers first (/gradio_api/queue/data)"
            )
        if not make_room(queue):
            raise BadCall(503, "Too many requests wait; try again in a little while")

    def _remember(self, session: str) -> None:
        self._sessions[session] = None
        self._sessions.move_to_end(session)
        if len(self._sessions) > _SESSIONS:
            self._sessions.popitem(last=False)

    def _function(self, name: str) -> BlockFunction:
        if name not in self._by_name:
            raise BadCall(404, f"There is no function {printable(name, 40)!r} here; see /gradio_api/info")
        return self._by_name[name]

    def _values(self, fn: BlockFunction, data: object) -> list[Any]:
        if not isinstance(data, list):
            raise BadCall(422, "data is not a list of values")
        counts = {len(fn.inputs), sum(not block.skip_api for block in fn.inputs)}
        if len(data) not in counts:
            raise BadCall(422, f"{fn.api_name or 'the function'} takes {max(counts)} values, {len(data)} were given")
        values: list[Any] = self._cleaned(data)
        return values

    def _cleaned(self, value: Any) -> Any:
        """The same values; of a file only its path, which must be one of this server's."""
        left = _VALUES

        def clean(value: Any, depth: int) -> Any:
            nonlocal left
            left -= 1
            if left < 0 or depth > _DEPTH:
                raise BadCall(422, "The request holds too many values")
            if isinstance(value, str) and len(value) > _TEXT and not value.startswith(PNG_URL):
                raise BadCall(413, f"A text of {len(value):,} characters is too long; give at most {_TEXT:,}")
            if isinstance(value, list):
                return [clean(entry, depth + 1) for entry in value]
            if not isinstance(value, dict):
                return value
            if "path" in value or "url" in value or "meta" in value:
                return self._file(value.get("path"))
            return {clean(name, depth): clean(entry, depth + 1) for name, entry in value.items()}

        return clean(value, 0)

    def _file(self, path: object) -> dict[str, Any]:
        if not self._files.is_input(path):
            words = "A file is named that was not uploaded here, or was deleted; upload it (nothing else is opened)"
            raise BadCall(422, words)
        return {"path": path}


def _chosen(event_data: object) -> dict[str, Any]:
    """Which entry was chosen; what is in it, the functions know themselves."""
    index = event_data.get("index") if isinstance(event_data, dict) else None
    if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < _VALUES:
        return {"index": 0, "value": None, "selected": False}
    return {"index": index, "value": None, "selected": True}


def _session(value: object) -> str:
    if not isinstance(value, str) or not _SESSION.fullmatch(value):
        raise BadCall(422, "session_hash is not 1 to 64 letters and digits")
    return value


def _cancelled(asked: Mapping[str, Any]) -> dict[str, Any]:
    """What /cancel and /reset take."""
    number = asked.get("fn_index", 0)
    if not isinstance(number, int) or abs(number) >= 2**31:
        raise BadCall(422, "fn_index is not a number of a function")
    return {
        "session_hash": _session(asked.get("session_hash", "none")),
        "fn_index": number,
        "event_id": _session(asked.get("event_id")),
    }
