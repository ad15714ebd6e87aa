"""docs/results.md from scores: ``python -m spikevae.evaluation.reports.results SCORES.json … --out PAGE``."""

from __future__ import annotations

import logging
import shlex
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import Positional, arg

from spikevae.evaluation.reports.latents import latent_section
from spikevae.evaluation.reports.published import ONE_SHOT, PUBLISHED, PUBLISHED_ACCURACY
from spikevae.evaluation.reports.tables import (
    Table,
    baseline_table,
    bounds_by_metric,
    cost_table,
    label,
    not_computed,
    number_text,
    score_table,
    value_text,
)
from spikevae.evaluation.scores import Scores, read_scores_json
from spikevae.files import write_text

logger = logging.getLogger(__name__)

_COLUMNS = ("reconstruction_mse_32", "inception_score", "fid", "fad_papers")
_HEAD = """# Results

A program writes this page: `{command}`. [How every number is computed](evaluation.md).

Published numbers are as read in the papers' own tables, but for one: we could not read TCJA-SNN's accuracy in its own
table, so it is unverified. FSVAE, ESVAE and FSDDIM take FAD from one autoencoder, that of
FSVAE. In the tables that compare, so do we. The tables below them hold FAD with the autoencoder of this package. It
compares only with itself and its baselines. We call a number FID, KID or Inception score only if Inception's own
weights gave it.

A "one shot" model draws an image with one pass of the decoder. A "many steps" model denoises each image again and
again.

`folder:faces64` is a folder with the first 10,000 photos of CelebA at 64x64. `folder:cifar` has CIFAR10 as JPEG files
(quality about 75), in a subfolder for each class. Neither comes with the package, so elsewhere the figures of these two
cannot be repeated to the last digit.
"""


def write_results(files: Sequence[Path], out: Path, latents: Path | None = None) -> Path:
    """Write the page from scores files, one section for each data set.

    Args:
        files: written by `spikevae evaluate --json`.
        out: the Markdown file.
        latents: results of `python -m benchmarks.latents`, which get a section too.

    Raises:
        ValueError, OSError: if a file is missing or holds no scores.
    """
    if not files:
        raise ValueError("give at least one scores file, written by `spikevae evaluate MODEL --json FILE`")
    scores = [read_scores_json(file) for file in files]
    by_data: dict[str, list[Scores]] = {}
    for entry in scores:
        by_data.setdefault(entry.data, []).append(entry)
    words = [*files, *(() if latents is None else ("--latents", latents)), "--out", out]
    command = f"python -m spikevae.evaluation.reports.results {shlex.join(map(str, words))}"
    sections = [_HEAD.format(command=command)]
    for data, entries in by_data.items():
        sections += [f"## {data}\n", *_beside_published(data, entries)]
        for entry in entries:
            sections += _details(entry)
    sections += () if latents is None else latent_section(latents)
    sections += _not_computed(scores)
    write_text(out, "\n".join(sections).rstrip() + "\n")
    return out


def _beside_published(data: str, entries: Sequence[Scores]) -> Iterable[str]:
    """The tables that compare: with published numbers of test splits, so those of other images or weights are out."""
    entries = [_with_published_weights(entry) for entry in entries if entry.split == "test"]
    if not entries:
        return
    rows = [
        (row.name, row.sampling, *(_or_dash(value) for value in (row.mse, row.inception_score, row.fid, row.fad)))
        for row in PUBLISHED.get(data, ())
    ]
    generators = [entry for entry in entries if any(entry.value(metric) is not None for metric in _COLUMNS)]
    rows += [
        (f"**{_title(entry)}**", ONE_SHOT, *(_value(entry, metric) for metric in _COLUMNS)) for entry in generators
    ]
    for name in dict.fromkeys(baseline.what for entry in entries for baseline in entry.baselines):
        found = [bounds_by_metric(entry) for entry in entries]
        cells = [next((b[metric][name] for b in found if name in b.get(metric, {})), "–") for metric in _COLUMNS]
        if set(cells) != {"–"}:
            rows.append((f"*{name}*", "", *cells))
    head = ("", "sampling", "reconstruction MSE at 32x32", "Inception score", "FID", "FAD (the papers' autoencoder)")
    if rows:
        yield Table(head, rows).as_markdown()
    accuracies = [(name, f"{value:.2%}") for name, value in PUBLISHED_ACCURACY.get(data, ())]
    rated = [entry for entry in entries if entry.value("accuracy") is not None]
    if rated:
        ours = [(f"**{_title(entry)}**", _percent(entry)) for entry in rated]
        yield Table(("classification by spiking networks", "accuracy"), [*accuracies, *ours]).as_markdown()
        yield from (f"{_title(entry)}: {entry['accuracy'].note}.\n" for entry in rated if entry["accuracy"].error == 0)


def _details(entry: Scores) -> Iterable[str]:
    yield f"### {_title(entry)}\n"
    weights = f", weights {entry.weights_hash[:16]}…" if entry.weights_hash else ""
    versions = ", ".join(f"{name} {version}" for name, version in entry.versions.items())
    yield f"`{entry.command}`{weights}. {versions}.\n"
    others = list(dict.fromkeys(score.command for score in entry.scores if score.command))
    if others:
        yield "Measured later: " + ", ".join(f"`{command}`" for command in others) + ".\n"
    yield score_table(_without_energy(entry)).as_markdown()
    yield Table(("what ± is", "for"), _meanings(entry)).as_markdown()
    baselines = baseline_table(entry)
    if baselines is not None:
        yield "The same metrics of real images, and of bad ones:\n"
        yield baselines.as_markdown()
    costs = entry.details.get("costs")
    if costs:
        yield f"{entry.details['parameters']:,} parameters. Energy by the field's convention, [explained](energy.md):\n"
        yield cost_table(costs).as_markdown()


def _with_published_weights(entry: Scores) -> Scores:
    return replace(entry, scores=tuple(score for score in entry.scores if not score.has_other_weights))


def _without_energy(entry: Scores) -> Scores:
    return replace(entry, scores=tuple(score for score in entry.scores if not score.metric.endswith("energy")))


def _meanings(entry: Scores) -> list[tuple[str, str]]:
    found: dict[str, list[str]] = {}
    for score in entry.scores:
        if score.error_is and score.value is not None:
            found.setdefault(score.error_is, []).append(label(score))
    return [(meaning, "; ".join(names)) for meaning, names in found.items()]


def _not_computed(scores: Sequence[Scores]) -> Iterable[str]:
    missing: dict[str, list[str]] = {}
    for entry in scores:
        for reason, names in not_computed(entry).items():
            missing.setdefault(reason, []).append(f"- Of {_title(entry)}: {names}.")
    if missing:
        yield "## Not computed here\n"
        for reason, lines in missing.items():
            yield "\n".join((f"Why: {reason}.\n", *lines)) + "\n"


def _title(entry: Scores) -> str:
    return f"{entry.model}, {entry.protocol} protocol" + (", validation part" if entry.split == "validation" else "")


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


@dataclass(frozen=True)
class ResultsSettings:
    """Which scores to show, and where."""

    files: Positional[Annotated[tuple[Path, ...], arg(metavar="SCORES.json")]]
    """Files written by `spikevae evaluate --json`."""
    out: Path = Path("docs/results.md")
    """The page."""
    latents: Path | None = None
    """Results of `python -m benchmarks.latents`, for a section that compares latents."""


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    settings = tyro.cli(ResultsSettings, description=__doc__)
    try:
        logger.info("wrote %s", write_results(settings.files, settings.out, settings.latents))
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
