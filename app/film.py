"""A picture forming spike by spike, layer by layer, as an animation with a running count of operations."""

from __future__ import annotations

import io
import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from spikevae.data.images import pil, to_uint8

from . import limits
from .actions import Actions
from .limits import Number, Sent
from .pictures import layer_title
from .watch import Observation, watch

STAGES = 5
"""Frames in which the spikes of one time step reach the read-out."""
_WIDTH, _HEIGHT = 860, 372
_PICTURE, _TILE, _TOP, _LEFT = 224, 132, 62, 18
_GROUND, _BOX, _FAINT = (19, 19, 22), (38, 38, 44), (161, 161, 170)
_TEXT, _SPIKE, _OLD, _OTHER = (244, 244, 245), (167, 139, 250), (76, 63, 120), (161, 161, 170)
_LAST_PAUSE = 2500  # milliseconds


class Count(NamedTuple):
    """Operations up to some moment."""

    additions: float
    multiplications: float
    shifts: float
    """Multiplications by a gate that is a power of two."""
    ordinary: float
    """Multiplications with addition of the same layers in a network without spikes."""


class Film(NamedTuple):
    """An animation, and what it counts up to."""

    content: bytes  # WebP
    total: Count


def sampled_film(actions: Actions, model: Sent, seed: Sent, label: Sent, pace: Sent) -> Film:
    """The first picture of a seed, forming spike by spike.

    Raises:
        ValueError: if an argument is out of range.
    """
    settings = actions.prior_settings(model, seed, label, 1.0)
    frames_a_second = limits.number("number of frames a second", pace, *limits.PACE)
    with actions.models.alone(model) as network:
        seen = watch(network, lambda: network.sample(1, **settings), STAGES)
    return film(seen, frames_a_second)


def film(seen: Observation, pace: Number) -> Film:
    """An animation: at every time step one layer after the other fires, then the picture takes up the spikes.

    Args:
        seen: the decoder at work on one picture.
        pace: frames a second.
    """
    layers = [name for name in seen.spikes if name.startswith("decoder")]
    pictures = to_uint8(seen.partial)  # [T * STAGES, C, H, W]
    counts = running_counts(seen, layers)
    frames = []
    before = torch.zeros_like(pictures[0])
    for t in range(len(seen.forming)):
        for place in range(len(layers)):
            frames.append(_frame(seen, layers, t, place, before, counts[t][place], counts[-1][-1]))
        for stage in range(STAGES):
            before = pictures[t * STAGES + stage]
            frames.append(_frame(seen, layers, t, len(layers), before, counts[t][-1], counts[-1][-1]))
    pauses = [round(1000 / pace)] * (len(frames) - 1) + [_LAST_PAUSE]
    buffer = io.BytesIO()
    frames[0].save(
        buffer, "WEBP", save_all=True, append_images=frames[1:], duration=pauses, loop=0, quality=80, method=0
    )
    return Film(buffer.getvalue(), counts[-1][-1])


def running_counts(seen: Observation, layers: list[str]) -> list[list[Count]]:
    """By time step, and within it after each layer and after the read-out.

    A layer's operations are divided among the steps as the spikes are that reach it, and those of the first evenly.
    The ordinary network runs each layer once, during the first step.
    """
    time_steps = len(seen.forming)
    rooms = [*(name.removesuffix(".neurons") for name in layers), "decoder.read_out"]
    costs = []
    for room in rooms:
        found = [cost for name, cost in seen.cost.layers.items() if name.startswith(f"{room}.")]
        additions = sum(cost.folded.accumulates for cost in found)
        multiplications = sum(cost.folded.multiplies + cost.folded.multiply_accumulates for cost in found)
        shifts = sum(cost.folded.shifts for cost in found)
        costs.append(Count(additions, multiplications, shifts, sum(cost.dense for cost in found)))
    arriving = [torch.ones(time_steps), *(seen.spikes[name].sum(dim=1) for name in layers)]
    counts, sums = [], Count(0.0, 0.0, 0.0, 0.0)
    for t in range(time_steps):
        row = []
        for cost, spikes in zip(costs, arriving, strict=True):
            share = float(spikes[t] / spikes.sum().clamp(min=1))
            sums = Count(
                sums.additions + share * cost.additions,
                sums.multiplications + share * cost.multiplications,
                sums.shifts + share * cost.shifts,
                sums.ordinary + (cost.ordinary if t == 0 else 0.0),
            )
            row.append(sums)
        counts.append(row)
    return counts


