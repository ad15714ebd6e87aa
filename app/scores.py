"""The released models' measured scores, as the evaluation wrote them beside each model."""

from __future__ import annotations

from collections.abc import Sequence

from app.pictures import scores_table
from spikevae.evaluation.reports.tables import bounds_by_metric, comparison_text, label, value_text
from spikevae.evaluation.scores import Scores, read_scores_json
from spikevae.hub.checkpoints import model_folder


def scores_page(models: Sequence[str]) -> str:
    """A table for every model; a model without scores says how to measure them.

    Raises:
        ValueError: if a file of scores is damaged.
    """
    return "".join(_section(model) for model in models)


def _section(model: str) -> str:
    folder = model_folder(model)
    path = folder / "scores.json"
    if not path.is_file():
        words = f"No scores were measured for this model; `spikevae evaluate {model}` measures them."
        return scores_table((), (), folder.name, words)
    scores = read_scores_json(path)
    baselines = list(dict.fromkeys(baseline.what for baseline in scores.baselines))
    head = ("measure", "value", "best is", *baselines, "measured on")
    words = f"Measured on {scores.data}, protocol {scores.protocol}, seed {scores.seed}. Again: {scores.command}"
    return scores_table(head, _rows(scores, baselines), folder.name, words)


def _rows(scores: Scores, baselines: Sequence[str]) -> list[tuple[str, ...]]:
    bounds = bounds_by_metric(scores)
    return [
        (
            label(score),
            value_text(score),
            score.better,
            *(bounds.get(score.metric, {}).get(baseline, "") for baseline in baselines),
            comparison_text(score),
        )
        for score in scores.scores
        if score.value is not None
    ]
