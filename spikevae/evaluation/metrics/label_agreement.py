"""Label agreement: how often the domain classifier sees the class that a sample was asked for."""

from __future__ import annotations

import torch

from spikevae.config import CLASS_NAMES
from spikevae.evaluation.features import extract
from spikevae.evaluation.inputs import Evaluation
from spikevae.evaluation.metrics.registry import IN_DOMAIN, NotComputedError, register, share_score
from spikevae.evaluation.networks.bundle import Domain, NoNetworkError, load_network
from spikevae.evaluation.networks.extractors import domain_extractor
from spikevae.evaluation.scores import Score
from spikevae.evaluation.streams import from_model
from spikevae.labels import OtherClassesError, class_numbers

_MOST_SAMPLES = 2000


def _classes_of(domain: Domain) -> tuple[str, ...]:
    """The classes that a domain's classifier learned, in its order; none where its folder does not tell."""
    if domain.folder is None:
        return CLASS_NAMES.get(domain.name, ())
    training = load_network(domain.folder, "classifier").training
    return tuple(training.get("class_names", CLASS_NAMES.get(training.get("data", ""), ())))


@register("labels", {"label_agreement": "label agreement"}, needs=("model",), reads=IN_DOMAIN)
def measure_label_agreement(evaluation: Evaluation) -> list[Score]:
    """The share over all samples, as many of each class."""
    model = evaluation.model
    if model is None or evaluation.domain is None:
        raise NotComputedError("only a model can be asked for a class")
    if not model.latent.is_conditional:
        raise NotComputedError("this model cannot be asked for a class")
    try:
        extractor = domain_extractor("classifier", evaluation.domain, device=evaluation.device)
    except NoNetworkError as error:
        raise NotComputedError(str(error)) from error
    count = min(_MOST_SAMPLES, evaluation.samples.count)
    labels = torch.arange(count) % model.config.classes
    stream = from_model(model, count, seed=evaluation.config.seed, name=evaluation.name, labels=labels.tolist())
    logits = extract(stream, {"classifier": extractor})["classifier"]["logits"]
    if logits.shape[1] != model.config.classes:
        raise OtherClassesError(
            f"the classifier knows {logits.shape[1]} classes and the model {model.config.classes}; "
            "label agreement needs domain networks of the model's own data"
        )
    known = _classes_of(evaluation.domain) or model.config.class_names
    numbers = torch.tensor(class_numbers(known, model.config.class_names, "the classifier"))
    agreed = (numbers[logits.argmax(1)] == labels).double()
    evaluation.details["label_agreement_by_class"] = {
        name: float(agreed[labels == k].mean()) for k, name in enumerate(model.config.class_names)
    }
    return [
        share_score("label_agreement", float(agreed.mean()), count, reference="the label asked for", **extractor.about)
    ]
