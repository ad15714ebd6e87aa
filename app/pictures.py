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

from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from spikevae.data.images import pil, tiled, to_uint8

PNG_URL = "data:image/png;base64,"
"""How the address of a PNG file that holds it begins."""
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
    return png_file(pil(_enlarged(to_uint8(image)[None], scale)[0]))


def grid_png(images: Float[Tensor, "N C H W"]) -> bytes:
    """All images in one PNG, nearly square, enlarged without smoothing."""
    columns = math.ceil(math.sqrt(len(images)))
    grid = tiled(_enlarged(to_uint8(images), _GRID_SCALE), columns=columns, frame=_GRID_GAP, value=255)
    inside = slice(_GRID_GAP, -_GRID_GAP)  # of the frame around all
    return png_file(pil(grid if len(images) == 1 else grid[:, inside, inside]))


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
    there = [pil(frame) for frame in pixels]
    frames = [*there, *reversed(there[1:-1])]
    pauses = [600 if index in (0, len(there) - 1) else 110 for index in range(len(frames))]  # milliseconds
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:], duration=pauses, loop=0, optimize=False)
    return buffer.getvalue()


# ---------------------------------------------------------------- lines and tables


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
    return panel(title, words, [table(head, rows, f"scores of {title}")] if rows else [])


def panel(title: str, words: str, parts: Sequence[str]) -> str:
    """Words and parts under a heading; the parts are markup."""
    return (
        f'<section class="panel"><h2>{escape(title)}</h2><p>{escape(words)}</p>'
        f'<div class="parts">{"".join(parts)}</div></section>'
    )


def figure(source: str, spoken: str, caption: str, kind: str) -> str:
    """A picture by address, what is said to those who do not see it, and a caption, which is markup."""
    image = f'<img src="{source}" alt="{escape(spoken)}">'
    return f'<figure class="{kind}">{image}<figcaption>{caption}</figcaption></figure>'


def table(head: Sequence[str], rows: Iterable[Row], title: str) -> str:
    """A table that a phone shows as a block for each row, every cell under its column's name."""
    names = "".join(f'<th scope="col" role="columnheader">{escape(name)}</th>' for name in head)
    body = "".join(_row(head, row) for row in rows)
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="Table: {escape(title)}">'
        f'<table role="table"><thead role="rowgroup"><tr role="row">{names}</tr></thead>'
        f'<tbody role="rowgroup">{body}</tbody></table></div>'
    )


# ---------------------------------------------------------------- details


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


def png_file(image: Image.Image) -> bytes:
    """A PNG file with a picture as it is."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def data_url(png: bytes) -> str:
    """A PNG file as an address that holds it."""
    return PNG_URL + base64.b64encode(png).decode()
