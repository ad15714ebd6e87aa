"""A small Hugging Face hub on the loopback: its endpoints for making, filling and reading repositories."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

import yaml

WRITER, READER = "hf_writer", "hf_reader"


class Hub(ThreadingHTTPServer):
    """The server, and what it holds."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.repositories: dict[str, dict[str, dict[str, bytes]]] = {}
        """By repository and revision (a branch or a commit), the files."""
        self.gated: set[str] = set()
        self.private: set[str] = set()
        self.blobs: dict[str, bytes] = {}
        self.is_full = False
        self.asked: list[str] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def put(self, repository: str, files: dict[str, bytes], revision: str = "main") -> str:
        """Commit files to a branch; returns the commit."""
        branches = self.repositories.setdefault(repository, {})
        state = branches.get(revision, {}) | files
        commit = hashlib.sha1(repr(sorted((name, hashlib.sha1(b).digest()) for name, b in state.items())).encode())
        branches[revision] = branches[commit.hexdigest()] = state
        return commit.hexdigest()


class Answer(BaseHTTPRequestHandler):
    """One request, answered as the hub does."""

    server: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None: ...

    def _say(self, status: int, body: Any = b"", **headers: str) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _read(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _token(self) -> str:
        return str(self.headers.get("authorization", "")).removeprefix("Bearer ")

    # ------------------------------------------------------------ reading

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.server.asked.append(f"{self.command} {self.path}")
        if blob := re.fullmatch(r"/blobs/(\w+)", self.path):
            return self._say(200, self.server.blobs[blob[1]])
        asked = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self.path)
        if asked is None:
            return self._say(404)
        repository, revision, file = (unquote(part) for part in asked.groups())
        if repository in self.server.gated:
            return self._say(403, X_Error_Code="GatedRepo")
        if repository not in self.server.repositories:
            return self._say(401, X_Error_Code="RepoNotFound")
        files = self.server.repositories[repository].get(revision)
        if files is None:
            return self._say(404, X_Error_Code="RevisionNotFound")
        commit = next(c for c, held in self.server.repositories[repository].items() if held is files and len(c) == 40)
        if file not in files:
            return self._say(404, X_Error_Code="EntryNotFound", X_Repo_Commit=commit)
        data = files[file]
        if not file.endswith(".safetensors"):
            etag = hashlib.sha1(data).hexdigest()
            return self._say(200, data, ETag=f'"{etag}"', X_Repo_Commit=commit)
        oid = hashlib.sha256(data).hexdigest()  # large files lie on another host
        self.server.blobs[oid] = data
        self._say(
            302, Location=f"http://localhost:{self.server.server_port}/blobs/{oid}", X_Repo_Commit=commit,
            X_Linked_Etag=f'"{oid}"', X_Linked_Size=str(len(data)),
        )  # fmt: skip

    # ------------------------------------------------------------ writing

    def do_PUT(self) -> None:
        oid, data = self.path.removeprefix("/blobs/"), self._read()
        self.server.asked.append(f"PUT {self.path}")
        if self.server.is_full or hashlib.sha256(data).hexdigest() != oid:
            return self._say(507 if self.server.is_full else 400)
        self.server.blobs[oid] = data
        self._say(200)

    def do_POST(self) -> None:
        self.server.asked.append(f"POST {self.path}")
        body = self._read()
        if self._token() not in (WRITER, READER):
            return self._say(401, {"error": "Invalid username or password."})
        if self._token() != WRITER:
            return self._say(403, {"error": "You don't have the rights"}, X_Error_Message="You don't have the rights")
        if self.path == "/api/repos/create":
            return self._create(json.loads(body))
        if self.path == "/api/validate-yaml":
            return self._validate(json.loads(body)["content"])
        if self.path.endswith("/info/lfs/objects/batch"):
            return self._batch(json.loads(body))
        asked = re.fullmatch(r"/api/models/([^/]+/[^/]+)/(preupload|commit)/([^/]+)", self.path)
        if asked is None:
            return self._say(404)
        repository, what, revision = asked.groups()
        if what == "preupload":
            return self._say(200, {"files": [
                {"path": file["path"], "uploadMode": "lfs" if file["path"].endswith(".safetensors") else "regular",
                 "shouldIgnore": False} for file in json.loads(body)["files"]
            ]})  # fmt: skip
        self._commit(repository, revision, [json.loads(line) for line in body.splitlines()])

    def _create(self, wanted: dict[str, Any]) -> None:
        repository = f"{wanted['organization']}/{wanted['name']}" if wanted.get("organization") else wanted["name"]
        is_new = repository not in self.server.repositories
        self.server.repositories.setdefault(repository, {})
        if is_new and (wanted.get("private") or wanted.get("visibility") == "private"):
            self.server.private.add(repository)
        self._say(200 if is_new else 409, {"url": f"{self.server.address}/{repository}"})

    def _validate(self, card: str) -> None:
        found = re.match(r"---\n(.*?)\n---\n", card, re.DOTALL)
        if found is None:
            return self._say(200, {"warnings": [{"message": "empty or missing yaml metadata in repo card"}]})
        values = yaml.safe_load(found[1])
        is_right = isinstance(values, dict) and isinstance(values.get("library_name"), str)
        self._say(200 if is_right else 400, {"errors": [] if is_right else [{"message": "metadata are wrong"}]})

    def _batch(self, wanted: dict[str, Any]) -> None:
        objects = [
            {**thing, "actions": {"upload": {"href": f"{self.server.address}/blobs/{thing['oid']}"}}}
            for thing in wanted["objects"]
        ]
        self._say(200, {"transfer": "basic", "objects": objects})

    def _commit(self, repository: str, revision: str, lines: list[dict[str, Any]]) -> None:
        files = {}
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.server.blobs[value["oid"]]
        commit = self.server.put(repository, files, revision)
        url = f"{self.server.address}/{repository}/commit/{commit}"
        self._say(200, {"success": True, "commitOid": commit, "commitUrl": url, "hookOutput": ""})


@contextmanager
def serving() -> Iterator[Hub]:
    """A hub that answers as long as the block lasts."""
    with Hub() as hub:
        threading.Thread(target=hub.serve_forever, daemon=True).start()
        try:
            yield hub
        finally:
            hub.shutdown()
