"""What may be opened to read, where one may write, and how a file is written whole or not at all."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterable, Sequence
from io import BufferedReader
from pathlib import Path
from typing import Any

import platformdirs

_MODEL_FILES = ("run.json", "state.pt", "stats.jsonl", "model.safetensors", "config.json", "README.md")


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
        ValueError: if it is "-", a folder, a pipe or a device (which a file would replace), or something above it is
            no folder.
        OSError: if the folder that it would lie in takes no new files.
    """
    path = Path(path)
    refuse_standard_output(path)
    if path.is_dir():
        raise ValueError(f"{path} is a folder; name a file in it")
    if path.exists() and not path.is_file():
        raise ValueError(f"{path} is a pipe, a socket or a device; name a file")
    return _check_above(path)


def check_output(path: Path | str, what: str, suffixes: Sequence[str]) -> Path:
    """:func:`check_can_write` for what is written as a file with one of these suffixes, or else as a folder.

    Raises:
        ValueError: also if the suffix is another one, or all of the name, or a folder is not empty, or no other can
            take its place.
        OSError: if the folder that it would lie in takes no new files.
    """
    path = Path(path)
    suffix, known = path.suffix.lower(), ", ".join(suffixes)
    refuse_standard_output(path)
    if path.is_symlink() and not path.exists():
        raise ValueError(f"{path} is a link that leads nowhere; remove it, or choose another name")
    if path.name.lower() in suffixes:
        raise ValueError(f"{path} is a suffix without a name; put a name in front of it")
    if path.is_dir():
        if suffix in suffixes:
            raise ValueError(f"{path} is a folder; give the name of a {suffix} file")
        if any(path.iterdir()):
            raise ValueError(f"{path} is not empty; name a new folder, or a file ({known})")
        real = path.resolve()  # where it is a link, what that leads to is written
        if real.samefile(".") or os.path.ismount(real):
            raise ValueError(f"{path} is the folder that you are in, or a mount point; name a new folder in it")
        return _check_above(real)
    if suffix and suffix not in suffixes:
        raise ValueError(f"{path}: {what} are not written as {suffix}; use {known}, or a folder (no suffix)")
    if not suffix and path.exists():
        raise ValueError(f"{path} exists and is not a folder; name a new folder, or a file ({known})")
    return check_can_write(path)


def check_is_not_read(out: Path, given: Iterable[Path]) -> None:
    """Refuse to write a result to a file that it is made from.

    Raises:
        ValueError: if it is one of those that are given.
    """
    if out.is_file() and any(path.exists() and path.samefile(out) for path in given):
        raise ValueError(f"{out} is read, and would be replaced; name another file")


def files_of_model(folder: str | Path | None) -> list[Path]:
    """What a model or a run keeps in its folder, and no result may replace; its scores are one."""
    return [Path(folder, name) for name in _MODEL_FILES] if folder else []


def check_is_not_inside(out: Path, folder: Path, named: str) -> None:
    """Refuse to write a result over a file in a folder, or over the file, that it is made from.

    Args:
        out: where it shall be written.
        folder: what is read; a leading ``~`` is a home folder.
        named: as the message calls that.

    Raises:
        ValueError: if there is a file at ``out``, and it is inside.
    """
    # Where a link leads, and where it stands: a folder's data may be links, or lie behind one.
    places = (out.resolve(), out.parent.resolve() / out.name, Path(os.path.abspath(out)))
    folders = (in_home(folder).resolve(), Path(os.path.abspath(in_home(folder))))
    if out.is_file() and any(place.is_relative_to(above) for place in places for above in folders):
        raise ValueError(f"{out} lies in {named}, which is read, and would be replaced; name another file")


def in_home(path: str | Path) -> Path:
    """A path whose leading ``~`` or ``~NAME`` is a home folder.

    Raises:
        ValueError: if there is none of that name.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise ValueError(f"{path}: there is no such home folder; write the path in full") from None


def _check_above(path: Path) -> Path:
    above = next(parent for parent in path.absolute().parents if parent.exists() or parent.is_symlink())
    if not above.is_dir():
        raise ValueError(f"{path} cannot be written: {above} is no folder; name another place")
    if not os.access(above, os.W_OK | os.X_OK):
        raise PermissionError(f"{path} cannot be written: {above} takes no new files; name another place")
    return path


def refuse_standard_output(path: Path) -> None:
    """Refuse "-" as a place to write to.

    Raises:
        ValueError: if it is that, or a place below it.
    """
    if path.parts[:1] == ("-",):
        raise ValueError(f"{path}: nothing is written to standard output; name a file or folder")


def hash_file(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with open_regular(path) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def cache_folder(name: str, advice: str) -> Path:
    """A folder of this name in the user's cache folder.

    Raises:
        ValueError: if the user has no home, as in some containers; it ends with the advice.
    """
    try:
        return platformdirs.user_cache_path("spikevae") / name
    except (OSError, RuntimeError):
        raise ValueError(f"there is no home folder to keep {name} in; {advice}") from None


def write_atomically(path: Path, write: Callable[[Path], Any]) -> None:
    """Let ``write`` make a file, or a folder, under a temporary name beside ``path``, and rename it to ``path``.

    A file is flushed to the disk first. Whatever fails, what was there before is untouched, and nothing else is left.

    Raises:
        OSError: if it cannot be written; it names ``path``, also where the system does not, as of a full disk.
    """
    temporary = path.with_name(f".{path.stem[:40]}.{secrets.token_hex(4)}.tmp")
    try:
        write(temporary)
        if temporary.is_file():
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
        temporary.replace(path)
    except OSError as error:
        if not str(error.filename or temporary).startswith(str(temporary)):
            raise  # of another file, which it names
        if error.errno is None:
            raise OSError(f"{path} cannot be written: {error}") from error
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        else:
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """:func:`write_atomically` for a text, in UTF-8; missing folders above the file are made.

    Bytes of a file's name that are no UTF-8 are written as \\udce9, which JSON reads as the name again.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda temporary: temporary.write_text(text, "utf-8", "backslashreplace"))
