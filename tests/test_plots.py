"""Figures show what they are given."""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.text import Text

from spikevae.plots import confusion_matrix, image_rows, to_png


def test_rows_of_images_may_differ_in_length() -> None:
    images = torch.randint(0, 256, (3, 1, 5, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    (shown,) = image_rows({"one": images[:1], "three": images}).axes[0].images
    canvas = torch.as_tensor(shown.get_array())
    for row, count in enumerate((1, 3)):
        for column in range(count):
            top, left = 7 * row + 1, 7 * column + 1
            assert torch.equal(canvas[top : top + 5, left : left + 6, 0], images[column, 0])
    assert to_png(image_rows({"one": images[:1]})).startswith(b"\x89PNG")


def test_a_confusion_matrix_of_many_classes_is_no_larger_than_one_of_a_hundred() -> None:
    figures = [
        confusion_matrix(np.eye(count, dtype=int).tolist(), [f"class {k}" for k in range(count)])
        for count in (100, 300)
    ]
    assert figures[1].get_size_inches().tolist() == figures[0].get_size_inches().tolist()
    (shown,) = figures[1].axes[0].images
    assert np.array_equal(np.asarray(shown.get_array()), np.eye(300))
    assert not figures[1].axes[0].texts


def test_names_with_dollar_signs_are_no_formulas() -> None:
    names = ["$\\boots$", "$1 to $5"]
    for figure in (
        confusion_matrix([[1, 0], [0, 2]], names),
        image_rows({name: torch.zeros(2, 1, 5, 5, dtype=torch.uint8) for name in names}),
    ):
        assert to_png(figure).startswith(b"\x89PNG")
        shown = [text for text in figure.findobj(Text) if isinstance(text, Text) and text.get_text() in names]
        assert len(shown) >= 2
        assert not any(text.get_parse_math() for text in shown)
