"""Options that nothing reads: a line says so, since scores record them as if they had been used."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from spikevae.evaluation.baselines import has_baselines
from spikevae.evaluation.inputs import Evaluation
from spikevae.evaluation.metrics.registry import IN_DOMAIN, IN_INCEPTION, METRICS, MODEL_METRICS, SAMPLES, Metric
from spikevae.evaluation.model_inputs import ModelEvaluation
from spikevae.evaluation.settings import EvaluationConfig

log = logging.getLogger(__name__)

_OPTIONS = dict.fromkeys((*IN_DOMAIN, *IN_INCEPTION, "fad_autoencoder", "fad_statistics"))


def tell_of_unread(evaluation: Evaluation | ModelEvaluation, metrics: Sequence[Metric]) -> None:
    """Warn of an option, other than its default, that neither one of the chosen metrics nor the report depends on."""
    config = evaluation.config
    read: set[str] = set() if config.report is None else {*SAMPLES}
    for metric in metrics:
        read |= {*_OPTIONS} if metric.reads is None else {*metric.reads}
    if "count" in read and config.count is None:
        read.add("protocol")
    for option in _OPTIONS:
        value = getattr(config, option)
        if option in read or value == getattr(EvaluationConfig, option):
            continue
        if option == "networks" and isinstance(evaluation, Evaluation) and _brings_baselines(evaluation, metrics):
            continue
        known = (METRICS if isinstance(evaluation, Evaluation) else MODEL_METRICS).values()
        others = ", ".join(metric.name for metric in known if option in (metric.reads or ()))
        measured = ", ".join(metric.name for metric in metrics)
        beside = " beside --count" if option == "protocol" and "count" in read else ""
        log.warning(
            "--%s %s changes nothing: what is measured (%s) does not depend on it%s; %s would",
            option.replace("_", "-"), value, measured, beside, others,
        )  # fmt: skip


def _brings_baselines(evaluation: Evaluation, metrics: Sequence[Metric]) -> bool:
    """Whether baselines that lie beside the networks stand beside scores that need no network."""
    if evaluation.domain is None or "split" not in evaluation.has:
        return False
    numbers = {key for metric in metrics for key in metric.scores}
    return has_baselines(evaluation.domain, numbers, evaluation.reference_name)
