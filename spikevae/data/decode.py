"""One image file in, safely, without torch: a process that only decodes pictures starts at once."""

from __future__ import annotations

import io
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps, UnidentifiedImageError

from spikevae.files import open_regular

PIXEL_LIMIT = 2**26
"""Pixels of the largest image that is decoded: four times those of most cameras, a quarter of a GiB in memory."""

# Named one by one because Pillow tries every format it knows, among them some that run other programs (EPS).
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""Formats of pictures from anywhere."""
FILE_FORMATS = (*FORMATS, "DIB", "ICO", "JPEG2000", "PCX", "QOI", "SGI", "TGA")
"""Formats of one's own files: those, and all others of plain pictures that Pillow reads."""
IMAGE_SUFFIXES = frozenset(
    f".{suffix}"
    for suffixes in (
        "apng avif avifs bmp dib gif ico j2k jfif jp2 jpe jpeg jpf jpg jpx mpo pbm pcx pfm pgm png pnm ppm",
        "qoi rgb rgba sgi tga tif tiff webp",
    )
    for suffix in suffixes.split()
)
"""Suffixes of files in these formats."""
_TIFF_MAX_SAMPLE_VALUE, _TIFF_PHOTOMETRIC = 281, 262  # numbers of tags
_WHITE_IS_ZERO = 0  # of the latter


def read_pixels(
    source: Path | str | io.BytesIO,
    *,
    channels: Literal[1, 3],
    size: int,
    crop: int | None = None,
    name: str | None = None,
    pixel_limit: int = PIXEL_LIMIT,
    formats: tuple[str, ...] = FORMATS,
) -> UInt8[np.ndarray[Any, Any], "{size} {size} {channels}"]:
    """Decode an image file: upright, on white where transparent, cut to its central square, and resized.

    Resizing is bilinear with antialiasing (a pixel of the result averages all that it covers), as in the papers.

    Args:
        source: path or content; of an animation, the first picture counts.
        channels: 1 for grey (ITU-R 601 luma), 3 for RGB.
        size: height and width of the result, in pixels.
        crop: side of the central square, in pixels; otherwise the largest that fits.
        name: what to call the file in errors, if not by its path.
        pixel_limit: pixels of the largest image that is decoded.
        formats: what it may be, by Pillow's names.

    Raises:
        ValueError: if the file is no image, damaged, of more than ``pixel_limit`` pixels, or no file but a device.
        OSError: if the file cannot be opened.
    """
    shown = name or str(source)
    with nullcontext(source) if isinstance(source, io.BytesIO) else open_regular(source) as file:
        try:
            with Image.open(file, formats=formats) as image:
                width, height = image.size
                if width * height <= pixel_limit:
                    pixels = _to_pixels(image, channels, size, crop)
        except Exception as error:  # damaged files make Pillow's decoders raise errors of every kind
            if isinstance(error, OSError) and error.errno is not None:
                raise
            reason = "not a known image format" if isinstance(error, UnidentifiedImageError) else error
            raise ValueError(f"{shown} cannot be read as an image ({reason}); replace or remove it") from error
    if width * height > pixel_limit:
        raise ValueError(f"{shown} has {width}x{height} pixels, more than {pixel_limit:,}; reduce it first")
    return pixels


def _to_pixels(
    image: Image.Image, channels: Literal[1, 3], size: int, crop: int | None
) -> UInt8[np.ndarray[Any, Any], "{size} {size} {channels}"]:
    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith(("I", "F")):
        tags = getattr(image, "tag_v2", {})
        clear = upright.info.get("transparency")  # the level that a grey PNG of 16 bits shows nothing at
        hidden = None if clear is None else Image.fromarray(np.asarray(upright) == clear)
        upright = _to_8_bit(upright, tags.get(_TIFF_MAX_SAMPLE_VALUE))
        if hidden is not None:
            upright.paste(255, mask=hidden)
        if tags.get(_TIFF_PHOTOMETRIC) == _WHITE_IS_ZERO:  # which Pillow heeds for 8 bits only
            upright = ImageOps.invert(upright)
    elif upright.has_transparency_data:
        coloured = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", coloured.size, "white"), coloured)
    if upright.mode not in ("L", "RGB"):
        upright = upright.convert("L" if upright.mode == "1" else "RGB")
    width, height = upright.size
    side = min(width, height, crop or width)
    left, top = (width - side) // 2, (height - side) // 2
    square = upright.crop((left, top, left + side, top + side)).convert("L" if channels == 1 else "RGB")
    if side != size:
        square = square.resize((size, size), Image.Resampling.BILINEAR)
    return np.array(square).reshape(size, size, channels)


def _to_8_bit(image: Image.Image, largest: int | tuple[int, ...] | None) -> Image.Image:
    """Grey levels of more bits, and floats in [0, 1], as 0 to 255 (Pillow's own conversion cuts them off at 255).

    White is what the file names as its ``largest`` level; otherwise 65535, or 255 where no pixel is above that, since
    pictures of 8 bits are often saved with 16 or 32.
    """
    levels = np.asarray(image)
    low, high = levels.min(), levels.max()
    if not np.isfinite([low, high]).all():
        raise ValueError("it holds pixels that are not finite (NaN or infinite)")
    if levels.dtype.kind == "f":
        if low < 0 or high > 1:
            raise ValueError(f"its pixels are floats from {low:.4g} to {high:.4g}, not 0 to 1; divide them by 255")
        return Image.fromarray((levels * 255).round().astype(np.uint8))
    if low < 0 or high > 65535:
        raise ValueError(f"its pixels are {levels.dtype} from {low} to {high}, not 8 or 16 bit")
    named = largest[0] if isinstance(largest, tuple) else largest
    white = named if named and high <= named <= 65535 else 255 if high <= 255 else 65535
    return Image.fromarray((levels.astype(np.uint32) * 255 // white).astype(np.uint8))
