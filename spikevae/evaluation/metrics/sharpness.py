"""Sharpness: how much edge the samples have, over that of real images."""

from __future__ import annotations

from spikevae.evaluation.inputs import Evaluation
from spikevae.evaluation.metrics.registry import SAMPLES, NotComputedError, register
from spikevae.evaluation.scores import Score


@register("sharpness", {"sharpness": "sharpness over real"}, spaces=("edges",), reads=SAMPLES)
def measure_sharpness(evaluation: Evaluation) -> list[Score]:
    """Mean absolute Laplacian of the samples over that of the reference."""
    tables = evaluation.features("edges")
    ours, theirs = (table["laplacian"].double() for table in tables)
    sides = [int(table["side"][0]) for table in tables]
    if sides[0] != sides[1]:
        raise NotComputedError(
            f"the images are {sides[0]} pixels wide, the reference {sides[1]}; sharpness needs equal sizes"
        )
    real = float(theirs.mean())
    if real == 0:
        raise NotComputedError("the reference has no edges at all")
    return [
        Score(
            "sharpness",
            float(ours.mean()) / real,
            float(ours.std()) / len(ours) ** 0.5 / real,
            "standard error over the samples",
            "1",
            samples=evaluation.samples.count,
            reference=evaluation.reference.name,
            reference_count=evaluation.reference.count,
            image_size=f"{sides[0]}x{sides[0]}, as they are",
        )
    ]
