"""Test images of some data sets, which come with the page as examples."""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).parent / "examples"


def images_of(dataset: str) -> list[Path]:
    """Those of a data set, in the order of their names; none of most."""
    start = f"{dataset}-"  # no pattern: it may be any text
    return sorted(path for path in _FOLDER.glob("*.png") if path.name.startswith(start))
