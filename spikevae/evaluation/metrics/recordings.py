"""Generated and reconstructed event recordings, compared with real ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from spikevae.data.events.eventset import EventSet
from spikevae.data.events.frames import shrunk
from spikevae.data.events.recording import Recording
from spikevae.data.events.sets import load_recordings
from spikevae.data.events.statistics import event_statistics
from spikevae.data.sets import data_root
from spikevae.evaluation.metrics.frechet import frechet_with_error
from spikevae.evaluation.metrics.precision_recall import equal_precision_recall
from spikevae.evaluation.metrics.registry import IN_DOMAIN, SAMPLES, NotComputedError, counted_share, register
from spikevae.evaluation.model_inputs import ModelEvaluation, check_judge, event_split, frames_of
from spikevae.evaluation.scores import Score
from spikevae.evaluation.streams import drawn_numbers
from spikevae.files import hash_file
from spikevae.hub.checkpoints import WEIGHTS_NAME, load, read_dataset_name
from spikevae.labels import OtherClassesError, class_numbers
from spikevae.nn.classifiers import SpikingClassifier
from spikevae.nn.event_vae import SpikingEventVAE
from spikevae.nn.intensity import gain_per_event

BUNDLED = Path(__file__).parents[1] / "networks" / "recordings"
"""Classifiers of event data sets, trained apart from the VAEs that they measure."""
_MOST_REAL = 1000
_BATCH = 100
_JACKKNIFED = "standard error, jackknife over the recordings in ten groups"


@register(
    "reconstruction",
    {"event_likelihood": "reconstruction, nats an event above a constant rate"},
    needs=("recordings",),
    of="models",
    reads=(),
)
def measure_reconstruction(evaluation: ModelEvaluation) -> Iterator[Score]:
    """How much more likely recordings are, given their latent spikes, than with one rate everywhere."""
    model = _vae(evaluation)
    given = evaluation.given
    assert isinstance(given, EventSet)
    gains = []
    for x_seq, _ in given.batches(_BATCH):
        intensity = model.reconstruct(x_seq.to(model.device)).cpu()
        gains.append(gain_per_event(intensity, x_seq))
    each = torch.cat(gains)  # [N]
    yield Score(
        "event_likelihood",
        float(each.mean()),
        float(each.std() / len(each) ** 0.5),
        "standard error over the recordings",
        "higher",
        samples=len(each),
        reference=evaluation.reference_name,
        note="Poisson log-likelihood of the reconstruction, less that of the recording's own mean rate",
    )


@register(
    "domain",
    {
        "domain_frechet": "Fréchet distance, classifier of recordings",
        "domain_precision": "precision, classifier of recordings",
        "domain_recall": "recall, classifier of recordings",
        "label_agreement": "label agreement",
    },
    needs=("recordings",),
    of="models",
    reads=IN_DOMAIN,
)
def measure_domain(evaluation: ModelEvaluation) -> Iterator[Score]:
    """Fréchet distance, precision, recall and agreement with the label, by a classifier trained apart."""
    try:
        judge, learned_from, weights_hash = _judge(evaluation)
    except FileNotFoundError as reason:
        raise NotComputedError(str(reason)) from reason
    recordings, labels = evaluation.generated
    frames = frames_of(recordings, judge)
    real = event_split(judge, evaluation.data, evaluation.config.split).frames().transpose(0, 1).float()
    ours, theirs = _features(judge, frames), _features(judge, real)
    common: dict[str, Any] = {
        "extractor": f"classifier of {learned_from}, mean firing rate of each of its last maps",
        "weights_hash": weights_hash,
        "reference": evaluation.reference_name,
    }
    note = _distance_of_real(judge, evaluation, theirs)
    # Classes stand in turn, and the error is what leaving out every tenth one changes: that must be no class.
    mixed = torch.randperm(len(ours), generator=torch.Generator().manual_seed(evaluation.config.seed))
    value, error = frechet_with_error(ours[mixed], theirs)
    counts: dict[str, Any] = {"samples": len(ours), "reference_count": len(theirs)}
    yield Score("domain_frechet", value, error, _JACKKNIFED, "lower", note=note, **counts, **common)
    yield _label_agreement(judge, evaluation, frames, labels, common)
    yield from equal_precision_recall(ours, theirs, "domain", evaluation.config.seed, **common)


def _label_agreement(
    judge: SpikingClassifier, evaluation: ModelEvaluation, frames: Tensor, labels: Tensor | None, common: dict[str, Any]
) -> Score:
    """How often the classifier sees the class that was asked for."""
    if labels is None:
        return Score("label_agreement", None, note="this model cannot be asked for a class")
    try:
        numbers = torch.tensor(
            class_numbers(judge.config.class_names, evaluation.model.config.class_names, "the classifier")
        )
    except OtherClassesError as error:
        return Score("label_agreement", None, note=str(error))
    answers = numbers[judge.classify(frames.to(judge.device)).argmax(dim=1).cpu()]
    agreement = counted_share("label_agreement", int((answers == labels).sum()), len(labels), evaluation)
    asked: dict[str, Any] = {**common, "reference": "the label asked for"}  # nothing real is compared with
    return replace(agreement, **asked)


@register(
    "statistics",
    {
        "events": "events a recording",
        "on_share": "share of ON events",
        "event_rate": "event rate over time, distance",
        "waiting": "median time between two events of a pixel (ms)",
    },
    needs=("recordings",),
    of="models",
    reads=SAMPLES,
)
def measure_statistics(evaluation: ModelEvaluation) -> Iterator[Score]:
    """Events a recording, polarity, rate over time and waiting times of generated and of real recordings."""
    if evaluation.config.split != "test":
        raise NotComputedError("event statistics are those of the test split")
    duration, both = _vae(evaluation).config.duration, (evaluation.generated[0], _real_recordings(evaluation))
    ours, theirs = (event_statistics(recordings, duration) for recordings in both)
    evaluation.details["event_statistics"] = {
        name: {
            "recordings": found.recordings,
            "events_mean": found.events_mean,
            "events_deviation": found.events_deviation,
            "on_share": found.on_share,
            "waiting_quartiles": found.waiting.tolist(),
            "rate": found.rate.tolist(),
        }
        for name, found in (("generated", ours), ("real", theirs))
    }
    common: dict[str, Any] = {
        "samples": ours.recordings,
        "reference": evaluation.reference_name,
        "reference_count": theirs.recordings,
    }
    yield Score(
        "events",
        ours.events_mean,
        ours.events_deviation / ours.recordings**0.5,
        "standard error",
        f"{theirs.events_mean:.0f}",
        note=f"standard deviation {ours.events_deviation:.0f}; of real ones {theirs.events_deviation:.0f}",
        **common,
    )
    yield Score("on_share", ours.on_share, better=f"{theirs.on_share:.3f}", **common)
    yield Score(
        "event_rate",
        ours.rate_distance(theirs),
        better="lower",
        note=f"total variation distance of the events in each {ours.bin_width / 1000:g} ms",
        **common,
    )
    yield Score(
        "waiting",
        float(ours.waiting[1]) / 1000,
        better=f"{theirs.waiting[1] / 1000:.1f}",
        note="between two events of a pixel; quartiles "
        + " ".join(f"{value / 1000:.1f}" for value in ours.waiting)
        + ", of real ones "
        + " ".join(f"{value / 1000:.1f}" for value in theirs.waiting),
        **common,
    )


def _real_recordings(evaluation: ModelEvaluation) -> list[Recording]:
    """Some of the test split at the model's frame size, since the fewer pixels there are, the busier is each."""
    data, size = evaluation.data, _vae(evaluation).config.frame_size
    found = load_recordings(data.dataset, "test", root=data_root(data), count=_MOST_REAL)
    try:
        return [shrunk(recording, size) for recording, _ in found]
    except ValueError as error:
        raise NotComputedError(f"{data.dataset}: {error}") from error


