"""What a metric is, and the dictionaries of all of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Literal, cast, get_args

from torch import Tensor

from spikevae.evaluation.inputs import Evaluation
from spikevae.evaluation.model_inputs import ModelEvaluation
from spikevae.evaluation.scores import Score
from spikevae.evaluation.settings import BUILT_IN
from spikevae.labels import OtherClassesError
from spikevae.registry import register as add_part
from spikevae.text import printable

Need = Literal["model", "split", "papers' files", "recordings"]
Measure = Callable[[Any], Iterable[Score]]
"""What is measured of an `Evaluation`, or of a `ModelEvaluation`."""
Kind = Literal["images", "models"]

SAMPLES = ("count", "seed")
"""Settings that the samples depend on; besides, the protocol says how many there are where ``count`` does not."""
IN_DOMAIN = (*SAMPLES, "networks")
IN_INCEPTION = (*SAMPLES, "protocol", "inception_weights", "inception_sha256")
_CONFIDENCE = 0.95
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
    """Without these it is not part of "everything"; asked for by name, it says what it lacks, or that there is no such
    metric of this model."""
    reads: tuple[str, ...] | None = None
    """Settings of an `EvaluationConfig` that its numbers depend on, beside what is measured and with what it is
    compared; None if nobody says."""

    def run(self, evaluation: Evaluation | ModelEvaluation) -> list[Score]:
        """The numbers, each with its name; those that could not be computed say why."""
        found: list[Score] = []
        try:
            for space in self.spaces:
                if space in evaluation.missing_spaces:
                    raise NotComputedError(evaluation.missing_spaces[space])
            for score in _scores_of(self.measure(evaluation), self.name):
                found.append(score)  # one by one: what comes after may not be computed
        except (NotComputedError, OtherClassesError) as error:
            if isinstance(error, OtherClassesError) and evaluation.config.metrics is not None:
                raise  # it was asked for by name
            measured = {score.metric for score in found}
            found += [Score(key, None, note=str(error)) for key in self.scores if key not in measured]
        return [replace(score, name=self.scores.get(score.metric, score.metric)) for score in found]

    def is_possible(self, evaluation: Evaluation | ModelEvaluation) -> bool:
        """Whether the evaluation has what the metric needs."""
        return evaluation.has.issuperset(self.needs)


def _scores_of(found: object, name: str) -> Iterator[Score]:
    """What a metric of this name gives, with numbers of Python, as a file keeps them; a tensor of one will do.

    Raises:
        ValueError: if it is no list of scores, or a value is no number.
    """
    scores: Iterable[Any] = found if isinstance(found, Sequence | Iterator) else [found]
    for score in scores:
        if not isinstance(score, Score):
            given = type(score).__qualname__
            raise ValueError(f"the metric {name!r} gave {given}, and not a list of spikevae.Score; change its function")
        yield replace(score, value=_number(score.value, score.metric), error=_number(score.error, score.metric))


def _number(value: object, metric: str) -> float | None:
    if hasattr(value, "item"):
        with suppress(ValueError, RuntimeError):  # of several numbers
            value = value.item()
    if value is None or isinstance(value, int | float):
        return value
    raise ValueError(f"the score {metric!r} has the value {printable(value, 40)}, and not a number; say float(…)")


METRICS: dict[str, Metric] = {}
"""All metrics of images by name. `register` adds one."""
MODEL_METRICS: dict[str, Metric] = {}
"""Those of models that make no images."""


def register(
    name: str,
    scores: Mapping[str, str] | None = None,
    *,
    spaces: tuple[str, ...] = (),
    needs: tuple[Need, ...] = (),
    of: Kind = "images",
    reads: Collection[str] | None = None,
) -> Callable[[Measure], Measure]:
    """A decorator that adds a function from an evaluation to its scores to `METRICS`, or to `MODEL_METRICS`.

    Args:
        name: what ``--metrics`` calls it.
        scores: the keys of the numbers that it gives, each with what a table calls it; otherwise ``name`` alone.
        spaces: keys of `spikevae.evaluation.networks.spaces.SPACES`, for ``evaluation.features(space)``.
        needs: what an evaluation must have for it.
        of: "images" measures an `Evaluation`; "models" a `ModelEvaluation`, of a classifier or of a VAE of recordings.
        reads: settings that the numbers depend on; a line says where others are given in vain. None for any.

    Raises:
        ValueError: if the name is taken, or there is no such need or kind.
    """
    used, needed = ((given,) if isinstance(given, str) else tuple(given) for given in (spaces, needs))
    unknown = [need for need in needed if need not in get_args(Need)]
    if unknown:
        raise ValueError(f"{name}: needs={unknown[0]!r} is none of {', '.join(get_args(Need))}")
    if of not in get_args(Kind):
        raise ValueError(f"{name}: of={of!r} is none of {', '.join(get_args(Kind))}")
    only = {"images": "recordings", "models": "papers' files"}[of]
    if only in needed:
        raise ValueError(f"{name}: what is of={of!r} never has {only!r}; leave it out of needs, or change of")
    if of == "models" and used:
        raise ValueError(f"{name}: spaces={used!r} are of images; leave them out with of='models'")

    add_to_all = add_part(METRICS if of == "images" else MODEL_METRICS, name)

    def add(measure: Measure) -> Measure:
        read = None if reads is None else tuple(reads)
        add_to_all(Metric(name, measure, scores or {name: name}, used, cast(tuple[Need, ...], needed), read))
        return measure

    return add


def chosen_metrics(evaluation: Evaluation | ModelEvaluation) -> list[Metric]:
    """The metrics that were asked for by name, otherwise all that this evaluation has what they need for.

    Raises:
        ValueError: if there is none of a name.
    """
    wanted = evaluation.config.metrics
    if isinstance(evaluation, ModelEvaluation):
        known = [metric for metric in MODEL_METRICS.values() if metric.is_possible(evaluation)]
    else:  # in the order of the help; those that were added come last
        known = sorted(METRICS.values(), key=lambda metric: (*BUILT_IN, metric.name).index(metric.name))
    if wanted is None:
        return [metric for metric in known if metric.is_possible(evaluation)]
    names = [metric.name for metric in known]
    unknown = [name for name in wanted if name not in names]
    if unknown and isinstance(evaluation, ModelEvaluation):
        why = " (it compares images, and this model makes none)" if unknown[0] in METRICS else ""
        why = " (it compares recordings, and this model makes none)" if unknown[0] in MODEL_METRICS else why
        raise ValueError(f"{evaluation.name} has no metric {unknown[0]!r}{why}; use {', '.join(names)}")
    if unknown:
        raise ValueError(f"there is no metric {unknown[0]!r}; use {', '.join(names)}")
    return [metric for metric in known if metric.name in wanted]


def score_in_space(
    evaluation: Evaluation, space: str, metric: str, value: float, error: float | None, error_is: str, better: str
) -> Score:
    """A number that was measured in the features of a network, of all samples and the whole reference."""
    return Score(
        metric,
        value,
        error,
        error_is,
        better,
        samples=evaluation.samples.count,
        reference=evaluation.reference.name,
        reference_count=evaluation.reference.count,
        **evaluation.extractor(space).about,
    )


def share_score(metric: str, share: float, count: int, *, better: str = "higher", **about: Any) -> Score:
    """A share of so many independent images, with its standard error; ``about`` is what else a `Score` takes."""
    error = (share * (1 - share) / count) ** 0.5
    return Score(metric, share, error, "standard error, binomial", better, samples=count, **about)


def counted_share(metric: str, hits: int, count: int, evaluation: ModelEvaluation) -> Score:
    """A share of so many, with its standard error, and its exact interval (Clopper and Pearson) in the note."""
    from scipy.special import betaincinv

    tail = (1 - _CONFIDENCE) / 2
    low = betaincinv(hits, count - hits + 1, tail) if hits else 0.0
    high = betaincinv(hits + 1, count - hits, 1 - tail) if hits < count else 1.0
    return share_score(
        metric,
        hits / count,
        count,
        reference=evaluation.reference_name,
        image_size="x".join(map(str, evaluation.model.config.frame_size)),
        note=f"{hits} of {count}; exact {_CONFIDENCE:.0%} interval {low:.1%} to {high:.1%}",
    )


def check_features(name: str, features: Tensor, *, at_least: int) -> None:
    """Refuse features [N, D] of too few images, or that are not finite."""
    if len(features) < at_least:
        raise NotComputedError(f"{name}: {len(features)} images are too few; give at least {at_least}")
    if not bool(features.isfinite().all()):
        raise ValueError(f"{name}: some features are not finite; look for NaN among the images or the weights")
