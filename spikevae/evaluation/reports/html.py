"""One self-contained page about an evaluation: report.html, pictures inside."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor

from spikevae import plots
from spikevae.config import DataConfig
from spikevae.data.sets import load_split
from spikevae.evaluation.inputs import Subject
from spikevae.evaluation.scores import (
    LABELS,
    Scores,
    bounds_by_metric,
    comparison_text,
    cost_rows,
    extractor_text,
    value_text,
)
from spikevae.evaluation.streams import first_images, to_uint8
from spikevae.hub.checkpoints import write_atomically
from spikevae.nn.vae import SpikingVAE

PAGE = "report.html"
_SAMPLES = 64
_PAIRS = 16
_WALK_STEPS = 12
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; color: #1c1c1e }
h1 { margin-bottom: 0 } h2 { margin-top: 2.5rem }
table { border-collapse: collapse; margin: 1rem 0; display: block; overflow-x: auto }
th, td { padding: .3rem .8rem; text-align: left; border-bottom: 1px solid #d0d0d5; vertical-align: top }
td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
img { max-width: 100%; height: auto }
code { background: #f2f2f5; padding: .1rem .3rem; border-radius: .2rem; overflow-wrap: anywhere }
.quiet { color: #5c5c66 }
"""


def write_report(subject: Subject, scores: Scores, folder: Path) -> Path:
    """Write the page; returns its path.

    Args:
        subject: what was measured, for the pictures.
        scores: what was found.
        folder: made if it is not there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / PAGE
    page = _page(scores, "\n".join([*_score_sections(scores), *_picture_sections(subject, scores)]))
    write_atomically(path, lambda temporary: temporary.write_text(page, encoding="utf-8"))
    return path


def _page(scores: Scores, body: str) -> str:
    title = f"{scores.subject} on {scores.data}"
    versions = ", ".join(f"{name} {version}" for name, version in scores.versions.items())
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{_text(title)}</title>'
        f"<style>{_STYLE}</style></head><body>\n<h1>{_text(title)}</h1>\n"
        f'<p class="quiet">Protocol {_text(scores.protocol)}, seed {scores.seed}'
        + (f", weights {_text(scores.subject_hash[:16])}…" if scores.subject_hash else "")
        + f".<br>{_text(versions)}<br>Again: <code>{_text(scores.command)}</code></p>\n{body}\n</body></html>\n"
    )


def _score_sections(scores: Scores) -> Iterable[str]:
    rows = [
        (
            LABELS[score.metric],
            value_text(score),
            score.better,
            comparison_text(score),
            extractor_text(score),
            _remark(score),
        )
        for score in scores.scores
    ]
    yield _section("Scores", _table(("metric", "value", "better", "images", "features and size", "remark"), rows))
    bounds = bounds_by_metric(scores)
    if bounds:
        names = list(dict.fromkeys(floor.what for floor in scores.floors))
        floor_rows = [(LABELS[metric], *(found.get(name, "") for name in names)) for metric, found in bounds.items()]
        yield _section("The same measures for", _table(("metric", *names), floor_rows))
    costs = scores.details.get("costs")
    if costs:
        head = ("one image", "AC", "MAC", "µJ", "MAC as an ANN", "µJ as an ANN")
        note = f"<p>{scores.details['parameters']:,} parameters. 4.6 pJ per MAC, 0.9 pJ per AC (45 nm), no memory.</p>"
        yield _section("Operations and energy", _table(head, cost_rows(costs)) + note)
    classes = scores.details.get("per_class")
    if classes:
        class_rows = [
            (row["class"], f"{row['images']:,}", *(f"{row[name]:.3f}" for name in ("precision", "recall", "f1")))
            for row in classes
        ]
        yield _section("Classes", _table(("class", "images", "precision", "recall", "F1"), class_rows))


def _picture_sections(subject: Subject, scores: Scores) -> Iterable[str]:
    details = scores.details
    samples = first_images(subject.samples, _SAMPLES)
    yield _figure("Samples", plots.image_grid(samples, columns=16))
    near = details.get("copies", {}).get("copies_pixels") or details.get("copies", {}).get("copies_features")
    if near and subject.reference_set is not None:
        indices = near["nearest_training_images"][: len(samples[:_PAIRS])]
        rows = {"sample": samples[:_PAIRS], "nearest in training": _training_images(subject, indices)}
        yield _figure("Nearest training images", plots.image_rows(rows))
    if subject.model is not None and subject.reference_set is not None:
        x = subject.reference_set.images(0, _PAIRS)
        y = to_uint8(subject.model.reconstruct(_to_float(x, subject.model)).cpu(), "reconstructions")
        yield _figure("Reconstructions", plots.image_rows({"original": x, "reconstruction": y}))
        yield _figure("From one image to another, through latent spikes", _walk(subject.model, x[:8]))
    if "confusion" in details:
        yield _figure("Confusion", plots.confusion_matrix(details["confusion"], details["class_names"]))
    if "firing_rates" in details:
        yield _figure("Firing rates in percent", plots.firing_rates(details["firing_rates"]))


def _training_images(subject: Subject, indices: list[int]) -> Tensor:
    assert subject.reference_set is not None
    size = subject.reference_set.image_size
    data = DataConfig(dataset=str(subject.dataset), data_root=subject.config.data_root, image_size=size)
    training = load_split(data, "train", image_channels=subject.reference_set.image_channels)  # type: ignore[arg-type]
    return torch.cat([training.images(index, 1) for index in indices])


def _walk(model: SpikingVAE, x: Tensor) -> Figure:
    """Rows of images whose latent units switch, a few at a time, from the spikes of one image to those of another."""
    with torch.inference_mode():
        z_seq = model.encode(_to_float(x, model)).mode()  # [T, N, L]
        start, end = z_seq[:, 0::2], z_seq[:, 1::2]
        start = start[:, : end.shape[1]]
        order = torch.randperm(z_seq.shape[2], generator=torch.Generator().manual_seed(0)).to(z_seq.device)
        frames = []
        for step in range(_WALK_STEPS):
            switched = order < round(step / (_WALK_STEPS - 1) * len(order))  # [L]
            frames.append(to_uint8(model.decode(torch.where(switched, end, start)).cpu(), "the walk"))
    images = torch.stack(frames, dim=1)  # [rows, steps, C, H, W]
    return plots.image_grid(images.flatten(0, 1), columns=_WALK_STEPS)


def _to_float(x: Tensor, model: SpikingVAE) -> Tensor:
    return (x.float() / 255).to(model.device)


def _remark(score: object) -> str:
    value, note, error_is = (getattr(score, name) for name in ("value", "note", "error_is"))
    return (
        f"not computed: {note}"
        if value is None
        else "; ".join(part for part in (note, f"± {error_is}" if error_is else "") if part)
    )


def _figure(title: str, figure: Figure) -> str:
    data = base64.b64encode(plots.to_png(figure)).decode("ascii")
    return _section(title, f'<img alt="{_text(title)}" src="data:image/png;base64,{data}">')


def _section(title: str, body: str) -> str:
    return f"<h2>{_text(title)}</h2>\n{body}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    cells = "".join(f"<th>{_text(name)}</th>" for name in head)
    lines = [f"<tr>{cells}</tr>"]
    for row in rows:
        cells = "".join(f"<td{_class(cell)}>{_text(cell)}</td>" for cell in row)
        lines.append(f"<tr>{cells}</tr>")
    return "<table>\n" + "\n".join(lines) + "\n</table>"


def _class(cell: str) -> str:
    return ' class="number"' if re.fullmatch(r"-?[\d,.]+(e-?\d+)?( ± [\d.]+)?", cell) else ""


def _text(value: str) -> str:
    return html.escape(str(value))
