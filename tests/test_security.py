"""The page on the open internet: no file read, no hold, no fill, no leak."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import re
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from filelock import FileLock
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient

import app
from app import leftovers, limits
from app.access import Access
from app.calls import Calls
from app.connections import Connections
from app.files import Files
from app.guard import Guard
from app.leftovers import private_folder
from app.rates import visitor_at
from app.routes import Kind, kind_of
from app.server import running
from tests.visitor import FORM, JSON, Visitor, form

MODEL = "tiny"
PROXY = "127.0.0.9"
EXAMPLE = sorted((Path(app.__file__).parent / "examples").glob("*.png"))[0]
FOREIGN = (("Origin", "http://evil.invalid"), ("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "no-cors"))
SAMPLE = [MODEL, 1, 0, "any", 1.0]


@pytest.fixture
def visitor(page_address: str) -> Visitor:
    return Visitor(page_address)


@pytest.fixture(scope="module")
def strict(tiny_release: Path) -> Iterator[str]:
    """A server with a password, behind a proxy, whose limits are soon reached."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "VISITOR_BYTES": 10 * 2**16,
            "HEADER_SECONDS": 1.0,
            "BODY_SECONDS": 1.0,
            "CONNECTIONS": 60,
            "GUESSES": 3,
            "QUEUE_SIZE": 4,
        }.items():
            patch.setattr(limits, name, value)
        access = Access(port=port, auth="ann:secret", root_path="/demo", embed_in=["https://b.org"], proxy=[PROXY])
        with running([str(tiny_release)], access) as address:
            yield address


@pytest.fixture(scope="module")
def member(strict: str) -> Visitor:
    """A visitor of the strict server who has logged in."""
    return Visitor(strict, [("Cookie", login(Visitor(strict), "secret")[1])])


def login(visitor: Visitor, password: str) -> tuple[int, str, list[str]]:
    """Status, cookies to send back, and the lines that set them."""
    body = f"username=ann&password={password}".encode()
    status, headers, _ = visitor.ask("POST", "/login", body, [("Content-Type", "application/x-www-form-urlencoded")])
    lines = headers.get_all("set-cookie") or []
    return status, "; ".join(line.split(";")[0] for line in lines), lines


# ---------------------------------------------------------------- no file read


