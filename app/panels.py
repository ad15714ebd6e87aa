"""The panels of the look inside: spikes, gates, firing rates and energy of one picture, as HTML."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import matplotlib
import numpy as np
import torch
from PIL import Image

from spikevae.evaluation.costs import MAC_PICOJOULE, Cost

from .pictures import Row, data_url, figure, layer_title, panel, png_file, table
from .watch import Observation

_RASTER_ROWS = 96  # neurons shown of a layer
_INK = (109, 74, 255)  # of a spike
_COLUMNS = (
    (
        "a",
        "Spikes, gates multiplied",
        "A plain spike only adds a weight. A spike behind a TCJA gate is a real number: it multiplies and adds.",
    ),
    (
        "b",
        "Spikes, gates folded",
        "The same result in another order: a gate is multiplied into its weights once a time step, then every spike "
        "only adds.",
    ),
    (
        "c",
        "Ordinary network",
        "The same layers without spikes, each run once: every connection multiplies and adds.",
    ),
)
"""Of energy, as docs/energy.md has them."""


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
            figure(
                data_url(png_file(Image.fromarray(pixels))),
                f"Spikes of {title}: {float(spikes.mean()):.1%} of neurons fire, by time step",
                f"<b>{escape(title)}</b><br>{shown} {neurons:,} neurons",
                "raster",
            )
        )
    return panel(
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
    return panel("Firing rates", words, [table(head, rows, "firing rates")])


def gates_panel(seen: Observation) -> str:
    """A heat map of every TCJA gate: time steps down, channels across."""
    if not seen.gates:
        return panel("TCJA gates", "This model has no attention.", [])
    colours = matplotlib.colormaps["viridis"]
    figures = []
    for name, gate in seen.gates.items():
        title, values = layer_title(name), gate.detach().cpu().numpy()  # [T, C]
        pixels = (colours(values)[..., :3] * 255).round().astype(np.uint8)
        figures.append(
            figure(
                data_url(png_file(Image.fromarray(pixels))),
                f"TCJA gate of {title}: {values.shape[0]} time steps by {values.shape[1]} channels, "
                f"from {values.min():.2f} to {values.max():.2f}",
                f"<b>{escape(title)}</b>, {values.shape[1]} channels, gate {values.min():.2f} to {values.max():.2f}",
                "gate",
            )
        )
    stops = ",".join(matplotlib.colors.to_hex(colours(step / 8)) for step in range(9))
    scale = f'<p class="scale">0 <span style="background:linear-gradient(90deg,{stops})"></span> 1</p>'
    return panel(
        "TCJA gates",
        "The factor that scales each channel at each time step: a row is a time step, a column a channel.",
        [scale, *figures],
    )


def energy_panel(seen: Observation) -> str:
    """The three columns of energy as bars with a line on each, and behind a click a table by layer."""
    cost = seen.cost
    columns = (cost.microjoule, cost.microjoule_folded, cost.ann_microjoule)
    most = max(*columns, 1e-9)
    bars = [
        f"<li><span><b>({escape(letter)}) {escape(name)}</b> {value:,.2f} µJ</span>"
        f'<i style="--share:{100 * value / most:.1f}%"></i><small>{escape(meaning)}</small></li>'
        for (letter, name, meaning), value in zip(_COLUMNS, columns, strict=True)
    ]
    return panel(
        "Operations and energy",
        f"{_compared(*columns)} Counted by the field's convention, not measured on a chip: 0.9 pJ for an addition, "
        "3.7 pJ for a multiplication, 4.6 pJ for both, and 0.1 pJ for a shift, which multiplies by a power of two "
        "(45 nm). Moving data is not counted.",
        [f'<ul class="energy">{"".join(bars)}</ul>', _by_layer(cost)],
    )


def _compared(multiplied: float, folded: float, ordinary: float) -> str:
    """The spiking network at its best against the ordinary one, in a sentence."""
    best, letter = min((multiplied, "a"), (folded, "b"))
    if not best or not ordinary:
        return ""
    ratio, word = (ordinary / best, "less") if best <= ordinary else (best / ordinary, "more")
    if f"{ratio:.1f}" == "1.0":
        return f"For this picture the spikes ({letter}) take as much energy as an ordinary network (c)."
    return f"For this picture the spikes ({letter}) take {ratio:.1f} times {word} energy than an ordinary network (c)."


def _by_layer(cost: Cost) -> str:
    groups: dict[str, list[float]] = {}
    for layer in cost.layers.values():
        values = (
            layer.picojoule / 1e3,
            layer.folded.picojoule / 1e3,
            MAC_PICOJOULE * layer.dense / 1e3,
            layer.folded.accumulates,
            layer.folded.multiplies + layer.folded.multiply_accumulates,
            layer.folded.shifts,
        )
        before = groups.get(layer_title(layer.name), [0.0] * len(values))
        groups[layer_title(layer.name)] = [total + value for total, value in zip(before, values, strict=True)]
    totals = [sum(column) for column in zip(*groups.values(), strict=True)]
    rows = [_cost_row(title, values) for title, values in groups.items()]
    rows.append(_cost_row("sum", totals, kind="sum"))
    head = ["layer", "(a) nJ", "(b) nJ", "(c) nJ", "additions of (b)", "multiplications of (b)", "shifts of (b)"]
    shown = table(head, rows, "operations and energy")
    return f'<details class="layers"><summary>Layer by layer</summary>{shown}</details>'


def _cost_row(title: str, values: Sequence[float], kind: str = "") -> Row:
    energies, operations = values[:3], values[3:]
    cells = [f"{energy:,.1f}" if energy else "none" for energy in energies]
    return Row(title, [*cells, *(f"{count:,.0f}" for count in operations)], kind=kind)
