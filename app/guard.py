"""The one layer in front of Gradio: it knows what may pass, and refuses all else in a line."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable
from urllib.parse import parse_qs

from starlette.exceptions import HTTPException

from spikevae.text import printable

from . import limits
from .access import Access
from .calls import BadCall, Calls
from .connections import Connections
from .files import Files
from .incoming import (
    BODY_HEADERS,
    Message,
    Receive,
    Refused,
    Send,
    media_type,
    no_body,
    single_headers,
    whole_body,
    with_body,
)
from .rates import Allowance, visitor_at
from .routes import Kind, kind_of

App = Callable[[Message, Receive, Send], Awaitable[None]]

log = logging.getLogger(__name__)

_FILE = "/gradio_api/file="
_ASSETS = "/assets/"  # scripts and styles, with a hash of their content in each name
_INFO = "/gradio_api/info"
_COSTLY = ("", "/config", _INFO, "/gradio_api/openapi.json")  # to make
_LARGEST_QUERY = 2000  # bytes
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; media-src 'self' blob:; "
    "worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors"
)
_FILE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; sandbox; frame-ancestors"


class Guard:
    """ASGI middleware around the whole server.

    Args:
        app: the server.
        access: who may come in, by which names.
        calls: the page's functions.
        files: what may be fetched.
        requests: counts of those that are being answered. Behind a proxy, its connections say nothing of visitors.
    """

    def __init__(self, app: App, access: Access, calls: Calls, files: Files, requests: Connections) -> None:
        self._app, self._access, self._calls, self._files = app, access, calls, files
        self._requests = requests
        ancestors = " ".join(("'self'", *access.embed_in))
        self._policies = {False: f"{_POLICY} {ancestors}".encode(), True: f"{_FILE_POLICY} {ancestors}".encode()}
        self._guesses = Allowance(limits.GUESSES, limits.GUESSES_PER_SECOND)
        self._pages = Allowance(limits.PAGES, limits.PAGES_PER_SECOND)
        self._all_guesses = Allowance(limits.ALL_GUESSES, limits.ALL_GUESSES_PER_SECOND)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            visitor = _visitor(scope)
            if not self._requests.admit(visitor):
                await _refuse(send, 503, "Too many requests at once; try again", 5)
                return
            try:
                await self._pass(scope, receive, send)
            except (Refused, BadCall) as refused:
                await _refuse(send, refused.status, refused.words, getattr(refused, "wait", None))
            finally:
                self._requests.leave(visitor)

    async def _pass(self, scope: Message, receive: Receive, send: Send) -> None:
        headers = single_headers(scope["headers"])
        path = self._own_path(scope["path"])
        scope = {**scope, "path": path, "raw_path": path.encode(), "headers": self._trusted_headers(scope["headers"])}
        self._check_origin(scope, headers, path)
        if scope["method"] == "OPTIONS" and "origin" in headers:  # of a site that is allowed: the server answers it
            await self._app(scope, receive, send)
            return
        if path.rstrip("/") == _INFO:
            scope["query_string"] = _info_query(scope["query_string"])
        kind = kind_of(scope["method"], path)
        if kind is None:
            raise Refused(404, "There is nothing here")
        self._check_query(scope, path)
        if path == "/" and self._calls.is_stopped:  # whoever asks after the server's health must hear of it
            raise Refused(503, "The server answers no calls any more; it must be started anew")
        if path.rstrip("/") in _COSTLY and (wait := self._pages.take(_visitor(scope))):
            raise Refused(429, "Too many pages from this address; wait a little", wait)
        send = self._with_headers(send, is_file=kind is Kind.FILE, lasts=path.startswith(_ASSETS))
        if kind is Kind.FILE and not self._files.is_output(path.removeprefix(_FILE)):
            raise Refused(404, "There is no such file here, or not any more")
        if kind is Kind.ANSWERS:
            await self._answers(scope, receive, send, path)
        elif kind is Kind.CALL:
            await self._app(*await self._checked_call(scope, receive, headers, path), send)
        elif kind is Kind.LOGIN:
            await self._login(scope, receive, send, headers)
        else:
            await self._app(scope, receive if kind is Kind.UPLOAD else no_body(receive), send)

    # ------------------------------------------------------------ where from, and where to

    def _own_path(self, path: str) -> str:
        """Without what a reverse proxy may have left in front of it."""
        prefix = self._access.path
        return path.removeprefix(prefix) if prefix and path.startswith(f"{prefix}/") else path

    def _trusted_headers(self, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """All but those that would let a visitor choose the page's address, or ask for parts of a file.

        Gradio fails at Range headers of several parts. A server may always send the whole.
        """

        def is_trusted(name: bytes, value: bytes) -> bool:
            text = value.decode("latin-1")
            if name == b"x-forwarded-host":
                return all(self._access.knows_host(host.strip()) for host in text.split(","))
            if name == b"x-forwarded-proto":
                return all(scheme.strip() in ("http", "https") for scheme in text.split(","))
            return name not in (b"x-gradio-server", b"forwarded", b"range", b"if-range")

        return [(name, value) for name, value in headers if is_trusted(name, value)]

    def _check_origin(self, scope: Message, headers: dict[str, str], path: str) -> None:
        host = headers.get("host", "")
        if not self._access.knows_host(host):
            name = printable(host, 60)
            raise Refused(403, f"This server does not go by the name {name!r} (its operator may --allow-host it)")
        origin = headers.get("origin")
        if origin is not None:
            if not self._access.knows_origin(origin, host):
                raise Refused(403, "Requests from pages of other sites are refused")
        elif headers.get("sec-fetch-site") == "cross-site":
            is_visit = scope["method"] in ("GET", "HEAD") and headers.get("sec-fetch-mode") == "navigate"
            if not (is_visit and path == "/"):
                raise Refused(403, "Requests from pages of other sites are refused")

    def _check_query(self, scope: Message, path: str) -> None:
        query = scope["query_string"]
        if len(query) > _LARGEST_QUERY:
            raise Refused(414, "The address is too long")
        if path == "/" and {"deep_link", "page"} & parse_qs(query.decode("latin-1")).keys():
            raise Refused(404, "There is nothing here")  # Gradio would look for a file, or fail

    async def _answers(self, scope: Message, receive: Receive, send: Send, path: str) -> None:
        if path == "/gradio_api/queue/data":
            session = parse_qs(scope["query_string"].decode("latin-1")).get("session_hash", [""])[0]
            if self._calls.waits_for_nothing(session):
                # A slow page asks for what its stream before brought. An error, or silence, would leave it dead.
                await _send(send, 200, b"text/event-stream", b'data: {"msg": "close_stream"}\n\n')
                return
            if not self._calls.knows_session(session):
                raise Refused(404, "There is no such session here, or not any more")
        elif not self._calls.knows_event(path.rsplit("/", 1)[1]):
            raise Refused(404, "There is no such call here, or not any more")
        try:
            await self._app(scope, no_body(receive), send)
        except (HTTPException, RuntimeError, KeyError):  # Gradio's way to say that the session ended meanwhile
            await send({"type": "http.response.body", "body": b""})

    # ------------------------------------------------------------ what they bring

    async def _checked_call(
        self, scope: Message, receive: Receive, headers: dict[str, str], path: str
    ) -> tuple[Message, Receive]:
        if media_type(headers) != "application/json":
            raise Refused(415, "Send JSON, as Content-Type: application/json")
        body = self._calls.checked(path, await whole_body(receive, headers, limits.CALL_BYTES))
        kept = [(name, value) for name, value in scope["headers"] if name not in BODY_HEADERS]
        own = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        return {**scope, "headers": [*kept, *own]}, with_body(body, receive)

    async def _login(self, scope: Message, receive: Receive, send: Send, headers: dict[str, str]) -> None:
        """Let so many passwords be tried; one that is right costs nothing."""
        if media_type(headers) not in ("application/x-www-form-urlencoded", "multipart/form-data"):
            raise Refused(415, "Send a form")
        visitor = _visitor(scope)
        for guesses, key in ((self._guesses, visitor), (self._all_guesses, "")):
            if wait := guesses.take(key):
                log.warning("passwords are guessed from %s", printable(visitor))
                raise Refused(429, "Too many wrong passwords; wait a little", wait)
        body = await whole_body(receive, headers, limits.LOGIN_BYTES)

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start":
                if message["status"] < 400:
                    self._guesses.give_back(visitor)
                    self._all_guesses.give_back("")
                message = {**message, "headers": [_same_site(header) for header in message.get("headers", [])]}
            await send(message)

        await self._app(scope, with_body(body, receive), watched)

    def _with_headers(self, send: Send, *, is_file: bool, lasts: bool) -> Send:
        own = [
            (b"content-security-policy", self._policies[is_file]),
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"no-referrer"),
        ]
        # What one visitor may see no cache on the way keeps for others; a proxy may keep scripts and styles.
        private = b"private" if is_file else b"private, no-cache"

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                is_kept = lasts and message["status"] in (200, 304)
                caching = (b"cache-control", b"public, max-age=31536000, immutable" if is_kept else private)
                given = [header for header in message.get("headers", []) if header[0].lower() not in _NOT_GRADIOS]
                message = {**message, "headers": [*given, *own, caching]}
            await send(message)

        return with_headers


_NOT_GRADIOS = (b"cache-control", b"accept-ranges")  # headers of answers that are ours to give, or untrue here


def _info_query(query: bytes) -> bytes:
    """Ask for the description of the one page: that of all pages names the first asker's Host to everybody."""
    return b"all_endpoints=True" if b"all_endpoints" in query else b"page="


def _visitor(scope: Message) -> str:
    return visitor_at((scope.get("client") or ("",))[0])


def _same_site(header: tuple[bytes, bytes]) -> tuple[bytes, bytes]:
    """A cookie that goes with no request from another site."""
    name, value = header
    if name.lower() != b"set-cookie":
        return header
    parts = [part for part in value.split(b";") if not part.strip().lower().startswith(b"samesite")]
    return name, b";".join([*parts, b" SameSite=Lax"])


async def _refuse(send: Send, status: int, words: str, wait: float | None) -> None:
    headers = [(b"x-content-type-options", b"nosniff")]
    if wait is not None:
        headers.append((b"retry-after", str(int(wait) + 1).encode()))
    await _send(send, status, b"application/json", json.dumps({"detail": words}).encode(), *headers)


async def _send(send: Send, status: int, media_type: bytes, body: bytes, *headers: tuple[bytes, bytes]) -> None:
    own = [(b"content-type", media_type), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*own, *headers]})
    await send({"type": "http.response.body", "body": body})
