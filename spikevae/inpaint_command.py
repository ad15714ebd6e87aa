"""The command that completes a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from spikevae.console import say
from spikevae.options import Device, Model
from spikevae.text import printable

if TYPE_CHECKING:
    from torch import Tensor

Box = Annotated[tuple[int, int, int, int] | None, arg(metavar="LEFT TOP RIGHT BOTTOM")]


def inpaint(
    model: Positional[Model],
    image: Positional[Annotated[Path, arg(metavar="IMAGE", help="The picture to complete.")]],
    *,
    out: Path,
    mask: Annotated[Path | None, arg(metavar="FILE")] = None,
    box: Box = None,
    count: int = 4,
    seed: int = 0,
    label: Annotated[str | None, arg(metavar="CLASS")] = None,
    invert: bool = False,
    device: Device = None,
) -> None:
    """Fill in a hidden part of a picture, in several ways.

    Examples:
        spikevae inpaint fashion-mnist boot.png --box 14 0 28 28 --out boots.png
        spikevae inpaint faces face.jpg --mask hole.png --count 8 --out faces.png

    Args:
        out: A .png (one grid), a .npz (arr_0, uint8 [N, H, W, C]), or a folder for one PNG each.
        mask: A picture of the same size, white where the image shall be filled in and black elsewhere. Pixels of the
            model's images that are white in part are filled in.
        box: In place of a mask, the rectangle to fill in, in pixels of the model's images (28, 32 or 64 each way).
        count: How many proposals, 1 to 256; those that fit best come first.
        seed: The same seed gives the same proposals.
        label: Name or number of the class; otherwise what is visible decides.
        invert: Make light dark first, for pictures of dark things on a light ground.
    """
    from spikevae.data.images import check_save_path, save_images
    from spikevae.files import check_is_not_read
    from spikevae.inputs import advise_on_ground, load_decoder

    check_save_path(out)
    check_is_not_read(out, (image, *(() if mask is None else (mask,))))
    network = load_decoder(model, device)
    x = _read(image, network.config.image_channels, network.config.image_size)
    if not invert:
        advise_on_ground(x[None], network)
    is_hidden = _hidden(image, mask, box, network.config.image_size)
    proposals = network.inpaint(1 - x if invert else x, is_hidden, count=count, seed=seed, label=label)
    save_images(proposals.cpu(), out)
    say(f"{count} proposals written to {printable(out)}")


def _read(path: Path, channels: int, size: int) -> Tensor:
    from spikevae.data.decode import FILE_FORMATS
    from spikevae.data.images import read_image

    pixels: Tensor = read_image(path, channels=3 if channels == 3 else 1, size=size, formats=FILE_FORMATS)
    return pixels / 255


def _hidden(image: Path, mask: Path | None, box: tuple[int, int, int, int] | None, size: int) -> Tensor:
    """Whether each pixel is to be filled in, [H, W]."""
    import torch

    if (mask is None) == (box is None):
        raise ValueError("say what to fill in: either --mask FILE or --box LEFT TOP RIGHT BOTTOM")
    if mask is not None:
        size_of_image = _upright_size(image)
        white = _read(mask, 1, min(size_of_image)) > 0.5  # [1, S, S], before it is reduced, where strokes may be thin
        hidden: Tensor = torch.nn.functional.adaptive_max_pool2d(white.float(), size)[0] > 0
        sizes = [_upright_size(mask), size_of_image]
        if sizes[0] != sizes[1]:
            raise ValueError(f"--mask {printable(mask)}: {sizes[0]} pixels, but the picture has {sizes[1]}")
        if not hidden.any():
            raise ValueError(f"--mask {printable(mask)}: nothing is white in its central square, which the model sees")
        if hidden.all():
            raise ValueError(
                f"--mask {printable(mask)}: its central square, which the model sees at {size}x{size} pixels, is all "
                "white (as what is transparent is); paint black what is to stay, in broad strokes"
            )
        return hidden
    assert box is not None
    left, top, right, bottom = box
    if not (0 <= left < right <= size and 0 <= top < bottom <= size):
        raise ValueError(f"--box {left} {top} {right} {bottom}: expected 0 <= LEFT < RIGHT <= {size}, and TOP likewise")
    if right - left == bottom - top == size:
        raise ValueError(f"--box {left} {top} {right} {bottom} is the whole picture; leave a part of it visible")
    hidden = torch.zeros(size, size, dtype=torch.bool)
    hidden[top:bottom, left:right] = True
    return hidden


def _upright_size(path: Path) -> tuple[int, int]:
    """Width and height of a picture as it is read: turned upright, as cameras note how they were held."""
    from PIL import Image, ImageOps

    from spikevae.data.decode import FILE_FORMATS

    with Image.open(path, formats=FILE_FORMATS) as image:
        width, height = ImageOps.exif_transpose(image).size
        return width, height
