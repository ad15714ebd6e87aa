"""Reading any image file, and writing many."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, TiffImagePlugin
from torchvision.utils import make_grid

from spikevae.data.images import check_save_path, read_image, save_images, tiled, to_uint8
from spikevae.files import check_can_write


def colours(mode: str, size: tuple[int, int] = (16, 16), colour: object = None) -> Image.Image:
    return Image.new(mode, size, colour)  # type: ignore[arg-type]


def mean_colour(path: Path) -> list[int]:
    return read_image(path, channels=3, size=8).float().mean((1, 2)).round().int().tolist()


def test_the_level_at_which_a_grey_picture_of_16_bits_shows_nothing_is_white(tmp_path: Path) -> None:
    levels = np.array([[257 * 40, 257 * 40 + 1], [0, 65535]], dtype=np.uint16)  # of which 8 bits tell three apart
    Image.fromarray(levels).save(tmp_path / "a.png", transparency=257 * 40)
    assert read_image(tmp_path / "a.png", channels=1, size=2).tolist() == [[[255, 40], [0, 255]]]


@pytest.mark.parametrize(
    ("mode", "colour", "suffix", "expected"),
    [
        ("L", 100, ".png", [100, 100, 100]),
        ("1", 1, ".png", [255, 255, 255]),
        ("RGB", (10, 20, 30), ".png", [10, 20, 30]),
        ("LA", (0, 0), ".png", [255, 255, 255]),
        ("RGBA", (255, 0, 0, 255), ".png", [255, 0, 0]),
        ("RGBA", (255, 0, 0, 0), ".webp", [255, 255, 255]),
        ("RGBA", (0, 0, 0, 51), ".tiff", [204, 204, 204]),
        ("CMYK", (0, 255, 0, 0), ".tiff", [255, 0, 255]),
        ("I;16", 65535, ".png", [255, 255, 255]),
        ("I;16", 257 * 77, ".tiff", [77, 77, 77]),
        ("L", 9, ".bmp", [9, 9, 9]),
        ("RGB", (1, 2, 3), ".ppm", [1, 2, 3]),
    ],
)
def test_every_mode_becomes_its_colour_on_white(
    tmp_path: Path, mode: str, colour: object, suffix: str, expected: list[int]
) -> None:
    path = tmp_path / f"image{suffix}"
    colours(mode, colour=colour).save(path, lossless=True) if suffix == ".webp" else colours(mode, colour=colour).save(
        path
    )
    assert mean_colour(path) == expected


def test_a_palette_with_a_transparent_entry_lies_on_white(tmp_path: Path) -> None:
    image = Image.new("P", (8, 8), 1)
    image.putpalette([0, 0, 0, 0, 200, 0])
    image.save(tmp_path / "opaque.png")
    image.save(tmp_path / "clear.png", transparency=1)
    assert mean_colour(tmp_path / "opaque.png") == [0, 200, 0]
    assert mean_colour(tmp_path / "clear.png") == [255, 255, 255]


def test_the_first_picture_of_an_animation_counts(tmp_path: Path) -> None:
    frames = [colours("RGB", colour=colour) for colour in ((255, 0, 0), (0, 0, 255))]
    frames[0].save(tmp_path / "two.gif", save_all=True, append_images=frames[1:])
    assert mean_colour(tmp_path / "two.gif") == [255, 0, 0]


def test_a_photo_that_was_taken_sideways_is_turned_upright(tmp_path: Path) -> None:
    upright = torch.zeros(8, 8, dtype=torch.uint8)
    upright[:4] = 255  # sky
    exif = Image.Exif()
    exif[0x0112] = 6  # "turn clockwise to show"
    Image.fromarray(upright.rot90(1).contiguous().numpy()).save(tmp_path / "sideways.png", exif=exif)
    assert read_image(tmp_path / "sideways.png", channels=1, size=8)[0].equal(upright)


def test_the_central_square_is_kept_whatever_the_shape(tmp_path: Path) -> None:
    wide = np.zeros((10, 30, 3), np.uint8)
    wide[:, 10:20] = (9, 99, 199)
    for name, array in (("wide.png", wide), ("tall.png", wide.transpose(1, 0, 2))):
        Image.fromarray(np.ascontiguousarray(array)).save(tmp_path / name)
        assert mean_colour(tmp_path / name) == [9, 99, 199]
    square = read_image(tmp_path / "wide.png", channels=3, size=6, crop=6)
    assert square.equal(torch.tensor([9, 99, 199], dtype=torch.uint8).view(3, 1, 1).expand(3, 6, 6))


def test_an_image_of_the_right_size_is_not_changed(tmp_path: Path, generator: torch.Generator) -> None:
    pixels = torch.randint(256, (3, 12, 12), dtype=torch.uint8, generator=generator)
    Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy()).save(tmp_path / "image.png")
    assert read_image(tmp_path / "image.png", channels=3, size=12).equal(pixels)


def test_reduction_averages_instead_of_picking_pixels(tmp_path: Path) -> None:
    board = np.indices((64, 64)).sum(0) % 2 * 255
    Image.fromarray(board.astype(np.uint8)).save(tmp_path / "board.png")
    assert (read_image(tmp_path / "board.png", channels=1, size=8).int() - 127).abs().max() <= 2


def test_grey_and_colour_convert_both_ways(tmp_path: Path) -> None:
    colours("RGB", colour=(255, 0, 0)).save(tmp_path / "red.png")
    colours("L", colour=50).save(tmp_path / "grey.png")
    assert read_image(tmp_path / "red.png", channels=1, size=4).unique().tolist() == [76]  # 0.299 * 255
    assert mean_colour(tmp_path / "grey.png") == [50, 50, 50]


def bomb() -> bytes:
    """A PNG header that promises 60,000 x 60,000 pixels, and next to nothing behind it."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def test_damaged_and_hostile_files_are_refused_in_one_line_that_names_them(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.random.RandomState(0).randint(0, 256, (64, 64, 3)).astype(np.uint8)).save(buffer, "JPEG")
    whole = buffer.getvalue()
    files = {
        "half.jpg": whole[: len(whole) // 2],
        "stub.png": bomb()[:20],
        "bomb.png": bomb(),
        "text.png": b"not an image at all",
        "empty.png": b"",
        "program.png": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=name) as caught:
            read_image(tmp_path / name, channels=3, size=8)
        assert "\n" not in str(caught.value)


def test_an_image_over_the_pixel_limit_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    Image.new("1", (70_000, 1000)).save(tmp_path / "large.png")
    with pytest.raises(ValueError, match=r"large\.png has 70000x1000 pixels"):
        read_image(tmp_path / "large.png", channels=1, size=8)
    Image.new("1", (20, 10)).save(tmp_path / "small.png")
    with pytest.raises(ValueError, match=r"small\.png has 20x10 pixels, more than 199"):
        read_image(tmp_path / "small.png", channels=1, size=8, pixel_limit=199)


def test_a_missing_file_keeps_its_own_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.png"):
        read_image(tmp_path / "none.png", channels=1, size=8)


def test_levels_without_a_known_range_are_refused(tmp_path: Path) -> None:
    for level, message in (
        (np.float32(1e6), "floats from 1e.06 to 1e.06, not 0 to 1"),
        (np.float32(200), "floats from 200 to 200, not 0 to 1; divide them by 255"),
        (np.float32("nan"), "not finite"),
        (np.int32(10**6), "not 8 or 16 bit"),
        (np.int32(-1), "not 8 or 16 bit"),
    ):
        Image.fromarray(np.full((4, 4), level)).save(tmp_path / "levels.tiff")
        with pytest.raises(ValueError, match=rf"levels\.tiff .*{message}"):
            read_image(tmp_path / "levels.tiff", channels=1, size=4)


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        (np.int32(200), 200),
        (np.int32(65535), 255),
        (np.uint16(200), 200),
        (np.uint16(257 * 200), 200),
        (np.float32(0.5), 128),
        (np.float32(1), 255),
        (np.int32(0), 0),
    ],
)
def test_pictures_of_more_bits_are_as_bright_as_they_are(tmp_path: Path, level: np.generic, expected: int) -> None:
    Image.fromarray(np.full((4, 4), level)).save(tmp_path / "a.tiff")
    assert read_image(tmp_path / "a.tiff", channels=1, size=4).unique().tolist() == [expected]


