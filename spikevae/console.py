"""The terminal: what is said, and how far a long task is, whatever becomes of those who listen."""

from __future__ import annotations

import errno
import logging
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from spikevae.runtime import is_main_process
from spikevae.text import printable

_LONGEST_LINE = 600  # characters of an error or a warning


def prepare_streams() -> None:
    """Let every character be printed, escaped where the terminal's encoding has none for it.

    Where a stream was closed before the start, as by ``>&-`` or a service manager, what is said vanishes.
    """
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def say(text: str) -> None:
    """Print lines once, however many processes share the command, and go on if nobody reads them any more."""
    if not is_main_process():
        return
    try:
        print(text)
    except OSError as error:
        if not nobody_reads(error):
            raise
        mute(sys.stdout.fileno())


def complain(text: object) -> None:
    """Print one line on stderr, in which nothing controls the terminal."""
    _print_aside("spikevae: " + printable(" ".join(str(text).split()), _LONGEST_LINE))


def finish_output() -> None:
    """Write out what was said.

    Raises:
        OSError: if it cannot be written, for another reason than that nobody reads it.
    """
    try:
        sys.stdout.flush()
    except OSError as error:
        mute(sys.stdout.fileno())  # else Python tries again at its end, and fails again
        if not nobody_reads(error):
            raise


def nobody_reads(error: OSError) -> bool:
    """Whether the reader of a pipe has gone, as after `| head`, or the terminal was closed."""
    return error.errno in (errno.EPIPE, errno.EIO)


def mute(stream: int) -> None:
    """Let what is still written to a stream, given by its number, vanish."""
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), stream)


class OneLine(logging.Formatter):
    """A warning as one line, in which nothing controls the terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record, without its traceback."""
        return printable(" ".join(record.getMessage().split()), _LONGEST_LINE)


class Once(logging.Filter):
    """Lets each text pass once: two parts of a data set are read in the same folder, which has the same faults."""

    def __init__(self) -> None:
        super().__init__()
        self._said: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether this text is new."""
        text = record.getMessage()
        is_new = text not in self._said
        self._said.add(text)
        return is_new


def log_to_stderr() -> None:
    """Print warnings of the package and of others on stderr, each once, and by the main process alone.

    So are those of Python's ``warnings``, without the line of code that they come from.
    """
    warnings.showwarning = lambda message, *_, **__: logging.getLogger("py.warnings").warning("%s", message)
    handler = logging.StreamHandler()
    handler.setFormatter(OneLine())
    handler.addFilter(Once())
    logging.basicConfig(level=logging.WARNING if is_main_process() else logging.CRITICAL, handlers=[handler])


@contextmanager
def progress(total: int, what: str, *, unit: str = "image", seconds: float = 60.0) -> Iterator[Callable[[int], object]]:
    """Show how far a task is: a bar at a terminal, elsewhere a line now and then; nothing for what is done at once.

    Gives a function to call with the number of things that were done since the last call. TQDM_DISABLE=1 hides both.

    Args:
        total: things to do.
        what: the task, in a word.
        unit: what is counted.
        seconds: between two lines.
    """
    if sys.stderr.isatty():
        from tqdm import tqdm

        with tqdm(total=total, desc=what, unit=unit, delay=2.0, leave=False) as bar:
            yield bar.update
        return
    is_shown = is_main_process() and not os.environ.get("TQDM_DISABLE")
    begun = said = time.monotonic()
    done = 0

    def update(number: int) -> None:
        nonlocal done, said
        done += number
        now = time.monotonic()
        if is_shown and now - said >= seconds:
            said = now
            left = (now - begun) * (total - done) / max(done, 1)
            _print_aside(f"{what}: {done:,} of {total:,} {unit}s, about {left / 60:.0f} min left")

    yield update


def _print_aside(line: str) -> None:
    try:
        print(line, file=sys.stderr, flush=True)
    except OSError as error:
        if not nobody_reads(error):
            raise
        mute(sys.stderr.fileno())
