"""What names of files and folders say: which part of a data set they hold, and which of them are passed over."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

from spikevae.config import Split

_PART_NAMES: dict[Split, tuple[str, ...]] = {
    "train": ("train", "training", "train_set", "training_set"),
    "validation": ("val", "valid", "validation", "val_set", "validation_set"),
    "test": ("test", "testing", "test_set", "testing_set"),
}
PARTS_IN_WORDS = "train, val (or valid, validation) and test (or testing)"
"""The names that parts may have, for messages."""
_SHOWN = 10  # names in a message
ARCHIVES = (".tar", ".zip")
"""Suffixes of files that are read as folders."""
_BY_THE_WAY = frozenset({"__macosx", "@eadir", "lost+found"})  # folders that systems and programs leave behind


def part_of(name: str) -> Split | None:
    """The part that a folder or archive of this name holds, in any case of letters; None if it names none."""
    stem = PurePosixPath(name).stem if PurePosixPath(name).suffix.lower() in ARCHIVES else name
    return next((split for split, names in _PART_NAMES.items() if stem.lower() in names), None)


def is_passed_over(name: str) -> bool:
    """Whether a file or folder is hidden, half written, or left behind by a system."""
    return (name[:1] == "." and name != ".") or name.lower() in _BY_THE_WAY or name.endswith((".partial", ".tmp"))


def some_of(names: Sequence[str]) -> str:
    """Names for a message: the first ten, and how many more there are."""
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
