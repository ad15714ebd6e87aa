"""Everything about an evaluation on a terminal."""

from __future__ import annotations

from spikevae.evaluation.reports.tables import baseline_table, cost_table, not_computed, score_table
from spikevae.evaluation.scores import Scores


def table_text(scores: Scores) -> str:
    """A line for every metric, then baselines and energy, what was not computed, and the command."""
    parts = [
        f"{scores.model} on {scores.data}, protocol {scores.protocol}, seed {scores.seed}\n"
        + score_table(scores).as_text()
    ]
    baselines = baseline_table(scores)
    if baselines is not None:
        parts.append("the same metrics for\n" + baselines.as_text())
    if "costs" in scores.details:
        parts.append(
            "energy by the field's convention (docs/energy.md)\n" + cost_table(scores.details["costs"]).as_text()
        )
    parts += [score.note for score in scores.scores if score.metric == "fad_papers" and score.value is not None]
    parts += [f"not computed: {names}: {reason}" for reason, names in not_computed(scores).items()]
    return "\n\n".join([*parts, f"again: {scores.command}"])
