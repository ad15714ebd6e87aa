"""What is measured, and against what: the settings turned into images on both sides."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from spikevae.config import DataConfig
from spikevae.data.sets import Channels, ImageSet, is_events, load_split, wanted_channels
from spikevae.evaluation.features import Measure, extract
from spikevae.evaluation.networks.bundle import Domain, bundled_networks, networks_folder
from spikevae.evaluation.networks.extractors import Extractor
from spikevae.evaluation.networks.spaces import open_spaces
from spikevae.evaluation.opened import open_model
from spikevae.evaluation.settings import EvaluationConfig
from spikevae.evaluation.streams import ImageStream, drawn, from_image_set, from_model, from_path, keeping_first
from spikevae.hub.checkpoints import load_generator
from spikevae.hub.run_settings import data_divided_for, require_same_division
from spikevae.nn.vae import SpikingVAE
from spikevae.runtime import check_memory, chosen_device

KEPT_SAMPLES = 1000
"""Samples that are kept for what looks at single ones: near-copies and pictures."""
_PROTOCOL_COUNT = {"paper": 5_000, "torch-fidelity": 10_000}
_SAMPLE_BYTES = 1024  # of features that are kept of a sample, at least
_FACES = "celeba"

Features = Mapping[str, Tensor]


@dataclass
class Evaluation:
    """What is measured, with what it is compared, and the features of both: what every metric is given."""

    config: EvaluationConfig
    name: str
    """The model's name, or the path of the images."""
    weights_hash: str
    """SHA-256 of the file of the model's weights, or of the weights of a model in memory; empty for images."""
    model: SpikingVAE | None
    samples: ImageStream
    reference: ImageStream
    reference_set: ImageSet | None
    """The reference as a split of a data set, where it is one."""
    dataset: str | None
    """The data set that the reference is a part of; None for other images."""
    data: DataConfig | None
    """The same, and how it is divided."""
    domain: Domain | None
    """Whose networks compare; None if nothing says."""
    device: torch.device
    details: dict[str, Any] = field(default_factory=dict)
    """Tables by name, ready for JSON, that metrics add to."""
    missing_spaces: dict[str, str] = field(default_factory=dict)
    """Feature spaces that cannot be had, each with why not."""
    _measures: dict[str, Measure] = field(default_factory=dict)
    _features: dict[str, tuple[Features, Features]] = field(default_factory=dict)

    @property
    def has(self) -> set[str]:
        """What metrics may need."""
        has = {
            "model": self.model is not None,
            "split": self.reference_set is not None,
            "papers' files": self.config.fad_autoencoder is not None,
        }
        return {need for need, is_there in has.items() if is_there}

    @property
    def reference_name(self) -> str:
        """What the samples are compared with."""
        return self.reference.name

    def extract(self, spaces: Iterable[str]) -> None:
        """Compute the features of all spaces, in one pass over the samples and one over the reference.

        Raises:
            ValueError, OSError: if a file or folder that was named cannot be used.
        """
        wanted = dict.fromkeys(spaces)
        self._measures, self.missing_spaces = open_spaces(wanted, self.config, self.domain, self.device)
        if self._measures:
            ours, theirs = (extract(stream, self._measures) for stream in (self.samples, self.reference))
            self._features = {space: (ours[space], theirs[space]) for space in self._measures}

    def features(self, space: str) -> tuple[Features, Features]:
        """Tables by name, [N, …] of the samples and [M, …] of the reference, in a space that was extracted."""
        return self._features[space]

    def extractor(self, space: str) -> Extractor:
        """The network of a space that was extracted."""
        found = self._measures[space]
        assert isinstance(found, Extractor)
        return found


