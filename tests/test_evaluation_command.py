"""The evaluate command from end to end, on a tiny model and made data."""

from __future__ import annotations

import base64
import dataclasses
import io
import itertools
import json
import re
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch_fidelity import FeatureExtractorInceptionV3

from spikevae import api
from spikevae.config import CIFAR10_CLASSES, CLASS_NAMES, FASHION_MNIST_CLASSES, DataConfig, ModelConfig
from spikevae.data.images import save_images
from spikevae.data.pixels import converted
from spikevae.data.sets import DATASETS, load_split, register
from spikevae.evaluation.baselines import BaselineSettings, measure_baselines
from spikevae.evaluation.command import evaluate, unmet
from spikevae.evaluation.inputs import open_evaluation
from spikevae.evaluation.metrics import METRICS
from spikevae.evaluation.metrics.registry import chosen_metrics
from spikevae.evaluation.networks.bundle import BUNDLED, Domain, bundled_networks, save_networks
from spikevae.evaluation.networks.classifier import ClassifierConfig, DomainClassifier
from spikevae.evaluation.networks.inception import OFFICIAL_INCEPTION
from spikevae.evaluation.networks.train import NetworkTraining, train_networks
from spikevae.evaluation.reports.results import write_results
from spikevae.evaluation.reports.tables import number_text
from spikevae.evaluation.reports.text import table_text
from spikevae.evaluation.scores import read_scores_json
from spikevae.evaluation.settings import EvaluationConfig
from spikevae.evaluation.unread import tell_of_unread
from spikevae.files import hash_file
from spikevae.hub.checkpoints import RELEASED, save_release
from spikevae.nn.vae import SpikingVAE

