"""Images in the array files of numpy: one .npy, or the first array of an .npz."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedIOBase
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import UInt8
from numpy.lib import format as npy
from torch import Tensor

from spikevae.files import open_regular

ARRAY_SUFFIXES = frozenset({".npy", ".npz"})
_MOST_VALUES = 2**30  # of an array: a GiB of pixels
_PART = 2**24  # values that are converted at a time


def read_array(path: Path) -> UInt8[Tensor, "N C H W"]:
    """The images of a .npy file, or of the first array of an .npz file; no pickle in it is opened.

    The array is [N, H, W], [N, H, W, C] or [N, C, H, W], with 1 or 3 channels: bytes, or floats in [0, 1]. It is read
    part by part, so that floats never lie in memory as a whole.

    Raises:
        ValueError: if the file is damaged, of another shape or type, or holds NaN or values outside [0, 1].
    """
    try:
        with open_regular(path) as file, _array_in(file, path) as array:
            shape, dtype = _header(array)
            side = _layout(shape, dtype, path)
            pixels = np.empty(math.prod(shape), np.uint8)
            for start in range(0, len(pixels), _PART):
                count = min(_PART, len(pixels) - start)
                content = array.read(count * dtype.itemsize)
                if len(content) != count * dtype.itemsize:
                    raise ValueError("it ends before its last image")
                pixels[start : start + count] = _to_bytes(np.frombuffer(content, dtype), path)
    except (zipfile.BadZipFile, zlib.error, EOFError, LookupError, NotImplementedError, RuntimeError) as error:
        raise ValueError(f"{path} is no whole array file of numpy ({error}); replace it") from error
    except ValueError as error:
        if str(error).startswith(str(path)):
            raise
        raise ValueError(f"{path} is no whole array file of numpy ({error}); replace it") from error
    images = torch.from_numpy(pixels).reshape(shape if len(shape) == 4 else (*shape, 1))
    return images if side == "channels first" else images.permute(0, 3, 1, 2).contiguous()


@contextmanager
def _array_in(file: BufferedIOBase, path: Path) -> Iterator[BufferedIOBase]:
    """The stream of a .npy file: the file itself, or the first array packed in it."""
    if not zipfile.is_zipfile(file):
        file.seek(0)
        yield file
        return
    with zipfile.ZipFile(file) as archive:
        names = [name for name in archive.namelist() if name.endswith(".npy")]
        if not names:
            raise ValueError(f"{path} holds no array; write it with numpy.savez")
        with archive.open("arr_0.npy" if "arr_0.npy" in names else names[0]) as member:
            yield cast(BufferedIOBase, member)


def _header(array: BufferedIOBase) -> tuple[tuple[int, ...], np.dtype[Any]]:
    if npy.read_magic(array) != (1, 0):  # others may promise headers of gigabytes, and plain arrays need none
        raise ValueError("its header is longer than that of any plain array")
    shape, is_fortran, dtype = npy.read_array_header_1_0(array)
    if is_fortran and len(shape) > 1:
        raise ValueError("its axes lie in Fortran's order; save numpy.ascontiguousarray of it")
    return shape, dtype


def _layout(shape: tuple[int, ...], dtype: np.dtype[Any], path: Path) -> str:
    """Where the channels of an array lie, after checking that it can be images and fits the memory."""
    if dtype != np.uint8 and dtype.kind != "f":
        raise ValueError(f"{path} holds numbers of type {dtype}; expected uint8, or float in [0, 1]")
    if len(shape) == 3 and shape[2] in (1, 3):
        raise ValueError(
            f"{path}: its array has the shape {list(shape)}, that of one picture [H, W, C]; "
            "put the pictures together with numpy.stack: [N, H, W, C]"
        )
    is_last = len(shape) == 3 or (len(shape) == 4 and shape[3] in (1, 3))
    if (not is_last and not (len(shape) == 4 and shape[1] in (1, 3))) or 0 in shape:
        raise ValueError(
            f"{path}: its array has the shape {list(shape)}; expected images [N, H, W, C] or [N, C, H, W] "
            "with 1 or 3 channels, or [N, H, W]"
        )
    if math.prod(shape) > _MOST_VALUES:
        raise ValueError(
            f"{path}: its array has the shape {list(shape)}, more than {_MOST_VALUES:,} values; divide it into files"
        )
    return "channels last" if is_last else "channels first"


def _to_bytes(values: np.ndarray, path: Path) -> np.ndarray:
    """Bytes as they are; floats in [0, 1] as 0 to 255, rounded.

    Raises:
        ValueError: if a float is no number, or outside [0, 1].
    """
    if values.dtype == np.uint8:
        return values
    if not np.isfinite(values).all():
        raise ValueError(f"{path} holds pixels that are not finite (NaN or infinite)")
    least, most = float(values.min()), float(values.max())
    if least < -1e-3 or most > 1 + 1e-3:
        advice = "divide them by 255, or save them as uint8" if least >= 0 and most <= 255 else "bring them to [0, 1]"
        raise ValueError(f"{path} holds floats from {least:.4g} to {most:.4g}; expected 0 to 1: {advice}")
    return (values.clip(0, 1) * 255).round().astype(np.uint8)
