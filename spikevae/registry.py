"""Parts that a config names: plain dictionaries, to which anybody may add."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from spikevae.text import did_you_mean, printable

Part = TypeVar("Part")


def register(parts: dict[str, Part], name: str) -> Callable[[Part], Part]:
    """Decorator that adds a part under a name.

    Raises:
        ValueError: if the name is taken, or is no text, as what a decorator without brackets is given.
    """
    if not isinstance(name, str) or not name:
        raise ValueError(f"{printable(name, 60)} is no name; say @register_…('NAME') above what is registered")

    def add(part: Part) -> Part:
        if name in parts:
            raise ValueError(f"{name!r} is registered already; choose another name")
        parts[name] = part
        return part

    return add


def choose(parts: Mapping[str, Part], setting: str, name: str) -> Part:
    """The part of this name.

    Raises:
        ValueError: if there is none; the message lists those that there are.
    """
    if name in parts:
        return parts[name]
    hint = did_you_mean(name, parts)
    raise ValueError(f"{setting}={name!r} is none of {', '.join(parts)}" + (f"; {hint}" if hint else ""))
