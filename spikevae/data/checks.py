"""What a data set must be: its labels, the names of its classes, and the words for its parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import torch
from torch import Tensor

from spikevae.config import Split
from spikevae.text import kind_of


def check_labels(labels: object, count: int, classes: int, name: str) -> None:
    """Refuse labels that are not one whole number, -1 (unknown) or a class, for each of the entries; None will do.

    Raises:
        ValueError: if they are none.
    """
    if labels is None:
        return
    if not isinstance(labels, Tensor) or labels.dtype != torch.int64 or labels.shape != (count,):
        raise ValueError(f"{name}: labels must be an int64 tensor [{count}], got {kind_of(labels)}")
    if not count:
        return
    least, most = (int(end) for end in labels.aminmax())
    if least < -1 or (classes and most >= classes):
        raise ValueError(f"{name}: labels go from {least} to {most}, and there are {classes} classes, from 0 on")


def checked_names(class_names: Sequence[str], name: str) -> tuple[str, ...]:
    """Names of the classes of a data set.

    Raises:
        ValueError: if they are not different texts, or one text, whose letters would be the names.
    """
    names = tuple(class_names)
    is_one_text = isinstance(class_names, str)
    if is_one_text or not all(isinstance(one, str) for one in names) or len(set(names)) < len(names):
        raise ValueError(f"{name}: class_names={class_names!r}; expected different names, such as ('cat', 'dog')")
    return names


def check_split(split: str) -> None:
    """Refuse another word for a part of a data set, as ``val``.

    Raises:
        ValueError: if it is none.
    """
    if split not in get_args(Split):
        raise ValueError(f"split={split!r} is none of {', '.join(get_args(Split))}")
