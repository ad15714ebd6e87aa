"""Images and recordings: where they come from and what is read of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__all__ = ["DATASETS", "ImageSet", "load_split", "register"]

if TYPE_CHECKING:
    from spikevae.data.sets import DATASETS, ImageSet, load_split, register


def __getattr__(name: str) -> Any:
    """Import torchvision only when a data set is asked for: drawing images needs none."""
    if name not in __all__:
        raise AttributeError(f"module 'spikevae.data' has no attribute {name!r}")
    from spikevae.data import sets

    return getattr(sets, name)
