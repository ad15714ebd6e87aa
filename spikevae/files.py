"""What may be opened to read, and where one may write, asked before any work is done."""

from __future__ import annotations

import os
import stat
from io import BufferedReader
from pathlib import Path


def open_regular(path: Path | str) -> BufferedReader:
    """Open a file to read bytes from; links are followed. A pipe or a device, which might never answer, is refused.

    Raises:
        ValueError: if it is something else than a file.
        OSError: if it cannot be opened.
    """
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    mode = os.fstat(handle).st_mode
    if stat.S_ISREG(mode):
        return os.fdopen(handle, "rb")
    os.close(handle)
    what = "a folder" if stat.S_ISDIR(mode) else "a pipe, a socket or a device"
    raise ValueError(f"{path} is {what}; expected a file")


def check_can_write(path: Path | str) -> Path:
    """Refuse a file that could not be written, before work is spent on what it shall hold; nothing is made.

    Missing folders above it are no fault: they are made when it is written.

    Raises:
        ValueError: if it is a folder, or something above it is none.
        OSError: if the folder that it would lie in takes no new files.
    """
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path} is a folder; name a file in it")
    above = next(parent for parent in path.absolute().parents if parent.exists() or parent.is_symlink())
    if not above.is_dir():
        raise ValueError(f"{path} cannot be written: {above} is no folder; name another place")
    if not os.access(above, os.W_OK | os.X_OK):
        raise PermissionError(f"{path} cannot be written: {above} takes no new files; name another place")
    return path
