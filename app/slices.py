"""A recording cut into what the page needs of it. Imports no torch: a stranger's file is cut where it is decoded."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from spikevae.data.events.frames import FrameConfig, to_frames
from spikevae.data.events.readers import decode_recording
from spikevae.data.events.recording import Recording

MOMENTS = 60
"""Pictures in which a recording is played."""


class Slices(NamedTuple):
    """A recording as a network takes it, as it is played, and what is said of it."""

    frames: UInt8[np.ndarray, "T 2 H W"]
    moments: UInt8[np.ndarray, "F 2 H W"]
    events: int
    on: int
    """How many of them are ON events."""
    duration: int
    """Microseconds."""


def sliced(recording: Recording, time_steps: int, side: int) -> Slices:
    """A recording in slices of equal duration, as `spikevae classify` cuts it.

    A sensor with fewer pixels than the frames stands in their upper left corner.

    Args:
        recording: with events.
        time_steps: T.
        side: height and width of the frames, in pixels.
    """
    height, width = (max(length, side) for length in recording.size)
    whole = replace(recording, size=(height, width))
    cuts = [to_frames(whole, FrameConfig(number, "time", (side, side))) for number in (time_steps, MOMENTS)]
    return Slices(cuts[0], cuts[1], len(recording), int(recording.p.sum()), recording.duration)


def sliced_file(content: bytes, suffix: str, time_steps: int, side: int) -> Slices:
    """The same of the content of a file.

    Raises:
        ValueError: if it is no recording.
    """
    return sliced(decode_recording(content, suffix, name="The file"), time_steps, side)


def packed(slices: Slices) -> bytes:
    """Slices as bytes; :func:`unpacked` has them back."""
    numbers = np.asarray(slices[2:], "<i8")
    return numbers.tobytes() + slices.frames.tobytes() + slices.moments.tobytes()


def packed_length(time_steps: int, side: int) -> int:
    """Bytes of what :func:`packed` gives."""
    return 3 * 8 + (time_steps + MOMENTS) * 2 * side * side


def unpacked(content: bytes, time_steps: int, side: int) -> Slices:
    """The slices in what :func:`packed` gave. It may come from a process that a hostile file has taken over.

    Raises:
        ValueError: if it is too long or too short.
    """
    if len(content) != packed_length(time_steps, side):
        raise ValueError("The file cannot be read as a recording")
    events, on, duration = (int(number) for number in np.frombuffer(content, "<i8", 3))
    frames = np.frombuffer(content, np.uint8, offset=3 * 8).reshape(-1, 2, side, side)
    return Slices(frames[:time_steps], frames[time_steps:], events, on, duration)
