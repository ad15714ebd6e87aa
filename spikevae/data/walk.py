"""The entries of a folder and of all folders below it, with links followed."""

from __future__ import annotations

import errno
import os
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath


def walk(root: Path, left_out: Counter[str]) -> Iterator[tuple[PurePosixPath, list[os.DirEntry[str]]]]:
    """Each folder's place below the root, with its entries in the order of their names; those near the root first.

    Links to folders are followed, each folder once. Folders that are taken out of the list are not entered.

    Args:
        root: the first folder.
        left_out: counts the links to folders that were entered before.

    Raises:
        OSError: if a folder cannot be read.
    """
    seen: set[tuple[int, int]] = set()
    waiting = deque([(root, PurePosixPath())])
    while waiting:
        folder, place = waiting.popleft()
        about = folder.stat()
        if (about.st_dev, about.st_ino) in seen:
            left_out["linked folders that were read already"] += 1
            continue
        seen.add((about.st_dev, about.st_ino))
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            reason = f"{folder} cannot be read ({error.strerror}); make it readable, or move it away"
            raise type(error)(reason) from None
        yield place, entries
        waiting.extend((Path(entry.path), place / entry.name) for entry in entries if is_folder(entry))


def each_once(files: Iterable[os.DirEntry[str]], left_out: Counter[str]) -> list[tuple[str, os.DirEntry[str]]]:
    """The files, each with its real path, without links to one that is among them or that another link leads to.

    Args:
        files: of the folders of `walk`.
        left_out: counts these links.
    """
    found: dict[str, os.DirEntry[str]] = {}
    links: list[os.DirEntry[str]] = []
    folders: dict[str, str] = {}
    for entry in files:
        if entry.is_symlink():
            links.append(entry)
            continue
        folder = os.path.dirname(entry.path)
        if folder not in folders:
            folders[folder] = os.path.realpath(folder)
        found[os.path.join(folders[folder], entry.name)] = entry
    for entry in sorted(links, key=lambda entry: entry.path):
        if found.setdefault(os.path.realpath(entry.path), entry) is not entry:
            left_out["links to files that were read already"] += 1
    return list(found.items())


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder, or a link to one."""
    try:
        return entry.is_dir()
    except OSError as error:
        if error.errno == errno.ELOOP:  # links that lead to each other
            return False
        raise
