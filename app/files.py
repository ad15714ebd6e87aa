"""The files of a running server: what visitors uploaded and what was made for them, in one private folder."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import secrets
import stat
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from . import limits

_BLOCK = 4096  # bytes; a file takes whole ones, and one for the folder that it lies in
_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,6}")


class Full(Exception):  # noqa: N818 - it says what the store is
    """There is no room, and nothing that is old enough to be deleted."""


class _Entry(NamedTuple):
    size: int  # bytes on the disk
    written: float  # time.monotonic
    uploaded: bool


@contextlib.contextmanager
def full_disk_is_full() -> Iterator[None]:
    """Say that the disk is full as it is said that this folder is."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise Full from error


class Files:
    """A folder that never takes more than ``limits.FOLDER_BYTES`` of the disk; the oldest files are deleted first.

    Only a file that this object wrote can be asked for, by the very path that it gave. No path of a visitor reaches
    the file system otherwise.

    Args:
        folder: exists, and belongs to this object alone.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self._entries: OrderedDict[str, _Entry] = OrderedDict()  # by path, oldest first
        self._lasting: frozenset[str] = frozenset()
        self._size = 0
        self._lock = threading.Lock()

    def keep_present(self) -> None:
        """Declare what is in the folder now to be part of the page: it stays, and visitors may name it."""
        self._lasting = frozenset(str(path) for path in self.folder.rglob("*") if path.is_file())
        with self._lock:
            self._entries.clear()
            self._size = 0

    def store(self, content: bytes, name: str) -> str:
        """Write what was made for a visitor; equal content is the same file.

        Raises:
            ValueError: if there is no room.
        """
        path = self.folder / hashlib.sha256(content).hexdigest()[:32] / name
        if str(path) in self._lasting:
            return str(path)
        try:
            self._write(path, content, uploaded=False)
        except Full:
            raise ValueError("The server has no room for more pictures; try again in a minute") from None
        return str(path)

    def upload(self, content: bytes, name: str) -> str:
        """Write a visitor's file under a path that nobody else can guess.

        Args:
            content: of the file.
            name: as the visitor calls it; only the suffix is kept.

        Raises:
            Full: if there is no room.
        """
        suffix = Path(name).suffix
        path = self.folder / secrets.token_hex(16) / f"upload{suffix if _SUFFIX.fullmatch(suffix) else ''}"
        self._write(path, content, uploaded=True)
        return str(path)

    def read_upload(self, path: object) -> bytes:
        """The content of an uploaded file, or of an example of the page.

        Raises:
            ValueError: if this is no path of such a file, or it is too large.
        """
        if not self.is_input(path):
            raise ValueError("This file was not uploaded here, or was deleted meanwhile; upload it again")
        content = _read_regular(str(path), limits.UPLOAD_BYTES)
        if len(content) > limits.UPLOAD_BYTES:
            raise ValueError(f"The file is larger than {limits.UPLOAD_BYTES // 2**20} MiB; choose a smaller one")
        return content

    def is_input(self, path: object) -> bool:
        """Whether a visitor may give this path to a function."""
        if not isinstance(path, str):
            return False
        entry = self._entries.get(path)
        return path in self._lasting or (entry is not None and entry.uploaded)

    def is_output(self, path: str) -> bool:
        """Whether a visitor may fetch this path."""
        return path in self._lasting or path in self._entries

    def delete_old(self) -> None:
        """Delete what was written more than ``limits.KEEP_SECONDS`` ago."""
        with self._lock:
            self._delete_until(lambda entry: entry.written > time.monotonic() - limits.KEEP_SECONDS)

    # ------------------------------------------------------------ details

    def _write(self, path: Path, content: bytes, *, uploaded: bool) -> None:
        size = _on_disk(len(content))
        self._make_room(size)
        # Renamed when whole: another visitor may be fetching the same pictures.
        temporary = self.folder / f".{secrets.token_hex(8)}"
        try:
            with full_disk_is_full():
                temporary.write_bytes(content)
                with self._lock:  # nobody deletes the folder meanwhile
                    path.parent.mkdir(exist_ok=True)
                    temporary.replace(path)
                    before = self._entries.pop(str(path), None)
                    self._size += size - (before.size if before else 0)
                    self._entries[str(path)] = _Entry(size, time.monotonic(), uploaded)
        finally:
            temporary.unlink(missing_ok=True)

    def _make_room(self, size: int) -> None:
        with self._lock:
            newest = time.monotonic() - limits.YOUNG_SECONDS
            self._delete_until(
                lambda entry: self._size + size <= limits.FOLDER_BYTES or entry.written > newest,
            )
            if self._size + size > limits.FOLDER_BYTES:
                raise Full

    def _delete_until(self, enough: Callable[[_Entry], bool]) -> None:
        """Delete the oldest file again and again until it need not be deleted."""
        while self._entries:
            path, entry = next(iter(self._entries.items()))
            if enough(entry):
                return
            del self._entries[path]
            self._size -= entry.size
            Path(path).unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # another file is in it
                Path(path).parent.rmdir()


def _on_disk(size: int) -> int:
    """Bytes that a file of a size takes, with the folder that it lies in."""
    return (-(-size // _BLOCK) + 1) * _BLOCK


def _read_regular(path: str, most: int) -> bytes:
    """At most ``most`` + 1 bytes of a regular file; nothing else is waited for, and no link is followed."""
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except OSError:
        raise ValueError("The file was deleted meanwhile; upload it again") from None
    with open(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise ValueError("This is no file with a picture; upload one")
        return file.read(most + 1)
