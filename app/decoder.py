"""Decode a stranger's picture in a process of its own, with little time and memory and nothing to steal.

One helper process waits with everything imported. For each picture it forks a child with limits of its own, so that
whatever a decoder does with a hostile file, it costs that child and never the server.
"""

from __future__ import annotations

import contextlib
import gc
import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from types import TracebackType
from typing import Any

import torch
from jaxtyping import UInt8
from PIL import Image, ImageOps
from torch import Tensor

from app import limits
from spikevae.data.images import read_image
from spikevae.text import printable

_START = "import sys; sys.path[:] = sys.argv[2:]; from app.decoder import wait; wait(int(sys.argv[1]))"
_START_SECONDS = 120.0  # until the helper is there, on a busy machine
_PATIENCE = 3  # a busy machine takes longer than the seconds of its processor that count
_SLACK = 10.0  # seconds
_LARGEST_MESSAGE = 1000  # bytes


class Decoder:
    """The helper process, ended with the context; at most ``limits.DECODERS`` children decode at once."""

    def __init__(self) -> None:
        self._places = threading.BoundedSemaphore(limits.DECODERS)
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._is_ready = False

    def __enter__(self) -> Decoder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._stop()

    def start(self) -> None:
        """Start the helper, so that the first picture need not wait for it."""
        with self._lock:
            self._ensure_running()

    def decode(self, content: bytes, channels: int, size: int) -> UInt8[Tensor, "C {size} {size}"]:
        """A picture file, read as `spikevae.data.images.read_image` does it.

        Args:
            content: the file.
            channels: 1 or 3.
            size: height and width of the result, in pixels.

        Raises:
            ValueError: if it is no picture, or takes more time or memory than it may.
        """
        order = {"channels": channels, "size": size, "seconds": limits.DECODE_SECONDS, "memory": limits.DECODE_BYTES}
        order |= {"pixels": limits.UPLOAD_PIXELS, "photo": limits.PHOTO_PIXELS}
        with self._places:
            try:
                answer = self._ask(json.dumps(order).encode() + b"\n" + content, channels * size * size)
            except TimeoutError:
                answer = b""
        if answer[:1] == b"+" and len(answer) == 1 + channels * size * size:
            return torch.frombuffer(bytearray(answer[1:]), dtype=torch.uint8).reshape(channels, size, size)
        if answer[:1] == b"-":
            raise ValueError(printable(answer[1:].decode(errors="replace"), limit=400))
        raise ValueError(
            f"The file takes more than {limits.DECODE_SECONDS:g} s or {limits.DECODE_BYTES // 2**20} MiB to decode; "
            "save it in another format, or smaller"
        )

    def _ask(self, request: bytes, most: int) -> bytes:
        """What a child answers; nothing if it was ended."""
        ours, theirs = socket.socketpair()
        with ours:
            with theirs:
                self._hand_over(theirs)
            ours.settimeout(_PATIENCE * limits.DECODE_SECONDS + _SLACK)
            with contextlib.suppress(ConnectionError):  # it was ended meanwhile
                ours.sendall(request)
                ours.shutdown(socket.SHUT_WR)
            answer = b""
            with contextlib.suppress(ConnectionError):
                while len(answer) <= most + _LARGEST_MESSAGE and (part := ours.recv(2**16)):
                    answer += part
        return answer

    def _hand_over(self, connection: socket.socket) -> None:
        for _ in range(2):
            with self._lock:
                control = self._ensure_running()
                try:
                    self._is_ready = self._is_ready or control.recv(1) == b"r"
                    socket.send_fds(control, [b"d"], [connection.fileno()])
                    return
                except OSError:  # the helper was killed, by the system or by hand
                    self._stop()
        raise ValueError("The picture could not be decoded; please try again")

    def _ensure_running(self) -> socket.socket:
        if self._control is None:
            self._control, theirs = socket.socketpair()
            self._control.settimeout(_START_SECONDS)
            with theirs:
                command = [sys.executable, "-c", _START, str(theirs.fileno()), *sys.path]
                self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
        return self._control

    def _stop(self) -> None:
        if self._control is not None and self._process is not None:
            self._control.close()  # on which it ends
            self._process.kill()
            self._process.wait()
        self._control = self._process = None
        self._is_ready = False


def wait(control: int) -> None:
    """The helper: fork a child for every connection that arrives, until the server is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the server's
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the system forgets children that are over
    Image.init()  # so that no child has to find Pillow's parts anew
    gc.freeze()
    with socket.socket(fileno=control) as server:
        server.sendall(b"r")
        while True:
            message, descriptors, _, _ = socket.recv_fds(server, 1, 1)
            if not message:
                return
            with socket.socket(fileno=descriptors[0]) as connection:
                if os.fork() == 0:
                    _decode_once(connection)


def _decode_once(connection: socket.socket) -> None:
    """The child: one picture, then the end."""
    try:
        with connection.makefile("rb") as request:
            order = json.loads(request.readline())
            content = request.read()
        _limit(order["seconds"], order["memory"])
        connection.sendall(_decoded(content, order))
    finally:
        os._exit(0)


def _limit(seconds: float, memory: int) -> None:
    """Let the system end this process after some time, and refuse it memory, files and writing."""
    import resource

    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.setitimer(signal.ITIMER_REAL, _PATIENCE * seconds)
    with contextlib.suppress(OSError, ValueError):  # not every system knows every limit
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        resource.setrlimit(resource.RLIMIT_DATA, (_data_bytes() + memory,) * 2)


def _data_bytes() -> int:
    """Memory of this process that counts for RLIMIT_DATA (Linux)."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[5]) * os.sysconf("SC_PAGESIZE")


def _decoded(content: bytes, order: dict[str, Any]) -> bytes:
    try:
        pixels = read_image(
            io.BytesIO(_reduced(content, order["pixels"], order["photo"])),
            channels=3 if order["channels"] == 3 else 1,
            size=order["size"],
            name="The file",
            pixel_limit=order["pixels"],
        )
    except ValueError as error:
        return b"-" + str(error).encode(errors="replace")[: _LARGEST_MESSAGE - 1]
    except MemoryError:
        return b""
    return b"+" + pixels.numpy().tobytes()


def _reduced(content: bytes, pixels: int, most: int) -> bytes:
    """A JPEG of more than so many pixels, decoded at a half, a quarter or an eighth of its size; others as they are."""
    try:
        with Image.open(io.BytesIO(content), formats=("JPEG",)) as image:
            width, height = image.size
            if not pixels < width * height <= most:
                return content
            shrink = next(shrink for shrink in (2, 4, 8) if width * height <= pixels * shrink**2)
            image.draft(None, (width // shrink, height // shrink))
            whole = io.BytesIO()
            ImageOps.exif_transpose(image).save(whole, "TIFF")
            return whole.getvalue()
    except Exception:  # no JPEG, or a damaged one: what is read next says so
        return content