def test_the_largest_level_that_a_file_names_is_white(tmp_path: Path) -> None:
    info = TiffImagePlugin.ImageFileDirectory_v2()
    info[281] = 4095  # MaxSampleValue: 12 bits
    Image.fromarray(np.full((4, 4), 2048, np.uint16)).save(tmp_path / "a.tiff", tiffinfo=info)
    assert read_image(tmp_path / "a.tiff", channels=1, size=4).unique().tolist() == [127]


@pytest.mark.parametrize("level", [np.uint8(50), np.uint16(257 * 50)])
def test_a_tiff_whose_white_is_zero_is_read_so_with_any_number_of_bits(level: np.generic) -> None:
    file = io.BytesIO()
    Image.fromarray(np.full((4, 4), level)).save(file, "TIFF")
    content = bytearray(file.getvalue())
    start = content.index(struct.pack("<HHI", 262, 3, 1))  # PhotometricInterpretation, a short
    content[start + 8] = 0
    assert read_image(io.BytesIO(bytes(content)), channels=1, size=4).unique().tolist() == [205]


def test_a_pipe_and_a_folder_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    for path, message in ((tmp_path / "a.png", "is a pipe"), (tmp_path, "is a folder")):
        with pytest.raises(ValueError, match=message):
            read_image(path, channels=1, size=4)


