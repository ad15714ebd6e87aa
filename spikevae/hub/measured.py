"""The scores beside a model, and whether they are of its weights."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spikevae.files import hash_file
from spikevae.hub.checkpoints import WEIGHTS_NAME

SCORES_NAME = "scores.json"
IN_MEMORY = "memory:"
"""Before the hash of the weights of a model that was measured in memory, and not as a file."""
log = logging.getLogger(__name__)


def measured_scores(folder: Path, weights: Path | None = None) -> Path | None:
    """A model's file of scores; None if there is none, or it was measured with other weights, which is said.

    Args:
        folder: of the model.
        weights: the file of its weights, where that is not in the folder.
    """
    path = folder / SCORES_NAME
    if not path.is_file():
        return None
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        measured = stored.get("weights_hash", stored.get("subject_hash")) or IN_MEMORY  # its former name
        is_unknown = measured.startswith(IN_MEMORY)
    except (ValueError, RecursionError, AttributeError):
        return path  # no scores at all, as who reads them will say
    if is_unknown or measured == hash_file(weights or folder / WEIGHTS_NAME):
        return path
    log.warning("%s was measured with other weights than the model has, and is left out; evaluate again", path)
    return None


def beside(score: Mapping[str, Any], costs: Mapping[str, Mapping[str, Any]]) -> str:
    """What belongs beside the value of a score: its other energies, or the exact interval of all right or all wrong.

    Args:
        score: its fields.
        costs: as for :func:`other_energies`.
    """
    is_sure = score.get("error") == 0 and score.get("note")
    return f" ({score['note']})" if is_sure else other_energies(score["metric"], costs)


def other_energies(metric: str, costs: Mapping[str, Mapping[str, Any]]) -> str:
    """What belongs beside an energy, whose gates are multiplied: the same folded, and that of an ordinary network.

    Args:
        metric: key of a score; of another than an energy nothing belongs beside it.
        costs: of each call, as the scores' details have them.
    """
    cost = costs.get(metric.removesuffix("_energy")) if metric.endswith("_energy") else None
    if cost is None:
        return ""
    folded, ordinary = cost.get("microjoule_folded"), cost.get("ann_microjoule")
    if folded is None or ordinary is None:  # of a version before there were these columns
        return ""
    return f" (gates folded {folded:.3g}, ordinary network {ordinary:.3g})"
