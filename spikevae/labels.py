"""Classes by name or by number, wherever one is asked for."""

from __future__ import annotations

import operator
import unicodedata
from collections.abc import Sequence
from typing import Any, SupportsIndex, cast

from spikevae.text import printable

Label = str | SupportsIndex
"""A class by its name or its number."""


class OtherClassesError(ValueError):
    """Model and data, or the network that judges, know other classes."""


_SHOWN = 20  # classes that an error lists
_MOST_DIGITS = 9  # of a class's number; Python refuses to read thousands


def class_index(label: object, class_names: Sequence[str]) -> int:
    """The number of a class, from its name (in any case), or from its number.

    A name is looked for first: where classes are called "3" and "5", the text "3" is the first class, and the number 3
    is none. Whole numbers of Python, numpy and torch will do.

    Raises:
        ValueError: if there is no such class, and the message lists those that there are; or if a name is that of
            several.
    """
    wanted: object = label
    if isinstance(label, str):
        found = _classes_called(label, class_names)
        if len(found) > 1:
            each = " and ".join(f"{index} {printable(class_names[index], 40)}" for index in found[:_SHOWN])
            raise ValueError(f"label={printable(label)}: several classes are called so, {each}; give the number")
        if found:
            return found[0]
        digits = label.strip()
        wanted = int(digits) if digits.isdecimal() and len(digits) <= _MOST_DIGITS else -1
    try:
        number = operator.index(wanted)  # type: ignore[arg-type]
    except (TypeError, ValueError, RuntimeError):  # of a float, a list, a tensor of several numbers
        number = -1
    if 0 <= number < len(class_names):
        return number
    if not class_names:
        raise ValueError(f"label={printable(label)}: this model was trained without labels, so it has no classes")
    known = ", ".join(f"{index} {printable(name, 40)}" for index, name in enumerate(class_names[:_SHOWN]))
    rest = f" and {len(class_names) - _SHOWN:,} more" if len(class_names) > _SHOWN else ""
    raise ValueError(f"label={printable(label)}: this model's classes are {known}{rest}; give a name or a number")


def _classes_called(label: str, class_names: Sequence[str]) -> list[int]:
    """The numbers of the classes with exactly this name; else of those with the same letters; else in another case."""
    for alike in (str, _trimmed, _caseless):
        wanted = alike(label)
        if found := [index for index, name in enumerate(class_names) if alike(name) == wanted]:
            return found
    return []


def _trimmed(name: str) -> str:
    return composed(name.strip())


def composed(name: str) -> str:
    """The name with every accented letter as one character. Folders of macOS have two, of which keyboards write one."""
    return unicodedata.normalize("NFC", name)


def _caseless(name: str) -> str:
    return composed(_trimmed(name).casefold())


def class_indices(label: Label | Sequence[Label] | Any, count: int, class_names: Sequence[str]) -> list[int]:
    """The classes of so many images, from one label for all or one for each (also an array of numpy or torch).

    Raises:
        ValueError: if there are fewer or more labels than images, or there is no such class.
    """
    is_one = isinstance(label, str | int | float) or getattr(label, "ndim", 1) == 0
    labels = [label] * count if is_one else list(cast(Sequence[Label], label))
    if len(labels) != count:
        raise ValueError(f"{len(labels)} labels for {count} images; give one label, or one for each image")
    return [class_index(item, class_names) for item in labels]


def are_read_alike(names: Sequence[str], others: Sequence[str]) -> bool:
    """Whether these are the same names in the same order, however their accented letters are written."""
    return list(map(composed, names)) == list(map(composed, others))


def class_numbers(found: Sequence[str], known: Sequence[str], name: str, *, may_lack: bool = False) -> list[int]:
    """The model's number of each class of the data, which may have them in another order.

    Names are equal if they are read alike: accented letters may be written in either of Unicode's two ways.

    Args:
        found: the classes of the data, in its order.
        known: those of the model.
        name: of the data.
        may_lack: whether the data may lack classes of the model.

    Raises:
        OtherClassesError: if there is none, or the model does not know one, or two have the same name.
    """
    if not found or not known or len(found) > len(known) or (len(found) < len(known) and not may_lack):
        raise OtherClassesError(
            f"the model knows {len(known)} classes and {name} has {len(found)}; "
            "compare it with data of the classes that it was trained on"
        )
    if tuple(found) == tuple(known):
        return list(range(len(known)))
    found, known = ([composed(one) for one in names] for names in (found, known))
    unknown = [one for one in found if one not in known]
    if unknown:
        raise OtherClassesError(
            f"{name} has the classes {', '.join(unknown)}, which the model does not know; it knows {', '.join(known)}"
        )
    twice = next((one for one in found if found.count(one) > 1 or known.count(one) > 1), None)
    if twice is not None:
        raise OtherClassesError(f"two classes of {name}, or of the model, are called {twice}; give them other names")
    return [known.index(one) for one in found]
