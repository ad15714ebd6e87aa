"""Ctrl-C, or a polite kill, as a request: training ends where its state can be saved."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import Any


class Stop(KeyboardInterrupt):
    """Training ends here, between two steps."""


class Interruption:
    """While it is entered, the first Ctrl-C is noted and a second one stops at once.

    SIGTERM, which `docker stop` and the schedulers of clusters send before they kill, and SIGHUP, which a closed
    terminal or a lost connection sends, are noted too, however often they come: `timeout` sends each to a process and
    to its group. Not so in several processes, whose launcher sends them to the rest if one fails.

    Only Python's main thread hears signals; in another one nothing changes.
    """

    def __init__(self) -> None:
        self.is_requested = False
        names = ["SIGINT"] + ["SIGTERM", "SIGHUP"] * (os.environ.get("WORLD_SIZE", "1") == "1")
        self._signals = [getattr(signal, name) for name in names if hasattr(signal, name)]  # Windows has no SIGHUP
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            for number in self._signals:
                before = signal.getsignal(number)
                if before not in (signal.SIG_IGN, None):  # not where it is ignored, as Ctrl-C is in the background
                    self._before[number] = before
                    signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.is_requested = True
        if number == signal.SIGINT:
            signal.signal(number, self._before[number])
