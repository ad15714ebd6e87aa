"""One pass over images, from which every measure keeps its own small table: features stay, images do not.

Of several processes, each measures every so many-th batch; all of them get all tables.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import torch
from torch import Tensor

from spikevae.console import progress
from spikevae.distributed import from_all, rank, world_size
from spikevae.evaluation.streams import ImageStream

BATCH_SIZE = 250

Measure = Callable[[Tensor], Mapping[str, Tensor]]
"""From uint8 images [n, 3, H, W] to named tables, one row per image."""
Key = TypeVar("Key")


def extract(
    stream: ImageStream, measures: Mapping[Key, Measure], batch_size: int = BATCH_SIZE
) -> dict[Key, dict[str, Tensor]]:
    """Apply every measure to every image, in one pass.

    Args:
        stream: the images; grey ones are repeated to RGB.
        measures: functions from uint8 [n, 3, H, W] to tables [n, …] by name.
        batch_size: images at once.

    Returns:
        By measure and name, tables [N, …] on the CPU.

    Raises:
        ValueError: if the stream holds no images.
    """
    if stream.count == 0:
        raise ValueError(f"{stream.name}: there are no images")
    own: dict[int, dict[Key, Mapping[str, Tensor]]] = {}  # by number of the batch
    with progress(stream.count, stream.name) as done:
        for number, images in enumerate(stream.batches(batch_size)):
            if number % world_size() == rank():
                coloured = images.expand(-1, 3, -1, -1)
                own[number] = {key: measure(coloured) for key, measure in measures.items()}
            done(len(images))
    found = {number: tables for tables_of_one in from_all(own) for number, tables in tables_of_one.items()}
    batches = [found[number] for number in sorted(found)]
    return {
        key: {name: torch.cat([tables[key][name] for tables in batches]) for name in batches[0][key]}
        for key in measures
    }
