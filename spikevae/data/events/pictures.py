"""Event frames as pictures: ON and OFF in two colours, as a film strip or as an animation."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

# Vermilion and blue of Okabe and Ito's palette, told apart with every common colour vision; ON is warm.
_ON, _OFF, _NOTHING = (213, 94, 0), (0, 114, 178), (255, 255, 255)
_PAUSE = 100  # milliseconds a time step
_BORDER = 200  # grey level of the lines between pictures


def coloured(frames: UInt8[np.ndarray, "*n 2 H W"], full: int | None = None) -> UInt8[np.ndarray, "*n H W 3"]:
    """Frames as colours on white: the more events, the fuller; a pixel with both has both mixed.

    Args:
        frames: counts of OFF and ON events.
        full: count that has the full colour; otherwise one that few pixels exceed.
    """
    if full is None:
        some = frames[frames > 0]
        full = max(1, int(np.percentile(some, 98))) if some.size else 1
    off, on = np.moveaxis(np.minimum(frames.astype(np.float32) / full, 1), -3, 0)
    nothing = np.asarray(_NOTHING, np.float32)
    ink = on[..., None] * (nothing - np.asarray(_ON)) + off[..., None] * (nothing - np.asarray(_OFF))
    colours: np.ndarray = np.clip(nothing - ink, 0, 255).round().astype(np.uint8)
    return colours


def film_strip(frames: UInt8[np.ndarray, "N T 2 H W"], *, enlarge: int = 3) -> UInt8[np.ndarray, "height width 3"]:
    """A recording a row, its frames from left to right, with a grey line around each."""
    pictures = _enlarged(_comparable(frames), enlarge)  # [N, T, h, w, 3]
    framed = np.pad(pictures, ((0, 0), (0, 0), (1, 0), (1, 0), (0, 0)), constant_values=_BORDER)
    N, T, h, w, _ = framed.shape
    strip = framed.transpose(0, 2, 1, 3, 4).reshape(N * h, T * w, 3)
    return np.pad(strip, ((0, 1), (0, 1), (0, 0)), constant_values=_BORDER)


def animation(frames: UInt8[np.ndarray, "N T 2 H W"], *, enlarge: int = 4) -> UInt8[np.ndarray, "T height width 3"]:
    """All recordings at once, in a nearly square grid, one picture a time step."""
    N, T = frames.shape[:2]
    columns = math.ceil(math.sqrt(N))
    rows = math.ceil(N / columns)
    pictures = _enlarged(_comparable(frames), enlarge)
    framed = np.pad(pictures, ((0, rows * columns - N), (0, 0), (1, 0), (1, 0), (0, 0)), constant_values=_BORDER)
    h, w = framed.shape[2:4]
    grid = framed.reshape(rows, columns, T, h, w, 3).transpose(2, 0, 3, 1, 4, 5).reshape(T, rows * h, columns * w, 3)
    return np.pad(grid, ((0, 0), (0, 1), (0, 1), (0, 0)), constant_values=_BORDER)


def write_film_strip(path: Path, frames: UInt8[np.ndarray, "N T 2 H W"]) -> None:
    """A PNG of `film_strip`."""
    with path.open("wb") as file:
        Image.fromarray(film_strip(frames)).save(file, format="PNG")


def write_animation(path: Path, frames: UInt8[np.ndarray, "N T 2 H W"], *, image_format: str) -> None:
    """An endless GIF or WebP of `animation`."""
    first, *others = [Image.fromarray(picture) for picture in animation(frames)]
    settings = {"lossless": True} if image_format == "WEBP" else {"optimize": False}
    with path.open("wb") as file:
        first.save(file, format=image_format, save_all=True, append_images=others, duration=_PAUSE, loop=0, **settings)


def _comparable(frames: UInt8[np.ndarray, "N T 2 H W"]) -> UInt8[np.ndarray, "N T H W 3"]:
    if frames.shape[0] == 0:
        raise ValueError("there are no recordings to draw")
    return np.stack([coloured(recording) for recording in frames])


def _enlarged(pictures: UInt8[np.ndarray, "N T H W 3"], factor: int) -> UInt8[np.ndarray, "N T h w 3"]:
    enlarged: np.ndarray = pictures.repeat(factor, axis=2).repeat(factor, axis=3)
    return enlarged
