"""What recordings are like as a whole: how many events, of which polarity, when, and how long a pixel waits."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from spikevae.data.events.recording import Recording

_BIN = 10_000  # microseconds
_BINS = 32


@dataclass(frozen=True, eq=False)
class EventStatistics:
    """Of a set of recordings."""

    recordings: int
    events_mean: float
    """Events a recording."""
    events_deviation: float
    on_share: float
    """Share of ON events."""
    rate: Float64[np.ndarray, " bins"]
    """Share of the events in each 10 ms of a recording, the last bin with all that come later."""
    waiting: Float64[np.ndarray, 3]
    """Quartiles of the time between two events of one pixel, in microseconds."""

    def rate_distance(self, other: EventStatistics) -> float:
        """Total variation distance of the rates over time: 0 for equal ones, 1 for ones without a common bin."""
        return float(np.abs(self.rate - other.rate).sum() / 2)


def event_statistics(recordings: Iterable[Recording]) -> EventStatistics:
    """The statistics of these recordings.

    Raises:
        ValueError: if there are none, or none has an event.
    """
    counts, on, waits = [], 0, []
    rate = np.zeros(_BINS)
    for recording in recordings:
        counts.append(len(recording))
        on += int(recording.p.sum())
        rate += np.bincount(np.clip(recording.t // _BIN, 0, _BINS - 1), minlength=_BINS)
        pixels = recording.y.astype(np.int64) * recording.size[1] + recording.x
        order = np.argsort(pixels, kind="stable")
        is_same = np.diff(pixels[order]) == 0
        waits.append(np.diff(recording.t[order])[is_same])
    if not sum(counts):
        raise ValueError("there are no events to describe")
    waiting = np.concatenate(waits)
    return EventStatistics(
        recordings=len(counts),
        events_mean=float(np.mean(counts)),
        events_deviation=float(np.std(counts)),
        on_share=on / sum(counts),
        rate=rate / rate.sum(),
        waiting=np.percentile(waiting, (25, 50, 75)) if len(waiting) else np.full(3, np.nan),
    )