def test_no_file_that_was_not_uploaded_is_opened_in_any_function_and_place(visitor: Visitor, tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(EXAMPLE.read_bytes())
    whole: dict[str, list[Any]] = {
        "sample": SAMPLE,
        "reconstruct": [MODEL, None, "auto"],
        "walk_pictures": [MODEL, None, None, 3],
    }
    whole |= {"walk_pictures": [MODEL, None, None, 3], "look_inside_picture": [MODEL, None]}
    tries = 0
    for path in (
        str(secret),
        "/etc/passwd",
        "/dev/ptmx",
        "/proc/self/environ",
        "../../etc/passwd",
        "http://a.org/b.png",
    ):
        for file in ({"path": path}, {"path": path, "meta": {"_type": "gradio.FileData"}}, {"path": path, "url": path}):
            for name, data in whole.items():
                for place in range(len(data)):
                    kind, answer = visitor.call(name, [*data[:place], file, *data[place + 1 :]])
                    assert (kind, "not uploaded here" in answer) == ("422", True)
                    tries += 1
        for value in (path, [path], [{"path": path}], {"image": {"path": path}}, {"a": [{"b": {"path": path}}]}):
            kind, _ = visitor.call("reconstruct", [MODEL, value, "auto"])
            assert kind in ("422", "error")
    assert tries > 200
    assert visitor.call("sample", SAMPLE)[0] == "complete"


def test_what_was_uploaded_is_opened(visitor: Visitor) -> None:
    status, path = visitor.upload(EXAMPLE.read_bytes())
    assert status == 200
    for file in ({"path": path}, {"path": path, "meta": {"_type": "gradio.FileData"}, "orig_name": "a.png"}):
        assert visitor.call("reconstruct", [MODEL, file, "auto"])[0] == "complete"
    made = visitor.call("sample", SAMPLE)[1][1]["path"]
    assert visitor.call("reconstruct", [MODEL, {"path": made}, "auto"])[0] == "422"  # not uploaded, but made
    assert visitor.get(f"/gradio_api/file={made}") == 200


def test_no_file_is_given_away_but_the_servers_own(visitor: Visitor, tiny_release: Path) -> None:
    made = visitor.call("sample", SAMPLE)[1][1]["path"]
    folder = str(Path(made).parents[2])
    for path in ("/etc/passwd", str(tiny_release / "config.json"), "../../etc/passwd", folder, f"{folder}/.lock",
                 f"{made}/../../../.lock", f"{made}%00", "http://127.0.0.1/", "file:///etc/passwd"):  # fmt: skip
        assert visitor.get(f"/gradio_api/file={path}") in (400, 404)


def test_a_file_is_sent_whole_whatever_part_is_asked_for(visitor: Visitor) -> None:
    made = visitor.call("sample", SAMPLE)[1][1]["path"]
    whole = visitor.ask("GET", f"/gradio_api/file={made}")[2]
    for part in ("bytes=0-10", "bytes=0-0,2-3", "bytes=5-2", "bytes=--5", "bytes=x", "items=0-1"):
        status, headers, sent = visitor.ask("GET", f"/gradio_api/file={made}", None, [("Range", part)])
        assert (status, sent) == (200, whole)
        assert "accept-ranges" not in {name.lower() for name in headers}


def test_an_uploaded_page_is_no_page_of_the_site(visitor: Visitor) -> None:
    for name in ("a.html", "a.svg", "a.png"):
        _, path = visitor.upload(b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>", name=name)
        status, headers, _ = visitor.ask("GET", f"/gradio_api/file={path}")
        assert status == 200
        assert "sandbox" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert name == "a.png" or headers["content-disposition"].startswith("attachment")


# ---------------------------------------------------------------- only what the page needs


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/gradio_api/run/sample"),
        ("POST", "/gradio_api/run/predict"),
        ("POST", "/gradio_api/api/sample/"),
        ("POST", "/api/sample"),
        ("POST", "/gradio_api/process_recording"),
        ("POST", "/gradio_api/component_server"),
        ("POST", "/gradio_api/vibe-edit"),
        ("POST", "/gradio_api/stream/a"),
        ("GET", "/gradio_api/proxy=http://a.org"),
        ("GET", "/gradio_api/file/etc/passwd"),
        ("GET", "/gradio_api/stream/a/b/c/playlist.m3u8"),
        ("GET", "/gradio_api/deep_link?session_hash=a"),
        ("GET", "/?deep_link=../../x"),
        ("GET", "/?page=x"),
        ("GET", "/gradio_api/dev/reload"),
        ("GET", "/gradio_api/custom_component/a/b/c/d"),
        ("GET", "/gradio_api/token"),
        ("GET", "/gradio_api/startup-events"),
        ("GET", "/gradio_api/runs"),
        ("GET", "/monitoring/summary"),
        ("GET", "/static/../../../etc/passwd"),
        ("GET", "/static/%2e%2e/%2e%2e/etc/passwd"),
        ("GET", "//gradio_api/run/sample"),
        ("PUT", "/gradio_api/call/sample"),
        ("DELETE", "/"),
        ("TRACE", "/"),
        ("GET", "/gradio_api/call/nosuch/abc"),
        ("GET", "/gradio_api/queue/data?session_hash=nosuch"),
    ],
)
def test_every_other_route_and_method_is_unknown(visitor: Visitor, method: str, path: str) -> None:
    status, _, _ = visitor.ask(method, path, b"{}" if method == "POST" else None, [JSON])
    assert status in (404, 405)


def test_a_route_is_known_by_all_of_its_path() -> None:
    assert kind_of("GET", "/") is Kind.PAGE
    assert kind_of("POST", "/gradio_api/upload") is Kind.UPLOAD
    for path in ("/gradio_api/upload/x", "/x/gradio_api/upload", "/gradio_api/upload\n", "/assets/../x", "/assets/a\n"):
        assert kind_of("POST", path) is None
        assert kind_of("GET", path) is None


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([("Content-Type", "text/plain")], 415),
        ([("Content-Type", "multipart/form-data; boundary=x")], 415),
        ([JSON, ("Content-Type", "multipart/form-data")], 400),
        ([], 415),
        ([JSON, ("Host", "a"), ("Host", "b")], 400),
    ],
)
def test_a_call_is_json_and_says_so_once(visitor: Visitor, headers: list[tuple[str, str]], status: int) -> None:
    assert visitor.ask("POST", "/gradio_api/call/sample", b'{"data": []}', headers)[0] == status


