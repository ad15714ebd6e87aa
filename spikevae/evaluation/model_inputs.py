"""`spikevae evaluate` of models that make no images: classifiers, and VAEs of event recordings."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
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
from spikevae.evaluation.energy import count_calls
from spikevae.evaluation.metrics.accuracy import classify_split
from spikevae.evaluation.metrics.registry import METRICS, NotComputedError, share_score
from spikevae.evaluation.metrics.spikes import NAMES, spike_details, spike_scores
from spikevae.evaluation.networks.weights import hash_weights
from spikevae.evaluation.scores import Score, Scores
from spikevae.evaluation.settings import EvaluationConfig
from spikevae.files import hash_file
from spikevae.hub.checkpoints import WEIGHTS_NAME, load, model_folder, read_config, read_dataset_name
from spikevae.hub.measured import IN_MEMORY
from spikevae.hub.run_settings import data_divided_for
from spikevae.labels import OtherClassesError
from spikevae.nn.classifiers import SpikingClassifier
from spikevae.nn.event_vae import SpikingEventVAE
from spikevae.runtime import check_memory
from spikevae.versions import library_versions

_COUNTED = 100  # inputs behind the energy
_GENERATED = 1000  # recordings
_CONFIDENCE = 0.95
_OF_IMAGES = (
    "report", "reference", "protocol", "fad_autoencoder", "fad_statistics", "inception_weights", "inception_sha256",
)  # fmt: skip
"""Settings that nothing here depends on."""
_OF_GENERATED = ("count", "networks")  # what a classifier has no use for either
_ACCURACY = {"accuracy": "classification accuracy"}


@dataclass
class Subject:
    """What is measured, and the recordings or images that it is measured on."""

    config: EvaluationConfig
    name: str
    model: SpikingClassifier | SpikingEventVAE
    data: DataConfig
    """The data set, cut into frames or resized as the model takes it."""
    details: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def given(self) -> ImageSet | EventSet:
        """The split that was asked for."""
        channels = wanted_channels(self.data.dataset, self.model.config.image_channels)
        return load_split(self.data, self.config.split, image_channels=channels)  # type: ignore[no-any-return]

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


Measure = Callable[[Subject], Iterable[Score]]


def makes_no_images(config: EvaluationConfig, model: object) -> bool:
    """Whether what is measured is a classifier, or a VAE of event recordings."""
    if model is not None or config.model is None:
        return isinstance(model, SpikingClassifier | SpikingEventVAE)
    return _network_of(config.model) in ("classifier", "event-vae")


def _network_of(model: str) -> str:
    return read_config(model_folder(model)).network


def evaluate_without_images(
    config: EvaluationConfig, model: Any, device: torch.device, earlier: Scores | None = None
) -> Scores:
    """Measure a classifier, or a VAE of event recordings.

    Raises:
        ValueError, OSError: if the settings, the model or the data are not usable, or it would not go with ``earlier``.
    """
    subject, weights_hash = _open(config, model, device)
    measures = _measures(subject)
    wanted = config.metrics or tuple(measures)
    unknown = [name for name in wanted if name not in measures]
    if unknown:
        why = " (it compares images, and this model makes none)" if unknown[0] in METRICS else ""
        raise ValueError(f"{subject.name} has no metric {unknown[0]!r}{why}; use {', '.join(measures)}")
    scores = Scores(
        model=subject.name,
        weights_hash=weights_hash,
        data=subject.data.dataset,
        split=config.split,
        protocol=config.protocol,
        seed=config.seed,
        command=replace(config, json=None, merge=False).command(),
        versions=library_versions(subject.model.device),
        scores=(),
    )
    if earlier is not None:
        scores.check_goes_with(earlier)
    found = [score for name in measures if name in wanted for score in _run(name, measures[name], subject)]
    return replace(scores, scores=tuple(found), details=subject.details)


def _open(config: EvaluationConfig, model: Any, device: torch.device) -> tuple[Subject, str]:
    assert config.model is not None  # makes_no_images saw to it
    is_classifier = (
        isinstance(model, SpikingClassifier) if model is not None else _network_of(config.model) == "classifier"
    )
    _refuse_unused(config, _OF_GENERATED if is_classifier else ())
    weights_hash, dataset, trained = "", config.data, None
    if model is None:
        weights_hash = hash_file(model_folder(config.model) / WEIGHTS_NAME)
        dataset, trained = dataset or read_dataset_name(config.model), config.model
        model = load(config.model, device=device)
    elif dataset is None:
        raise ValueError("a model in memory does not know its data set; name it: data=NAME")
    else:
        weights_hash = IN_MEMORY + hash_weights(model)
    data = replace(data_divided_for(trained, dataset, unlabelled=not model.config.classes), data_root=config.data_root)
    if is_events(data) != model.config.takes_events:
        kind = "recordings" if model.config.takes_events else "images"
        raise ValueError(f"{config.model} takes {kind}, and {dataset} holds others; choose another data set or model")
    draws = config.metrics is None or {"domain", "statistics"} & set(config.metrics)
    if isinstance(model, SpikingEventVAE) and draws:
        frames = 4 * model.config.time_steps * 2 * math.prod(model.config.frame_size)  # bytes, as the judge takes them
        count = config.count or _GENERATED
        kept = "memory for their frames alone"
        check_memory(count * frames, f"{count:,} samples", "ask for fewer (--count)", memory=kept)
    return Subject(config, config.model, model, data.taken_by(model.config)), weights_hash


def _refuse_unused(config: EvaluationConfig, others: tuple[str, ...]) -> None:
    """Refuse settings that would change nothing and be recorded; ``others`` are some beside those of images."""
    for name in (*_OF_IMAGES, *others):
        if getattr(config, name) != getattr(EvaluationConfig, name):
            why = "generates nothing" if name in others else "makes no images"
            raise ValueError(
                f"--{name.replace('_', '-')}: {config.model} {why}; leave it out"
                + (", and use --json" if name == "report" else "")
            )


def _measures(subject: Subject) -> dict[str, Measure]:
    """By name, in the order of the table; before any work, it is seen whether they can be had."""
    measures: dict[str, Measure] = {"accuracy": measure_accuracy, "spikes": measure_spikes}
    if isinstance(subject.model, SpikingEventVAE):
        from spikevae.evaluation.metrics.recordings import MEASURES, check_judge

        if subject.config.networks is not None:
            check_judge(subject.config.networks)
        measures |= MEASURES
    return measures


def _run(name: str, measure: Measure, subject: Subject) -> list[Score]:
    """The numbers of a measure; for those that could not be computed, why not."""
    from spikevae.evaluation.metrics.recordings import NAMES as NAMES_OF_RECORDINGS

    names: Mapping[str, Mapping[str, str]] = {"accuracy": _ACCURACY, "spikes": NAMES, **NAMES_OF_RECORDINGS}
    found: list[Score] = []
    try:
        for score in measure(subject):
            found.append(score)
    except (NotComputedError, OtherClassesError) as error:
        if isinstance(error, OtherClassesError) and subject.config.metrics is not None:
            raise  # it was asked for by name
        measured = {score.metric for score in found}
        missing = {key: shown for key, shown in names[name].items() if key not in measured}
        found += [Score(key, None, note=str(error), name=shown) for key, shown in missing.items()]
    return found


# ------------------------------------------------------------ what every such model is measured by


def measure_accuracy(subject: Subject) -> Iterator[Score]:
    """How often the classifier is right, with an exact interval, by class, and the confusion matrix."""
    if not subject.model.config.classes:
        yield Score("accuracy", None, note="this model was trained without labels", name="classification accuracy")
        return
    try:
        found = classify_split(subject.model, subject.given)
    except NotComputedError as error:
        yield Score("accuracy", None, note=str(error), name="classification accuracy")
        return
    count = int(found.counts.sum())
    subject.details |= found.details()
    score = counted_share("accuracy", "classification accuracy", int(found.counts.diagonal().sum()), count, subject)
    yield replace(score, note="; ".join(filter(None, (score.note, found.note))))


def counted_share(metric: str, name: str, hits: int, count: int, subject: Subject) -> Score:
    """A share of so many, with its standard error, and its exact interval (Clopper and Pearson) in the note."""
    from scipy.special import betaincinv

    tail = (1 - _CONFIDENCE) / 2
    low = betaincinv(hits, count - hits + 1, tail) if hits else 0.0
    high = betaincinv(hits + 1, count - hits, 1 - tail) if hits < count else 1.0
    return share_score(
        metric,
        hits / count,
        count,
        reference=f"{subject.data.dataset} {subject.config.split}",
        image_size="x".join(map(str, subject.model.config.frame_size)),
        note=f"{hits} of {count}; exact {_CONFIDENCE:.0%} interval {low:.1%} to {high:.1%}",
        name=name,
    )


def measure_spikes(subject: Subject) -> Iterator[Score]:
    """Mean firing rate, and energy of each call (docs/energy.md). Events of the input accumulate."""
    model, x = subject.model, subject.inputs(min(_COUNTED, len(subject.given)))
    count = x.shape[1] if x.dim() == 5 else len(x)
    calls: dict[str, Callable[[], object]] = {}
    if isinstance(model, SpikingEventVAE):
        with torch.inference_mode():
            z_seq = model.encode(x).mode()
        calls["encode"] = lambda: model.encode(x).mode()
        calls["decode"] = lambda: model.decode(z_seq)
        calls["sample"] = lambda: model.sample(count, seed=subject.config.seed, batch_size=count)
    if isinstance(model, SpikingClassifier):
        calls["classify"] = lambda: model.classify(x, batch_size=count, flip_tta=False)
        if model.config.classify_mirrored:
            calls["classify_flip"] = lambda: model.classify(x, batch_size=count, flip_tta=True)
    elif model.config.classes:
        calls["classify"] = lambda: model.classify(x, batch_size=count)
    costs = count_calls(model, calls, images=count)
    once = (cost for name, cost in costs.items() if name != "classify_flip")  # which has the steps of two images
    rates = {layer: steps for cost in once for layer, steps in cost.firing_rates.items()}
    subject.details |= spike_details(model, costs, rates)
    reference = f"{subject.data.dataset} {subject.config.split}"
    for score in spike_scores(costs, rates, once=", on one frame", samples=count, reference=reference):
        yield replace(score, name=NAMES[score.metric])


# ------------------------------------------------------------ what the measures share


def frames_of(recordings: Iterable[Recording], model: SpikingClassifier | SpikingEventVAE) -> Tensor:
    """Recordings as the frames that a model takes, float [T, N, 2, H, W]."""
    cut = FrameConfig.taken_by(model.config)
    return torch.from_numpy(np.stack([to_frames(one, cut) for one in recordings], axis=1)).float()


def event_split(model: SpikingClassifier | SpikingEventVAE, data: DataConfig, split: Split) -> EventSet:
    """A split of an event data set, cut into the frames that a model takes."""
    found = load_split(data.taken_by(model.config), split)
    assert isinstance(found, EventSet)
    return found
