"""The private folder of a server, which the next server removes where the first was killed."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

_PREFIX = "spikevae-demo-"
_LOCK = ".lock"
_NEW_SECONDS = 60  # a folder so young may not be locked yet


@contextmanager
def private_folder() -> Iterator[Path]:
    """An empty folder that only this user can read, removed in the end."""
    _remove_leftovers(Path(tempfile.gettempdir()))
    with (
        tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True) as name,
        FileLock(Path(name, _LOCK)),  # the system lets go of it when this process ends, however it ends
    ):
        folder = Path(name, "files")
        folder.mkdir()
        yield folder


def _remove_leftovers(place: Path) -> None:
    """Remove the folders of servers that are not there any more."""
    for folder in place.glob(f"{_PREFIX}*"):
        try:
            status = folder.lstat()
            if folder.is_symlink() or not folder.is_dir() or not _is_own(status.st_uid):
                continue
            if time.time() - status.st_mtime < _NEW_SECONDS and not (folder / _LOCK).exists():
                continue
            with FileLock(folder / _LOCK, timeout=0):
                shutil.rmtree(folder, ignore_errors=True)
        except (Timeout, OSError):  # its server lives, or somebody else removes it
            continue


def _is_own(user: int) -> bool:
    import os

    return not hasattr(os, "getuid") or user == os.getuid()
