"""A request as it comes in: its headers and its body, read no further than is safe."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from . import limits

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

BODY_HEADERS = (b"content-type", b"content-length", b"transfer-encoding", b"content-encoding")


class Refused(Exception):  # noqa: N818 - a status and a line, not a failure
    """A request that is not answered but refused: a status of HTTP, and a line."""

    def __init__(self, status: int, words: str, wait: float | None = None) -> None:
        super().__init__(words)
        self.status, self.words, self.wait = status, words, wait


def single_headers(headers: list[tuple[bytes, bytes]]) -> dict[str, str]:
    """By name. A header that is given twice would be read differently by different parts."""
    found: dict[str, str] = {}
    for name, value in headers:
        text = name.decode("latin-1")
        if text in found and text in ("host", "origin", "content-type", "content-length", "sec-fetch-site"):
            raise Refused(400, f"The header {text} is given twice")
        found[text] = value.decode("latin-1")
    if "transfer-encoding" in found and "content-length" in found:  # the server goes by the first alone
        raise Refused(400, "The request says twice how long it is (Transfer-Encoding and Content-Length)")
    return found


def media_type(headers: dict[str, str]) -> str:
    """Of the body, without its parameters, in small letters."""
    return headers.get("content-type", "").split(";")[0].strip().lower()


async def whole_body(receive: Receive, headers: dict[str, str], most: int) -> bytes:
    """The whole body, if it is small and comes in time."""
    too_large = Refused(413, f"The request is larger than {most:,} bytes")
    if (length := headers.get("content-length", "0")).isdigit() and int(length[:20]) > most:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(limits.BODY_SECONDS):
            while True:
                message = await receive()
                body += message.get("body", b"")
                if len(body) > most:
                    raise too_large
                if message["type"] != "http.request" or not message.get("more_body", False):
                    return bytes(body)
    except TimeoutError:
        raise Refused(408, f"The request did not come within {limits.BODY_SECONDS:g} s") from None


def with_body(body: bytes, receive: Receive) -> Receive:
    """First the body, then whatever comes."""
    sent = False

    async def again() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def no_body(receive: Receive) -> Receive:
    """What follows a request that brings nothing: its end."""

    async def watched() -> Message:
        while (message := await receive())["type"] == "http.request" and message.get("more_body", False):
            pass
        return {**message, "body": b""} if message["type"] == "http.request" else message

    return watched
