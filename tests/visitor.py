"""A visitor's program, with the standard library alone, that can also be impolite."""

from __future__ import annotations

import contextlib
import http.client
import json
import secrets
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

Headers = Sequence[tuple[str, str]]
FORM = ("Content-Type", "multipart/form-data; boundary=XBOUNDARYX")
JSON = ("Content-Type", "application/json")


class Visitor:
    """Asks a server at an address."""

    def __init__(self, address: str, headers: Headers = ()) -> None:
        parts = urlsplit(address)
        assert parts.hostname is not None
        assert parts.port is not None
        self.host, self.port, self.headers = parts.hostname, parts.port, tuple(headers)

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: Headers = (), timeout: float = 60
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        """Status, headers and body; status 0 where the server hangs up."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout)
        headers = [*self.headers, *headers]
        names = {name.lower() for name, _ in headers}
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            if "host" not in names:
                connection.putheader("Host", f"{self.host}:{self.port}")
            for name, value in headers:
                connection.putheader(name, value)
            if body is not None and not names & {"content-length", "transfer-encoding"}:
                connection.putheader("Content-Length", str(len(body)))
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it answered before all was sent
                connection.endheaders(body)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        except (ConnectionError, http.client.HTTPException):
            return 0, http.client.HTTPMessage(), b""
        finally:
            connection.close()

    def get(self, path: str, *headers: tuple[str, str]) -> int:
        """The status of a GET."""
        return self.ask("GET", path, None, headers)[0]

    def post(self, path: str, value: Any, *headers: tuple[str, str]) -> tuple[int, bytes]:
        """Status and body of a POST of JSON, or of bytes as they are."""
        content = value if isinstance(value, bytes) else json.dumps(value).encode()
        given = headers if any(name.lower() == "content-type" for name, _ in headers) else (JSON, *headers)
        status, _, body = self.ask("POST", path, content, given)
        return status, body

    def upload(self, content: bytes, *headers: tuple[str, str], name: str = "a.png") -> tuple[int, str]:
        """Status, and path on the server or the error."""
        status, body = self.post("/gradio_api/upload", form(content, name), FORM, *headers)
        return status, json.loads(body)[0] if status == 200 else body.decode(errors="replace")

    def call(self, name: str, data: Any) -> tuple[str, Any]:
        """What a program gets: ("complete", data), ("error", {...}), or ("422", the line of the refusal)."""
        status, body = self.post(f"/gradio_api/call/{name}", {"data": data})
        if status != 200:
            return str(status), json.loads(body)["detail"]
        for event, answer in self.events(f"/gradio_api/call/{name}/{json.loads(body)['event_id']}"):
            if event in ("complete", "error"):
                return event, answer
        return "silence", None

    def join(self, number: int, data: Any) -> tuple[str, Any]:
        """What the page gets, for a function's number in /config."""
        session = secrets.token_hex(6)
        asked = {"data": data, "fn_index": number, "session_hash": session}
        status, body = self.post("/gradio_api/queue/join", asked)
        if status != 200:
            return str(status), json.loads(body)["detail"]
        for _, answer in self.events(f"/gradio_api/queue/data?session_hash={session}"):
            if answer.get("msg") == "process_completed":
                return "complete" if answer["success"] else "error", answer["output"]
        return "silence", None

    def events(self, path: str) -> Iterator[tuple[str, Any]]:
        """Server-sent events: their names and data."""
        name = ""
        for line in self.ask("GET", path)[2].decode().splitlines():
            if line.startswith("event: "):
                name = line[7:]
            elif line.startswith("data: "):
                yield name, json.loads(line[6:])


def form(content: bytes, name: str = "a.png", field: str = "files") -> bytes:
    """A form with one file."""
    head = f'--XBOUNDARYX\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"\r\n\r\n'
    return head.encode() + content + b"\r\n--XBOUNDARYX--\r\n"
