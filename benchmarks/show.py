"""Figures with their units, in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from benchmarks.measure import Unit


def show(figure: float, unit: Unit) -> str:
    """A figure with its unit, to three digits."""
    if unit == "seconds":
        return show_seconds(figure)
    if unit == "share":
        return f"{figure:.1%}"
    if unit == "images/s":
        return f"{three_digits(figure)} images/s"
    return f"{three_digits(figure)} {unit}"


def show_seconds(seconds: float) -> str:
    """Seconds in the unit that suits them."""
    for factor, unit in ((1.0, "s"), (1e3, "ms"), (1e6, "µs")):
        if seconds * factor >= 1 or unit == "µs":
            return f"{three_digits(seconds * factor)} {unit}"
    raise AssertionError


def show_bytes(count: float) -> str:
    """Bytes in megabytes."""
    return f"{three_digits(count / 1e6)} MB"


def three_digits(value: float) -> str:
    """A number to three digits."""
    decimals = 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0
    return f"{value:,.{decimals}f}"


def markdown(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in rows) + "\n"