def open_evaluation(config: EvaluationConfig, model: SpikingVAE | None = None) -> Evaluation:
    """Find the model or the images, and what they are compared with.

    Args:
        config: what to measure.
        model: a model at hand, in eval mode on a device; otherwise ``config.model`` is loaded.

    Raises:
        ValueError, OSError: if they cannot be had, or do not go together.
    """
    device = chosen_device(config.device)
    if config.model is None:
        assert config.images is not None  # EvaluationConfig saw to it
        samples = from_path(config.images)
        reference, reference_set, data = _reference(config, config.data, _size_for(config.data, samples), None)
        count = min(_sample_count(config, reference), config.count or samples.count)
        samples = drawn(samples, count, seed=config.seed)
        domain = _domain(config, config.data, None)
        compared = None if data is None else config.data
        return Evaluation(
            config, str(config.images), "", None, samples, reference, reference_set, compared, data, domain, device
        )
    model, weights_hash, trained_on = open_model(config, model, load_generator, device)
    assert model is not None
    channels: Channels = 3 if model.config.image_channels == 3 else 1
    dataset = config.data or trained_on
    trained = None if trained_on is None else config.model
    reference, reference_set, data = _reference(
        config, dataset, model.config.image_size, channels, trained, unlabelled=not model.config.classes
    )
    if reference_set is not None and reference_set.image_channels != channels:
        raise ValueError(
            f"{config.model} makes images of {channels} channels, {dataset} has {reference_set.image_channels}; "
            f"compare it with the data it was trained on, {trained_on}"
        )
    count = _sample_count(config, reference)
    kept = "memory for their features alone"
    check_memory(count * _SAMPLE_BYTES, f"{count:,} samples", "ask for fewer (--count)", memory=kept)
    samples = keeping_first(from_model(model, count, seed=config.seed, name=config.model), KEPT_SAMPLES)
    domain = _domain(config, dataset, trained_on)
    compared = None if data is None else dataset
    return Evaluation(
        config, config.model, weights_hash, model, samples, reference, reference_set, compared, data, domain, device
    )


def _sample_count(config: EvaluationConfig, reference: ImageStream) -> int:
    """Samples that were asked for, otherwise as the protocol says."""
    if config.count is not None:
        return config.count
    count = _PROTOCOL_COUNT[config.protocol]
    return min(count, reference.count) if config.protocol == "torch-fidelity" else count


def _size_for(dataset: str | None, samples: ImageStream) -> int | None:
    """The size at which to read pictures that have none of their own: that of the images; None for other data sets."""
    has_own_size = dataset is None or not (dataset.startswith("folder:") or dataset == _FACES)
    return None if has_own_size else next(samples.batches(1)).shape[-1]


def _domain(config: EvaluationConfig, dataset: str | None, trained_on: str | None) -> Domain | None:
    """Whose networks to compare in: the data set's own; for a folder's images those of the model's training data."""
    if config.networks is not None:
        if not config.networks.is_dir() and str(config.networks) in bundled_networks():
            return Domain(str(config.networks))
        domain = Domain(dataset or "this data", config.networks)
        networks_folder(domain)
        return domain
    if dataset is not None and dataset.startswith("folder:") and trained_on is not None:
        return Domain(trained_on)
    return None if dataset is None else Domain(dataset)


def _reference(
    config: EvaluationConfig,
    dataset: str | None,
    image_size: int | None,
    channels: Channels | None,
    trained: str | None = None,
    *,
    unlabelled: bool = False,
) -> tuple[ImageStream, ImageSet | None, DataConfig | None]:
    """What samples are compared with; as a split of a data set, and that data set, where it is one."""
    if config.reference is not None:
        return from_path(config.reference), None, None
    assert dataset is not None  # EvaluationConfig saw to it
    divided = data_divided_for(trained, dataset, unlabelled=unlabelled)
    data = replace(divided, data_root=config.data_root, image_size=image_size)
    if is_events(data):
        name = config.model or config.images
        raise ValueError(f"{name} is compared with images, and {dataset} holds recordings; choose another data set")
    try:
        reference_set = load_split(data, config.split, image_channels=wanted_channels(dataset, channels))
    except FileNotFoundError as error:
        if dataset != _FACES:
            raise
        raise FileNotFoundError(
            f"{error}; or compare with faces of your own, square and centred: --data folder:PATH"
        ) from error
    require_same_division(trained, reference_set)
    return from_image_set(reference_set), reference_set, data
