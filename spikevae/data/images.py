"""One image file in, safely; many images out, whole or not at all. The only room that knows image file formats."""

from __future__ import annotations

import io
import math
import os
import secrets
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor
from torch.nn import functional

from spikevae.files import check_can_write, open_regular

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
_TIFF_MAX_SAMPLE_VALUE = 281  # number of the tag


def read_image(
    source: Path | str | io.BytesIO,
    *,
    channels: Literal[1, 3],
    size: int,
    crop: int | None = None,
    name: str | None = None,
    pixel_limit: int = PIXEL_LIMIT,
    formats: tuple[str, ...] = FORMATS,
) -> UInt8[Tensor, "C {size} {size}"]:
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


def to_uint8(images: Float[Tensor, "*shape"]) -> UInt8[Tensor, "*shape"]:
    """Pixels 0 to 255, on the CPU, of images in [0, 1]; values outside are cut off.

    Raises:
        ValueError: if a pixel is not a number.
    """
    images = images.detach().to("cpu", torch.float32)
    if images.isnan().any():
        raise ValueError("the images hold NaN; the model that made them is damaged or diverged in training")
    return (images.clamp(0, 1) * 255).round().to(torch.uint8)


def tiled(
    pixels: UInt8[Tensor, "N C H W"], *, columns: int, frame: int, value: int = 0
) -> UInt8[Tensor, "C height width"]:
    """Images in rows, with a frame around each; a single image without.

    The same as torchvision's ``make_grid``, whose import takes longer than that of torch.

    Args:
        pixels: [N, C, H, W], N > 0.
        columns: images in a row.
        frame: its width, in pixels.
        value: its colour, and that of the places left over.
    """
    if len(pixels) == 1:
        return pixels[0]
    columns = min(columns, len(pixels))
    rows = math.ceil(len(pixels) / columns)
    framed = functional.pad(pixels, (frame, 0, frame, 0), value=value)
    empty = torch.full((rows * columns - len(pixels), *framed.shape[1:]), value, dtype=torch.uint8)
    places = torch.cat([framed, empty]).unflatten(0, (rows, columns))  # [rows, columns, C, h, w]
    grid = places.permute(2, 0, 3, 1, 4).flatten(3, 4).flatten(1, 2)
    return functional.pad(grid, (0, frame, 0, frame), value=value)


def save_images(
    images: Float[Tensor, "N C H W"], path: Path | str, originals: Float[Tensor, "n c h w"] | None = None
) -> None:
    """Write images in [0, 1] in the form that the suffix of ``path`` names; equal images give equal bytes.

    ``.png``: one nearly square grid. ``.npz``: ``arr_0``, uint8 [N, H, W, C]. No suffix: a folder of PNG files named
    by their number. It is written under a temporary name and then renamed, so no half a file is ever seen.

    Args:
        images: [N, C, H, W], N > 0.
        path: a file of the same kind is replaced; missing folders above it are made.
        originals: what ``images`` reconstruct, of their shape: left of each in the grid, ``arr_1``, ``…_original.png``.

    Raises:
        ValueError: if there is nothing to write, or ``path`` cannot take it (see `check_save_path`).
    """
    path = check_save_path(path)
    if len(images) == 0:
        raise ValueError(f"there are no images to write to {path}")
    if originals is not None and originals.shape != images.shape:
        raise ValueError(f"originals {list(originals.shape)} and images {list(images.shape)} differ in shape")
    pixels = to_uint8(images)
    original_pixels = None if originals is None else to_uint8(originals)
    path.parent.mkdir(parents=True, exist_ok=True)
    write = {".png": _write_grid, ".npz": _write_arrays}.get(path.suffix.lower(), _write_folder)
    _write_whole(path, lambda temporary: write(temporary, pixels, original_pixels))


def check_save_path(path: Path | str) -> Path:
    """Refuse a path that `save_images` cannot write to, before work is spent on images for it.

    Raises:
        ValueError: if the suffix is unknown, or something is in the way that would not be replaced by its like.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if path.is_dir():
        if suffix in (".png", ".npz"):
            raise ValueError(f"{path} is a folder; give the name of a {suffix} file")
        if any(path.iterdir()):
            raise ValueError(f"{path} is not empty; name a new folder, or a .png or .npz file")
        return path
    if suffix not in ("", ".png", ".npz"):
        raise ValueError(f"{path}: images are not written as {suffix}; use .png, .npz, or a folder (no suffix)")
    if path.exists() and (suffix == "" or not path.is_file()):
        raise ValueError(f"{path} exists and is not a folder; name a new folder, or a .png or .npz file")
    return check_can_write(path)


def _to_pixels(
    image: Image.Image, channels: Literal[1, 3], size: int, crop: int | None
) -> UInt8[Tensor, "C {size} {size}"]:
    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith(("I", "F")):
        upright = _to_8_bit(upright, getattr(image, "tag_v2", {}).get(_TIFF_MAX_SAMPLE_VALUE))
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
    pixels = torch.from_numpy(np.array(square))  # [H, W] or [H, W, 3]
    return pixels.reshape(size, size, channels).permute(2, 0, 1).contiguous()


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


def _write_whole(path: Path, write: Callable[[Path], None]) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        write(temporary)
        os.replace(temporary, path)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        else:
            temporary.unlink(missing_ok=True)


def _write_grid(path: Path, pixels: UInt8[Tensor, "N C H W"], originals: UInt8[Tensor, "N C H W"] | None) -> None:
    columns = math.ceil(math.sqrt(len(pixels)))
    if originals is not None:
        columns = 2 * math.ceil(math.sqrt(len(pixels) / 2))
        pixels = torch.stack((originals, pixels), dim=1).flatten(0, 1)  # [2 N, C, H, W], in pairs
    _write_png(path, tiled(pixels, columns=columns, frame=2))


def _write_arrays(path: Path, pixels: UInt8[Tensor, "N C H W"], originals: UInt8[Tensor, "N C H W"] | None) -> None:
    arrays = [part.permute(0, 2, 3, 1).contiguous().numpy() for part in (pixels, originals) if part is not None]
    with path.open("wb") as file:
        np.savez(file, *arrays)


def _write_folder(path: Path, pixels: UInt8[Tensor, "N C H W"], originals: UInt8[Tensor, "N C H W"] | None) -> None:
    path.mkdir()
    digits = max(4, len(str(len(pixels) - 1)))
    for number, image in enumerate(pixels):
        _write_png(path / f"{number:0{digits}}.png", image)
        if originals is not None:
            _write_png(path / f"{number:0{digits}}_original.png", originals[number])


def _write_png(path: Path, pixels: UInt8[Tensor, "C H W"]) -> None:
    array = pixels.permute(1, 2, 0).numpy()  # [H, W, C]
    image = Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array)
    with path.open("wb") as file:
        image.save(file, format="PNG")
