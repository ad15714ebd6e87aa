"""Recordings side by side on one clock, with the classes as they form: what `player.js` plays, and a GIF."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from spikevae.data.events.frames import FrameConfig, to_frames
from spikevae.data.events.pictures import coloured
from spikevae.data.events.recording import Recording

from .pictures import data_url, png_file
from .recordings import Seen
from .slices import MOMENTS

HTML = (
    '<div class="player"><div class="screens">'
    + '<figure><figcaption></figcaption><canvas role="img"></canvas><p class="facts"></p>'
    '<ol class="shares" aria-label="Classes"></ol></figure>'
    * 2
    + '</div><div class="clock"><button type="button">Play</button>'
    '<label>Time <input type="range" min="1" step="1"></label><output></output></div>'
    '<p class="facts"><b class="on">■</b> ON: a pixel became brighter. <b class="off">■</b> OFF: it became darker. '
    "Time runs about 16 times slower than it did. The bars show what the model takes the events so far for.</p></div>"
)
"""Two screens, each with a title, facts and bars, and below them the clock."""
SCRIPT = (Path(__file__).parent / "player.js").read_text(encoding="utf-8")
MILLISECONDS = 80
"""That each of the moments is shown: a recording of N-MNIST, of 0.3 s, takes 5 s."""
_GLOW = 3  # moments that an event stays on the screen
_FULL = 2  # events of a pixel in that time that have the full colour
_SHOWN = 10  # classes with a bar
_ENLARGED, _GAP = 6, 12  # screen pixels of the GIF: of a pixel, and between the recordings
_LAST_PAUSE = 1500  # milliseconds


class Side(NamedTuple):
    """A recording on one of the screens."""

    title: str
    seen: Seen


def player_value(sides: Sequence[Side], names: Sequence[str]) -> str:
    """What the player takes: JSON.

    Args:
        sides: one or two recordings.
        names: of the classes.
    """
    told = {"moments": MOMENTS, "milliseconds": MILLISECONDS, "sides": [_told(side, names) for side in sides]}
    return json.dumps(told, separators=(",", ":"))


def moving_picture(sides: Sequence[Side]) -> bytes:
    """The recordings side by side, as a GIF that plays again and again."""
    screens = [_screens(side.seen).repeat(_ENLARGED, axis=1).repeat(_ENLARGED, axis=2) for side in sides]
    gap = np.full((MOMENTS, screens[0].shape[1], _GAP, 3), 255, np.uint8)
    parts = [part for screen in screens for part in (gap, screen)][1:]
    first, *others = [Image.fromarray(picture) for picture in np.concatenate(parts, axis=2)]
    pauses = [MILLISECONDS] * (MOMENTS - 1) + [_LAST_PAUSE]
    buffer = io.BytesIO()
    first.save(buffer, "GIF", save_all=True, append_images=others, duration=pauses, loop=0, optimize=False)
    return buffer.getvalue()


def thumbnail(recording: Recording) -> bytes:
    """A PNG with all events of a recording."""
    frames = to_frames(recording, FrameConfig(1, "time"))
    screen = coloured(frames)[0].repeat(_ENLARGED, axis=0).repeat(_ENLARGED, axis=1)
    return png_file(Image.fromarray(screen))


def _told(side: Side, names: Sequence[str]) -> dict[str, Any]:
    slices, probabilities = side.seen
    share = f", {slices.on / slices.events:.0%} of them ON" if slices.events else ""
    told = {
        "title": side.title,
        "facts": f"{slices.events:,} events in {slices.duration / 1000:,.0f} ms{share}",
        "milliseconds": slices.duration / 1000,
        "film": data_url(_film(side.seen)),
    }
    if probabilities is None:
        return told
    shown = sorted(probabilities[-1].topk(min(_SHOWN, len(names))).indices.tolist())
    shares = [[round(row[number], 4) for number in shown] for row in probabilities.tolist()]
    return told | {"classes": [names[number] for number in shown], "shares": shares}


def _film(seen: Seen) -> bytes:
    """A PNG with one moment below the other."""
    screens = _screens(seen)
    sheet = Image.fromarray(screens.reshape(-1, *screens.shape[2:])).quantize(16)
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _screens(seen: Seen) -> UInt8[np.ndarray, "F H W 3"]:
    """What is on the screen at each moment: its events, and those shortly before."""
    moments = seen.slices.moments.astype(np.uint16)
    late = np.concatenate([np.zeros_like(moments[:_GLOW]), moments])
    glowing = sum(late[_GLOW - back : len(late) - back] for back in range(_GLOW))
    return coloured(np.minimum(glowing, 255).astype(np.uint8), _FULL)
