"""What a visitor may ask for. Checked here, on the server, whatever the page let through."""

from __future__ import annotations

from collections.abc import Sequence

Number = int | float
"""What arrives from a browser: 8 or 8.0, as it likes."""

COUNT_LIMIT = 64
"""Images of one request."""
SEED_LIMIT = 2**32 - 1
"""Largest seed: a browser's numbers are exact only up to 2^53."""
TEMPERATURE_LIMIT = 2.0
FRAMES = (3, 24)
"""Fewest and most pictures of a walk."""
UPLOAD_BYTES = 8 * 2**20
"""Largest file, and largest request of any kind."""
UPLOAD_PIXELS = 2**24
"""Pixels of the largest picture that is decoded (16.8 million: 64 MiB in memory)."""
QUEUE_SIZE = 128
"""Requests that wait; one more is turned away."""
WORKERS = 2
"""Requests that are computed together."""
KEEP_SECONDS = 1800
"""How long the files of a request are kept."""
SESSIONS = 64
"""Visitors whose page's state Gradio remembers (some 170 kB each); no button depends on it."""
FORGET_SECONDS = 1.0
"""How often sessions that are over are forgotten."""

ANY = "any"
"""The class of pictures that may be of every class."""


def whole_number(name: str, value: object, least: int, most: int) -> int:
    """The value, if it is a whole number in the range.

    Raises:
        ValueError: if it is not.
    """
    found = number(name, value, least, most)
    if found != int(found):
        raise ValueError(f"The {name} {value} is not a whole number; give one from {least:,} to {most:,}")
    return int(found)


def number(name: str, value: object, least: Number, most: Number) -> Number:
    """The value, if it is a number in the range.

    Raises:
        ValueError: if it is not.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        given = "is missing" if value is None else "is not a number"
        raise ValueError(f"The {name} {given}; give one from {least:,} to {most:,}")
    if not least <= value <= most:  # not a number is not in it either
        raise ValueError(f"The {name} {str(value)[:40]} is out of range; give one from {least:,} to {most:,}")
    return value


def label_index(label: object, class_names: Sequence[str]) -> int | None:
    """The number of a class; None for any.

    Raises:
        ValueError: if the model has no such class.
    """
    if label is None or label == ANY:
        return None
    if label not in class_names:
        known = ", ".join((ANY, *class_names))
        raise ValueError(f"There is no class {str(label)[:40]!r} in this model; choose one of: {known}")
    return class_names.index(str(label))
