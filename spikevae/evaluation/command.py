"""`spikevae evaluate`: everything that is measured of a model, or of a set of images."""

from __future__ import annotations

from dataclasses import replace

from spikevae.distributed import together
from spikevae.evaluation.baselines import load_floors
from spikevae.evaluation.inputs import Subject, open_subject
from spikevae.evaluation.metrics.frechet import compare_sets, open_spaces
from spikevae.evaluation.metrics.label_agreement import MEASUREMENTS, Details
from spikevae.evaluation.reports.html import write_report
from spikevae.evaluation.scores import LABELS, Floor, Score, Scores, write_scores_json
from spikevae.evaluation.settings import OF_FEATURES, EvaluationConfig
from spikevae.runtime import is_main_process
from spikevae.versions import library_versions


def evaluate(config: EvaluationConfig) -> Scores:
    """Measure a model, or images, and write the files that the settings name. Processes share images and features.

    Raises:
        ValueError, OSError: if the settings, the model, the data or the images are not usable; one line says why.
    """
    for path in (config.json, config.report):
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
    subject = open_subject(config)
    spaces = open_spaces(subject.metrics, subject.dataset, config)
    features = tuple(metric for metric in subject.metrics if metric in OF_FEATURES)
    details: Details = {}
    with together():
        found = compare_sets(subject.samples, subject.reference, features, spaces, seed=config.seed)
        for metric, measure in MEASUREMENTS.items():
            if metric in subject.metrics:
                found += measure(subject, details)
    scores = _collect(subject, found, details)
    if not is_main_process():
        return scores
    if config.json is not None:
        write_scores_json(scores, config.json)
    if config.report is not None:
        write_report(subject, scores, config.report)
    return scores


def unmet(config: EvaluationConfig, scores: Scores) -> str | None:
    """One line about metrics that were asked for by name and not computed; None if there are none."""
    missing = [score for score in scores.scores if score.value is None]
    if config.metrics is None or not missing:
        return None
    return f"{LABELS[missing[0].metric]} was asked for and not computed: {missing[0].note}"


def _collect(subject: Subject, found: list[Score], details: Details) -> Scores:
    config = subject.config
    floors: tuple[Floor, ...] = ()
    if subject.dataset is not None and subject.reference_set is not None:
        floors = load_floors(subject.dataset, config.meters, found, subject.reference.name)
    return Scores(
        subject=subject.name,
        subject_hash=subject.weights_hash,
        data=subject.dataset or subject.reference.name,
        protocol=config.protocol,
        seed=config.seed,
        command=replace(config, json=None, report=None).command(),
        versions=library_versions(),
        scores=tuple(found),
        floors=floors,
        details=details,
    )
