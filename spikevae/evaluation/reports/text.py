"""Everything about an evaluation on a terminal."""

from __future__ import annotations

from spikevae.evaluation.reports.tables import LONGEST_CELL, baseline_table, cost_table, not_computed, score_table
from spikevae.evaluation.scores import Scores
from spikevae.text import printable


def table_text(scores: Scores) -> str:
    """A line for every metric, then baselines and energy, what was not computed, and the command.

    Names of classes and files come from strangers: nothing in them controls the terminal.
    """
    title = f"{scores.model} on {scores.data}, protocol {scores.protocol}, seed {scores.seed}"
    parts = [f"{_line(title)}\n{score_table(scores).as_text()}"]
    baselines = baseline_table(scores)
    if baselines is not None:
        parts.append("the same metrics for\n" + baselines.as_text())
    if "costs" in scores.details:
        parts.append(
            "energy by the field's convention (docs/energy.md)\n" + cost_table(scores.details["costs"]).as_text()
        )
    parts += [_line(score.note) for score in scores.scores if score.metric == "fad_papers" and score.value is not None]
    parts += [_line(f"not computed: {names}: {reason}") for reason, names in not_computed(scores).items()]
    return "\n\n".join([*parts, _line(f"again: {scores.command}")])


def _line(text: str) -> str:
    return printable(text, LONGEST_CELL)
