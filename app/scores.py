"""The released models' measured scores, as the evaluation wrote them beside each model."""

from __future__ import annotations

from collections.abc import Sequence

from app.pictures import scores_table
from spikevae.evaluation.scores import LABELS, Scores, bounds_by_metric, comparison_text, read_scores_json, value_text
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
    floors = list(dict.fromkeys(floor.what for floor in scores.floors))
    head = ("measure", "value", "best is", *floors, "measured on")
    words = f"Measured on {scores.data}, protocol {scores.protocol}, seed {scores.seed}. Again: {scores.command}"
    return scores_table(head, _rows(scores, floors), folder.name, words)


def _rows(scores: Scores, floors: Sequence[str]) -> list[tuple[str, ...]]:
    bounds = bounds_by_metric(scores)
    return [
        (
            LABELS.get(score.metric, score.metric),
            value_text(score),
            score.better,
            *(bounds.get(score.metric, {}).get(floor, "") for floor in floors),
            comparison_text(score),
        )
        for score in scores.scores
        if score.value is not None
    ]
