"""Images in numpy's array files, and what is said of arrays that hold none."""

from __future__ import annotations

import io
import os
import pickle
import struct
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.lib import format as npy

from spikevae.data.arrays import read_array


@pytest.fixture
def pixels() -> np.ndarray:
    """Seven images [N, H, W, C], N, H, W and C all different."""
    return np.random.RandomState(0).randint(0, 256, (7, 5, 4, 3)).astype(np.uint8)


def test_every_layout_and_type_gives_the_same_bytes(tmp_path: Path, pixels: np.ndarray) -> None:
    expected = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    layouts = {
        "last.npy": pixels,
        "first.npy": pixels.transpose(0, 3, 1, 2).copy(),
        "single.npy": (pixels / 255).astype(np.float32),
        "half.npy": (pixels / 255).astype(np.float16),
        "double.npy": pixels / 255,
        "big-endian.npy": (pixels / 255).astype(">f4"),
    }
    for name, array in layouts.items():
        np.save(tmp_path / name, array)
        assert read_array(tmp_path / name).equal(expected)
    np.savez_compressed(tmp_path / "a.npz", pixels / 255)
    assert read_array(tmp_path / "a.npz").equal(expected)
    np.savez(tmp_path / "b.npz", other=pixels[:1], arr_0=pixels)
    assert read_array(tmp_path / "b.npz").equal(expected)
    np.save(tmp_path / "grey.npy", pixels[..., 0])
    assert read_array(tmp_path / "grey.npy").equal(expected[:, :1])


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.full((2, 8, 8), np.nan), "not finite"),
        (np.full((2, 8, 8), np.inf), "not finite"),
        (np.full((2, 8, 8), 255.0), "floats from 255 to 255; expected 0 to 1: divide them by 255"),
        (np.full((2, 8, 8), -1.0), r"from -1 to -1; expected 0 to 1: bring them to \[0, 1\]"),
        (np.zeros((2, 8, 8), np.int64), "numbers of type int64; expected uint8, or float"),
        (np.zeros((8, 8), np.uint8), r"shape \[8, 8\]"),
        (np.zeros((2, 8, 8, 2), np.uint8), r"shape \[2, 8, 8, 2\]"),
        (np.zeros((8, 9, 3), np.uint8), r"shape \[8, 9, 3\], that of one picture.*numpy\.stack"),
        (np.zeros((0, 8, 8), np.uint8), r"shape \[0, 8, 8\]"),
        (np.asfortranarray(np.zeros((2, 8, 9), np.uint8)), "Fortran"),
        (np.array(["a", "b"]), "type <U1"),
    ],
)
def test_an_array_that_is_no_images_says_what_it_is(tmp_path: Path, array: np.ndarray, message: str) -> None:
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(ValueError, match=message) as caught:
        read_array(tmp_path / "a.npy")
    assert "a.npy" in str(caught.value)
    assert "\n" not in str(caught.value)


def header_of(shape: tuple[int, ...]) -> bytes:
    buffer = io.BytesIO()
    npy.write_array_header_1_0(buffer, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return buffer.getvalue()


def test_damaged_and_hostile_array_files_are_one_line_and_take_no_memory(tmp_path: Path, pixels: np.ndarray) -> None:
    np.savez(tmp_path / "whole.npz", pixels)
    whole = (tmp_path / "whole.npz").read_bytes()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("notes.txt", "no array")
    huge = io.BytesIO()
    with zipfile.ZipFile(huge, "w") as archive:
        archive.writestr("arr_0.npy", header_of((10**9, 10**6, 3)))
    pickled = io.BytesIO()
    npy.write_array(pickled, np.array([print], dtype=object), allow_pickle=True)
    files = {
        "half.npz": whole[: len(whole) // 2],
        "flipped.npz": whole[:200] + bytes((whole[200] ^ 1,)) + whole[201:],
        "empty.npy": b"",
        "text.npy": b"no array",
        "no-array.npz": packed.getvalue(),
        "huge.npz": huge.getvalue(),
        "huge.npy": header_of((10**9, 10**6, 3)),
        "short.npy": header_of((1000, 28, 28)) + bytes(100),
        "pickled.npy": pickled.getvalue(),
        "pickle.npy": pickle.dumps([1]),
        "long-header.npy": b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**31) + b" " * 100,
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        tracemalloc.start()
        with pytest.raises(ValueError, match=name) as caught:
            read_array(tmp_path / name)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert "\n" not in str(caught.value)
        assert most < 2**22, f"{name} took {most:,} bytes"


def test_an_array_that_unpacks_to_more_than_a_gigabyte_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("arr_0.npy", header_of((1, 2**15, 2**15 + 4)) + bytes(2**20))
    with pytest.raises(ValueError, match=r"bomb\.npz.*more than 1,073,741,824 values"):
        read_array(tmp_path / "bomb.npz")


def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.npz")
    with pytest.raises(ValueError, match="is a pipe"):
        read_array(tmp_path / "a.npz")
