"""What recordings are like as a whole: how many events, of which polarity, when, and how long a pixel waits."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from spikevae.data.events.recording import Recording

_LEAST_BIN = 10_000  # microseconds
_MOST_BINS = 32
_DURATION = 320_000  # microseconds, somewhat longer than a recording of N-MNIST


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
    """Share of the events in each ``bin_width`` since a recording's first event, the last with all that come later."""
    bin_width: int
    """Microseconds."""
    waiting: Float64[np.ndarray, 3]
    """Quartiles of the time between two events of one pixel, in microseconds."""

    def rate_distance(self, other: EventStatistics) -> float:
        """Total variation distance of the rates over time: 0 for equal ones, 1 for ones without a common bin.

        Raises:
            ValueError: if their bins differ, because other durations were asked for.
        """
        bins = [(len(one.rate), one.bin_width) for one in (self, other)]
        if bins[0] != bins[1]:
            (count, width), (other_count, other_width) = bins
            raise ValueError(
                f"rates over {count} bins of {width:,} µs and {other_count} of {other_width:,} µs cannot be compared; "
                "ask for statistics of one duration"
            )
        return float(np.abs(self.rate - other.rate).sum() / 2)


def event_statistics(recordings: Iterable[Recording], duration: int = _DURATION) -> EventStatistics:
    """The statistics of these recordings.

    Args:
        recordings: at least one with an event.
        duration: microseconds that the rate over time covers, in at most 32 bins of at least 10 ms.

    Raises:
        ValueError: if there are none, or none has an event, or ``duration`` is below 1.
    """
    if duration < 1:
        raise ValueError(f"duration={duration}: expected at least 1 microsecond")
    bin_width = max(_LEAST_BIN, math.ceil(duration / _MOST_BINS))
    bins = math.ceil(duration / bin_width)
    counts, on, waits = [], 0, []
    rate = np.zeros(bins)
    for recording in recordings:
        counts.append(len(recording))
        on += int(recording.p.sum())
        since_first = recording.t - recording.t[:1]
        rate += np.bincount(np.minimum(since_first // bin_width, bins - 1), minlength=bins)
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
        bin_width=bin_width,
        waiting=np.percentile(waiting, (25, 50, 75)) if len(waiting) else np.full(3, np.nan),
    )
