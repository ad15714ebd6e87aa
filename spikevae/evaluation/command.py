"""`spikevae evaluate`: everything that is measured of a model, or of a set of images."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import torch

from spikevae.config import own_place
from spikevae.data.own import check_is_not_among
from spikevae.distributed import together
from spikevae.evaluation.baselines import load_baselines
from spikevae.evaluation.inputs import Evaluation, open_evaluation
from spikevae.evaluation.metrics.registry import chosen_metrics
from spikevae.evaluation.model_inputs import ModelEvaluation, makes_no_images, open_model_evaluation
from spikevae.evaluation.networks.papers import open_instrument
from spikevae.evaluation.reports.html import PAGE, write_report
from spikevae.evaluation.reports.text import table_text
from spikevae.evaluation.scores import Score, Scores, merge_scores_json, read_scores_json, write_scores_json
from spikevae.evaluation.settings import EvaluationConfig
from spikevae.evaluation.unread import tell_of_unread
from spikevae.files import check_can_write, files_of_model
from spikevae.nn.networks import Network
from spikevae.nn.vae import SpikingVAE
from spikevae.runtime import is_main_process
from spikevae.text import printable
from spikevae.versions import library_versions

_RESCUED = "scores.json"
_UNPRINTED = "the table cannot be printed as it is here"


def evaluate(config: EvaluationConfig, model: Network | None = None) -> Scores:
    """Measure a model, or images, and write the files that the settings name. Processes share images and features.

    The program's random numbers go on as if nothing had been measured.

    Args:
        config: what to measure, and which files to write.
        model: a model at hand, which ``config.model`` names only; otherwise that name or folder is loaded.

    Raises:
        ValueError, OSError: if the settings, the model, the data or the images are not usable, or a file cannot be
            written; one line says why.
    """
    earlier = _check_files(config)
    with torch.random.fork_rng(devices=[]):  # a network is built with random weights before its own are read
        evaluation, scores = _measure(config, model, earlier)
        _write(config, evaluation, scores)
    return scores


def run(config: EvaluationConfig, say: Callable[[str], None]) -> None:
    """Measure, print a table, and then write the files that the settings name.

    Of several processes one prints and writes. Where the table cannot be printed as it is, and no file was asked for,
    the numbers are kept in one.

    Args:
        config: what to measure, and which files to write.
        say: prints text.

    Raises:
        ValueError, OSError: as `evaluate`; also if a metric that was asked for by name could not be computed.
    """
    earlier = _check_files(config)
    evaluation, scores = _measure(config, None, earlier)
    if not is_main_process():
        return
    trouble = _show(scores, say, is_kept=config.json is not None)
    written = _write(config, evaluation, scores)
    if trouble is not None:
        raise trouble
    if written:
        say(f"written to {' and '.join(map(printable, written))}")
    failure = unmet(config, scores)
    if failure is not None:
        raise ValueError(failure)


def unmet(config: EvaluationConfig, scores: Scores) -> str | None:
    """One line about metrics that were asked for by name and not computed; None if there are none."""
    missing = [score for score in scores.scores if score.value is None]
    if config.metrics is None or not missing:
        return None
    return f"{missing[0].name} was asked for and not computed: {missing[0].note}"


def _check_files(config: EvaluationConfig) -> Scores | None:
    """Refuse files that could not be written or read, before any work; returns the scores to merge with."""
    read = (
        config.images, config.reference, own_place(config.data or ""), config.fad_autoencoder, config.fad_statistics,
        config.inception_weights, *files_of_model(config.model),
    )  # fmt: skip
    for out in (config.json, None if config.report is None else config.report / PAGE):
        if out is not None:
            check_is_not_among(check_can_write(out), read)
    if config.fad_autoencoder is not None and config.fad_statistics is not None:
        open_instrument(config.fad_autoencoder, config.fad_statistics)
    return read_scores_json(config.json) if config.merge and config.json is not None else None


def _write(config: EvaluationConfig, evaluation: Evaluation | ModelEvaluation, scores: Scores) -> list[Path]:
    """Write what the settings name, in one process; returns the paths."""
    written: list[Path] = []
    if not is_main_process():
        return written
    if config.json is not None:
        try:
            (merge_scores_json if config.merge else write_scores_json)(scores, config.json)
        except (OSError, ValueError):
            with suppress(OSError):
                print(_rescue(scores, f"{config.json} cannot be written"), file=sys.stderr)
            raise
        written.append(config.json)
    if config.report is not None and isinstance(evaluation, Evaluation):
        written.append(write_report(evaluation, scores, config.report))
    return written


def _measure(
    config: EvaluationConfig, model: Network | None, earlier: Scores | None
) -> tuple[Evaluation | ModelEvaluation, Scores]:
    """Measure, if it will go with the earlier scores."""
    evaluation: Evaluation | ModelEvaluation
    if not isinstance(model, SpikingVAE | None) or makes_no_images(config, model):
        evaluation = open_model_evaluation(config, model)
    else:
        evaluation = open_evaluation(config, model)
    metrics = chosen_metrics(evaluation)
    tell_of_unread(evaluation, metrics)
    if earlier is not None:
        _collected(evaluation, []).check_goes_with(earlier)
    with together():
        if isinstance(evaluation, Evaluation):
            evaluation.extract(space for metric in metrics for space in metric.spaces)
        found = [score for metric in metrics for score in metric.run(evaluation)]
    return evaluation, _collected(evaluation, found)


def _collected(evaluation: Evaluation | ModelEvaluation, found: list[Score]) -> Scores:
    config, is_split = evaluation.config, "split" in evaluation.has
    domain = evaluation.domain if isinstance(evaluation, Evaluation) else None
    return Scores(
        model=evaluation.name,
        weights_hash=evaluation.weights_hash,
        data=evaluation.dataset or evaluation.reference_name,
        split=config.split if is_split else "",
        protocol=config.protocol,
        seed=config.seed,
        command=replace(config, json=None, merge=False, report=None).command(),
        versions=library_versions(evaluation.device),
        scores=tuple(found),
        baselines=load_baselines(domain, found, evaluation.reference_name) if domain and is_split else (),
        details=evaluation.details,
    )


def _show(scores: Scores, say: Callable[[str], None], *, is_kept: bool) -> OSError | None:
    """Print the table; returns what kept it from that. Unless it is kept, a file then takes what would be lost."""
    table, encoding = table_text(scores), sys.stdout.encoding or "utf-8"
    shown = table.encode(encoding, "replace").decode(encoding)
    try:
        say(shown)
        if shown != table and not is_kept:
            say(_rescue(scores, _UNPRINTED))
        sys.stdout.flush()
    except OSError as error:
        if not is_kept:
            print(_rescue(scores, _UNPRINTED), file=sys.stderr)
        return error
    return None


def _rescue(scores: Scores, why: str) -> str:
    """Keep what was measured and would be lost, without replacing a file; returns why and where, in words."""
    number, path = 1, Path(_RESCUED)
    while path.exists():
        number += 1
        path = Path(f"{Path(_RESCUED).stem}-{number}.json")
    write_scores_json(scores, path)
    return f"{why}, so the numbers are kept in {path}"