def _vae(evaluation: ModelEvaluation) -> SpikingEventVAE:
    assert isinstance(evaluation.model, SpikingEventVAE)
    return evaluation.model


def _judge(evaluation: ModelEvaluation) -> tuple[SpikingClassifier, str, str]:
    """The classifier that compares recordings, the data that it learned from, and the hash of its weights."""
    given = evaluation.config.networks
    folder = given or BUNDLED / evaluation.data.dataset
    if given is None and not folder.is_dir():
        raise FileNotFoundError(
            f"no classifier of {evaluation.data.dataset} is bundled; train one with `spikevae train "
            f"{evaluation.data.dataset} --preset n-mnist-classifier --out FOLDER`, and name it by --networks FOLDER"
        )
    check_judge(folder)
    judge = load(folder, device=evaluation.model.device)
    assert isinstance(judge, SpikingClassifier)
    return judge, read_dataset_name(folder), hash_file(folder / WEIGHTS_NAME)


def _features(judge: SpikingClassifier, frames: Tensor) -> Tensor:
    return torch.cat([judge.features(part.to(judge.device)).cpu() for part in frames.split(_BATCH, dim=1)])


def _distance_of_real(judge: SpikingClassifier, evaluation: ModelEvaluation, theirs: Tensor) -> str:
    """What the distance is for real recordings of the training split: as many as of the test split, or all."""
    train = event_split(judge, evaluation.data, "train")
    drawn = drawn_numbers(len(train), len(theirs), evaluation.config.seed)
    some = train.chosen(drawn).frames().transpose(0, 1).float()
    value, error = frechet_with_error(_features(judge, some), theirs)
    return f"{some.shape[1]} real recordings of the training split: {value:.3g} ± {error:.2g}"
