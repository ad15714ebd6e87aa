"""What an event camera sees, as a value: one recording, its events in the order of time."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Int16, Int64, UInt8

Size = tuple[int, int]
"""Height and width of a sensor, in pixels."""

MOST_EVENTS = 2**25
"""Of one recording: ten times those of the longest file of DVS128 Gesture, about 0.4 GiB in memory."""
_LATEST = 2**62 - 1  # microseconds, so that differences of times fit into 64 bits
LARGEST_SIDE = 2**14
"""Pixels: several times the largest sensor on the market."""


@dataclass(frozen=True, eq=False)
class Recording:
    """The events of one recording: at time ``t`` the pixel (``x``, ``y``) became brighter or darker.

    Args:
        t: microseconds, never falling.
        x: column, from the left.
        y: row, from the top.
        p: polarity, 1 for ON (brighter), 0 for OFF (darker).
        size: height and width of the sensor.
        is_size_known: otherwise ``size`` is just large enough for the events, and the sensor may be larger.

    Raises:
        ValueError: if an event lies outside the sensor, has another polarity, or comes before the one in front of it.
    """

    t: Int64[np.ndarray, " n"]
    x: Int16[np.ndarray, " n"]
    y: Int16[np.ndarray, " n"]
    p: UInt8[np.ndarray, " n"]
    size: Size
    is_size_known: bool = True

    def __post_init__(self) -> None:
        lengths = [len(self.t), len(self.x), len(self.y), len(self.p)]
        if len(set(lengths)) > 1:
            raise ValueError(f"t, x, y and p have {lengths} entries; expected as many of each")
        if not all(1 <= side <= LARGEST_SIDE for side in self.size):
            raise ValueError(f"a sensor of {self.size[0]}x{self.size[1]} pixels; expected 1 to {LARGEST_SIDE} each way")
        if not len(self):
            return
        for name, values, side in (("x", self.x, self.size[1]), ("y", self.y, self.size[0])):
            least, most = int(values.min()), int(values.max())
            if least < 0 or most >= side:
                outside = least if least < 0 else most
                raise ValueError(f"an event has {name}={outside}; expected 0 to {side - 1} on this sensor")
        if self.p.max() > 1:
            raise ValueError(f"an event has p={self.p.max()}; expected 0 (OFF) or 1 (ON)")
        if (self.t[1:] < self.t[:-1]).any():
            raise ValueError("the times of events fall; sort the events by t")

    def __len__(self) -> int:
        return len(self.t)

    @property
    def duration(self) -> int:
        """Microseconds from the first event to the last."""
        return int(self.t[-1] - self.t[0]) if len(self) else 0

    def between(self, start: int, end: int) -> Recording:
        """The events with ``start <= t < end``, microseconds; their times are kept."""
        first, last = np.searchsorted(self.t, (start, end))
        columns = {name: getattr(self, name)[first:last] for name in "txyp"}
        return replace(self, **columns)

    def is_equal(self, other: Recording) -> bool:
        """Whether both hold the same events, one by one, on sensors of one size."""
        pairs = ((self.t, other.t), (self.x, other.x), (self.y, other.y), (self.p, other.p))
        return self.size == other.size and all(np.array_equal(own, others) for own, others in pairs)


def recording_of(t: np.ndarray, x: np.ndarray, y: np.ndarray, p: np.ndarray, size: Size | None = None) -> Recording:
    """A recording of integers of any type, in any order: those of one time keep theirs.

    Args:
        t: microseconds.
        x: column.
        y: row.
        p: 1 or True for ON; 0, -1 or False for OFF.
        size: height and width of the sensor; otherwise just large enough for the events.

    Raises:
        ValueError: if a value is outside what a `Recording` holds.
    """
    columns = {name: np.asarray(values) for name, values in (("t", t), ("x", x), ("y", y), ("p", p))}
    for name, values in columns.items():
        if values.ndim != 1 or values.dtype.kind not in "iub":
            raise ValueError(f"{name} is {values.dtype} {list(values.shape)}; expected a list of whole numbers")
        if len(values) != len(columns["t"]):
            raise ValueError(f"{name} has {len(values)} entries and t has {len(columns['t'])}; expected as many")
        least, most = {"t": (-_LATEST, _LATEST), "p": (-1, 1)}.get(name, (0, LARGEST_SIDE - 1))
        if len(values) and (values.min() < least or values.max() > most):
            outside = values.min() if values.min() < least else values.max()
            raise ValueError(f"an event has {name}={outside}; expected {least} to {most}")
    t = columns["t"].astype(np.int64, copy=False)
    x, y = (columns[name].astype(np.int16, copy=False) for name in "xy")
    p = (columns["p"] > 0).astype(np.uint8)
    if (t[1:] < t[:-1]).any():
        order = np.argsort(t, kind="stable")
        t, x, y, p = t[order], x[order], y[order], p[order]
    needed = (int(y.max()) + 1, int(x.max()) + 1) if len(t) else (1, 1)
    return Recording(t, x, y, p, size or needed, is_size_known=size is not None)
