"""Decode a stranger's file in a process of its own, with little time and memory and nothing to steal.

One helper process waits with everything imported. For each file it forks a child with limits of its own, so that
whatever a decoder does with a hostile file, it costs that child and never the server.
"""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import threading
from typing import Any

import torch
from jaxtyping import UInt8
from torch import Tensor

from spikevae.text import printable

from . import limits
from .decoding import LARGEST_MESSAGE, PATIENCE
from .slices import Slices, packed_length, unpacked

_START = (
    "import sys; sys.path[:] = sys.argv[2:]; from spikevae.web import page; page('decoding').wait(int(sys.argv[1]))"
)
_START_SECONDS = 120.0  # until the helper is there, on a busy machine
_SLACK = 10.0  # seconds


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

    def __exit__(self, *_: object) -> None:
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
        order = {"kind": "picture", "channels": channels, "pixels": limits.UPLOAD_PIXELS, "photo": limits.PHOTO_PIXELS}
        answer = self._answer(content, order | {"size": size}, channels * size * size)
        pixels = torch.frombuffer(bytearray(answer), dtype=torch.uint8).reshape(size, size, channels)
        return pixels.permute(2, 0, 1).contiguous()

    def decode_recording(self, content: bytes, suffix: str, time_steps: int, side: int) -> Slices:
        """A recording of an event camera, cut as `app.slices.sliced` does it.

        Args:
            content: the file.
            suffix: of its name, which tells the formats apart.
            time_steps: slices that the network takes.
            side: height and width of its frames, in pixels.

        Raises:
            ValueError: if it is no recording, or takes more time or memory than it may.
        """
        order = {"kind": "recording", "suffix": suffix, "time_steps": time_steps, "size": side}
        return unpacked(self._answer(content, order, packed_length(time_steps, side)), time_steps, side)

    # ------------------------------------------------------------ details

    def _answer(self, content: bytes, order: dict[str, Any], length: int) -> bytes:
        """What a child makes of a file: so many bytes, or an error that says why not."""
        order |= {"seconds": limits.DECODE_SECONDS, "memory": limits.DECODE_BYTES}
        with self._places:
            try:
                answer = self._ask(json.dumps(order).encode() + b"\n" + content, length)
            except TimeoutError:
                answer = b""
        if answer[:1] == b"+" and len(answer) == 1 + length:
            return answer[1:]
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
            ours.settimeout(PATIENCE * limits.DECODE_SECONDS + _SLACK)
            with contextlib.suppress(ConnectionError):  # it was ended meanwhile
                ours.sendall(request)
                ours.shutdown(socket.SHUT_WR)
            answer = b""
            with contextlib.suppress(ConnectionError):
                while len(answer) <= most + LARGEST_MESSAGE and (part := ours.recv(2**16)):
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
        raise ValueError("The file could not be decoded; please try again")

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
