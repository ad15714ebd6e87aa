"""What a metric is, and the dictionary of all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Literal, cast, get_args

from torch import Tensor

from spikevae.evaluation.inputs import Evaluation
from spikevae.evaluation.scores import Score
from spikevae.evaluation.settings import BUILT_IN
from spikevae.labels import OtherClassesError
from spikevae.registry import register as add_part
from spikevae.text import printable

Need = Literal["model", "split", "papers' files"]
Measure = Callable[[Evaluation], Sequence[Score]]

JACKKNIFE = "standard error, jackknife over the samples in ten groups"


class NotComputedError(ValueError):
    """A metric cannot be computed of these images; the message says why."""


@dataclass(frozen=True)
class Metric:
    """How one entry of ``--metrics`` is measured."""

    name: str
    measure: Measure
    scores: Mapping[str, str]
    """The numbers it gives: by key, what a table calls each."""
    spaces: tuple[str, ...] = ()
    """Feature spaces that it compares in; all metrics share one pass through their networks."""
    needs: tuple[Need, ...] = ()
    """Without these it is not part of "everything"; asked for by name, it says what it lacks."""

    def run(self, evaluation: Evaluation) -> list[Score]:
        """The numbers, each with its name; those that could not be computed say why."""
        absent = [evaluation.missing_spaces[space] for space in self.spaces if space in evaluation.missing_spaces]
        try:
            if absent:
                raise NotComputedError(absent[0])
            found = _scores_of(self.measure(evaluation), self.name)
        except (NotComputedError, OtherClassesError) as error:
            if isinstance(error, OtherClassesError) and evaluation.config.metrics is not None:
                raise  # it was asked for by name
            found = [Score(key, None, note=str(error)) for key in self.scores]
        return [replace(score, name=self.scores.get(score.metric, score.metric)) for score in found]

    def is_possible(self, evaluation: Evaluation) -> bool:
        """Whether the evaluation has what the metric needs."""
        has = {
            "model": evaluation.model is not None,
            "split": evaluation.reference_set is not None,
            "papers' files": evaluation.config.fad_autoencoder is not None,
        }
        return all(has[need] for need in self.needs)


def _scores_of(found: object, name: str) -> list[Score]:
    """What a metric of this name gave, with numbers of Python, as a file keeps them; a tensor of one will do.

    Raises:
        ValueError: if it is no list of scores, or a value is no number.
    """
    scores: list[Any] = list(found) if isinstance(found, Sequence | Iterator) else [found]
    for score in scores:
        if not isinstance(score, Score):
            given = type(score).__qualname__
            raise ValueError(f"the metric {name!r} gave {given}, and not a list of spikevae.Score; change its function")
    return [
        replace(score, value=_number(score.value, score.metric), error=_number(score.error, score.metric))
        for score in scores
    ]


def _number(value: object, metric: str) -> float | None:
    if hasattr(value, "item"):
        with suppress(ValueError, RuntimeError):  # of several numbers
            value = value.item()
    if value is None or isinstance(value, int | float):
        return value
    raise ValueError(f"the score {metric!r} has the value {printable(value, 40)}, and not a number; say float(…)")


METRICS: dict[str, Metric] = {}
"""All metrics by name. `register` adds one."""


def register(
    name: str, scores: Mapping[str, str] | None = None, *, spaces: tuple[str, ...] = (), needs: tuple[Need, ...] = ()
) -> Callable[[Measure], Measure]:
    """A decorator that adds a function from an `Evaluation` to its scores to `METRICS`.

    Args:
        name: what ``--metrics`` calls it.
        scores: the keys of the numbers that it gives, each with what a table calls it; otherwise ``name`` alone.
        spaces: keys of `spikevae.evaluation.networks.spaces.SPACES`, for ``evaluation.features(space)``.
        needs: what an evaluation must have for it.

    Raises:
        ValueError: if the name is taken, or there is no such need.
    """
    used, needed = ((given,) if isinstance(given, str) else tuple(given) for given in (spaces, needs))
    unknown = [need for need in needed if need not in get_args(Need)]
    if unknown:
        raise ValueError(f"{name}: needs={unknown[0]!r} is none of {', '.join(get_args(Need))}")

    add_to_all = add_part(METRICS, name)

    def add(measure: Measure) -> Measure:
        add_to_all(Metric(name, measure, scores or {name: name}, used, cast(tuple[Need, ...], needed)))
        return measure

    return add


def chosen_metrics(evaluation: Evaluation) -> list[Metric]:
    """The metrics that were asked for by name, otherwise all that this evaluation has what they need for.

    Raises:
        ValueError: if there is none of a name.
    """
    wanted = evaluation.config.metrics
    # In the order of the help; those that were added come last.
    ordered = sorted(METRICS.values(), key=lambda metric: (*BUILT_IN, metric.name).index(metric.name))
    if wanted is None:
        return [metric for metric in ordered if metric.is_possible(evaluation)]
    unknown = [name for name in wanted if name not in METRICS]
    if unknown:
        raise ValueError(f"there is no metric {unknown[0]!r}; use {', '.join(metric.name for metric in ordered)}")
    return [metric for metric in ordered if metric.name in wanted]


def score_in_space(
    evaluation: Evaluation, space: str, metric: str, value: float, error: float | None, error_is: str, better: str
) -> Score:
    """A number that was measured in the features of a network, of all samples and the whole reference."""
    extractor = evaluation.extractor(space)
    return Score(
        metric,
        value,
        error,
        error_is,
        better,
        extractor=extractor.name,
        weights_hash=extractor.weights_hash,
        samples=evaluation.samples.count,
        reference=evaluation.reference.name,
        reference_count=evaluation.reference.count,
        image_size=extractor.resizing,
    )


def share_score(metric: str, share: float, count: int, *, better: str = "higher", **about: Any) -> Score:
    """A share of so many independent images, with its standard error; ``about`` is what else a `Score` takes."""
    error = (share * (1 - share) / count) ** 0.5
    return Score(metric, share, error, "standard error, binomial", better, samples=count, **about)


def check_features(name: str, features: Tensor, *, at_least: int) -> None:
    """Refuse features [N, D] of too few images, or that are not finite."""
    if len(features) < at_least:
        raise NotComputedError(f"{name}: {len(features)} images are too few; give at least {at_least}")
    if not bool(features.isfinite().all()):
        raise ValueError(f"{name}: some features are not finite; look for NaN among the images or the weights")
