"""`spikevae evaluate` of models that make no images: what it takes, and what it refuses in one line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import spikevae
from spikevae.cli import main
from spikevae.config import ModelConfig
from spikevae.data.images import save_images
from spikevae.evaluation.command import evaluate
from spikevae.evaluation.metrics import METRICS, MODEL_METRICS
from spikevae.evaluation.metrics.registry import Metric, NotComputedError
from spikevae.evaluation.model_inputs import ModelEvaluation
from spikevae.evaluation.scores import Score, read_scores_json
from spikevae.evaluation.settings import EvaluationConfig
from spikevae.hub.checkpoints import save_release
from spikevae.nn.networks import build_network


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an untrained classifier of grey images of two classes."""
    folder = tmp_path_factory.mktemp("models") / "classifier"
    layers = "conv4/2+attention conv8+attention maxpool2 linear12 readout"
    config = ModelConfig(network="classifier", layers=layers, image_size=12, class_names=("cat", "dog"), time_steps=3)
    torch.manual_seed(0)
    save_release(build_network(config).eval(), folder, dataset="mnist", card="")
    return folder


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of colour pictures in two classes."""
    folder = tmp_path_factory.mktemp("pictures")
    generator = torch.Generator().manual_seed(0)
    for name in ("cat", "dog"):
        save_images(torch.rand(20, 3, 16, 16, generator=generator), folder / name)
    return folder


def test_a_grey_classifier_is_measured_on_a_folder_as_it_classifies_it(
    classifier: Path, pictures: Path, tmp_path: Path
) -> None:
    scores = spikevae.evaluate(classifier, data=f"folder:{pictures}", metrics=("accuracy", "spikes"))
    main(["classify", str(classifier), "--data", f"folder:{pictures}", "--json", str(tmp_path / "a.json")])
    record = json.loads((tmp_path / "a.json").read_text())
    assert scores["accuracy"].samples == record["images"] == 4  # a tenth of each class
    assert scores.value("accuracy") == record["accuracy"]
    assert scores.value("firing_rate") is not None


def test_images_and_recordings_are_not_compared_with_each_other(
    classifier: Path, recorder_release: Path, tiny_release: Path, pictures: Path
) -> None:
    recordings, images = "events:recordings", f"folder:{pictures}"
    for model, data, message in (
        (classifier, recordings, f"{classifier} takes images, and {recordings} holds others"),
        (recorder_release, images, f"{recorder_release} takes recordings, and {images} holds others"),
        (recorder_release, "mnist", f"{recorder_release} takes recordings, and mnist holds others"),
        (tiny_release, recordings, f"{tiny_release} is compared with images, and {recordings} holds recordings"),
        (tiny_release, "n-mnist", f"{tiny_release} is compared with images, and n-mnist holds recordings"),
    ):
        with pytest.raises(ValueError, match=f"^{re.escape(message)}; choose another data set( or model)?$"):
            spikevae.evaluate(model, data=data)
    with pytest.raises(ValueError, match=r"^.* is compared with images, and n-mnist holds recordings;"):
        evaluate(EvaluationConfig(images=pictures, data="n-mnist"))


@pytest.mark.parametrize("kind", ["draws", "classifies"])
def test_scores_of_models_in_memory_are_merged_with_those_of_the_same_weights_alone(
    kind: str, classifier: Path, tiny_release: Path, pictures: Path, tmp_path: Path
) -> None:
    path = tmp_path / "s.json"
    model = spikevae.load(tiny_release if kind == "draws" else classifier)
    settings: dict[str, Any] = {"data": f"folder:{pictures}", "json": path, "metrics": "spikes"}
    first = spikevae.evaluate(model, **settings)
    assert re.fullmatch(r"memory:[0-9a-f]{64}", first.weights_hash)
    assert spikevae.evaluate(model, **settings, merge=True).weights_hash == first.weights_hash
    with torch.no_grad():
        next(model.parameters()).add_(0.01)
    with pytest.raises(ValueError, match=rf"have weights_hash {first.weights_hash}, these have"):
        spikevae.evaluate(model, **settings, merge=True)
    assert read_scores_json(path).value("firing_rate") == first.value("firing_rate")


def test_what_cannot_compare_recordings_is_named_before_any_work(
    classifier: Path, recorder_release: Path, pictures: Path
) -> None:
    for networks, message in (
        (pictures / "nothing", "nothing is no folder; name that of a classifier of event recordings"),
        (classifier, "classifier is no classifier of event recordings"),
        (recorder_release, "recorder is no classifier of event recordings"),
    ):
        with pytest.raises(ValueError, match=rf"^--networks .*{message}"):  # and not that there are no recordings
            spikevae.evaluate(recorder_release, networks=networks, count=10)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"count": 10}, "--count: .* generates nothing; leave it out$"),
        ({"networks": Path("n")}, "--networks: .* generates nothing; leave it out$"),
        ({"protocol": "torch-fidelity"}, "--protocol: .* makes no images; leave it out$"),
        ({"inception_weights": Path("w")}, "--inception-weights: .* makes no images; leave it out$"),
        ({"report": Path("r")}, "--report: .* makes no images; leave it out, and use --json$"),
    ],
)
def test_options_that_would_change_nothing_of_a_classifier_are_refused(
    settings: dict[str, Any], message: str, classifier: Path, recorder_release: Path
) -> None:
    for model in (str(classifier), spikevae.load(classifier)):
        with pytest.raises(ValueError, match=message):
            spikevae.evaluate(model, data="mnist", **settings)
    if "makes no images" in message:
        with pytest.raises(ValueError, match=message):
            spikevae.evaluate(recorder_release, **settings)


def test_more_recordings_than_fit_the_memory_are_refused_before_any_is_drawn(recorder_release: Path) -> None:
    with pytest.raises(ValueError, match=r"^1,000,000,000,000 samples need .* GB of memory for their frames alone"):
        spikevae.evaluate(recorder_release, count=10**12)


def test_a_metric_of_recordings_is_added_from_outside(
    classifier: Path, recorder_release: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spikevae.evaluation.metrics.registry.MODEL_METRICS", dict(MODEL_METRICS))

    @spikevae.register_metric("longest", {"longest": "most events"}, needs=("recordings",), of="models")
    def measure_longest(evaluation: ModelEvaluation) -> Iterator[Score]:
        yield Score("longest", float(max(len(one) for one in evaluation.generated[0])))
        raise NotComputedError("what comes before stays")

    found = spikevae.evaluate(recorder_release, metrics="longest", count=10)
    made = spikevae.load(recorder_release).sample_events(10, seed=0, label=torch.arange(10) % 2)
    assert found["longest"].value == max(len(one) for one in made) > 0
    assert found["longest"].name == "most events"
    message = r"has no metric 'longest' \(it compares recordings, and this model makes none\); use accuracy, spikes$"
    with pytest.raises(ValueError, match=message):
        spikevae.evaluate(classifier, metrics="longest")
    with pytest.raises(ValueError, match=r"other: spaces=\('edges',\) are of images"):
        spikevae.register_metric("other", spaces=("edges",), of="models")
    with pytest.raises(ValueError, match="of='images' never has 'recordings'"):
        spikevae.register_metric("other", needs=("recordings",))
    with pytest.raises(ValueError, match=r"no metric 'domain' \(it compares recordings, and this model makes none\)"):
        spikevae.evaluate(classifier, metrics="domain")


def test_a_metric_of_images_says_that_it_needs_a_model_that_makes_some(
    classifier: Path, recorder_release: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(METRICS, "mine", Metric("mine", lambda _: [], {"mine": "mine"}))
    for model, metric in ((classifier, "mine"), (recorder_release, "mine"), (classifier, "fad")):
        message = rf"has no metric '{metric}' \(it compares images, and this model makes none\); use accuracy, spikes"
        with pytest.raises(ValueError, match=message):
            spikevae.evaluate(model, metrics=metric)
    with pytest.raises(ValueError, match="has no metric 'theirs'; use accuracy, spikes"):
        spikevae.evaluate(classifier, metrics="theirs")
