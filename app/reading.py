"""Visitors' pictures and drawings, as a model sees them."""

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional

from spikevae.config import ModelConfig
from spikevae.data.images import is_light, read_image
from spikevae.text import printable

from . import limits
from .limits import Sent
from .pictures import PNG_URL

Background = Literal["auto", "dark", "light"]
BACKGROUNDS: tuple[Background, ...] = ("auto", "dark", "light")
_DRAWING_SIDE = 280  # pixels of a drawing before it is cut to its strokes
_DRAWING_MARGIN = 1 / 7  # around the strokes, as in MNIST: 4 of 28 pixels
_BLANK = "Draw something first"


class NothingDrawn(ValueError):  # noqa: N818 - it says what the paper is
    """The paper is white."""


Decode = Callable[[bytes, int, int], Tensor]
"""A picture file, channels and size into uint8 [channels, size, size]; ValueError if it is none."""


def read_picture(
    content: bytes | None, config: ModelConfig, background: Sent, decode: Decode
) -> Float[Tensor, "C H W"]:
    """A picture file as the model sees it, in [0, 1].

    Args:
        content: the file.
        config: of the model.
        background: "light": dark things on a light ground, which is inverted for grey models, whose training
            pictures are light on dark; "dark": left as it is; "auto": judged by the picture's edge.
        decode: reads the file.

    Raises:
        ValueError: if the file is missing, too large, damaged or no picture.
    """
    if background not in BACKGROUNDS:
        raise ValueError(
            f"There is no background {printable(background, 40)!r}; choose one of: {', '.join(BACKGROUNDS)}"
        )
    x = _decoded(content, config.image_channels, config.image_size, decode)
    if config.image_channels == 3 or background == "dark":
        return x
    return 1 - x if background == "light" or bool(is_light(x[None])) else x


def read_drawing(drawing: Sent, config: ModelConfig, decode: Decode) -> Float[Tensor, "C H W"]:
    """A drawing, dark on light, as the model sees it, in [0, 1]: cut to its strokes and centred.

    Args:
        drawing: a data URL with a PNG.
        config: of the model.
        decode: reads the PNG.

    Raises:
        ValueError: if nothing is drawn, or it is no such data URL.
    """
    ink = 1 - read_data_url(drawing, _DRAWING_SIDE, decode, _BLANK)
    rows, columns = (torch.nonzero(ink.amax(dim=axis) > 0.2).flatten() for axis in (1, 0))
    if len(rows) == 0:
        raise NothingDrawn(_BLANK)
    strokes = ink[int(rows[0]) : int(rows[-1]) + 1, int(columns[0]) : int(columns[-1]) + 1]
    height, width = strokes.shape
    side = round(max(height, width) / (1 - 2 * _DRAWING_MARGIN))
    left, top = (side - width) // 2, (side - height) // 2
    square = functional.pad(strokes, (left, side - width - left, top, side - height - top))
    size = (config.image_size, config.image_size)
    x = functional.interpolate(square[None, None], size=size, mode="bilinear", antialias=True)[0]
    return x.clamp(0, 1) if config.image_channels == 1 else 1 - x.clamp(0, 1).repeat(3, 1, 1)


def read_data_url(url: Sent, side: int, decode: Decode, missing: str) -> Float[Tensor, "{side} {side}"]:
    """A grey picture in a data URL, in [0, 1].

    Args:
        url: a data URL with a PNG.
        side: height and width of the result, in pixels.
        decode: reads the PNG.
        missing: what to say if there is none.

    Raises:
        ValueError: if it is no such data URL.
    """
    if not isinstance(url, str) or not url.startswith(PNG_URL):
        raise NothingDrawn(missing)
    try:
        content = base64.b64decode(url.removeprefix(PNG_URL), validate=True)
    except binascii.Error as error:
        raise ValueError(f"The drawing is not base64 ({error}); send a data URL with a PNG") from None
    return _decoded(content, 1, side, decode)[0]


def decode_here(content: bytes, channels: int, size: int) -> UInt8[Tensor, "C {size} {size}"]:
    """A picture file, decoded in this process: for files of one's own, and where there is no other way."""
    return read_image(
        io.BytesIO(content),
        channels=3 if channels == 3 else 1,
        size=size,
        name="The file",
        pixel_limit=limits.UPLOAD_PIXELS,
    )


def _decoded(content: bytes | None, channels: int, size: int, decode: Decode) -> Float[Tensor, "C H W"]:
    if content is None:
        raise ValueError("Choose a picture first")
    if len(content) > limits.UPLOAD_BYTES:
        raise ValueError(f"The file is larger than {limits.UPLOAD_BYTES // 2**20} MiB; choose a smaller one")
    return decode(content, channels, size).float() / 255
