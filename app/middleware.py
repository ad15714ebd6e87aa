"""What stands between the network and the page: a limit on requests, no errands to other servers, strict headers."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from app import limits

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

_SLACK = 2**20  # bytes of a request beside the file in it (and base64 is a third longer than the picture)
_LARGEST_REQUEST = limits.UPLOAD_BYTES * 4 // 3 + _SLACK
_HEADERS = [
    (
        b"content-security-policy",
        b"default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
        b"img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; media-src 'self' blob:; "
        b"worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
]


class Door:
    """ASGI middleware around Gradio.

    Gradio limits each uploaded file but not the request around it, and it fetches what a visitor names by an http
    address in place of an uploaded file. Here a request is refused that is larger than any that the page sends, or
    that names such an address. The headers keep the browser from talking to anybody else, and from guessing types.
    """

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        if _length(headers) > _LARGEST_REQUEST:
            await _refuse(send, 413, f"The request is larger than {_LARGEST_REQUEST:,} bytes")
            return
        if scope["method"] == "POST" and b"multipart/form-data" not in headers.get(b"content-type", b""):
            body = await _body(receive)
            if body is None:
                await _refuse(send, 413, f"The request is larger than {_LARGEST_REQUEST:,} bytes")
                return
            if _names_address(body):
                await _refuse(send, 422, "Upload the file; this server fetches nothing from other servers")
                return
            receive = _replay(body, receive)
        else:
            receive = _counted(receive)
        await self.app(scope, receive, _with_headers(send))


def _length(headers: dict[bytes, bytes]) -> int:
    given = headers.get(b"content-length", b"0")
    return int(given) if given.isdigit() else 0


async def _body(receive: Receive) -> bytes | None:
    """The whole body; None if it is too large."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return bytes(body)
        body += message.get("body", b"")
        if len(body) > _LARGEST_REQUEST:
            return None
        if not message.get("more_body", False):
            return bytes(body)


def _names_address(body: bytes) -> bool:
    """Whether a file in a JSON body is one on another server."""
    try:
        pending = [json.loads(body)]
    except (ValueError, RecursionError):
        return False
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            pending.extend(value.values())
            path = value.get("path")
            if isinstance(path, str) and path.strip().lower().startswith(("http:", "https:")):
                return True
        elif isinstance(value, list):
            pending.extend(value)
    return False


def _replay(body: bytes, receive: Receive) -> Receive:
    sent = False

    async def again() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def _counted(receive: Receive) -> Receive:
    seen = 0

    async def counted() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        return {"type": "http.disconnect"} if seen > _LARGEST_REQUEST else message

    return counted


def _with_headers(send: Send) -> Send:
    async def with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", []), *_HEADERS]}
        await send(message)

    return with_headers


async def _refuse(send: Send, status: int, words: str) -> None:
    body = json.dumps({"detail": words}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
