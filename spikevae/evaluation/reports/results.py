"""docs/results.md from scores: ``python -m spikevae.evaluation.reports.results SCORES.json … --out PAGE``."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import Positional, arg

from spikevae.evaluation.scores import (
    LABELS,
    Scores,
    bounds_by_metric,
    comparison_text,
    cost_rows,
    extractor_text,
    number_text,
    read_scores_json,
    value_text,
)
from spikevae.hub.checkpoints import write_atomically

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Published:
    """A row of a paper's table; None where the paper gives no number."""

    name: str
    mse: float | None = None
    inception_score: float | None = None
    fid: float | None = None
    fad: float | None = None


_SPIKING_DIFFUSION = "Spiking-Diffusion, T 16"
_SDDPM = "SDDPM, T 4, 63.6 M parameters, 1000 steps"
PUBLISHED: dict[str, tuple[Published, ...]] = {
    "mnist": (
        Published("ANN VAE (FSVAE's paper)", 0.048, 5.95, 112.5, 17.09),
        Published("FSVAE, T 16", 0.031, 6.21, 97.06, 35.54),
        Published("ESVAE, T 16", 0.013, 5.61, 117.8, 10.99),
        Published(_SPIKING_DIFFUSION, fid=37.50),
        Published(_SDDPM, fid=29.48),
    ),
    "fashion-mnist": (
        Published("ANN VAE (FSVAE's paper)", 0.050, 4.25, 123.7, 18.08),
        Published("FSVAE, T 16", 0.031, 4.55, 90.12, 15.75),
        Published("ESVAE, T 16", 0.019, 6.23, 125.3, 11.13),
        Published(_SPIKING_DIFFUSION, fid=91.98),
        Published(_SDDPM, fid=21.38),
    ),
    "celeba": (
        Published("ANN VAE (FSVAE's paper)", 0.059, 3.23, 92.53, 156.9),
        Published("FSVAE, T 16", 0.051, 3.70, 101.6, 112.9),
        Published("ESVAE, T 16", 0.034, 3.87, 85.33, 51.93),
        Published(_SDDPM, fid=25.09),
    ),
    "cifar10": (
        Published("ANN VAE (FSVAE's paper)", 0.105, 2.59, 229.6, 196.9),
        Published("FSVAE, T 16", 0.066, 2.95, 175.5, 133.9),
        Published("ESVAE, T 16", 0.045, 3.76, 127.0, 14.74),
        Published(_SPIKING_DIFFUSION, fid=120.5),
        Published(_SDDPM, fid=19.73),
    ),
}
PUBLISHED_ACCURACY: dict[str, tuple[tuple[str, float], ...]] = {
    "fashion-mnist": (("PLIF, ICCV 2021", 0.9438), ("TCJA-SNN, about", 0.948)),
    "mnist": (("PLIF, ICCV 2021", 0.9972),),
}
_COLUMNS = ("reconstruction_mse_32", "inception_score", "fid", "fad")
_HEAD = """# Results

Written by `{command}`; not by hand. [How every number is computed](evaluation.md).

Published numbers are as read in the papers' own tables. Two cautions. FAD is a distance in the latent space of an
autoencoder that everybody trains anew, and nothing fixes the scale of that space: ours are comparable with each other
and with the floors below them, and with the papers' only roughly. And FID, KID and the Inception score are given that
name only if they were computed with torch-fidelity's own Inception weights.
"""


def write_results(files: Sequence[Path], out: Path) -> Path:
    """Write the page from scores files, one section for each data set.

    Args:
        files: written by `spikevae evaluate --json`.
        out: the Markdown file.

    Raises:
        ValueError, OSError: if a file is missing or holds no scores.
    """
    if not files:
        raise ValueError("give at least one scores file, written by `spikevae evaluate MODEL --json FILE`")
    scores = [read_scores_json(file) for file in files]
    by_data: dict[str, list[Scores]] = {}
    for entry in scores:
        by_data.setdefault(entry.data, []).append(entry)
    command = f"python -m spikevae.evaluation.reports.results {' '.join(map(str, files))} --out {out}"
    sections = [_HEAD.format(command=command)]
    for data, entries in by_data.items():
        sections += [f"## {data}\n", *_beside_published(data, entries)]
        for entry in entries:
            sections += _details(entry)
    sections += _not_computed(scores)
    out.parent.mkdir(parents=True, exist_ok=True)
    text = "\n".join(sections).rstrip() + "\n"
    write_atomically(out, lambda path: path.write_text(text, encoding="utf-8"))
    return out


