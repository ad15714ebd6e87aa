"""One self-contained page about an evaluation: report.html, pictures first and inside the file."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib.figure import Figure
from torch import Tensor

from spikevae import plots
from spikevae.data.division import some
from spikevae.data.images import to_uint8
from spikevae.data.sets import load_split
from spikevae.evaluation.inputs import Evaluation
from spikevae.evaluation.metrics.near_copies import compared_samples
from spikevae.evaluation.reports.tables import (
    baseline_table,
    class_table,
    cost_table,
    is_number,
    not_computed,
    score_table,
)
from spikevae.evaluation.scores import Scores
from spikevae.evaluation.streams import first_images
from spikevae.files import write_text
from spikevae.nn.vae import SpikingVAE

PAGE = "report.html"
_TEMPLATE = "report.html.jinja"
_SAMPLES = 64
_COLUMNS = 8  # of every grid, so that single pictures can be made out on a phone
_WALKS = 4


@dataclass(frozen=True)
class Picture:
    """A picture of the page."""

    title: str
    caption: str
    data: str
    """A PNG in base64."""
    is_plot: bool
    """Whether it is a diagram with words, which must not become small."""


def write_report(evaluation: Evaluation, scores: Scores, folder: Path) -> Path:
    """Write the page; returns its path.

    Args:
        evaluation: what was measured, for the pictures.
        scores: what was found.
        folder: made if it is not there.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined
    )
    details = scores.details
    page = environment.get_template(_TEMPLATE).render(
        title=f"{scores.model} on {scores.data}",
        scores=scores,
        figures=list(_pictures(evaluation, scores)),
        score_table=score_table(scores, ("value", "better", "images", "features and size", "remark")),
        missing=not_computed(scores),
        baseline_table=baseline_table(scores),
        cost_table=cost_table(details["costs"]) if "costs" in details else None,
        class_table=class_table(details["per_class"]) if "per_class" in details else None,
        is_number=is_number,
    )
    path = folder / PAGE
    write_text(path, page)
    return path


def _pictures(evaluation: Evaluation, scores: Scores) -> Iterator[Picture]:
    details, model, reference_set = scores.details, evaluation.model, evaluation.reference_set
    samples = first_images(evaluation.samples, _SAMPLES)
    words = f"The first {len(samples)}, not chosen."
    yield _picture("Samples", words, plots.image_grid(samples, columns=_COLUMNS))
    if model is not None and reference_set is not None:
        x = some(reference_set, 4 * _COLUMNS).images()
        y = to_uint8(model.reconstruct(_to_float(x, model)))
        words = "Rows of originals from the reference, each above its reconstruction."
        yield _picture("Reconstructions", words, _alternating(x, y))
    near = details.get("copies", {}).get("copies_pixels") or details.get("copies", {}).get("copies_features")
    if near and reference_set is not None:
        indices = near["nearest_training_images"][: 2 * _COLUMNS]
        training = _training_images(evaluation, indices)
        compared = first_images(compared_samples(evaluation), len(training))
        if compared.shape[2:] == training.shape[2:]:  # files may have another size than the data set
            words = "Rows of samples, each above the training image that is nearest to it."
            yield _picture("Nearest training images", words, _alternating(compared, training))
    if model is not None and reference_set is not None and len(reference_set) > 1:
        words = "Latent spikes of the image on the left are switched to those of the image on the right."
        yield _picture("From one image to another", words, _walk(model, some(reference_set, 2 * _WALKS).images()))
    if "confusion" in details:
        figure = plots.confusion_matrix(details["confusion"], details["class_names"])
        yield _picture("Confusion", "Shares of each true class, with the number of images.", figure, is_plot=True)
    if details.get("firing_rates"):  # none of neurons of one's own
        figure = plots.firing_rates(details["firing_rates"])
        words = "Share of each layer's neurons that fire at each time step."
        yield _picture("Firing rates in percent", words, figure, is_plot=True)


def _picture(title: str, caption: str, figure: Figure, *, is_plot: bool = False) -> Picture:
    return Picture(title, caption, base64.b64encode(plots.to_png(figure)).decode("ascii"), is_plot)


def _alternating(upper: Tensor, lower: Tensor) -> Figure:
    """Rows of images in turn with rows of what belongs below them; both uint8 [N, C, H, W]."""
    channels = max(upper.shape[1], lower.shape[1])
    rows = [
        part.expand(-1, channels, -1, -1)
        for pair in zip(upper.split(_COLUMNS), lower.split(_COLUMNS), strict=True)
        for part in pair
    ]
    return plots.image_grid(torch.cat(rows), columns=_COLUMNS)


def _training_images(evaluation: Evaluation, indices: list[int]) -> Tensor:
    assert evaluation.reference_set is not None
    assert evaluation.data is not None
    channels = evaluation.reference_set.image_channels
    training = load_split(evaluation.data, "train", image_channels=3 if channels == 3 else 1)
    pixels: Tensor = training.chosen(torch.tensor(indices)).images()
    return pixels


def _walk(model: SpikingVAE, x: Tensor) -> Figure:
    """Rows of images whose latent units switch, a few at a time, from the spikes of one image to those of another."""
    with torch.inference_mode():
        z_seq = model.encode(_to_float(x, model)).mode()  # [T, N, L]
        start, end = z_seq[:, 0::2], z_seq[:, 1::2]
        start = start[:, : end.shape[1]]
        units = z_seq.shape[2:].numel()
        order = torch.randperm(units, generator=torch.Generator().manual_seed(0)).view(z_seq.shape[2:]).to(z_seq.device)
        frames = []
        for step in range(_COLUMNS):
            switched = order < round(step / (_COLUMNS - 1) * units)  # [L]
            frames.append(to_uint8(model.decode(torch.where(switched, end, start))))
    images = torch.stack(frames, dim=1)  # [rows, steps, C, H, W]
    return plots.image_grid(images.flatten(0, 1), columns=_COLUMNS)


def _to_float(x: Tensor, model: SpikingVAE) -> Tensor:
    return (x.float() / 255).to(model.device)
