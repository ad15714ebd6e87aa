"""Requests of every kind to the demo, most of them spoilt in one place or several."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import app
from tests.visitor import FORM, JSON, form

Request = tuple[str, str, bytes | None, list[tuple[str, str]]]

EXAMPLE = sorted((Path(app.__file__).parent / "examples").glob("*.png"))[0]
VALUES: list[Any] = [None, True, -1, 2**70, 1e308, float("nan"), "", "\0", "\x1b[2J", "ü" * 300, "\ud800", [], {}, [[]]]
VALUES += [
    {"a": 1},
    {"path": "/etc/passwd"},
    {"__type__": "update", "value": 3},
    "../../etc/passwd",
    "http://127.0.0.1:9/",
]
FUNCTIONS = ["sample", "random_seed", "reconstruct", "reconstruct_drawing", "walk_samples", "walk_pictures"]
FUNCTIONS += ["look_inside_sample", "look_inside_picture", "sample_1", "load_example", "nosuch", "a" * 300]
PAGES = [
    "/",
    "/config",
    "/theme.css",
    "/manifest.json",
    "/robots.txt",
    "/logout",
    "/static/img/a.svg",
    "/assets/..%2f..%2fx",
]
PAGES += ["/gradio_api/" + page for page in ("info", "openapi.json", "queue/status", "queue/data", "call/sample/abc")]
PAGES += [
    "/gradio_api/queue/data?session_hash=",
    "/gradio_api/upload_progress?upload_id=a",
    "/gradio_api/file=/etc/passwd",
]
TAILS = ["/", "?a=b", "%00", "%0a", "//", "?label=<b>", "?deep_link=x", "?page=x", "?" + "a" * 3000]
POSTS = ["/gradio_api/queue/join", "/gradio_api/cancel", "/gradio_api/reset", "/login", "/gradio_api/run/sample"]
SESSIONS: list[Any] = ["abc", "", None, 3, "a/b"]
NAMES = ["a.png", "a.svg", "../a.png", "%01", "", "a" * 400]
HEADERS = [
    JSON,
    FORM,
    *(("Content-Type", kind) for kind in ("text/plain", "application/json; charset=utf-16", "", "a/b, c/d")),
    *(("Range", span) for span in ("bytes=5-2", "bytes=0-99999999999", "bytes=-5", "x")),
    *(("Host", name) for name in ("localhost", "x", "a b")),
    *(("X-Forwarded-Host", name) for name in ("a b", "localhost, x")),
    ("X-Forwarded-Proto", "x"),
    ("Origin", "null"),
    ("Cookie", "access-token-a=b; ="),
    ("Accept-Encoding", "br"),
    ("Content-Encoding", "gzip"),
    ("Transfer-Encoding", "chunked"),
    ("If-None-Match", "*"),
    ("If-Range", "x"),
    ("Expect", "x"),
    ("Content-Length", "3"),
]


def spoilt_requests(seed: int, model: str, uploaded: str) -> Iterator[Request]:
    """Method, path, body and headers, without end; the same for the same arguments.

    Args:
        seed: of the choices.
        model: a name that the demo knows.
        uploaded: the path of a file that was uploaded.
    """
    chance = random.Random(seed)
    picture = EXAMPLE.read_bytes()
    values = [*VALUES, {"path": uploaded}, {"path": uploaded, "meta": {"_type": "gradio.FileData"}}]
    pages = [*PAGES, f"/gradio_api/file={uploaded}"]

    def spoilt(content: bytes) -> bytes:
        changed = bytearray(content)
        for _ in range(chance.choice((0, 1, 3, 20))):
            place = chance.randrange(len(changed) + 1)
            changed[place : place + chance.randrange(3)] = chance.randbytes(chance.randrange(4))
        return bytes(changed)

    def visit() -> Request:
        path = chance.choice(pages) + (chance.choice(TAILS) if chance.random() < 0.3 else "")
        return chance.choice(("GET", "GET", "GET", "HEAD", "POST", "OPTIONS", "PATCH")), path, None, []

    def upload() -> Request:
        return "POST", "/gradio_api/upload", spoilt(form(spoilt(picture), chance.choice(NAMES))), [FORM]

    def call() -> Request:
        plain = [model, 1, 0, "any", 1.0, 3]
        count = chance.choice((0, 1, 2, 3, 4, 5, 6, 9))
        data = [chance.choice(values) if chance.random() < 0.3 else plain[place % 6] for place in range(count)]
        asked = {
            "data": data,
            "fn_index": chance.choice([*range(30), -1, "0", None, 1.5]),
            "session_hash": chance.choice([*SESSIONS, f"s{chance.randrange(10**9)}"]),
            "trigger_id": chance.choice([None, 3, "x"]),
            "event_data": chance.choice([None, *values]),
            "event_id": chance.choice(values),
        }
        path = chance.choice([f"/gradio_api/call/{chance.choice(('', 'v2/'))}{chance.choice(FUNCTIONS)}", *POSTS])
        body = json.dumps(chance.choice([asked, asked, asked, data, {"model": model}])).encode()
        return "POST", path, spoilt(body) if chance.random() < 0.3 else body, [JSON]

    while True:
        method, path, body, headers = chance.choice((visit, upload, call, call))()
        yield method, path, body, [*headers, *([chance.choice(HEADERS)] if chance.random() < 0.3 else [])]
