"""Images of files as tensors; many images out, whole or not at all."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from PIL import Image
from torch import Tensor
from torch.nn import functional

from spikevae.data.decode import FORMATS, PIXEL_LIMIT, read_pixels
from spikevae.files import check_output, write_atomically


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
    """Decode an image file to a tensor; arguments and errors as for `spikevae.data.decode.read_pixels`."""
    pixels = read_pixels(
        source, channels=channels, size=size, crop=crop, name=name, pixel_limit=pixel_limit, formats=formats
    )
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def to_uint8(images: Float[Tensor, "*shape"]) -> UInt8[Tensor, "*shape"]:
    """Pixels 0 to 255, on the CPU, of images in [0, 1]; values outside are cut off.

    Raises:
        ValueError: if a pixel is not a number.
    """
    images = images.detach().to("cpu", torch.float32)
    if images.isnan().any():
        raise ValueError("the images hold NaN; the model that made them is damaged or diverged in training")
    return (images.clamp(0, 1) * 255).round().to(torch.uint8)


def is_light(images: Float[Tensor, "N C H W"]) -> Bool[Tensor, " N"]:
    """For each image, [N, C, H, W] in [0, 1], whether its edge is lighter than half grey."""
    edge = torch.cat([images[..., :1, :].flatten(1), images[..., -1:, :].flatten(1),
                      images[..., :, :1].flatten(1), images[..., :, -1:].flatten(1)], dim=1)  # fmt: skip
    return edge.mean(1) > 0.5


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
    write_atomically(path, lambda temporary: write(temporary, pixels, original_pixels))


def check_save_path(path: Path | str) -> Path:
    """Refuse a path that `save_images` cannot write to, before work is spent on images for it.

    Raises:
        ValueError: if the suffix is unknown, or something is in the way that would not be replaced by its like.
        OSError: if the folder that it would lie in takes no new files.
    """
    return check_output(path, "images", (".png", ".npz"))


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


def pil(pixels: UInt8[Tensor, "C H W"]) -> Image.Image:
    """Pixels as Pillow's image, grey or RGB."""
    array = pixels.permute(1, 2, 0).numpy()  # [H, W, C]
    return Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array)


def _write_png(path: Path, pixels: UInt8[Tensor, "C H W"]) -> None:
    with path.open("wb") as file:
        pil(pixels).save(file, format="PNG")
