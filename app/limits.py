"""What a visitor may ask for. Checked here, on the server, whatever the page let through."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from spikevae.labels import class_index
from spikevae.text import printable

Number = int | float
Sent = Any
"""What a visitor sent, of whatever kind: a browser gives 8 or 8.0, a program what it likes."""

COUNT_LIMIT = 64
"""Images of one request."""
SEED_LIMIT = 2**32 - 1
"""Largest seed: a browser's numbers are exact only up to 2^53."""
TEMPERATURE_LIMIT = 2.0
FRAMES = (3, 24)
"""Fewest and most pictures of a walk."""
PACE = (1, 12)
"""Slowest and fastest frames a second of an animation."""
COMPARED = 32
"""Images of each side of a comparison."""
AMOUNT = 4
"""Standard deviations that a picture may be moved along a direction."""
PROPOSALS = 8
"""Proposals for the hidden part of a picture."""
FAVOURITES = 24
"""Pictures that a visitor may keep."""
UPLOAD_BYTES = 24 * 2**20
"""Largest file: a phone's photo of 50 megapixels takes 20 MB."""
UPLOAD_PIXELS = 2**24
"""Pixels of the largest picture that is decoded whole (16.8 million: 64 MiB in memory)."""
PHOTO_PIXELS = 80_000_000
"""Pixels of the largest JPEG, which is decoded at a half or a quarter of its size."""
VISITOR_BYTES = 96 * 2**20
"""What one visitor may upload at once; as much more comes each minute."""
SMALLEST_CHARGE = 2**16
"""Bytes that an upload counts for at least: files cost more than their content."""
UPLOADS = 16
"""Uploads that are received together."""
VISITOR_UPLOADS = 8
"""Those of one visitor among them."""
FOLDER_BYTES = 10**9
"""What all files of all visitors may take of the disk, at least 8 KiB each; the oldest are deleted first."""
YOUNG_SECONDS = 60
"""How long a file stays in any case; where there is no room without it, a visitor is told to come later."""
DECODE_SECONDS = 1.8
"""Seconds of the processor that the decoding of a picture may take."""
DECODE_BYTES = 512 * 2**20
"""Memory that the decoding of a picture may take."""
DECODERS = 2
"""Pictures that are decoded together."""
CALL_BYTES = 2**19
"""Largest call of a function; a drawing takes some 50 kB."""
LOGIN_BYTES = 2**12
BODY_SECONDS = 15.0
"""How long a call may take to arrive."""
UPLOAD_SECONDS = 120.0
"""How long an upload may take to arrive."""
HEADER_SECONDS = 15.0
"""How long a request's header may take to arrive, and a connection do nothing."""
SILENT_SECONDS = 60.0
"""How long a visitor may read nothing of an answer."""
CONNECTIONS = 2048
"""Connections of all visitors, if the process may open so many files; a third of them may be from one address."""
GUESSES, GUESSES_PER_SECOND = 8, 0.1
"""Wrong passwords from one address: at once, and later."""
ALL_GUESSES, ALL_GUESSES_PER_SECOND = 40, 2.0
"""The same from all addresses together."""
PAGES, PAGES_PER_SECOND = 240, 2.0
"""The page and its descriptions, which take up to a tenth of a second each, for one address: at once, and later."""
QUEUE_SIZE = 128
"""Requests that wait; one more is turned away. So many answers, too, are kept for a page that fetches none."""
ANSWERS = 2 * QUEUE_SIZE
"""Calls, of all visitors, that wait or whose answer was not fetched yet; beyond, the oldest answers are dropped."""
ANSWER_SECONDS = 120.0
"""How long an answer is kept that nobody fetches."""
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


def whole_number(name: str, value: Sent, least: int, most: int) -> int:
    """The value, if it is a whole number in the range.

    Raises:
        ValueError: if it is not.
    """
    found = number(name, value, least, most)
    if found != int(found):
        raise ValueError(f"The {name} {value} is not a whole number; give one from {least:,} to {most:,}")
    return int(found)


def number(name: str, value: Sent, least: Number, most: Number) -> Number:
    """The value, if it is a number in the range.

    Raises:
        ValueError: if it is not.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        given = "is missing" if value is None else "is not a number"
        raise ValueError(f"The {name} {given}; give one from {least:,} to {most:,}")
    if not least <= value <= most:  # not a number is not in it either
        raise ValueError(f"The {name} {printable(value, 40)} is out of range; give one from {least:,} to {most:,}")
    return value


def label_index(label: Sent, class_names: Sequence[str]) -> int | None:
    """The number of a class, given by name or number; None for any.

    Raises:
        ValueError: if the model has no such class.
    """
    if label is None or label == ANY:
        return None
    try:
        if isinstance(label, bool) or not isinstance(label, int | str):
            raise ValueError("a class is a name or a number")
        return class_index(label, class_names)
    except ValueError:
        known = ", ".join((ANY, *class_names))
        raise ValueError(f"There is no class {printable(label, 40)!r} in this model; choose one of: {known}") from None


def label_name(label: Sent, class_names: Sequence[str]) -> str:
    """The name of a class, given by name or number, or ``ANY``; errors as for :func:`label_index`.

    A number would not do where names are digits: class number 0 may be called "1".
    """
    index = label_index(label, class_names)
    return ANY if index is None else class_names[index]