def _beside_published(data: str, entries: Sequence[Scores]) -> Iterable[str]:
    rows = [
        (row.name, *(_or_dash(value) for value in (row.mse, row.inception_score, row.fid, row.fad)))
        for row in PUBLISHED.get(data, ())
    ]
    rows += [(f"**{_title(entry)}**", *(_value(entry, metric) for metric in _COLUMNS)) for entry in entries]
    for name in dict.fromkeys(floor.what for entry in entries for floor in entry.floors):
        found = [bounds_by_metric(entry) for entry in entries]
        cells = [next((b[metric][name] for b in found if name in b.get(metric, {})), "–") for metric in _COLUMNS]
        if set(cells) != {"–"}:
            rows.append((f"*{name}*", *cells))
    yield _table(("", "reconstruction MSE at 32x32", "Inception score", "FID", "FAD"), rows)
    accuracies = [(name, f"{value:.2%}") for name, value in PUBLISHED_ACCURACY.get(data, ())]
    ours = [(f"**{_title(entry)}**", _percent(entry)) for entry in entries if entry.value("accuracy") is not None]
    if ours:
        yield _table(("classification by spiking networks", "accuracy"), [*accuracies, *ours])


def _details(entry: Scores) -> Iterable[str]:
    yield f"### {_title(entry)}\n"
    weights = f", weights {entry.subject_hash[:16]}…" if entry.subject_hash else ""
    versions = ", ".join(f"{name} {version}" for name, version in entry.versions.items())
    yield f"`{entry.command}`{weights}. {versions}.\n"
    bounds = bounds_by_metric(entry)
    names = list(dict.fromkeys(floor.what for floor in entry.floors))
    yield _table(
        ("metric", "value", *names, "images", "features and size"),
        [
            (
                LABELS[score.metric],
                value_text(score),
                *(bounds.get(score.metric, {}).get(name, "") for name in names),
                comparison_text(score),
                extractor_text(score),
            )
            for score in entry.scores
            if score.value is not None and not score.metric.endswith("energy")
        ],
    )
    yield "± is " + "; ".join(_meanings(entry)) + ".\n"
    costs = entry.details.get("costs")
    if costs:
        yield f"{entry.details['parameters']:,} parameters. 4.6 pJ per MAC, 0.9 pJ per AC, data movement not counted:\n"
        yield _table(
            ("for one image", "AC", "MAC", "µJ", "MAC of the same layers as an ANN", "µJ as an ANN"),
            cost_rows(costs),
        )


def _meanings(entry: Scores) -> list[str]:
    found: dict[str, list[str]] = {}
    for score in entry.scores:
        if score.error_is and score.value is not None:
            found.setdefault(score.error_is, []).append(LABELS[score.metric])
    return [f"for {', '.join(names)}: {meaning}" for meaning, names in found.items()]


def _not_computed(scores: Sequence[Scores]) -> Iterable[str]:
    missing: dict[str, list[str]] = {}
    for entry in scores:
        for score in entry.scores:
            if score.value is None:
                missing.setdefault(score.note, []).append(f"{LABELS[score.metric]} of {_title(entry)}")
    if missing:
        yield "## Not computed here\n"
        for reason, names in missing.items():
            yield f"{', '.join(names)}: {reason}.\n"


def _title(entry: Scores) -> str:
    return f"{entry.subject}, {entry.protocol} protocol"


def _value(entry: Scores, metric: str) -> str:
    return next(
        (value_text(score) for score in entry.scores if score.metric == metric and score.value is not None), "–"
    )


def _percent(entry: Scores) -> str:
    score = entry["accuracy"]
    assert score.value is not None
    return f"{number_text(100 * score.value, None if score.error is None else 100 * score.error)}%"


def _or_dash(value: float | None) -> str:
    return "–" if value is None else f"{value:g}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class ResultsSettings:
    """Which scores to show, and where."""

    files: Positional[Annotated[tuple[Path, ...], arg(metavar="SCORES.json")]]
    """Files written by `spikevae evaluate --json`."""
    out: Path = Path("docs/results.md")
    """The page."""


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    settings = tyro.cli(ResultsSettings, description=__doc__)
    try:
        logger.info("wrote %s", write_results(settings.files, settings.out))
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
