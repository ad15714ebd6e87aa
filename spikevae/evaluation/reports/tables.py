"""Tables of scores, once: as text for a terminal, as Markdown, and as rows for a page."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from spikevae.evaluation.scores import OTHER_WEIGHTS, Score, Scores
from spikevae.text import printable

LONGEST_CELL = 10_000  # characters of one text on a terminal


@dataclass(frozen=True)
class Table:
    """A head and rows of as many cells."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]

    def as_text(self) -> str:
        """Columns of one width each, for a terminal, which nothing in them controls."""
        lines = [[printable(cell, LONGEST_CELL) for cell in row] for row in (self.head, *self.rows)]
        widths = [max(len(row[column]) for row in lines) for column in range(len(self.head))]
        texts = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in lines
        ]
        return "\n".join([texts[0], "  ".join("-" * width for width in widths), *texts[1:]])

    def as_markdown(self) -> str:
        """A Markdown table that ends in a line break."""
        lines = ["| " + " | ".join(self.head) + " |", "|" + " --- |" * len(self.head)]
        lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in self.rows]
        return "\n".join(lines) + "\n"


def score_table(scores: Scores, columns: Sequence[str] = ("value", "images", "features and size")) -> Table:
    """One row for every number that was computed.

    Args:
        scores: what was measured.
        columns: of "value", "better", "images", "features and size" and "remark".
    """
    cells = {
        "value": value_text,
        "better": lambda score: score.better,
        "images": comparison_text,
        "features and size": extractor_text,
        "remark": _remark,
    }
    rows = [
        (label(score), *(cells[column](score) for column in columns))
        for score in scores.scores
        if score.value is not None
    ]
    return Table(("metric", *columns), rows)


def baseline_table(scores: Scores) -> Table | None:
    """The same metrics for images that are as good, or as bad, as they come; None if none were measured."""
    bounds = bounds_by_metric(scores)
    if not bounds:
        return None
    names = list(dict.fromkeys(baseline.what for baseline in scores.baselines))
    rows = [(label(scores[metric]), *(found.get(name, "") for name in names)) for metric, found in bounds.items()]
    return Table(("metric", *names), rows)


def cost_table(costs: dict[str, Any]) -> Table:
    """``details["costs"]``: operations of each call, and its energy in three columns."""
    head = (
        "one image", "AC", "MAC", "µJ, gates multiplied", "µJ, gates folded", "MAC, ordinary network",
        "µJ, ordinary network",
    )  # fmt: skip
    rows = [
        (
            call.replace("_", " with "),
            f"{cost['accumulates']:,.0f}",
            f"{cost['multiply_accumulates']:,.0f}",
            f"{cost['microjoule']:.3g}",
            f"{cost['microjoule_folded']:.3g}" if "microjoule_folded" in cost else "–",
            f"{cost['ann_multiply_accumulates']:,.0f}",
            f"{cost['ann_microjoule']:.3g}",
        )
        for call, cost in costs.items()
    ]
    return Table(head, rows)


def class_table(classes: Sequence[dict[str, Any]]) -> Table:
    """``details["per_class"]``."""
    rows = [
        (row["class"], f"{row['images']:,}", *(f"{row[name]:.3f}" for name in ("precision", "recall", "f1")))
        for row in classes
    ]
    return Table(("class", "images", "precision", "recall", "F1"), rows)


def not_computed(scores: Scores) -> dict[str, str]:
    """What was not computed: by reason, the names of the numbers."""
    found: dict[str, list[str]] = {}
    for score in scores.scores:
        if score.value is None:
            found.setdefault(score.note, []).append(label(score))
    return {reason: "; ".join(names) for reason, names in found.items()}


def label(score: Score) -> str:
    """What a table calls a number."""
    return (score.name or score.metric) + (f" ({OTHER_WEIGHTS})" if score.has_other_weights else "")


def bounds_by_metric(scores: Scores) -> dict[str, dict[str, str]]:
    """For each metric that was computed, the baselines' values as text, by what was measured."""
    found: dict[str, dict[str, str]] = {}
    for score in scores.scores:
        for baseline in scores.baselines:
            if baseline.metric == score.metric and score.value is not None:
                found.setdefault(score.metric, {})[baseline.what] = number_text(baseline.value, baseline.error)
    return found


def value_text(score: Score) -> str:
    """A value with its uncertainty."""
    return "not computed" if score.value is None else number_text(score.value, score.error)


def number_text(value: float, error: float | None) -> str:
    """A number with as many digits as its uncertainty allows (two digits of that), else four digits."""
    if error is None or not math.isfinite(error) or error <= 1e-9 * abs(value):  # of equal images it is rounding
        return f"{value:.4g}"
    digits = max(0, 1 - math.floor(math.log10(error)))
    return f"{value:.{digits}f} ± {error:.{digits}f}"


def comparison_text(score: Score) -> str:
    """How many images were compared with which."""
    if score.samples is None:
        return ""
    if score.reference_count:
        return f"{score.samples:,} with {score.reference_count:,} of {score.reference}"
    return f"{score.samples:,}" + (f" of {score.reference}" if score.reference else "")


def extractor_text(score: Score) -> str:
    """The network and its weights, and what was done to the images' size."""
    named = f"{score.extractor} {score.weights_hash[:8]}" if score.extractor else ""
    return "; ".join(part for part in (named, score.image_size) if part)


def is_number(cell: str) -> bool:
    """Whether a cell holds a number, perhaps with its uncertainty."""
    return re.fullmatch(r"-?[\d,.]+(e-?\d+)?( ± [\d.]+)?", cell) is not None


def _remark(score: Score) -> str:
    return "; ".join(part for part in (score.note, f"± {score.error_is}" if score.error_is else "") if part)
