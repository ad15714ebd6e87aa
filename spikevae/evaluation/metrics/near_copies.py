"""Near-copies: distances of samples to their nearest training images, beside those of test images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from spikevae.console import progress
from spikevae.data.pixels import converted
from spikevae.data.sets import load_split
from spikevae.evaluation.features import extract
from spikevae.evaluation.inputs import KEPT_SAMPLES, Evaluation
from spikevae.evaluation.metrics.registry import IN_DOMAIN, NotComputedError, register, share_score
from spikevae.evaluation.networks.bundle import NoNetworkError
from spikevae.evaluation.networks.extractors import Extractor, domain_extractor
from spikevae.evaluation.scores import Score
from spikevae.evaluation.streams import ImageStream, drawn, first_images, from_image_set, from_tensor, limited

_SHOWN = 24  # samples whose nearest training images are kept for a report
CLOSE = 0.01
"""An image counts as a near-copy if it is as near to a training image as this share of test images is."""


@dataclass(frozen=True)
class Nearest:
    """The nearest training image of each of N images."""

    distance: Tensor
    """[N], Euclidean."""
    index: Tensor
    """[N], its number in the training set."""


def nearest(images: Tensor, training: Iterable[Tensor]) -> Nearest:
    """Search a training set that is streamed in blocks.

    Args:
        images: vectors [N, D].
        training: blocks [n, D], in the order of the training set.

    Raises:
        ValueError: if there is no training image.
    """
    centre = images.float().mean(dim=0)  # what all have in common would cost digits of small distances
    images = images.float() - centre
    best = torch.full((len(images),), float("inf"))
    vectors = torch.zeros_like(images)
    index = torch.full((len(images),), -1, dtype=torch.int64)
    start = 0
    for block in training:
        block = block.float() - centre
        distance, found = torch.cdist(images, block).min(dim=1)
        closer = distance < best
        best = torch.where(closer, distance, best)
        vectors = torch.where(closer[:, None], block[found], vectors)
        index = torch.where(closer, found + start, index)
        start += len(block)
    if start == 0:
        raise ValueError("the training set is empty, so nothing can be a copy of it")
    # Anew, since the search multiplies matrices, which rounds: an exact copy has a distance of 0.
    return Nearest((images - vectors).norm(dim=1), index)


@dataclass(frozen=True)
class Copies:
    """Samples against test images, both by distance to the training set."""

    share: float
    """Of samples that are near-copies; 0.01 if they lie as near as test images do."""
    median_ratio: float
    """Median distance of samples over that of test images; far below 1 means copying."""


def compare_distances(samples: Tensor, test: Tensor) -> Copies:
    """Compare nearest distances [N] of samples with those [M] of test images.

    The threshold is the nearest distance that 1 % of the test images fall below. It is 0 where more of them are in the
    training set themselves, so a sample at the threshold counts too.
    """
    threshold = test.double().quantile(CLOSE)
    ratio = samples.double().median() / test.double().median().clamp(min=1e-12)
    return Copies(float((samples.double() <= threshold).double().mean()), float(ratio))


@register(
    "copies",
    {"copies_pixels": "near-copies, pixels", "copies_features": "near-copies, features"},
    needs=("split",),
    reads=IN_DOMAIN,
)
def measure_near_copies(evaluation: Evaluation) -> list[Score]:
    """Share of samples as near to a training image as the nearest 1 % of test images, in pixels and in features."""
    if evaluation.reference_set is None or evaluation.data is None:
        raise NotComputedError("only a data set has a training split to copy from; give --data")
    size = evaluation.reference_set.image_size
    channels = evaluation.reference_set.image_channels
    training = from_image_set(load_split(evaluation.data, "train", image_channels=3 if channels == 3 else 1))
    ours = compared_samples(evaluation)
    count, ours = ours.count, from_tensor(first_images(ours, ours.count), ours.name)
    test = from_image_set(evaluation.reference_set, count, seed=evaluation.config.seed)
    scores: list[Score] = []
    tables: dict[str, dict[str, object]] = {}
    for metric, vectors in _spaces(evaluation, ours, size):
        if isinstance(vectors, str):
            scores.append(Score(metric, None, note=vectors))
            continue
        near = nearest(torch.cat([torch.cat(list(vectors(stream))) for stream in (ours, test)]), vectors(training))
        copies = compare_distances(near.distance[:count], near.distance[count:])
        tables[metric] = {
            "share_of_near_copies": copies.share,
            "median_distance_over_that_of_test_images": copies.median_ratio,
            "nearest_training_images": near.index[:_SHOWN].tolist(),
        }
        scores.append(
            share_score(
                metric,
                copies.share,
                count,
                better="at most 0.01",
                reference=training.name,
                reference_count=training.count,
                image_size=f"{size}x{size}",
                note=f"median distance {copies.median_ratio:.3f} of that of test images",
            )
        )
    evaluation.details["copies"] = tables
    return scores


def compared_samples(evaluation: Evaluation) -> ImageStream:
    """The samples that nearest training images are searched for, as many as test images at most.

    Those of a model are alike, whichever come first; files may lie class by class, so some are drawn.
    """
    count = min(KEPT_SAMPLES, evaluation.samples.count, evaluation.reference.count)
    if evaluation.model is None:
        return drawn(evaluation.samples, count, seed=evaluation.config.seed)
    return limited(evaluation.samples, count)


_Vectors = Callable[[ImageStream], Iterator[Tensor]]


def _spaces(evaluation: Evaluation, ours: ImageStream, size: int) -> Iterator[tuple[str, _Vectors | str]]:
    """For each metric how to get vectors of images, or why that cannot be."""
    width = first_images(ours, 1).shape[-1]
    same = f"the images are {width} pixels wide, the training images {size}"
    channels = None if evaluation.reference_set is None else evaluation.reference_set.image_channels
    yield "copies_pixels", partial(pixel_vectors, channels=channels) if width == size else same
    try:
        if evaluation.domain is None:
            raise NoNetworkError("nothing says which domain networks to compare in")
        extractor = domain_extractor("classifier", evaluation.domain, device=evaluation.device)
        yield "copies_features", lambda stream: _feature_vectors(stream, extractor)
    except NoNetworkError as error:
        yield "copies_features", str(error)


def pixel_vectors(stream: ImageStream, *, channels: int | None) -> Iterator[Tensor]:
    """The pixels of each image, [n, D], with as many channels as the data set has: those of files are read as RGB."""
    with progress(stream.count, f"pixels of {stream.name}") as done:
        for x in stream.batches(2000):
            yield converted(x, None, channels).float().flatten(1) / 255
            done(len(x))


def _feature_vectors(stream: ImageStream, extractor: Extractor) -> Iterator[Tensor]:
    yield extract(stream, {"classifier": extractor})["classifier"]["features"]
