"""The panels of the look inside: spikes, gates, firing rates and energy of one picture, as HTML."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

import matplotlib
import numpy as np
import torch
from PIL import Image

from spikevae.evaluation.operations import MAC_PICOJOULE

from .pictures import Row, figure, layer_title, panel, png_url, table
from .watch import Observation

_RASTER_ROWS = 96  # neurons shown of a layer
_INK = (109, 74, 255)  # of a spike


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
                png_url(Image.fromarray(pixels)),
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
                png_url(Image.fromarray(pixels)),
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
    return panel("Operations and energy", words, [table(head, rows, "operations and energy")], escaped=True)


def _cost_row(title: str, values: Sequence[float], kind: str = "") -> Row:
    adds, multiplies, spiking, ordinary = values
    cells = (f"{adds:,.0f}", f"{multiplies:,.0f}", f"{spiking:,.1f}", f"{ordinary:,.1f}" if ordinary else "none")
    return Row(title, cells, kind=kind)
