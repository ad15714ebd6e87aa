"""Text from outside, before it reaches a terminal, a log or a message."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def printable(text: object, limit: int = 200) -> str:
    r"""Return a text with every control character escaped (``\x1b``, ``\n``), cut to ``limit`` characters.

    Names of classes, weights and files come from strangers. An escape sequence in one can clear a terminal or forge
    its lines; so can the marks that reverse the direction of writing.

    >>> printable("shoe\x1b[2J")
    'shoe\\x1b[2J'
    """
    given = str(text)
    shown = "".join(
        mark if mark.isprintable() else mark.encode("unicode_escape").decode("ascii") for mark in given[: limit + 1]
    )
    return shown if len(given) <= limit and len(shown) <= limit else shown[: limit - 1] + "…"


def kind_of(x: object) -> str:
    """Kind of numbers and shape of a tensor or array, for a message; of anything else its type.

    >>> kind_of([1, 2])
    'list []'
    """
    return f"{getattr(x, 'dtype', type(x).__name__)} {list(getattr(x, 'shape', ()))}"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A question with the known name that is most like a mistyped one; empty if none is like it.

    >>> did_you_mean("nmist", ("mnist", "cifar10"))
    "did you mean 'mnist'?"
    """
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {near[0]!r}?" if near else ""
