"""What the Hugging Face hub reads of a model card: licence, task, data set and scores, as YAML before its text."""

from __future__ import annotations

from collections.abc import Sequence

from spikevae.config import ModelConfig

_ON_HUB = {"fashion-mnist": "zalando-datasets/fashion_mnist", "mnist": "ylecun/mnist", "cifar10": "uoft-cs/cifar10"}


def card_metadata(
    dataset: str, model: ModelConfig, *, name: str | None = None, scores: Sequence[tuple[str, str]] = ()
) -> str:
    """The YAML block that a card begins with.

    Args:
        dataset: that the model was trained on.
        model: its network.
        name: of a released model; None for a run's, whose owner chooses the licence.
        scores: names of metrics, and values such as "1.083 ± 0.031".
    """
    from huggingface_hub import EvalResult, ModelCardData

    is_classifier = model.network == "classifier"
    task = "image-classification" if is_classifier else "unconditional-image-generation"
    results = [
        EvalResult(
            task_type=task,
            dataset_type=_ON_HUB.get(dataset, dataset),
            dataset_name=dataset,
            metric_type=metric.replace(" ", "_"),
            metric_name=metric,
            metric_value=float(value.partition(" ")[0]),
        )
        for metric, value in scores
    ]
    is_restricted = dataset == "celeba"
    data = ModelCardData(
        library_name="spikevae",
        license="other" if is_restricted else "mit" if name else None,
        license_name="celeba-non-commercial-research" if is_restricted else None,
        license_link="https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html" if is_restricted else None,
        pipeline_tag=task,
        tags=["spiking-neural-network", "neuromorphic", "tcja", *(() if is_classifier else ("vae",))],
        datasets=[_ON_HUB[dataset]] if dataset in _ON_HUB else None,
        model_name=name or "spikevae",
        eval_results=results or None,
    )
    return f"---\n{data.to_yaml()}\n---\n\n"