def test_nothing_is_fetched_from_other_servers(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    import safehttpx

    async def validate(host: str) -> str:
        return "127.0.0.1"  # every name leads to the canary, and counts as public

    monkeypatch.setattr(safehttpx, "async_validate_url", validate)
    with socket.create_server(("127.0.0.1", 0)) as canary:
        heard: list[bytes] = []

        def listen() -> None:
            while True:
                try:
                    connection, _ = canary.accept()
                except OSError:
                    return
                with connection:
                    heard.append(connection.recv(1000))
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

        threading.Thread(target=listen, daemon=True).start()
        url = f"http://canary.example:{canary.getsockname()[1]}/a.png"
        asyncio.run(safehttpx.get(url))
        assert len(heard) == 1
        for path in ("file=", "file/", "proxy=", "stream/"):
            assert visitor.get(f"/gradio_api/{path}{url}") in (400, 404)
        file = {"path": url, "url": url, "meta": {"_type": "gradio.FileData"}}
        for body in (
            json.dumps({"data": [MODEL, file, "auto"]}).encode(),
            json.dumps({"data": [MODEL, file, "auto"]}).encode("utf-16"),
            json.dumps({"data": [MODEL, {**file, "path": url.upper()}, "auto"]}).encode(),
            json.dumps({"data": [MODEL, url, "auto"]}).encode(),
        ):
            for kind in (
                "application/json",
                "application/json; x=multipart/form-data",
                "multipart/form-data",
                "text/plain",
            ):
                for route in (
                    "call/reconstruct",
                    "call/v2/reconstruct",
                    "run/reconstruct",
                    "queue/join",
                    "component_server",
                ):
                    visitor.post(f"/gradio_api/{route}", body, ("Content-Type", kind))
        visitor.call("sample", SAMPLE)
        assert len(heard) == 1
        canary.shutdown(socket.SHUT_RDWR)


# ---------------------------------------------------------------- nobody else's pages


def test_pages_of_other_sites_may_neither_ask_nor_read(visitor: Visitor) -> None:
    own = f"http://{visitor.host}:{visitor.port}"
    assert visitor.upload(b"x", ("Origin", own), ("Sec-Fetch-Site", "same-origin"))[0] == 200
    for headers in (
        FOREIGN,
        (("Origin", "null"),),
        (("Sec-Fetch-Site", "cross-site"),),
        (("Origin", f"{own}.evil.invalid"),),
        (("Origin", "http://[::1"),),
    ):
        assert visitor.upload(b"x", *headers)[0] == 403
        for path in ("/config", "/gradio_api/info", f"/gradio_api/file={EXAMPLE}"):
            status, answer, _ = visitor.ask("GET", path, None, headers)
            assert status == 403
            assert "access-control-allow-origin" not in answer
        preflight = [*headers, ("Access-Control-Request-Method", "POST")]
        assert "access-control-allow-origin" not in visitor.ask("OPTIONS", "/gradio_api/queue/join", None, preflight)[1]
    assert (
        visitor.get("/", ("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "navigate")) == 200
    )  # a link leads here


def test_a_name_that_leads_here_is_not_enough(visitor: Visitor) -> None:
    for path in ("/", "/config", "/gradio_api/info", "/theme.css"):
        status, _, body = visitor.ask("GET", path, None, [("Host", f"evil.invalid:{visitor.port}")])
        assert status == 403
        assert b"--allow-host" in body
        assert visitor.get(path, ("Host", f"localhost:{visitor.port}")) == 200


def test_nobody_chooses_the_pages_address_for_others(visitor: Visitor) -> None:
    forged = (
        ("X-Forwarded-Host", "evil.invalid"),
        ("Forwarded", "host=evil.invalid"),
        ("X-Forwarded-Proto", "javascript"),
    )
    for path in ("/config", "/", "/gradio_api/info"):
        assert b"evil.invalid" not in visitor.ask("GET", path, None, forged)[2]


def test_nobody_chooses_the_pages_address_for_others_by_the_name_that_they_ask_for(tmp_path: Path) -> None:
    with gr.Blocks(analytics_enabled=False) as page:
        text = gr.Textbox()
        gr.Button().click(lambda text: text, text, text, api_name="same")
    server = Starlette()
    gr.mount_gradio_app(server, page, "", ssr_mode=False)
    files = Files(tmp_path)
    access = Access(host="0.0.0.0")  # it goes by every name
    guard = Guard(server, access, Calls(page, files), files, Connections(9, 9, frozenset()))
    visitor = TestClient(guard)
    paths = ("/gradio_api/info", "/gradio_api/info/", "/gradio_api/openapi.json", "/config", "/")
    for path in (*paths, "/gradio_api/info?page=none", "/gradio_api/info?all_endpoints=True"):
        for host in ("evil.invalid", "demo.example.org"):
            answer = visitor.get(path, headers={"Host": host})
            assert answer.status_code == 200
            assert host == "evil.invalid" or "evil.invalid" not in answer.text
    assert "/same" in visitor.get("/gradio_api/info").json()["named_endpoints"]


def test_the_page_can_be_framed_by_those_who_are_named_only(visitor: Visitor, strict: str) -> None:
    assert visitor.ask("GET", "/")[1]["content-security-policy"].endswith("frame-ancestors 'self'")
    assert (
        Visitor(strict).ask("GET", "/")[1]["content-security-policy"].endswith("frame-ancestors 'self' https://b.org")
    )


# ---------------------------------------------------------------- every mistake gets a line


def test_wrong_kinds_of_values_get_a_line(visitor: Visitor) -> None:
    config = json.loads(visitor.ask("GET", "/config")[2])
    number = next(entry["id"] for entry in config["dependencies"] if entry["api_name"] == "sample")
    for place, plain in enumerate(SAMPLE):
        others: list[Any] = [None, "3", 3, [], {"a": 1}, True, 1e999, "\x1b[2J", "\ud800", "<b>x</b>"]
        for other in others:
            if type(other) is type(plain):
                continue
            data = [*SAMPLE[:place], other, *SAMPLE[place + 1 :]]
            for kind, answer in (visitor.call("sample", data), visitor.join(number, data)):
                if kind == "complete":
                    continue
                words = answer["error"] if kind == "error" else answer
                assert words
                assert not set(words) & {"\x1b", "\n"}
                assert "<b>" not in words


def test_no_function_of_the_page_fails_at_values_that_it_does_not_expect(visitor: Visitor) -> None:
    functions = json.loads(visitor.ask("GET", "/config")[2])["dependencies"]
    _, picture = visitor.upload(EXAMPLE.read_bytes())
    odd: list[list[Any]] = [[None] * 20, [-1] * 20, ["no model", {"path": picture}, *["x"] * 20], [[], {}] * 10]
    for function in functions:
        for values in odd:
            if function["backend_fn"]:
                answer = visitor.join(function["id"], values[: len(function["inputs"])])
                assert "not your doing" not in str(answer), (function["api_name"], values, answer)


def test_wrong_requests_get_a_status_and_a_line(visitor: Visitor) -> None:
    for path, value, status in (
        ("/gradio_api/call/nosuch", {"data": []}, 404),
        ("/gradio_api/call/sample", {"data": []}, 422),
        ("/gradio_api/call/sample", {"data": [1]}, 422),
        ("/gradio_api/call/sample", {"data": "x"}, 422),
        ("/gradio_api/call/sample", {}, 422),
        ("/gradio_api/call/sample", [], 400),
        ("/gradio_api/call/sample", b"{", 400),
        ("/gradio_api/call/sample", b"[" * 100_000, 400),
        ("/gradio_api/call/sample", b'{"data": [1e5, ' + b"9" * 5000 + b"]}", 400),
        ("/gradio_api/call/sample", {"data": [MODEL, [0] * 2000, 0, "any", 1]}, 422),
        ("/gradio_api/call/sample", {"data": [MODEL, [[[[[[[[[[1]]]]]]]]]], 0, "any", 1]}, 422),
        ("/gradio_api/call/v2/sample", {"modle": MODEL}, 422),
        ("/gradio_api/call/v2/nosuch", {}, 404),
        ("/gradio_api/queue/join", {"data": [], "fn_index": 99, "session_hash": "a"}, 404),
        ("/gradio_api/queue/join", {"data": [], "fn_index": True, "session_hash": "a"}, 404),
        ("/gradio_api/queue/join", {"data": SAMPLE, "fn_index": 0, "session_hash": "a" * 99}, 422),
        ("/gradio_api/queue/join", {"data": SAMPLE, "fn_index": 0}, 422),
        ("/gradio_api/cancel", {"event_id": 3}, 422),
        ("/gradio_api/reset", {}, 422),
    ):  # fmt: skip
        found, body = visitor.post(path, value)
        assert (found, path, value) == (status, path, value)
        assert json.loads(body)["detail"]


def test_a_long_value_comes_back_neither_in_the_answer_nor_in_the_log(
    visitor: Visitor, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    for length in (1900, 300_000, 11_000_000):
        for place in range(len(SAMPLE)):
            data: list[Any] = list(SAMPLE)
            data[place] = "m" * length
            _, answer = visitor.call("sample", data)
            assert len(json.dumps(answer)) < 1000
    assert len("".join(capfd.readouterr())) + len(caplog.text) < 10_000


def test_what_the_address_asks_for_is_shown_without_its_markup(visitor: Visitor) -> None:
    kind, answer = visitor.call("sample", [MODEL, 1, 0, "<img src=x onerror=alert(1)>", 1.0])
    assert kind == "error"
    assert "&lt;img" in answer["error"]
    assert "<" not in answer["error"]


def test_a_link_that_asks_for_too_much_is_answered_in_its_own_words(visitor: Visitor) -> None:
    functions = json.loads(visitor.ask("GET", "/config")[2])["dependencies"]
    number = next(entry["id"] for entry in functions if entry["targets"] and entry["targets"][0][1] == "load")
    for asked, words in (
        ("seed=-5", "The seed -5 is out of range"),
        ("count=1000", "The number of pictures 1000 is out of range"),
        ("count=2.5", "The number of pictures 2.5 is not a whole number"),
        ("seed=nan", "The seed nan is out of range"),
        ("seed=x", "asks for 'x' where a number is expected"),
    ):
        call = {"data": [], "fn_index": number, "session_hash": "link"}
        visitor.post(f"/gradio_api/queue/join?model={MODEL}&{asked}", call)
        *_, (_, answer), _ = visitor.events("/gradio_api/queue/data?session_hash=link")
        assert words in answer["output"]["error"]


# ---------------------------------------------------------------- no hold, no fill


def test_what_one_visitor_uploads_in_a_minute_is_bounded(member: Visitor) -> None:
    answers = [member.upload(bytes(50_000)) for _ in range(12)]
    assert [status for status, _ in answers[:9]] == [200] * 9
    assert answers[-1][0] == 429
    assert "a minute" in answers[-1][1]
    assert member.call("sample", SAMPLE)[0] == "complete"


def test_pages_of_one_visitor_in_a_while_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PAGES", 20)
    monkeypatch.setattr(limits, "PAGES_PER_SECOND", 1e-3)

    async def page(scope: Any, receive: Any, send: Any) -> None:
        await PlainTextResponse("the page")(scope, receive, send)

    with gr.Blocks() as blocks:
        gr.Button()
    files = Files(tmp_path)
    guard = Guard(page, Access(), Calls(blocks, files), files, Connections(9, 9, frozenset()))
    client = TestClient(guard, "http://localhost", client=("10.0.0.1", 1))
    paths = ("/", "/config", "/config/", "/gradio_api/info", "/gradio_api/openapi.json", "/?seed=1")
    statuses = [client.get(paths[number % len(paths)]).status_code for number in range(26)]
    assert statuses == [200] * 20 + [429] * 6
    assert client.get("/gradio_api/app_id").status_code == 200
    other = TestClient(guard, "http://localhost", client=("10.0.0.2", 1))
    assert other.get("/").status_code == 200


def test_an_upload_is_one_file_so_that_each_is_charged(visitor: Visitor) -> None:
    part = form(b"x").removesuffix(b"--XBOUNDARYX--\r\n")
    status, body = visitor.post("/gradio_api/upload", part + form(b"y"), FORM)
    assert status == 400
    assert b"Too many files" in body
    assert visitor.post("/gradio_api/upload", form(b"y"), FORM)[0] == 200


def test_a_full_disk_is_said_in_a_line(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(path: Path, content: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", write)
    status, words = visitor.upload(b"x")
    assert status == 507
    assert "try later" in words


def test_an_upload_says_how_long_it_is_and_is_not_too_long(visitor: Visitor) -> None:
    chunked = [FORM, ("Transfer-Encoding", "chunked")]
    assert visitor.ask("POST", "/gradio_api/upload", b"0\r\n\r\n", chunked)[0] == 411
    twice = [FORM, ("Content-Length", "10"), ("Transfer-Encoding", "chunked")]
    for path in ("/gradio_api/upload", "/gradio_api/call/sample", "/login"):
        assert visitor.ask("POST", path, b"0\r\n\r\n", twice)[0] == 400
    length = ("Content-Length", str(limits.UPLOAD_BYTES * 2))
    assert visitor.ask("POST", "/gradio_api/upload", b"x", [FORM, length])[0] == 413
    for body, headers in ((form(b"x"), [("Content-Type", "multipart/form-data")]), (b"x", [FORM]), (b"", [FORM])):
        status, _, _ = visitor.ask("POST", "/gradio_api/upload", body, headers)
        assert status in (200, 400)
    assert visitor.post("/gradio_api/upload", form(b"x", field="other"), FORM) == (200, b"[]")


def test_a_text_may_hold_as_many_favourites_as_a_visitor_may_keep(visitor: Visitor) -> None:
    wish = ["a model with a long name of its own", 2**32 - 1, "ein langer Name für eine Klasse von Bildern", 1.25, 63]
    text = json.dumps([wish] * limits.FAVOURITES)
    assert visitor.call("sample", [MODEL, 1, 0, text, 1.0])[0] == "error"  # of the function: there is no such class
    assert visitor.call("sample", [MODEL, 1, 0, "x" * 20_000, 1.0])[0] == "413"


def test_one_visitor_does_not_take_all_places_for_uploads(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "VISITOR_UPLOADS", 2)
    head = "POST /gradio_api/upload HTTP/1.1\r\nHost: localhost\r\nContent-Type: {}\r\nContent-Length: 70000\r\n\r\n--"
    with ExitStack() as open_links:
        for _ in range(2):
            link = open_links.enter_context(socket.create_connection((visitor.host, visitor.port), timeout=30))
            link.sendall(head.format(FORM[1]).encode())
        answers = [visitor.upload(b"x")[0] for _ in range(20)]
    assert 503 in answers
    assert any(visitor.upload(b"x")[0] == 200 for _ in range(100))  # once the two have hung up


def test_a_page_that_fetches_no_answers_is_not_answered_for_ever(
    visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "QUEUE_SIZE", 4)  # the queue itself keeps its size
    number = next(
        each["id"]
        for each in json.loads(visitor.ask("GET", "/config")[2])["dependencies"]
        if each["api_name"] == "sample"
    )
    asked = {"data": SAMPLE, "fn_index": number, "session_hash": "never-reads"}
    statuses = [visitor.post("/gradio_api/queue/join", asked)[0] for _ in range(6)]
    assert statuses == [200] * 4 + [429] * 2
    assert visitor.call("sample", SAMPLE)[0] == "complete"


def test_who_logs_out_leaves_the_others_in(strict: str, member: Visitor) -> None:
    other = Visitor(strict, [("Cookie", login(Visitor(strict), "secret")[1])])
    assert other.get("/config") == 200
    other.get("/logout")
    assert other.get("/config") == 401
    assert member.get("/config") == 200


@pytest.mark.parametrize("kind", [r"access-token-(?!unsecure-)", "access-token-unsecure-"])
def test_who_logs_out_is_out_whichever_cookie_the_browser_sends(strict: str, kind: str) -> None:
    visitor = Visitor(strict)
    _, cookies, _ = login(visitor, "secret")
    (cookie,) = (each for each in cookies.split("; ") if re.match(kind, each))
    member = Visitor(strict, [("Cookie", cookie)])  # a browser on HTTP has only the second
    assert member.get("/config") == 200
    status, headers, _ = member.ask("GET", "/logout")
    assert (status, headers["location"]) == (302, "./")
    assert len(headers.get_all("set-cookie") or []) == 2
    for each in (cookie, cookies):
        assert visitor.get("/config", ("Cookie", each)) == 401


def test_limits_count_a_network_of_one_visitor_as_one() -> None:
    assert visitor_at("10.0.0.1") == visitor_at("::ffff:10.0.0.1") == "10.0.0.1"
    assert visitor_at("2001:db8::1") == visitor_at("2001:db8::ffff:2%eth0") != visitor_at("2001:db8:0:1::1")
    assert visitor_at("x" * 1000) == visitor_at("") == ""


def test_what_is_too_much_for_the_queue_is_turned_away_at_once(member: Visitor) -> None:
    def wish(_: int) -> str:
        return member.call("sample", [MODEL, 64, 0, "any", 1.0])[0]

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(wish, range(16)))
    assert set(answers) <= {"complete", "503"}
    assert answers.count("complete") >= 4


def test_passwords_cannot_be_guessed_for_long(strict: str, member: Visitor) -> None:
    visitor = Visitor(strict)
    status, cookie, lines = login(visitor, "secret")
    assert status == 200
    assert all("samesite=lax" in line.lower() for line in lines)
    for known in (Visitor(strict, [("Cookie", cookie)]), member):
        assert known.get("/config") == 200
        page = known.ask("GET", "/")[2]
        assert b'<main id="first"' in page
        assert b"named_endpoints" in page
    assert visitor.get("/config") == 401
    page = visitor.ask("GET", "/")[2]  # without pictures, and without a list of what can be called
    assert b'<main id="first"' not in page
    assert b"named_endpoints" not in page
    assert b"gradio_api_info = null;" in page
    assert visitor.upload(b"x")[0] == 401
    assert visitor.post("/gradio_api/call/sample", {"data": SAMPLE})[0] == 401
    answers = [login(visitor, f"guess{number}")[0] for number in range(12)]
    assert answers[0] == 400
    assert answers[-1] == 429
    assert answers.count(400) <= 4


def test_a_proxy_may_serve_the_page_under_a_path(member: Visitor) -> None:
    assert member.get("/demo/config") == member.get("/config") == 200
    assert json.loads(member.ask("GET", "/demo/config")[2])["root"].endswith("/demo")
    assert member.get("/demo/demo/config") == member.get("/demo/gradio_api/run/sample") == 404


def test_what_is_half_sent_is_not_waited_for(strict: str) -> None:
    visitor = Visitor(strict)
    head = b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    for part in (b"", b"GET / HTTP/1.1\r\nHost: x\r\n", head + b"Content-Length: 10\r\n\r\nabc"):
        with socket.create_connection((visitor.host, visitor.port), timeout=30) as link:
            link.sendall(part)
            assert link.recv(1000)[9:12] in (b"", b"408", b"429")


def test_many_connections_from_one_address_leave_room_for_others(strict: str) -> None:
    visitor = Visitor(strict)
    links = [
        socket.create_connection((visitor.host, visitor.port), 20, source_address=("127.0.0.2", 0)) for _ in range(80)
    ]
    try:
        assert visitor.ask("GET", "/", timeout=20)[0] == 200
    finally:
        for link in links:
            link.close()


def test_many_answers_to_one_visitor_of_a_proxy_leave_room_for_others(strict: str, member: Visitor) -> None:
    def asked(stack: ExitStack, visitor: str, number: int) -> bytes:
        link = stack.enter_context(socket.create_connection((member.host, member.port), 30, source_address=(PROXY, 0)))
        lines = [f"GET /gradio_api/heartbeat/h{number} HTTP/1.1", "Host: localhost", f"X-Forwarded-For: {visitor}"]
        lines += [f"{name}: {value}" for name, value in member.headers]
        link.sendall("\r\n".join([*lines, "", ""]).encode())
        return link.recv(1000)[9:12]

    with ExitStack() as stack:
        answers = [asked(stack, "10.0.0.1", number) for number in range(24)]
        assert answers == [b"200"] * 20 + [b"503"] * 4  # a third of 60
        assert asked(stack, "10.0.0.2", 0) == b"200"
    with ExitStack() as stack:
        assert any(asked(stack, "10.0.0.1", number) == b"200" for number in range(100))


# ---------------------------------------------------------------- what stays


def test_the_folder_of_a_killed_server_is_removed_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    killed, alive, other = (tmp_path / name for name in ("spikevae-demo-killed", "spikevae-demo-alive", "else"))
    for folder in (killed, alive, other):
        folder.mkdir()
        (folder / ".lock").touch()
        (folder / "picture.png").write_bytes(b"")
    (tmp_path / "spikevae-demo-link").symlink_to(other)
    with FileLock(alive / ".lock"), private_folder() as folder:
        assert folder.is_dir()
        assert not killed.exists()
        assert (alive / "picture.png").exists()
        assert (other / "picture.png").exists()
    assert not folder.parent.exists()


def test_a_folder_whose_server_is_about_to_lock_it_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    young = tmp_path / "spikevae-demo-young"
    young.mkdir()
    with private_folder():
        assert young.exists()
    monkeypatch.setattr(leftovers, "_NEW_SECONDS", -1)
    with private_folder():
        assert not young.exists()
