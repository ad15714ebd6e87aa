"""Figures from arrays. No global state: every figure is an object of its own, drawn off screen."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import UInt8
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn.functional import pad

from spikevae.data.images import tiled

_ZOOM = 3  # screen pixels for one pixel of an image
_DOTS_PER_INCH = 100
_LABEL_INCHES = 1.6
_MOST_NAMED = 100  # classes that a confusion matrix has room for names and counts of


def to_png(figure: Figure) -> bytes:
    """The figure as a PNG file's bytes; equal figures give equal bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DOTS_PER_INCH, metadata={"Software": None})
    return buffer.getvalue()


def image_rows(rows: Mapping[str, UInt8[Tensor, "N C H W"]]) -> Figure:
    """Rows of images, each with its name to the left; images of one column belong together.

    Args:
        rows: by name, images of one size; rows may differ in length.

    Raises:
        ValueError: if there is no image.
    """
    if not rows or not all(len(images) for images in rows.values()):
        raise ValueError("there are no images to draw")
    strips = [_grid(images, columns=len(images)) for images in rows.values()]  # [3, h, w]
    widest = max(strip.shape[2] for strip in strips)
    height = max(strip.shape[1] for strip in strips)
    # A single image has no frame of its own.
    strips = [strip if strip.shape[1] == height else pad(strip, (1, 1, 1, 1), value=255) for strip in strips]
    canvas = torch.full((3, height * len(strips), widest), 255, dtype=torch.uint8)
    for row, strip in enumerate(strips):
        canvas[:, row * height : (row + 1) * height, : strip.shape[2]] = strip
    width_inches, height_inches = (_ZOOM * pixels / _DOTS_PER_INCH for pixels in (widest, canvas.shape[1]))
    named = any(rows)
    label_inches = _LABEL_INCHES if named else 0.0
    figure = _new_figure(width_inches + label_inches, height_inches, layout=None)
    total_inches = width_inches + label_inches
    axes = figure.add_axes((label_inches / total_inches, 0, width_inches / total_inches, 1))
    axes.imshow(canvas.permute(1, 2, 0).numpy(), interpolation="nearest", aspect="auto")
    axes.set_axis_off()
    for row, name in enumerate(rows):
        axes.text(-6 / _ZOOM, (row + 0.5) * height, name, ha="right", va="center", fontsize=9, parse_math=False)
    return figure


def _grid(images: UInt8[Tensor, "N C H W"], *, columns: int) -> UInt8[Tensor, "3 h w"]:
    return tiled(images.expand(-1, 3, -1, -1), columns=columns, frame=1, value=255)


def image_grid(images: UInt8[Tensor, "N C H W"], *, columns: int) -> Figure:
    """Images in rows of ``columns``, without names."""
    grid = _grid(images, columns=columns)  # [3, h, w]
    figure = _new_figure(_ZOOM * grid.shape[2] / _DOTS_PER_INCH, _ZOOM * grid.shape[1] / _DOTS_PER_INCH, layout=None)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(grid.permute(1, 2, 0).numpy(), interpolation="nearest", aspect="auto")
    axes.set_axis_off()
    return figure


def confusion_matrix(counts: Sequence[Sequence[int]], class_names: Sequence[str]) -> Figure:
    """Shares of each true class (row) that were taken for each class (column), with the counts written in.

    Of more than 100 classes there are only the shares, and the axes show numbers of classes.
    """
    table = np.asarray(counts, dtype=float)
    shares = table / table.sum(axis=1, keepdims=True).clip(min=1)
    size = 2.0 + 0.45 * min(len(class_names), _MOST_NAMED)
    figure = _new_figure(size + 0.6, size)
    axes = figure.add_subplot()
    if len(class_names) <= _MOST_NAMED:
        _heat_map(axes, shares, [[f"{count:.0f}" if count else "" for count in row] for row in table])
        _name_ticks(axes, class_names, class_names)
    else:
        _heat_map(axes, shares, [])
    axes.set(xlabel="predicted", ylabel="true")
    return figure


def firing_rates(rates: Mapping[str, Sequence[float]]) -> Figure:
    """Share of neurons that fire, by layer (row) and time step (column), in percent."""
    steps = max(len(row) for row in rates.values())
    table = np.full((len(rates), steps), np.nan)
    for index, row in enumerate(rates.values()):
        table[index, : len(row)] = row
    figure = _new_figure(3.0 + 0.6 * steps, 1.0 + 0.35 * len(rates))
    axes = figure.add_subplot()
    _heat_map(axes, table, [[f"{100 * rate:.0f}" if rate == rate else "" for rate in row] for row in table])
    _name_ticks(axes, [str(t) for t in range(steps)], list(rates))
    axes.set(xlabel="time step")
    return figure


def _new_figure(width: float, height: float, layout: str | None = "constrained") -> Figure:
    figure = Figure(figsize=(width, height), dpi=_DOTS_PER_INCH, layout=layout)  # type: ignore[arg-type]
    FigureCanvasAgg(figure)
    return figure


def _heat_map(axes: Axes, shares: np.ndarray, texts: Sequence[Sequence[str]]) -> None:
    top = max(float(np.nanmax(shares)), 1e-9)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=top, aspect="auto")
    for row, line in enumerate(texts):
        for column, text in enumerate(line):
            colour = "white" if shares[row, column] > 0.6 * top else "black"
            axes.text(column, row, text, ha="center", va="center", fontsize=8, color=colour)


def _name_ticks(axes: Axes, columns: Sequence[str], rows: Sequence[str]) -> None:
    rotation = 45 if max(map(len, columns)) > 3 else 0
    align = "right" if rotation else "center"
    axes.set_xticks(range(len(columns)), columns, rotation=rotation, ha=align, fontsize=8, parse_math=False)
    axes.set_yticks(range(len(rows)), rows, fontsize=8, parse_math=False)  # a name may hold "$"