CONFIG = ModelConfig(
    class_names=FASHION_MNIST_CLASSES,
    time_steps=2,
    encoder_widths=(4, 6),
    decoder_widths=(6, 5, 4),
    temporal_kernel=2,
    latent_size=8,
    prior_rank=3,
)


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("model")
    model = SpikingVAE(CONFIG)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):  # so that neurons fire without any training
            nn.init.constant_(module.weight, 6.0)
    save_release(model, folder, dataset="fashion-mnist", card="# tiny\n")
    return str(folder)


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No network, and an empty cache."""

    def refuse(*_: object, **__: object) -> None:
        raise URLError("Temporary failure in name resolution")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))


def test_everything_but_inception_is_measured_without_a_network(
    model_folder: str, made_root: Path, tmp_path: Path, offline: None
) -> None:
    config = EvaluationConfig(
        model=model_folder, data_root=str(made_root), count=40, json=tmp_path / "s.json", report=tmp_path / "report"
    )
    scores = evaluate(config)
    inception = {"fid", "kid", "inception_score", "inception_precision", "inception_recall"}
    known = {key: name for metric in METRICS.values() for key, name in metric.scores.items()}
    assert {score.metric: score.name for score in scores.scores} == {
        key: name for key, name in known.items() if key not in ("fad_papers", "classify_flip_energy")
    }
    assert {score.metric for score in scores.scores if score.value is None} == inception
    assert "give --inception-weights" in scores["fid"].note
    assert unmet(config, scores) is None
    assert scores["domain_kernel"].error is None
    assert scores["domain_kernel"].note.startswith("no error: with 30 images on a side all subsets of 30 hold the same")
    assert unmet(dataclasses.replace(config, metrics=("fid",)), scores) is not None

    assert read_scores_json(tmp_path / "s.json").scores == scores.scores
    table = table_text(scores)
    assert "not computed: FID; KID; Inception score; precision, Inception; recall, Inception: the Inception" in table
    assert scores["fad"].weights_hash[:8] in table
    assert f"spikevae evaluate {model_folder} --count 40" in table

    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 6  # samples, neighbours, reconstructions, walk, confusion, rates
    assert not re.findall(r'(?:src|href)="(?!data:)', page)

    write_results([tmp_path / "s.json"], tmp_path / "results.md")
    results = (tmp_path / "results.md").read_text(encoding="utf-8")
    assert "| ESVAE, T 16 | one shot | 0.019 | 6.23 | 125.3 | 11.13 |" in results
    assert "| FSDDIM, T 8 | many steps | – | – | 11.78 | 4.91 |" in results
    assert "## Not computed here" in results


def test_the_report_shows_each_image_of_a_file_above_the_training_image_nearest_to_it(
    made_root: Path, tmp_path: Path
) -> None:
    training = load_split(DataConfig(data_root=str(made_root)), "train").images()  # more of them than test images
    for name, size in (("copied", 28), ("enlarged", 32)):
        save_images(converted(training, size, None) / 255, tmp_path / f"{name}.npz")
        config = EvaluationConfig(
            images=tmp_path / f"{name}.npz", data="fashion-mnist", data_root=str(made_root), metrics=("copies",),
            report=tmp_path / name,
        )  # fmt: skip
        evaluate(config)
    pages = [(tmp_path / name / "report.html").read_text(encoding="utf-8") for name in ("copied", "enlarged")]
    found = re.search(r'alt="Nearest training images" src="data:image/png;base64,([^"]+)"', pages[0])
    assert found is not None
    with Image.open(io.BytesIO(base64.b64decode(found[1]))) as image:
        pixels = np.asarray(image)
    height = round(len(pixels) * 29 / 117)  # four rows of 28 pixels, with lines between them
    rows = [pixels[height * row : height * (row + 1)] for row in range(4)]
    assert (rows[0] == rows[1]).all()
    assert (rows[2] == rows[3]).all()
    assert (rows[0] != rows[2]).any()
    assert "Nearest training images" not in pages[1]


def test_the_report_on_one_image_shows_no_way_to_another_one(
    model_folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CLASS_NAMES, "mine", ())
    monkeypatch.setattr("spikevae.data.sets.DATASETS", dict(DATASETS))

    @register("mine", class_names=FASHION_MNIST_CLASSES)
    def read(root: Path, is_test: bool) -> tuple[Tensor, Tensor]:
        count = 1 if is_test else 40
        return torch.full((count, 1, 28, 28), 90, dtype=torch.uint8), torch.arange(count) % 10

    evaluate(
        EvaluationConfig(model=model_folder, data="mine", metrics=("accuracy",), count=10, report=tmp_path / "report")
    )
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert "Reconstructions" in page
    assert "From one image to another" not in page


def test_measuring_takes_none_of_the_random_numbers_of_a_program(model_folder: str, made_root: Path) -> None:
    before = torch.get_rng_state()
    evaluate(EvaluationConfig(model=model_folder, data_root=str(made_root), metrics=("labels",), count=10))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("metrics", "settings", "message"),
    [
        (("accuracy",), {"count": 12}, r"^--count 12 changes nothing: what is measured \(accuracy\) does not "),
        (("accuracy", "reconstruction"), {"seed": 9}, r"\(reconstruction, accuracy\) .*; fad, .* would$"),
        (("reconstruction",), {"protocol": "torch-fidelity"}, "^--protocol torch-fidelity .*; fid, kid, "),
        (("sharpness",), {"count": 12, "protocol": "torch-fidelity"}, "^--protocol torch-fidelity "),
        (("reconstruction",), {"networks": Path("mnist")}, r"^--networks mnist .*; fad, domain, "),
        (("fad",), {"inception_sha256": "0" * 8}, "^--inception-sha256 00000000 "),
        (("spikes",), {"count": 12}, "^--count 12 "),
        (("spikes",), {"seed": 12}, ""),
        (("accuracy",), {}, ""),
    ],
)
def test_a_line_tells_of_options_that_nothing_measured_depends_on(
    metrics: tuple[str, ...],
    settings: dict[str, Any],
    message: str,
    model_folder: str,
    made_root: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    config = EvaluationConfig(model=model_folder, data_root=str(made_root), metrics=metrics, **settings)
    evaluation = open_evaluation(config)
    tell_of_unread(evaluation, chosen_metrics(evaluation))
    assert len(caplog.messages) == bool(message)
    assert all(re.search(message, line) for line in caplog.messages)


def test_networks_with_baselines_are_no_idle_option(
    model_folder: str, made_root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = EvaluationConfig(model=model_folder, data_root=str(made_root), networks=Path("fashion-mnist"))
    evaluation = open_evaluation(config)
    tell_of_unread(evaluation, [METRICS["reconstruction"]])
    tell_of_unread(evaluation, [dataclasses.replace(METRICS["accuracy"], name="of one's own", reads=None)])
    assert not caplog.messages
    tell_of_unread(evaluation, [METRICS["spikes"]])
    assert "--networks" in caplog.text


def test_spikes_are_counted_for_reference_images_as_grey_or_coloured_as_the_model_takes_them(
    model_folder: str, tmp_path: Path, generator: torch.Generator
) -> None:
    coloured = torch.rand(10, 3, 28, 28, generator=generator).mul(255).byte()
    coloured[:, 0] = 0  # nothing in red
    energies = []
    for name, x in (("coloured", coloured), ("grey", converted(coloured, None, 1))):
        save_images(x / 255, tmp_path / f"{name}.npz")
        found = evaluate(EvaluationConfig(model=model_folder, reference=tmp_path / f"{name}.npz", metrics=("spikes",)))
        energies.append(found.value("encode_energy"))
    assert energies[0] == energies[1]
    in_colour = SpikingVAE(dataclasses.replace(CONFIG, image_channels=3)).eval()
    found = api.evaluate(in_colour, reference=tmp_path / "grey.npz", metrics="spikes")
    assert found.value("encode_energy") is not None


def test_the_page_of_results_lists_a_classifier_among_classifiers_alone(tmp_path: Path) -> None:
    files = [RELEASED / name / "scores.json" for name in ("mnist", "n-mnist")]
    text = write_results(files, tmp_path / "results.md").read_text(encoding="utf-8")
    drawn, classified = text.split("\n## n-mnist\n")
    assert "| **mnist, paper protocol** | one shot |" in drawn
    assert "| **n-mnist, paper protocol** | 100% |" in classified
    assert "n-mnist, paper protocol: 100 of 100; exact 95% interval 96.4% to 100.0%.\n" in classified
    assert "one shot" not in classified
    assert "| – | – |" not in classified


def test_the_same_command_gives_the_same_numbers(model_folder: str, made_root: Path) -> None:
    config = EvaluationConfig(
        model=model_folder, data_root=str(made_root), count=30, metrics=("fad", "domain", "labels", "spikes")
    )
    assert evaluate(config) == evaluate(config)
    assert evaluate(dataclasses.replace(config, seed=1))["fad"].value != evaluate(config)["fad"].value


def test_images_of_anybody_are_scored_like_the_model_that_made_them(
    model_folder: str, made_root: Path, tmp_path: Path
) -> None:
    from spikevae.hub.checkpoints import load

    save_images(load(model_folder).sample(30, seed=0), tmp_path / "samples.npz")
    common = EvaluationConfig(
        model=model_folder, data_root=str(made_root), data="fashion-mnist", count=30, metrics=("fad", "sharpness")
    )
    from_file = dataclasses.replace(common, model=None, images=tmp_path / "samples.npz")
    for of_model, of_file in zip(evaluate(common).scores, evaluate(from_file).scores, strict=True):
        assert of_model.value == pytest.approx(of_file.value, rel=1e-5)


def test_a_folder_is_scored_against_a_folder(made_root: Path, tmp_path: Path) -> None:
    images = torch.rand(24, 1, 28, 28)
    save_images(images[:12], tmp_path / "a")
    save_images(images[12:], tmp_path / "b")
    config = EvaluationConfig(
        images=tmp_path / "a", reference=tmp_path / "b", networks=BUNDLED / "mnist", metrics=("fad", "sharpness")
    )
    scores = evaluate(config)
    assert scores.value("sharpness") == pytest.approx(1, abs=0.05)
    itself = evaluate(dataclasses.replace(config, reference=tmp_path / "a"))
    assert itself["fad"].value == pytest.approx(0, abs=1e-3)


def test_images_are_compared_with_pictures_of_a_folder_at_their_own_size(tmp_path: Path) -> None:
    images = torch.rand(40, 3, 20, 20)
    save_images(images, tmp_path / "pictures")
    save_images(converted(images.mul(255).byte(), 16, 3) / 255, tmp_path / "small.npz")
    config = EvaluationConfig(
        images=tmp_path / "small.npz", data=f"folder:{tmp_path / 'pictures'}", metrics=("sharpness", "copies")
    )
    scores = evaluate(config)
    assert scores["sharpness"].image_size == "16x16, as they are"
    assert scores.value("sharpness") == pytest.approx(1, abs=0.1)
    assert scores["copies_pixels"].image_size == "16x16"


def test_an_untrained_inception_from_a_file_runs_all_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "weights.pth"
    torch.manual_seed(0)
    monkeypatch.setattr("torch_fidelity.feature_extractor_inceptionv3.load_state_dict_from_url", lambda *_, **__: None)
    monkeypatch.setattr(FeatureExtractorInceptionV3, "load_state_dict", lambda self, state: None)
    torch.save(FeatureExtractorInceptionV3("untrained", ["2048"]).state_dict(), file)
    monkeypatch.undo()
    save_images(torch.rand(10, 1, 8, 8), tmp_path / "a.npz")
    config = EvaluationConfig(
        images=tmp_path / "a.npz",
        reference=tmp_path / "a.npz",
        metrics=("fid", "kid", "is", "precision-recall"),
        inception_weights=file,
        inception_sha256=hash_file(file)[:12],
    )
    scores = evaluate(config)
    assert all(score.value is not None for score in scores.scores)
    assert scores["fid"].value == pytest.approx(0, abs=1e-3)
    assert (scores.value("inception_precision"), scores.value("inception_recall")) == (1.0, 1.0)
    assert "OTHER WEIGHTS" in scores["fid"].extractor
    with pytest.raises(ValueError, match=rf"not {OFFICIAL_INCEPTION}….*--inception-sha256"):
        evaluate(dataclasses.replace(config, inception_sha256=None))


def test_a_file_that_is_not_the_inception_is_never_unpickled(tmp_path: Path) -> None:
    file = tmp_path / "weights.pth"
    file.write_bytes(b"cos\nsystem\n(S'touch harmed'\ntR.")
    config = EvaluationConfig(
        images=tmp_path, reference=tmp_path, metrics=("fid",), inception_weights=file, inception_sha256="0" * 8
    )
    save_images(torch.rand(10, 1, 8, 8), tmp_path / "images")
    with pytest.raises(ValueError, match=r"were not read"):
        evaluate(config)
    with pytest.raises(FileNotFoundError, match=r"gone.pth does not exist"):
        evaluate(dataclasses.replace(config, inception_weights=tmp_path / "gone.pth"))


def test_a_model_of_other_classes_is_refused(made_root: Path, tmp_path: Path) -> None:
    other = dataclasses.replace(CONFIG, class_names=CIFAR10_CLASSES[:3])
    save_release(SpikingVAE(other), tmp_path / "m", dataset="fashion-mnist", card="# other\n")
    config = EvaluationConfig(model=str(tmp_path / "m"), data_root=str(made_root), count=20)
    with pytest.raises(ValueError, match=r"the model knows 3 classes and fashion-mnist has 10"):
        evaluate(dataclasses.replace(config, metrics=("accuracy",)))
    with pytest.raises(ValueError, match=r"the classifier knows 10 classes and the model 3"):
        evaluate(dataclasses.replace(config, metrics=("labels",)))


def test_label_agreement_takes_the_classes_that_the_networks_learned(
    model_folder: str, made_root: Path, tmp_path: Path
) -> None:
    classifier = DomainClassifier(ClassifierConfig())
    nn.init.zeros_(classifier.scores.weight)
    nn.init.constant_(classifier.scores.bias[2:3], 1.0)  # it sees its third class everywhere
    config = EvaluationConfig(
        model=model_folder, data_root=str(made_root), count=20, metrics=("labels",), networks=tmp_path
    )
    for names, data, third in (
        (FASHION_MNIST_CLASSES[::-1], "folder:mine", FASHION_MNIST_CLASSES[7]),
        (None, "fashion-mnist", FASHION_MNIST_CLASSES[2]),
    ):
        training = {"data": data} if names is None else {"data": data, "class_names": list(names)}
        save_networks(tmp_path, {"classifier": classifier}, {"classifier": training})
        by_class = evaluate(config).details["label_agreement_by_class"]
        assert [name for name, share in by_class.items() if share == 1] == [third]
    save_networks(tmp_path, {"classifier": classifier}, {"classifier": {"data": "cifar10"}})
    with pytest.raises(ValueError, match=r"the classifier has the classes airplane, .*which the model does not know"):
        evaluate(config)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "give either a model or --images"),
        ({"model": "a", "images": Path("b")}, "give either a model or --images"),
        ({"images": Path("b")}, "--data NAME or --reference PATH"),
        ({"model": "a", "count": 3}, "count=3: at least 10 images"),
        ({"model": "a", "reference": Path("b"), "split": "validation"}, "--split validation goes with --data"),
        ({"model": "a", "metrics": ()}, "metrics is empty; choose from fad, fid"),
    ],
)
def test_settings_that_make_no_sense_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EvaluationConfig(**values)  # type: ignore[arg-type]


def test_the_command_says_what_was_chosen() -> None:
    config = EvaluationConfig(model="my models/a", metrics=("fad", "is"), protocol="torch-fidelity", seed=4)
    expected = "spikevae evaluate 'my models/a' --metrics fad is --protocol torch-fidelity --seed 4"
    assert config.command() == expected


def test_numbers_show_the_digits_they_are_worth() -> None:
    assert number_text(1.23456, 0.0321) == "1.235 ± 0.032"
    assert number_text(123.456, 12.3) == "123 ± 12"
    assert number_text(0.98765, None) == "0.9877"
    assert number_text(155.4689, 8e-14) == "155.5"
    assert number_text(0.0, 0.0) == "0"


def test_files_that_hold_no_scores_are_named(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ValueError, match=r"x.json holds no scores"):
        read_scores_json(tmp_path / "x.json")
    with pytest.raises(ValueError, match=r"give at least one scores file"):
        write_results([], tmp_path / "results.md")


def test_bundled_networks_are_small_and_as_good_as_they_say() -> None:
    assert bundled_networks() == ("celeba", "cifar10", "fashion-mnist", "mnist")
    for file in BUNDLED.glob("*/*.safetensors"):
        assert file.stat().st_size < 12 * 10**6


def test_the_bundled_classifiers_are_right_as_often_as_they_say(real_data: Path) -> None:
    from spikevae.evaluation.networks.extractors import domain_extractor

    for dataset in ("fashion-mnist", "mnist"):
        test = load_split(DataConfig(dataset=dataset, data_root=str(real_data)), "test").subset(1000)
        assert test.labels is not None
        logits = domain_extractor("classifier", Domain(dataset))(test.images().expand(-1, 3, -1, -1))["logits"]
        accuracy = float((logits.argmax(1) == test.labels).float().mean())
        stated = json.loads((BUNDLED / dataset / "config.json").read_text())["classifier"]["training"]["test_accuracy"]
        assert accuracy == pytest.approx(stated, abs=0.025)


def test_an_interrupted_training_of_networks_ends_with_the_same_weights(
    made_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = NetworkTraining(
        data_root=str(made_root), out=tmp_path / "whole", epochs=2, batch_size=50, image_limit=110
    )
    whole = train_networks(training)
    parts = dataclasses.replace(training, out=tmp_path / "parts")
    save, calls = torch.save, itertools.count(1)

    def save_until_the_power_fails(state: object, path: Path) -> None:
        if next(calls) == 2:
            raise KeyboardInterrupt
        save(state, path)

    monkeypatch.setattr(torch, "save", save_until_the_power_fails)
    with pytest.raises(KeyboardInterrupt):
        train_networks(parts)
    with pytest.raises(ValueError, match=r"training.pt is left from `.*--epochs 2 --batch-size 50.*`; go on with"):
        train_networks(dataclasses.replace(parts, epochs=3))
    train_networks(parts)
    for kind in ("autoencoder", "classifier"):
        assert hash_file(whole / f"{kind}.safetensors") == hash_file(tmp_path / "parts" / f"{kind}.safetensors")
    assert sorted(path.name for path in whole.iterdir()) == [
        "autoencoder.safetensors", "classifier.safetensors", "config.json"
    ]  # fmt: skip
    trained = json.loads((whole / "config.json").read_text(encoding="utf-8"))["classifier"]["training"]
    assert trained["command"].endswith("--roles classifier --epochs 2 --batch-size 50 --image-limit 110")
    assert (trained["seed"], trained["training_images"], "torch" in trained["versions"]) == (0, 110, True)
    assert trained["class_names"] == list(FASHION_MNIST_CLASSES)
    assert 0 <= trained["test_accuracy"] <= 1


@pytest.mark.parametrize(("known", "message"), [(0, "no labels"), (30, "10 of 40 images of the test part have no la")])
def test_a_classifier_of_data_without_all_labels_is_refused_before_any_training(
    known: int, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CLASS_NAMES, "mine", ())
    monkeypatch.setattr("spikevae.data.sets.DATASETS", dict(DATASETS))

    @register("mine", class_names=("a", "b") if known else ())
    def read(root: Path, is_test: bool) -> tuple[Tensor, Tensor]:
        labels = torch.arange(40) % 2 if known else torch.full((40,), -1)
        labels[known if is_test else 40 :] = -1
        return torch.zeros(40, 1, 16, 16, dtype=torch.uint8), labels

    with pytest.raises(ValueError, match=message):
        train_networks(NetworkTraining(data="mine", out=tmp_path / "networks", epochs=1))
    assert not (tmp_path / "networks").exists()


def test_networks_and_baselines_take_a_folder_at_the_size_that_is_asked_for(tmp_path: Path) -> None:
    random = np.random.RandomState(0)
    for part, name in itertools.product(("train", "test"), ("a", "b")):
        (tmp_path / "pictures" / part / name).mkdir(parents=True)
        for number in range(10):
            picture = Image.fromarray(random.randint(0, 256, (20, 24, 3), dtype=np.uint8))
            picture.save(tmp_path / "pictures" / part / name / f"{number}.png")
    data = f"folder:{tmp_path / 'pictures'}"
    folder = train_networks(
        NetworkTraining(data=data, image_size=16, out=tmp_path / "networks", roles=("classifier",), epochs=1)
    )
    made = json.loads((folder / "config.json").read_text(encoding="utf-8"))["classifier"]
    assert made["network"]["image_size"] == 16
    assert "--image-size 16" in made["training"]["command"]
    settings = BaselineSettings(data=data, image_size=16, networks=folder, metrics=("sharpness",))
    path = measure_baselines(dataclasses.replace(settings, counts=(8,), validation_counts=()))
    sizes = {found["image_size"] for found in json.loads(path.read_text()) if found["metric"] == "sharpness"}
    assert sizes == {"16x16, as they are"}


def test_baselines_of_other_metrics_stay_and_images_without_a_label_are_no_trouble(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CLASS_NAMES, "mine", ())
    monkeypatch.setattr("spikevae.data.sets.DATASETS", dict(DATASETS))

    @register("mine", class_names=("a", "b"))
    def read(root: Path, is_test: bool) -> tuple[Tensor, Tensor]:
        labels = torch.arange(40) % 2
        labels[30 if is_test else 40 :] = -1
        generator = torch.Generator().manual_seed(int(is_test))
        return torch.randint(0, 256, (40, 1, 16, 16), dtype=torch.uint8, generator=generator), labels

    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    settings = BaselineSettings(data="mine", networks=tmp_path, counts=(20,), validation_counts=())
    measure_baselines(dataclasses.replace(settings, metrics=("sharpness",)))
    path = measure_baselines(dataclasses.replace(settings, metrics=("accuracy",)))
    found = {one["metric"]: one for one in json.loads(path.read_text(encoding="utf-8"))}
    assert set(found) == {"sharpness", "accuracy"}
    assert (found["accuracy"]["value"], found["accuracy"]["samples"]) == (0.5, 30)
    before = path.read_text(encoding="utf-8")
    measure_baselines(dataclasses.replace(settings, metrics=("sharpness",)))
    assert path.read_text(encoding="utf-8") == before
    with pytest.raises(ValueError, match=r"mine train has 38 images, fewer than the 500 asked for; lower --valid"):
        measure_baselines(dataclasses.replace(settings, validation_counts=(500,)))


def test_of_few_reference_images_the_distances_are_measured_and_the_rest_says_what_it_lacks(tmp_path: Path) -> None:
    for name, count in (("a", 12), ("b", 2)):
        save_images(torch.rand(count, 1, 28, 28), tmp_path / f"{name}.npz")
    config = EvaluationConfig(
        images=tmp_path / "a.npz", reference=tmp_path / "b.npz", networks=Path("mnist"), metrics=("domain",)
    )
    scores = evaluate(config)
    assert scores.value("domain_frechet") is not None
    assert scores.value("domain_kernel") is not None
    for metric in ("domain_precision", "domain_recall"):
        assert scores[metric].value is None
        assert scores[metric].note == "reference: 2 images are too few; give at least 4"


def test_baselines_of_an_unknown_metric_are_refused_before_any_data_is_read(tmp_path: Path) -> None:
    settings = BaselineSettings(data_root=str(tmp_path / "nothing"), metrics=("fad", "nonsense"))
    with pytest.raises(ValueError, match=r"^there is no metric 'nonsense'; use .*fad,"):
        measure_baselines(settings)


def test_networks_and_baselines_are_made_from_any_data(model_folder: str, made_root: Path, tmp_path: Path) -> None:
    training = NetworkTraining(data_root=str(made_root), out=tmp_path / "networks", epochs=1, batch_size=32)
    folder = train_networks(training)
    settings = BaselineSettings(data_root=str(made_root), networks=folder, counts=(20,), validation_counts=())
    measure_baselines(settings)
    images = tmp_path / "x.npz"
    save_images(torch.rand(20, 1, 28, 28), images)
    config = EvaluationConfig(images=images, data="fashion-mnist", data_root=str(made_root), networks=folder)
    scores = evaluate(dataclasses.replace(config, metrics=("fad",)))
    baselines = {baseline.what: baseline.value for baseline in scores.baselines}
    assert set(baselines) == {"real training images", "blurred images", "the mean image", "pixel noise"}
    assert baselines["real training images"] == min(baselines.values())
    fewer = evaluate(dataclasses.replace(config, metrics=("fad",), count=15))
    assert fewer.baselines == ()

    of_model = dataclasses.replace(config, model=model_folder, images=None, count=20)
    scores = evaluate(dataclasses.replace(of_model, metrics=("reconstruction", "accuracy", "labels")))
    found = {(baseline.what, baseline.metric): baseline.value for baseline in scores.baselines}
    assert found["the mean image", "accuracy"] == pytest.approx(0.1)
    assert ("real test images", "label_agreement") in found
    errors = [found[what, "reconstruction_mse_32"] for what in ("blurred images", "the mean image", "pixel noise")]
    assert errors == sorted(errors)


def test_data_without_labels_are_measured_without_a_classifier(
    model_folder: str, made_root: Path, tmp_path: Path
) -> None:
    training = NetworkTraining(data_root=str(made_root), out=tmp_path / "m", roles=("autoencoder",), epochs=1)
    folder = train_networks(training)
    measure_baselines(BaselineSettings(data_root=str(made_root), networks=folder, counts=(20,), validation_counts=()))
    config = EvaluationConfig(model=model_folder, data_root=str(made_root), count=20, networks=folder)
    scores = evaluate(dataclasses.replace(config, metrics=("fad", "domain", "labels", "copies")))
    assert {score.metric for score in scores.scores if score.value is not None} == {"fad", "copies_pixels"}
    assert "holds no classifier" in scores["domain_recall"].note
    assert "real training images" in {baseline.what for baseline in scores.baselines}
    with pytest.raises(FileNotFoundError, match=r"nowhere/config.json is missing"):
        evaluate(dataclasses.replace(config, metrics=("fad",), networks=tmp_path / "nowhere"))


def test_the_protocol_says_how_many_images_of_anybody_are_taken(tmp_path: Path) -> None:
    save_images(torch.rand(1, 1, 8, 8).expand(5001, -1, -1, -1), tmp_path / "x.npz")
    config = EvaluationConfig(images=tmp_path / "x.npz", reference=tmp_path / "x.npz", metrics=("sharpness",))
    assert evaluate(config)["sharpness"].samples == 5000
    fidelity = dataclasses.replace(config, protocol="torch-fidelity")
    assert evaluate(fidelity)["sharpness"].samples == 5001
    save_images(torch.rand(20, 1, 8, 8), tmp_path / "few.npz")
    assert evaluate(dataclasses.replace(fidelity, reference=tmp_path / "few.npz"))["sharpness"].samples == 20
    assert evaluate(dataclasses.replace(config, reference=tmp_path / "few.npz"))["sharpness"].samples == 5000
