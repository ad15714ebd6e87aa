"""Tensors into what a page shows: PNG files, animations, ZIP archives, and panels of HTML with pictures in them.

All markup is made here; every text in it is escaped. Colours come from the page's theme, so dark and light both work.
"""

from __future__ import annotations

import base64
import io
import json
import math
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

import matplotlib
import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from spikevae.data.images import to_uint8
from spikevae.evaluation.operations import MAC_PICOJOULE

from .watch import Observation

_RASTER_ROWS = 96  # neurons shown of a layer
_INK = (109, 74, 255)  # of a spike
_GRID_SCALE = 4  # screen pixels of a picture's pixel in the downloaded grid
_GRID_GAP = 2  # screen pixels between its pictures


class Row(NamedTuple):
    """A row of a table of texts."""

    name: str
    cells: Sequence[str]
    shares: Sequence[float | None] | None = None
    """Of each cell a bar behind it, 0 to 1."""
    kind: str = ""
    note: str = ""
    """A line below the name."""


def png(image: Float[Tensor, "C H W"], scale: int = 1) -> bytes:
    """A PNG file; each pixel becomes ``scale`` x ``scale``."""
    return _png(_enlarged(to_uint8(image)[None], scale)[0])


def grid_png(images: Float[Tensor, "N C H W"]) -> bytes:
    """All images in one PNG, nearly square, enlarged without smoothing."""
    pixels = _enlarged(to_uint8(images), _GRID_SCALE)
    count, channels, height, width = pixels.shape
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    grid = torch.full(
        (channels, rows * (height + _GRID_GAP) - _GRID_GAP, columns * (width + _GRID_GAP) - _GRID_GAP),
        255,
        dtype=torch.uint8,
    )
    for number, image in enumerate(pixels):
        top, left = (number // columns) * (height + _GRID_GAP), (number % columns) * (width + _GRID_GAP)
        grid[:, top : top + height, left : left + width] = image
    return _png(grid)


def archive(images: Iterable[Float[Tensor, "C H W"]], settings: Mapping[str, Any]) -> bytes:
    """A ZIP archive of PNG files at their own size, and of the settings that they came from; equal in, equal out."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for number, image in enumerate(images):
            file.writestr(zipfile.ZipInfo(f"{number:04}.png"), png(image))
        file.writestr(zipfile.ZipInfo("settings.json"), json.dumps(settings, indent=2) + "\n")
    return buffer.getvalue()


def animation(images: Float[Tensor, "F C H W"], scale: int = 8) -> bytes:
    """A GIF that runs through the images and back, for ever."""
    pixels = _enlarged(to_uint8(images), scale)
    there = [_pil(frame) for frame in pixels]
    frames = [*there, *reversed(there[1:-1])]
    pauses = [600 if index in (0, len(there) - 1) else 110 for index in range(len(frames))]  # milliseconds
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:], duration=pauses, loop=0, optimize=False)
    return buffer.getvalue()


# ---------------------------------------------------------------- panels of the look inside


def layer_title(name: str) -> str:
    """What a visitor is told of a module's name.

    ``decoder.stages.0.neurons`` is decoder stage 1, ``decoder.stages.0.attention.temporal`` is decoder stage 1 TCJA.
    """
    room, *parts = name.split(".")
    if room == "latent":
        return "latent" if len(parts) < 3 else f"latent layer {int(parts[2]) + 1}"
    place = {"stages": "stage", "expand": "entry", "read_out": "read-out"}.get(parts[0], parts[0])
    words = [room, place, *(str(int(part) + 1) for part in parts[1:2] if part.isdigit())]
    return " ".join([*words, "TCJA"] if "attention" in parts[:-1] else words)


def spikes_panel(seen: Observation) -> str:
    """A raster of every spiking layer: neurons down, time steps across."""
    figures = []
    for name, spikes in seen.spikes.items():
        title, neurons = layer_title(name), spikes.shape[1]
        rows = torch.linspace(0, neurons - 1, min(neurons, _RASTER_ROWS)).long()
        raster = spikes[:, rows].T.cpu().numpy() > 0  # [rows, T]
        pixels = np.zeros((*raster.shape, 4), np.uint8)
        pixels[raster] = (*_INK, 255)
        shown = "all" if len(rows) == neurons else f"{len(rows)} of"
        figures.append(
            _figure(
                _uri(Image.fromarray(pixels)),
                f"Spikes of {title}: {float(spikes.mean()):.1%} of neurons fire, by time step",
                f"<b>{escape(title)}</b><br>{shown} {neurons:,} neurons",
                "raster",
            )
        )
    return _panel(
        "Spikes",
        "Each row is a neuron, each column a time step; a mark is a spike. Wide layers show an even choice of neurons.",
        figures,
    )


def rates_panel(seen: Observation) -> str:
    """A table: share of each layer's neurons that fire at each time step."""
    rates = seen.cost.firing_rates
    time_steps = max(map(len, rates.values()))
    head = ["layer", *(f"t = {t + 1}" for t in range(time_steps)), "mean"]
    rows = [
        Row(
            layer_title(name),
            [*(f"{step:.1%}" for step in steps), f"{sum(steps) / len(steps):.1%}"],
            [*(step / max(max(steps), 1e-9) for step in steps), None],
        )
        for name, steps in rates.items()
    ]
    words = "The share of a layer's neurons that fire at a time step."
    return _panel("Firing rates", words, [_table(head, rows, "firing rates")])


def gates_panel(seen: Observation) -> str:
    """A heat map of every TCJA gate: time steps down, channels across."""
    if not seen.gates:
        return _panel("TCJA gates", "This model has no attention.", [])
    colours = matplotlib.colormaps["viridis"]
    figures = []
    for name, gate in seen.gates.items():
        title, values = layer_title(name), gate.detach().cpu().numpy()  # [T, C]
        pixels = (colours(values)[..., :3] * 255).round().astype(np.uint8)
        figures.append(
            _figure(
                _uri(Image.fromarray(pixels)),
                f"TCJA gate of {title}: {values.shape[0]} time steps by {values.shape[1]} channels, "
                f"from {values.min():.2f} to {values.max():.2f}",
                f"<b>{escape(title)}</b>, {values.shape[1]} channels, gate {values.min():.2f} to {values.max():.2f}",
                "gate",
            )
        )
    stops = ",".join(matplotlib.colors.to_hex(colours(step / 8)) for step in range(9))
    scale = f'<p class="scale">0 <span style="background:linear-gradient(90deg,{stops})"></span> 1</p>'
    return _panel(
        "TCJA gates",
        "The factor that scales each channel at each time step: a row is a time step, a column a channel.",
        [scale, *figures],
    )


def energy_panel(seen: Observation) -> str:
    """A table of operations and energy by layer, with the sum against an ordinary network."""
    cost = seen.cost
    groups: dict[str, list[float]] = {}
    for layer in cost.layers.values():
        sums = groups.setdefault(layer_title(layer.name), [0.0] * 4)
        values = (
            layer.accumulates,
            layer.multiply_accumulates,
            layer.picojoule / 1e3,
            MAC_PICOJOULE * layer.dense / 1e3,
        )
        groups[layer_title(layer.name)] = [total + value for total, value in zip(sums, values, strict=True)]
    totals = [sum(column) for column in zip(*groups.values(), strict=True)]
    rows = [_cost_row(title, values) for title, values in groups.items()]
    rows.append(_cost_row("sum", totals, kind="sum"))
    share = cost.microjoule / cost.ann_microjoule if cost.ann_microjoule else math.nan
    words = (
        f"This picture: <b>{cost.microjoule:.2f} µJ</b>. The same layers as an ordinary network, run once: "
        f"<b>{cost.ann_microjoule:.2f} µJ</b>, so spikes take {share:.2f} of its energy. By the field's convention "
        "(45 nm: 0.9 pJ for an addition, 4.6 pJ for a multiplication with addition); moving data is not counted."
    )
    head = ["layer", "additions", "multiplications", "energy (nJ)", "ordinary (nJ)"]
    return _panel("Operations and energy", words, [_table(head, rows, "operations and energy")], escaped=True)


def _cost_row(title: str, values: Sequence[float], kind: str = "") -> Row:
    adds, multiplies, spiking, ordinary = values
    cells = (f"{adds:,.0f}", f"{multiplies:,.0f}", f"{spiking:,.1f}", f"{ordinary:,.1f}" if ordinary else "none")
    return Row(title, cells, kind=kind)


def facts_line(words: str, link: str | None = None, warning: str = "") -> str:
    """One line below pictures, with a link that leads to them again, and a warning above it."""
    again = f' <a href="{escape(link)}">Link to exactly these pictures</a>' if link else ""
    above = f'<p class="warning" role="alert">{escape(warning)}</p>' if warning else ""
    return f'{above}<p class="facts" role="status">{escape(words)}{again}</p>'


def paragraph(words: str, kind: str) -> str:
    """Text in a paragraph of a kind that the page's style knows."""
    return f'<p class="{kind}">{escape(words)}</p>'


def ends_pair(low: str, high: str, name: str) -> str:
    """Two small pictures side by side, by address: what a direction leads to."""
    parts = [
        f'<img src="{source}" alt="{escape(name)}, {side}">'
        for source, side in ((low, "left end"), (high, "right end"))
    ]
    return f'<div class="ends">{parts[0]}<span aria-hidden="true">↔</span>{parts[1]}</div>'


def link_line(words: str, links: Iterable[tuple[str, str]]) -> str:
    """Words, then links by name and address, in one line."""
    anchors = [f'<a href="{escape(address)}" rel="noreferrer">{escape(name)}</a>' for name, address in links]
    return f'<p class="links">{" · ".join([escape(words), *anchors])}</p>'


def scores_table(head: Sequence[str], rows: Sequence[Row], title: str, words: str) -> str:
    """A table of texts under a heading, or the heading and words alone."""
    return _panel(title, words, [_table(head, rows, f"scores of {title}")] if rows else [])


# ---------------------------------------------------------------- details


def _panel(title: str, words: str, parts: Sequence[str], *, escaped: bool = False) -> str:
    text = words if escaped else escape(words)
    return (
        f'<section class="panel"><h2>{escape(title)}</h2><p>{text}</p><div class="parts">{"".join(parts)}</div>'
        "</section>"
    )


def _figure(source: str, spoken: str, caption: str, kind: str) -> str:
    image = f'<img src="{source}" alt="{escape(spoken)}">'
    return f'<figure class="{kind}">{image}<figcaption>{caption}</figcaption></figure>'


def _table(head: Sequence[str], rows: Iterable[Row], title: str) -> str:
    """A table that a phone shows as a block for each row, every cell under its column's name."""
    names = "".join(f'<th scope="col" role="columnheader">{escape(name)}</th>' for name in head)
    body = "".join(_row(head, row) for row in rows)
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="Table: {escape(title)}">'
        f'<table role="table"><thead role="rowgroup"><tr role="row">{names}</tr></thead>'
        f'<tbody role="rowgroup">{body}</tbody></table></div>'
    )


def _row(head: Sequence[str], row: Row) -> str:
    note = f"<small>{escape(row.note)}</small>" if row.note else ""
    cells = [
        f'<td role="cell" data-label="{escape(name)}"{_bar(share)}>{escape(cell)}</td>'
        for name, cell, share in zip(head[1:], row.cells, row.shares or [None] * len(row.cells), strict=True)
    ]
    return (
        f'<tr role="row" class="{row.kind}"><th scope="row" role="rowheader">{escape(row.name)}{note}</th>'
        f"{''.join(cells)}</tr>"
    )


def _bar(share: float | None) -> str:
    return "" if share is None else f' class="bar" style="--share:{100 * share:.0f}%"'


def _enlarged(pixels: UInt8[Tensor, "N C H W"], scale: int) -> UInt8[Tensor, "N C H2 W2"]:
    return pixels.repeat_interleave(scale, dim=2).repeat_interleave(scale, dim=3)


def _pil(pixels: UInt8[Tensor, "C H W"]) -> Image.Image:
    array = pixels.permute(1, 2, 0).numpy()  # [H, W, C]
    return Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array)


def _png(pixels: UInt8[Tensor, "C H W"]) -> bytes:
    buffer = io.BytesIO()
    _pil(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def _uri(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
