"""Who is measured, and against what: the settings turned into images on both sides."""

from __future__ import annotations

from dataclasses import dataclass

from spikevae.config import DataConfig
from spikevae.data.sets import Channels, ImageSet, load_split
from spikevae.evaluation.networks.bundle import hash_file
from spikevae.evaluation.settings import ALL, OF_MODEL, EvaluationConfig, Metric
from spikevae.evaluation.streams import ImageSource, from_image_set, from_model, from_path, keeping_first, limited
from spikevae.hub.checkpoints import WEIGHTS_NAME, load, model_folder, read_dataset_name
from spikevae.nn.vae import SpikingVAE
from spikevae.runtime import pick_device

LOOKED_AT_AGAIN = 1000
"""Samples that are kept for what looks at single ones: near-copies and pictures."""
_PROTOCOL_COUNT = {"paper": 5_000, "torch-fidelity": 10_000}


@dataclass(frozen=True)
class Subject:
    """What is measured, and with what it is compared."""

    config: EvaluationConfig
    name: str
    weights_hash: str
    """SHA-256 of the model's weights; empty for images."""
    model: SpikingVAE | None
    samples: ImageSource
    reference: ImageSource
    reference_set: ImageSet | None
    """The reference as a split of a data set, where it is one."""
    dataset: str | None
    """The data set whose meters measure."""

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """What to measure: what was asked for, or all that this subject has."""
        if self.config.metrics is not None:
            return self.config.metrics
        unavailable: set[Metric] = set() if self.model is not None else set(OF_MODEL)
        if self.reference_set is None:
            unavailable |= {"copies", "reconstruction", "accuracy"}
        if self.dataset is None and self.config.meters is None:
            unavailable |= {"fad", "domain"}
        return tuple(metric for metric in ALL if metric not in unavailable)


def open_subject(config: EvaluationConfig) -> Subject:
    """Find the model or the images, and what they are compared with.

    Raises:
        ValueError, OSError: if they cannot be had, or do not go together.
    """
    if config.model is None:
        reference, reference_set = _reference(config, config.data, None, None)
        assert config.images is not None  # EvaluationConfig saw to it
        samples = from_path(config.images)
        count = config.count or min(_PROTOCOL_COUNT[config.protocol], samples.count)
        samples = limited(samples, count)
        return Subject(config, str(config.images), "", None, samples, reference, reference_set, config.data)
    folder = model_folder(config.model)
    model = load(config.model, device=pick_device())
    channels: Channels = 3 if model.config.image_channels == 3 else 1
    dataset = config.data or read_dataset_name(config.model)
    reference, reference_set = _reference(config, dataset, model.config.image_size, channels)
    if reference_set is not None and reference_set.image_channels != channels:
        raise ValueError(
            f"{config.model} makes images of {channels} channels, {dataset} has {reference_set.image_channels}; "
            f"compare it with the data it was trained on, {read_dataset_name(config.model)}"
        )
    count = config.count or _PROTOCOL_COUNT[config.protocol]
    if config.count is None and config.protocol == "torch-fidelity":
        count = min(count, reference.count)
    samples = keeping_first(from_model(model, count, seed=config.seed, name=config.model), LOOKED_AT_AGAIN)
    weights_hash = hash_file(folder / WEIGHTS_NAME)
    return Subject(config, config.model, weights_hash, model, samples, reference, reference_set, dataset)


def _reference(
    config: EvaluationConfig, dataset: str | None, image_size: int | None, channels: Channels | None
) -> tuple[ImageSource, ImageSet | None]:
    if config.reference is not None:
        return from_path(config.reference), None
    assert dataset is not None  # EvaluationConfig saw to it
    data = DataConfig(dataset=dataset, data_root=config.data_root, image_size=image_size)
    # A folder has whatever channels are asked for; data sets have their own.
    wanted = channels if dataset.startswith("folder:") else None
    reference_set = load_split(data, config.split, image_channels=wanted)
    return from_image_set(reference_set), reference_set
