"""A stranger's recording is cut into slices elsewhere, in bounded time and memory."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from app import limits
from app.decoder import Decoder
from app.slices import packed, sliced, sliced_file, unpacked
from spikevae.data.events.writers import encode_atis
from tests.made_events import encode_aedat3, made_recording

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    with Decoder() as decoder:
        yield decoder


def npz(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def columns(count: int = 100) -> dict[str, np.ndarray]:
    recording = made_recording(count, size=(12, 12), duration=40_000)
    return {"t": recording.t, "x": recording.x, "y": recording.y, "p": recording.p}


@pytest.mark.parametrize("kind", [".bin", ".aedat", ".npz"])
@pytest.mark.parametrize("size", [(12, 12), (9, 7), (128, 128)])
def test_a_recording_is_cut_elsewhere_as_it_is_here(decoder: Decoder, kind: str, size: tuple[int, int]) -> None:
    recording = made_recording(400, size=size)
    columns = {"t": recording.t, "x": recording.x, "y": recording.y, "p": recording.p, "size": np.asarray(size)}
    content = {".bin": encode_atis(recording), ".aedat": encode_aedat3(recording), ".npz": npz(**columns)}[kind]
    found, expected = decoder.decode_recording(content, kind, 4, 12), sliced_file(content, kind, 4, 12)
    assert found.frames.shape == (4, 2, 12, 12)
    assert found.frames.sum() == found.moments.sum() == 400
    assert np.array_equal(found.frames, expected.frames)
    assert np.array_equal(found.moments, expected.moments)
    assert found[2:] == expected[2:]


def refused() -> dict[str, tuple[bytes, str, str]]:
    whole = encode_atis(made_recording(50))
    pickled = io.BytesIO()
    np.savez(pickled, t=np.asarray([print], dtype=object), x=[0], y=[0], p=[0])
    return {
        "nothing": (b"", ".bin", "is empty"),
        "truncated": (whole[:-2], ".bin", "truncated"),
        "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(40), ".npz", "damaged or no .npz"),
        "no suffix": (whole, "", "files without a suffix"),
        "another kind": (whole, ".png", "not read from .png"),
        "AEDAT 4": (b"#!AER-DAT4.0\r\n", ".aedat4", "no reader is installed"),
        "a pickle": (pickled.getvalue(), ".npz", "expected a list of whole numbers"),
        "no polarity": (npz(t=[0], x=[0], y=[0]), ".npz", "no array p"),
        "fractions": (npz(**columns() | {"t": np.linspace(0, 1, 100)}), ".npz", "list of whole numbers"),
        "beyond the sensor": (npz(**columns(), size=[4, 4]), ".npz", "expected 0 to 3"),
        "no events": (npz(t=[], x=[], y=[], p=[]), ".npz", "whole numbers|no events"),
        "a huge sensor": (npz(**columns(), size=[2**30, 2**30]), ".npz", "pixels"),
    }


@pytest.mark.parametrize("kind", list(refused()))
def test_what_is_no_recording_is_refused_in_a_line(decoder: Decoder, kind: str) -> None:
    content, suffix, words = refused()[kind]
    with pytest.raises(ValueError, match=words) as caught:
        decoder.decode_recording(content, suffix, 4, 12)
    assert str(caught.value).startswith("The file")
    assert "\n" not in str(caught.value)


def test_a_recording_that_unpacks_to_too_much_is_refused(decoder: Decoder, monkeypatch: pytest.MonkeyPatch) -> None:
    count = 3 * 10**6
    zeros = np.zeros(count, np.int64)
    content = npz(t=np.arange(count), x=zeros, y=zeros, p=zeros)
    assert decoder.decode_recording(content, ".npz", 4, 12).events == count
    monkeypatch.setattr(limits, "DECODE_BYTES", 2**24)
    with pytest.raises(ValueError, match=r"16 MiB to decode|damaged"):
        decoder.decode_recording(content, ".npz", 4, 12)


def test_an_array_that_promises_more_than_it_may_hold_is_not_read(decoder: Decoder) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in "txyp":
            header = io.BytesIO()
            np.lib.format.write_array_header_1_0(header, {"descr": "<i8", "fortran_order": False, "shape": (2**40,)})
            archive.writestr(f"{name}.npy", header.getvalue() + bytes(1000))
    with pytest.raises(ValueError, match="cut it into shorter files"):
        decoder.decode_recording(buffer.getvalue(), ".npz", 4, 12)


def test_what_a_child_sends_is_not_believed() -> None:
    content = packed(sliced(made_recording(20, size=(12, 12)), 4, 12))
    assert unpacked(content, 4, 12).events == 20
    for spoilt in (content[:-1], content + b"0", b""):
        with pytest.raises(ValueError, match="cannot be read"):
            unpacked(spoilt, 4, 12)
