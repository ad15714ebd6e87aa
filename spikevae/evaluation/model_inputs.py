"""What is measured of models that make no images: of classifiers, and of VAEs of event recordings."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spikevae.config import DataConfig, Split
from spikevae.data.division import some
from spikevae.data.events.eventset import EventSet
from spikevae.data.events.frames import FrameConfig, to_frames
from spikevae.data.events.recording import Recording
from spikevae.data.sets import ImageSet, is_events, load_split, wanted_channels
from spikevae.evaluation.opened import open_model
from spikevae.evaluation.settings import EvaluationConfig
from spikevae.hub.checkpoints import load, model_folder, read_config
from spikevae.hub.run_settings import data_divided_for, require_same_division
from spikevae.nn.classifiers import SpikingClassifier
from spikevae.nn.event_vae import SpikingEventVAE
from spikevae.runtime import check_memory, chosen_device

_GENERATED = 1000  # recordings
_OF_GIVEN = {"accuracy", "spikes", "reconstruction"}  # metrics that draw no thousand recordings; others may
_OF_IMAGES = (
    "report", "reference", "protocol", "fad_autoencoder", "fad_statistics", "inception_weights", "inception_sha256",
)  # fmt: skip
"""Settings that nothing here depends on."""
_OF_GENERATED = ("count", "networks")  # what a classifier has no use for either


@dataclass
class ModelEvaluation:
    """A model that makes no images, and the recordings or images that it is measured on: what its metrics are given."""

    config: EvaluationConfig
    name: str
    model: SpikingClassifier | SpikingEventVAE
    data: DataConfig
    """The data set, cut into frames or resized as the model takes it."""
    weights_hash: str = ""
    """As that of an `Evaluation`."""
    trained: str | None = None
    """Its name or folder, whose training divided the data; None of a model in memory."""
    details: dict[str, Any] = field(default_factory=dict)
    """Tables by name, ready for JSON, that metrics add to."""
    missing_spaces: dict[str, str] = field(default_factory=dict)
    """None: features are of images."""

    @property
    def has(self) -> set[str]:
        """What metrics may need."""
        return {"model", "split", *(["recordings"] if isinstance(self.model, SpikingEventVAE) else [])}

    @property
    def dataset(self) -> str:
        """The data set that it is measured on."""
        return self.data.dataset

    @property
    def device(self) -> torch.device:
        """The device of the model."""
        return self.model.device

    @property
    def reference_name(self) -> str:
        """The data set and its split."""
        return f"{self.data.dataset} {self.config.split}"

    @cached_property
    def given(self) -> ImageSet | EventSet:
        """The split that was asked for."""
        channels = wanted_channels(self.data.dataset, self.model.config.image_channels)
        given: ImageSet | EventSet = load_split(self.data, self.config.split, image_channels=channels)
        require_same_division(self.trained, given)
        return given

    @cached_property
    def generated(self) -> tuple[list[Recording], Tensor | None]:
        """Recordings that the model makes, and the class that each was asked for, if it can be: every one in turn."""
        assert isinstance(self.model, SpikingEventVAE)
        count, classes = self.config.count or _GENERATED, self.model.config.classes
        labels = torch.arange(count) % classes if self.model.latent.is_conditional else None
        return self.model.sample_events(count, seed=self.config.seed, label=labels), labels

    def inputs(self, count: int) -> Tensor:
        """So many of them, as the model takes them."""
        given: ImageSet | EventSet = some(self.given, count)
        x, _ = next(iter(given.batches(count)))
        return x.to(self.model.device)


def makes_no_images(config: EvaluationConfig, model: object) -> bool:
    """Whether what is measured is a classifier, or a VAE of event recordings."""
    return _network_of(config, model) in ("classifier", "event-vae")


def _network_of(config: EvaluationConfig, model: object) -> str | None:
    """The kind of network that is measured; None of images, and of a model at hand that makes images."""
    if model is None and config.model is not None:
        return read_config(model_folder(config.model)).network
    if isinstance(model, SpikingClassifier):
        return "classifier"
    return "event-vae" if isinstance(model, SpikingEventVAE) else None


def open_model_evaluation(config: EvaluationConfig, model: Any = None) -> ModelEvaluation:
    """Find the model, and what it is measured on.

    Args:
        config: what to measure.
        model: a model at hand, in eval mode on a device; otherwise ``config.model`` is loaded.

    Raises:
        ValueError, OSError: if they cannot be had, or do not go together.
    """
    assert config.model is not None  # makes_no_images saw to it
    is_classifier = _network_of(config, model) == "classifier"
    _refuse_unused(config, _OF_GENERATED if is_classifier else ())
    if not is_classifier and config.networks is not None:
        check_judge(config.networks)
    opened = open_model(config, model, load, chosen_device(config.device))
    model, dataset = opened.model, config.data or opened.trained_on
    assert dataset is not None  # a model in memory has been asked for it
    trained = None if opened.trained_on is None else config.model
    data = replace(data_divided_for(trained, dataset, unlabelled=not model.config.classes), data_root=config.data_root)
    if is_events(data) != model.config.takes_events:
        kind = "recordings" if model.config.takes_events else "images"
        raise ValueError(f"{config.model} takes {kind}, and {dataset} holds others; choose another data set or model")
    draws = config.metrics is None or set(config.metrics) - _OF_GIVEN
    if isinstance(model, SpikingEventVAE) and draws:
        frames = 4 * model.config.time_steps * 2 * math.prod(model.config.frame_size)  # bytes, as the judge takes them
        count = config.count or _GENERATED
        kept = "memory for their frames alone"
        check_memory(count * frames, f"{count:,} samples", "ask for fewer (--count)", memory=kept)
    return ModelEvaluation(config, config.model, model, data.taken_by(model.config), opened.weights_hash, trained)


def _refuse_unused(config: EvaluationConfig, others: tuple[str, ...]) -> None:
    """Refuse settings that would change nothing and be recorded; ``others`` are some beside those of images."""
    for name in (*_OF_IMAGES, *others):
        if getattr(config, name) != getattr(EvaluationConfig, name):
            why = "generates nothing" if name in others else "makes no images"
            raise ValueError(
                f"--{name.replace('_', '-')}: {config.model} {why}; leave it out"
                + (", and use --json" if name == "report" else "")
            )


def check_judge(folder: Path) -> None:
    """Refuse what cannot compare recordings, before it is read.

    Raises:
        ValueError, OSError: if it is no folder of a classifier of event recordings.
    """
    if not folder.is_dir():
        raise ValueError(f"--networks {folder} is no folder; name that of a classifier of event recordings")
    config = read_config(folder)
    if config.network != "classifier" or not config.takes_events:
        raise ValueError(f"--networks {folder} is no classifier of event recordings; name the folder of one")


def frames_of(recordings: Iterable[Recording], model: SpikingClassifier | SpikingEventVAE) -> Tensor:
    """Recordings as the frames that a model takes, float [T, N, 2, H, W]."""
    cut = FrameConfig.taken_by(model.config)
    return torch.from_numpy(np.stack([to_frames(one, cut) for one in recordings], axis=1)).float()


def event_split(model: SpikingClassifier | SpikingEventVAE, data: DataConfig, split: Split) -> EventSet:
    """A split of an event data set, cut into the frames that a model takes."""
    found = load_split(data.taken_by(model.config), split)
    assert isinstance(found, EventSet)
    return found
