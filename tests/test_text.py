"""No text from outside can steer a terminal or fill a log."""

from __future__ import annotations

import pytest

from spikevae.text import printable


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("ankle boot, 1.5 µJ, 靴", "ankle boot, 1.5 µJ, 靴"),
        ("\x1b[2J\x1b]0;taken\x07", "\\x1b[2J\\x1b]0;taken\\x07"),
        ("two\nlines\r", "two\\nlines\\r"),
        ("\x9b31m", "\\x9b31m"),  # an escape sequence of one character
        ("gnp\u202eexe.", "gnp\\u202eexe."),  # writes backwards
        ("\udcff", "\\udcff"),  # a byte of a file name that is no UTF-8
        (["a", 1], "['a', 1]"),
    ],
)
def test_what_a_terminal_would_obey_is_escaped_and_all_else_stays(given: object, shown: str) -> None:
    assert printable(given) == shown


def test_long_text_is_cut_also_where_escapes_make_it_long() -> None:
    for given in ("m" * 11_000_000, "\x1b" * 199):
        assert len(printable(given)) == 200
        assert printable(given).endswith("…")
    assert printable("m" * 200) == "m" * 200
    assert printable("abcdef", limit=4) == "abc…"
