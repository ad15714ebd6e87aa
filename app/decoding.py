"""The helper process that decodes strangers' files, and its children. It imports no torch, so it starts at once."""

from __future__ import annotations

import contextlib
import gc
import io
import json
import os
import signal
import socket
from typing import Any

from PIL import Image, ImageOps

from spikevae.data.decode import read_pixels

from .slices import packed, sliced_file

PATIENCE = 3
"""A busy machine takes longer than the seconds of its processor that count, but not more often than this."""
LARGEST_MESSAGE = 1000  # bytes


def wait(control: int) -> None:
    """The helper: fork a child for every connection that arrives, until the server is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the server's
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the system forgets children that are over
    Image.init()  # so that no child has to find Pillow's parts anew
    gc.freeze()
    with socket.socket(fileno=control) as server:
        server.sendall(b"r")
        while True:
            try:
                message, descriptors, _, _ = socket.recv_fds(server, 1, 1)
            except ConnectionError:
                return
            if not message:
                return
            with socket.socket(fileno=descriptors[0]) as connection:
                if os.fork() == 0:
                    _decode_once(connection)


def _decode_once(connection: socket.socket) -> None:
    """The child: one file, then the end."""
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
    signal.setitimer(signal.ITIMER_REAL, PATIENCE * seconds)
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
        return b"+" + (_picture if order["kind"] == "picture" else _recording)(content, order)
    except ValueError as error:
        return b"-" + str(error).encode(errors="replace")[: LARGEST_MESSAGE - 1]
    except MemoryError:
        return b""


def _recording(content: bytes, order: dict[str, Any]) -> bytes:
    return packed(sliced_file(content, order["suffix"], order["time_steps"], order["size"]))


def _picture(content: bytes, order: dict[str, Any]) -> bytes:
    pixels = read_pixels(
        io.BytesIO(_reduced(content, order["pixels"], order["photo"])),
        channels=3 if order["channels"] == 3 else 1,
        size=order["size"],
        name="The file",
        pixel_limit=order["pixels"],
    )
    return pixels.tobytes()


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
