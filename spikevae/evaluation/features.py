"""One pass over images, from which every measure keeps its own small table: features stay, images do not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn.functional import conv2d
from tqdm import tqdm

from spikevae.evaluation.sources import ImageSource

BATCH_SIZE = 250

Measure = Callable[[Tensor], Mapping[str, Tensor]]
"""From uint8 images [n, 3, H, W] to named tables, one row per image."""
Key = TypeVar("Key")


def extract(
    source: ImageSource, measures: Mapping[Key, Measure], batch_size: int = BATCH_SIZE
) -> dict[Key, dict[str, Tensor]]:
    """Apply every measure to every image, in one pass.

    Args:
        source: the images; grey ones are repeated to RGB.
        measures: functions from uint8 [n, 3, H, W] to tables [n, …] by name.
        batch_size: images at once.

    Returns:
        By measure and name, tables [N, …] on the CPU.

    Raises:
        ValueError: if the source holds no images.
    """
    parts: dict[Key, dict[str, list[Tensor]]] = {key: {} for key in measures}
    with tqdm(total=source.count, desc=source.name, unit="images", leave=False, delay=2) as progress:
        for images in source.batches(batch_size):
            images = images.expand(-1, 3, -1, -1)
            for key, measure in measures.items():
                for name, table in measure(images).items():
                    parts[key].setdefault(name, []).append(table)
            progress.update(len(images))
    if source.count == 0:
        raise ValueError(f"{source.name}: there are no images")
    return {key: {name: torch.cat(tables) for name, tables in named.items()} for key, named in parts.items()}


def sharpness(images: Tensor) -> dict[str, Tensor]:
    """Mean absolute Laplacian of each image, pixels in [0, 1]: how much edge there is.

    Args:
        images: uint8 [N, 3, H, W].

    Returns:
        laplacian: [N].
    """
    kernel = torch.tensor([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]])[None, None]
    grey = images.float().mean(1, keepdim=True) / 255
    return {"laplacian": conv2d(grey, kernel).abs().flatten(1).mean(1)}