def _frame(
    seen: Observation, layers: list[str], t: int, place: int, picture: Tensor, count: Count, whole: Count
) -> Image.Image:
    """One moment: layers before ``place`` have fired at step ``t``, the one at ``place`` fires now."""
    sheet = Image.new("RGB", (_WIDTH, _HEIGHT), _GROUND)
    pen = ImageDraw.Draw(sheet)
    now = layer_title(layers[place]) if place < len(layers) else "the picture"
    pen.text((_LEFT, 16), f"Time step {t + 1} of {len(seen.forming)}: {now}", fill=_TEXT, font=_font(22))
    step = (_WIDTH - _PICTURE - 3 * _LEFT) // len(layers)
    side = min(_TILE, step - 12)
    for number, name in enumerate(layers):
        is_new = number <= place
        spikes = seen.spikes[name][t] if is_new else (seen.spikes[name][t - 1] if t else None)
        left = _LEFT + number * step
        sheet.paste(_mosaic(spikes, side, _SPIKE if number == place else _OLD), (left, _TOP + 24))
        pen.text((left, _TOP), layer_title(name).removeprefix("decoder "), fill=_FAINT, font=_font(15))
        fired = 0 if spikes is None else int(spikes.sum())
        pen.text((left, _TOP + side + 32), f"{fired:,} of {seen.spikes[name].shape[1]:,}", fill=_TEXT, font=_font(15))
    _paste_picture(sheet, picture)
    _bars(pen, count, whole)
    return sheet


def _paste_picture(sheet: Image.Image, picture: Tensor) -> None:
    shown = pil(picture).convert("RGB")
    sheet.paste(shown.resize((_PICTURE, _PICTURE), Image.Resampling.NEAREST), (_WIDTH - _PICTURE - _LEFT, 18))


def _mosaic(spikes: Float[Tensor, " M"] | None, side: int, colour: tuple[int, int, int]) -> Image.Image:
    """A square with a dot for every neuron; those that fire are lit."""
    if spikes is None:
        return Image.new("RGB", (side, side), _BOX)
    edge = math.ceil(math.sqrt(len(spikes)))
    lit = torch.zeros(edge * edge, 1)
    lit[: len(spikes), 0] = (spikes > 0).float()
    ground, ink = torch.tensor(_BOX).float(), torch.tensor(colour).float()
    pixels = (ground + lit * (ink - ground)).reshape(edge, edge, 3).round().byte().numpy()
    return Image.fromarray(pixels).resize((side, side), Image.Resampling.BOX)


def _bars(pen: ImageDraw.ImageDraw, count: Count, whole: Count) -> None:
    spiking = f"Spikes: {count.additions:,.0f} additions, {count.multiplications:,.0f} multiplications"
    spiking += f", {count.shifts:,.0f} shifts" if whole.shifts else ""
    ordinary = f"Ordinary network: {count.ordinary:,.0f} multiplications with addition"
    most = max(whole.additions + whole.multiplications + whole.shifts, whole.ordinary, 1.0)
    rows = (
        (spiking, count.additions + count.multiplications + count.shifts, _SPIKE),
        (ordinary, count.ordinary, _OTHER),
    )
    for number, (words, value, colour) in enumerate(rows):
        top = 266 + 52 * number
        pen.text((_LEFT, top), words, fill=_TEXT, font=_font(17))
        pen.rectangle((_LEFT, top + 26, _WIDTH - _LEFT, top + 36), fill=_BOX)
        pen.rectangle((_LEFT, top + 26, _LEFT + (_WIDTH - 2 * _LEFT) * value / most, top + 36), fill=colour)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
