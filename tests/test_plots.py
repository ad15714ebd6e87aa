"""Figures show what they are given."""

from __future__ import annotations

import torch

from spikevae.plots import image_rows, to_png


def test_rows_of_images_may_differ_in_length() -> None:
    images = torch.randint(0, 256, (3, 1, 5, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    (shown,) = image_rows({"one": images[:1], "three": images}).axes[0].images
    canvas = torch.as_tensor(shown.get_array())
    for row, count in enumerate((1, 3)):
        for column in range(count):
            top, left = 7 * row + 1, 7 * column + 1
            assert torch.equal(canvas[top : top + 5, left : left + 6, 0], images[column, 0])
    assert to_png(image_rows({"one": images[:1]})).startswith(b"\x89PNG")
