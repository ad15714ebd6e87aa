"""Images divided into those that are kept and those that are held out, in the same way for ever."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from spikevae.config import DataConfig, Split

log = logging.getLogger(__name__)

Item = TypeVar("Item")


def divide(
    count: int, share: float, labels: Int64[Tensor, " count"] | None = None
) -> tuple[Int64[Tensor, " kept"], Int64[Tensor, " held_out"]]:
    """Indices of the images that are kept, and of the ``share`` that is held out (at least one if there are two).

    The same for ever: numpy has frozen the stream of this generator, and no training seed enters.

    Args:
        count: images.
        share: part of them, 0 to 1.
        labels: if given, each class is divided on its own, so that a small one is in both parts.
    """
    if labels is not None:
        places = [torch.nonzero(labels == label).flatten() for label in labels.unique()]
        halves = [(place, divide(len(place), share)) for place in places]
        kept, held_out = (torch.cat([place[half[part]] for place, half in halves]) for part in (0, 1))
        return kept.sort().values, held_out.sort().values
    number = min(max(1, round(count * share)), count - 1) if share > 0 else 0
    order = torch.from_numpy(np.random.RandomState(0).permutation(count)).to(torch.int64)
    return order[number:].sort().values, order[:number].sort().values


def without_learned(
    parts: dict[Split, list[Item]], places: dict[Split, Path], real: Callable[[Item], str], what: str
) -> dict[Split, list[Item]]:
    """The parts of a folder, held-out ones without what the part for training has too, by links.

    Args:
        parts: the files of each.
        places: where each lies.
        real: the path that links of a file lead to; empty of one in an archive.
        what: the files, in a word.

    Raises:
        ValueError: if nothing is left of one.
    """
    learned = {real(item) for item in parts["train"]} - {""}
    kept = dict(parts)
    for split in parts.keys() - {"train"}:
        kept[split] = [item for item in parts[split] if real(item) not in learned]
        if not kept[split]:
            raise ValueError(
                f"{places[split]}: all of its {what} are links to those of {places['train']}, which are learned from; "
                "put others there, or remove it"
            )
        if count := len(parts[split]) - len(kept[split]):
            log.warning("%s: left out: %d %s that %s has too, by links", places[split], count, what, places["train"])
    return kept


def origins(names: Iterable[str], *, has_validation: bool, has_test: bool) -> dict[str, str]:
    """Where the validation and the test part come from: a short digest of the names that they are drawn from, or "own".

    Who has it can tell whether something was added, removed or renamed since, or a part came or went.
    """
    digest = sha256("\0".join(names).encode(errors="surrogateescape")).hexdigest()[:16]
    return {"validation": "own" if has_validation else digest, "test": "own" if has_test else digest}


def sample(total: int, count: int, labels: Int64[Tensor, " total"] | None = None) -> Int64[Tensor, " n"]:
    """Indices of ``count`` of ``total`` images, or of all if there are fewer; the same for ever, and in order.

    They are drawn from all of them, since images that lie in one folder a class come class by class. Two of each class
    are among them wherever there is room, so that no rare one is lost.
    """
    order = torch.from_numpy(np.random.RandomState(0).permutation(total)).to(torch.int64)
    if labels is not None:
        drawn = labels[order]
        firsts = [torch.nonzero(drawn == label).flatten()[:2] for label in drawn.unique()]
        is_first = torch.zeros(total, dtype=torch.bool)
        is_first[torch.cat([torch.empty(0, dtype=torch.int64), *firsts])] = True
        order = torch.cat([order[is_first], order[~is_first]])
    return order[:count].sort().values


def some(images: Any, count: int) -> Any:
    """``count`` images of an ``ImageSet``, or recordings of an ``EventSet``, to stand for all of them.

    The first ones; or where they come class by class, as those of a folder do, a `sample`.
    """
    labels, total = images.labels, len(images)
    is_class_by_class = labels is not None and total > 1 and bool((labels.diff() >= 0).all())
    return images.chosen(sample(total, count, labels) if is_class_by_class else torch.arange(min(count, total)))


def part_indices(
    count: int, config: DataConfig, split: Split, labels: Int64[Tensor, " count"] | None = None, *, needed: int = 2
) -> Int64[Tensor, " n"]:
    """Indices of the training or the validation part, of the ``count`` images of a training split.

    ``needed``: how many images there must be in all, for messages.

    Raises:
        ValueError: if there is none.
    """
    kept, held_out = divide(count, config.validation_share, labels)
    chosen = kept if split == "train" else held_out
    if len(chosen) == 0:
        advice = f"add images until there are {needed} or more"  # since of two, one is held out by any share
        if config.validation_share == 0:
            advice = f"raise validation_share, and {advice}" if count < 2 else "raise validation_share"
        raise ValueError(
            f"{config.dataset}: {count} training images with validation_share={config.validation_share} "
            f"leave none for the {split} part; {advice}"
        )
    return chosen