def test_pixels_are_rounded_and_cut_off_and_never_nan() -> None:
    images = torch.tensor([-0.5, 0.0, 0.4999 / 255, 0.5001 / 255, 1.0, 7.0])
    assert to_uint8(images).tolist() == [0, 0, 0, 1, 255, 255]
    with pytest.raises(ValueError, match="NaN"):
        to_uint8(torch.tensor([0.5, float("nan")]))


@pytest.mark.parametrize("channels", [1, 3])
def test_an_npz_holds_exactly_the_pixels_and_needs_no_pickle(
    tmp_path: Path, generator: torch.Generator, channels: int
) -> None:
    pixels = torch.randint(256, (5, channels, 6, 6), dtype=torch.uint8, generator=generator)
    save_images(pixels / 255, tmp_path / "a.npz", originals=1 - pixels / 255)
    with np.load(tmp_path / "a.npz", allow_pickle=False) as arrays:
        assert sorted(arrays) == ["arr_0", "arr_1"]
        assert torch.from_numpy(arrays["arr_0"]).equal(pixels.permute(0, 2, 3, 1))
        assert torch.from_numpy(arrays["arr_1"]).equal(255 - pixels.permute(0, 2, 3, 1))


@pytest.mark.parametrize(("count", "rows", "columns"), [(64, 8, 8), (5, 2, 3), (2, 1, 2)])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_grid_is_nearly_square_and_holds_each_image_in_its_place(
    tmp_path: Path, generator: torch.Generator, channels: int, count: int, rows: int, columns: int
) -> None:
    pixels = torch.randint(256, (count, channels, 28, 28), dtype=torch.uint8, generator=generator)
    save_images(pixels / 255, tmp_path / "grid.png")
    grid = np.array(Image.open(tmp_path / "grid.png")).reshape(30 * rows + 2, 30 * columns + 2, channels)
    for number, image in enumerate(pixels):
        top, left = 2 + 30 * (number // columns), 2 + 30 * (number % columns)
        assert torch.from_numpy(grid[top : top + 28, left : left + 28]).permute(2, 0, 1).equal(image)


@pytest.mark.parametrize(("count", "columns"), [(1, 3), (2, 3), (5, 3), (6, 3), (4, 1)])
def test_images_are_tiled_as_torchvision_does(count: int, columns: int, generator: torch.Generator) -> None:
    pixels = torch.randint(256, (count, 3, 4, 5), dtype=torch.uint8, generator=generator)
    expected = make_grid(pixels, nrow=columns, padding=2, pad_value=255)
    assert tiled(pixels, columns=columns, frame=2, value=255).equal(expected)


def test_in_a_grid_each_original_is_left_of_its_reconstruction(tmp_path: Path) -> None:
    levels = torch.arange(1, 9) / 255
    images = levels.view(8, 1, 1, 1).expand(8, 1, 4, 4)
    save_images(images, tmp_path / "pairs.png", originals=images + 100 / 255)
    grid = np.array(Image.open(tmp_path / "pairs.png"))[2::6, 2::6]
    assert grid.tolist() == [[101, 1, 102, 2], [103, 3, 104, 4], [105, 5, 106, 6], [107, 7, 108, 8]]


def test_a_folder_holds_one_file_per_image_in_order(tmp_path: Path) -> None:
    images = (torch.arange(12) / 255).view(12, 1, 1, 1).expand(12, 3, 4, 4)
    save_images(images, tmp_path / "deep" / "folder", originals=images)
    files = sorted((tmp_path / "deep" / "folder").glob("*[0-9].png"))
    assert [file.name for file in files] == [f"{number:04}.png" for number in range(12)]
    assert [int(read_image(file, channels=1, size=4)[0, 0, 0]) for file in files] == list(range(12))
    assert len(list((tmp_path / "deep" / "folder").glob("*_original.png"))) == 12


@pytest.mark.parametrize("name", ["a.png", "a.npz", "a"])
def test_equal_images_give_equal_bytes_and_leave_nothing_else(
    tmp_path: Path, generator: torch.Generator, name: str
) -> None:
    images = torch.rand(3, 1, 6, 6, generator=generator)

    def content(folder: str) -> dict[str, bytes]:
        save_images(images, tmp_path / folder / name)
        return {
            str(path.relative_to(tmp_path / folder)): path.read_bytes()
            for path in (tmp_path / folder).rglob("*")
            if path.is_file()
        }

    first = content("first")
    assert first == content("second")
    assert len(first) == (3 if name == "a" else 1)


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    (tmp_path / "a.npz").write_bytes(b"old")
    monkeypatch.setattr(np, "savez", fail)
    with pytest.raises(OSError, match="No space"):
        save_images(torch.zeros(1, 1, 4, 4), tmp_path / "a.npz")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a.npz", b"old")]


def test_a_path_that_cannot_take_the_images_is_refused_before_they_are_made(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "file").write_bytes(b"precious")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "photo.png").write_bytes(b"precious")
    (tmp_path / "empty.d").mkdir()
    (tmp_path / "dangling").symlink_to(tmp_path / "gone")
    for name, message in {
        "folder.png": "is a folder",
        "file": "exists and is not a folder",
        "full": "is not empty",
        "a.jpg": r"not written as \.jpg; use \.png, \.npz",
        "file/a.png": "file is no folder",
        "file/deep/er/a": "file is no folder",
        "dangling/a.png": "dangling is no folder",
    }.items():
        with pytest.raises(ValueError, match=message):
            check_save_path(tmp_path / name)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="is a pipe, a socket or a device; name a file"):
        check_can_write(tmp_path / "pipe")  # a file would take its place
    for name in ("new.png", "new.NPZ", "new/er", "empty.d"):
        check_save_path(tmp_path / name)


def test_the_folder_that_one_is_in_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in (".", "", tmp_path):
        with pytest.raises(ValueError, match="is the folder that you are in"):
            check_save_path(name)


def test_a_link_to_an_empty_folder_stays_one(tmp_path: Path) -> None:
    folder, link = tmp_path / "folder", tmp_path / "link"
    folder.mkdir()
    link.symlink_to(folder)
    save_images(torch.zeros(2, 1, 8, 8), link)
    assert link.is_symlink()
    assert len(list(folder.iterdir())) == 2
    assert set(tmp_path.iterdir()) == {folder, link}


def test_a_name_may_be_as_long_as_the_system_allows(tmp_path: Path) -> None:
    path = tmp_path / ("a" * 251 + ".png")
    save_images(torch.zeros(1, 1, 8, 8), path)
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_to_write_and_originals_of_another_shape_are_errors(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no images"):
        save_images(torch.zeros(0, 1, 4, 4), tmp_path / "a.png")
    with pytest.raises(ValueError, match="differ in shape"):
        save_images(torch.zeros(2, 1, 4, 4), tmp_path / "a.png", originals=torch.zeros(2, 1, 5, 5))
    assert not list(tmp_path.iterdir())
