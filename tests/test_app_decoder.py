"""A stranger's picture is decoded elsewhere, in bounded time and memory."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import app
from app import limits
from app.decoder import Decoder
from app.reading import decode_here

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
EXAMPLE = sorted((Path(app.__file__).parent / "examples").glob("*.png"))[0]


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    with Decoder() as decoder:
        yield decoder


def file_of(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def noise(side: int) -> Image.Image:
    return Image.fromarray(np.random.RandomState(0).randint(0, 256, (side, side, 3), dtype=np.uint8))


def many_scans(scans: int) -> bytes:
    """A progressive JPEG whose last scan comes again and again: small, and long to decode."""
    content = file_of(noise(16).resize((3000, 3000)), "JPEG", progressive=True)
    last = content.rindex(b"\xff\xda")
    return content[:-2] + content[last:-2] * scans + content[-2:]


@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_is_read_as_it_is_in_this_process(decoder: Decoder, channels: int) -> None:
    for content in (EXAMPLE.read_bytes(), file_of(noise(50), "WEBP"), file_of(noise(50), "GIF")):
        assert torch.equal(decoder.decode(content, channels, 24), decode_here(content, channels, 24))


def test_what_is_no_picture_is_refused_in_a_line(decoder: Decoder) -> None:
    for content in (b"", b"text\n", EXAMPLE.read_bytes()[:60], b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"):
        with pytest.raises(ValueError, match="The file cannot be read as an image") as caught:
            decoder.decode(content, 1, 28)
        assert "\n" not in str(caught.value)


def test_decoding_takes_no_longer_than_it_may(decoder: Decoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DECODE_SECONDS", 0.5)
    with pytest.raises(ValueError, match=r"more than 0\.5 s or 512 MiB to decode"):
        decoder.decode(many_scans(2000), 1, 28)  # without the limit it takes some 20 s
    assert decoder.decode(EXAMPLE.read_bytes(), 1, 28).shape == (1, 28, 28)


def test_decoding_takes_no_more_memory_than_it_may(decoder: Decoder, monkeypatch: pytest.MonkeyPatch) -> None:
    content = file_of(Image.new("RGB", (4000, 4000)), "PNG")
    assert decoder.decode(content, 3, 28).shape == (3, 28, 28)
    monkeypatch.setattr(limits, "DECODE_BYTES", 2**24)
    with pytest.raises(ValueError, match=r"16 MiB to decode|cannot be read"):
        decoder.decode(content, 3, 28)


def test_a_photo_of_50_megapixels_is_decoded_small_and_upright(decoder: Decoder) -> None:
    photo = Image.new("RGB", (8160, 6120), "white")
    photo.paste("black", (0, 0, 8160, 3060))
    exif = photo.getexif()
    exif[0x0112] = 3  # the camera was upside down
    content = file_of(photo, "JPEG", exif=exif)
    seen = decoder.decode(content, 1, 28)[0].float()
    assert float(seen[:13].mean()) > 250
    assert float(seen[15:].mean()) < 5
    with pytest.raises(ValueError, match="more than 16,777,216"):
        decoder.decode(b"P5 8160 6120 255\n", 1, 28)  # no other format can be decoded small


def test_a_helper_that_was_killed_is_started_anew(decoder: Decoder) -> None:
    assert decoder._process is not None
    decoder._process.kill()
    decoder._process.wait()
    assert decoder.decode(EXAMPLE.read_bytes(), 1, 28).shape == (1, 28, 28)


def test_the_helper_ends_with_its_server() -> None:
    with Decoder() as decoder:
        decoder.decode(EXAMPLE.read_bytes(), 1, 28)
        process, control = decoder._process, decoder._control
        assert process is not None
        assert control is not None
        control.shutdown(2)  # as the system does it when a server is killed
        assert process.wait(timeout=60) == 0
