"""Reconstruction, classification and copies: values by hand and by definition."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import spikevae
from spikevae.config import DataConfig, ModelConfig
from spikevae.data.images import save_images
from spikevae.data.sets import ImageSet
from spikevae.evaluation.metrics.accuracy import classify_split, confusion
from spikevae.evaluation.metrics.near_copies import compare_distances, nearest, pixel_vectors
from spikevae.evaluation.metrics.reconstruction import compare, reconstruction_scores, ssim
from spikevae.evaluation.metrics.registry import MODEL_METRICS, NotComputedError
from spikevae.evaluation.model_inputs import ModelEvaluation
from spikevae.evaluation.settings import EvaluationConfig
from spikevae.evaluation.streams import from_tensor
from spikevae.labels import OtherClassesError
from spikevae.nn.classifiers import SpikingClassifier
from spikevae.reconstruct_command import reconstruct


def ssim_by_definition(x: np.ndarray, y: np.ndarray) -> float:
    weights = np.array(
        [[math.exp(-((i - 5) ** 2 + (j - 5) ** 2) / (2 * 1.5**2)) for j in range(11)] for i in range(11)]
    )
    weights /= weights.sum()
    values = []
    for row in range(x.shape[0] - 10):
        for column in range(x.shape[1] - 10):
            a, b = (image[row : row + 11, column : column + 11] for image in (x, y))
            mean_a, mean_b = (weights * a).sum(), (weights * b).sum()
            var_a, var_b = (weights * (a - mean_a) ** 2).sum(), (weights * (b - mean_b) ** 2).sum()
            covariance = (weights * (a - mean_a) * (b - mean_b)).sum()
            values.append(
                (2 * mean_a * mean_b + 1e-4)
                * (2 * covariance + 9e-4)
                / ((mean_a**2 + mean_b**2 + 1e-4) * (var_a + var_b + 9e-4))
            )
    return float(np.mean(values))


def test_ssim_follows_its_definition() -> None:
    x, y = torch.rand(2, 3, 1, 14, 13)
    expected = [ssim_by_definition(a[0].double().numpy(), b[0].double().numpy()) for a, b in zip(x, y, strict=True)]
    torch.testing.assert_close(ssim(x, y), torch.tensor(expected), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(ssim(x, x), torch.ones(3))
    with pytest.raises(ValueError, match=r"at least 11x11 pixels"):
        ssim(x[..., :10], y[..., :10])


def test_images_smaller_than_the_window_are_measured_without_ssim(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    y = torch.full((2, 1, 8, 8), 0.4)
    images = ImageSet((255 * y).byte(), name="small", split="test")
    scores = {score.metric: score for score in reconstruction_scores(compare(y + 0.1, y), images)}
    assert scores["psnr"].value == pytest.approx(20.0)
    assert (scores["ssim"].value, "11x11 pixels or more, these have 8" in scores["ssim"].note) == (None, True)
    config = ModelConfig(image_size=8, encoder_widths=(4,), decoder_widths=(4, 4), latent_size=4, attention="none")
    spikevae.save(spikevae.SpikingVAE(config), tmp_path / "model", dataset="small")
    save_images(y[:1], tmp_path / "picture.png")
    reconstruct(str(tmp_path / "model"), (tmp_path / "picture.png",))
    assert capsys.readouterr().out.endswith(" dB\n")


def test_an_error_of_a_tenth_everywhere_costs_what_it_costs() -> None:
    y = torch.full((2, 1, 28, 28), 0.4)
    found = compare(y + 0.1, y)
    for name, expected in (("reconstruction_mse", 0.04), ("reconstruction_mse_32", 0.04), ("psnr", 20.0)):
        torch.testing.assert_close(found[name], torch.full((2,), expected), rtol=1e-4, atol=1e-6)


def test_equal_images_have_no_error() -> None:
    x = torch.rand(2, 3, 16, 16)
    found = compare(x, x)
    assert float(found["reconstruction_mse"].max()) == 0
    assert float(found["ssim"].min()) == pytest.approx(1)
    assert torch.isfinite(found["psnr"]).all()


def test_a_confusion_matrix_by_hand() -> None:
    labels, predicted = torch.tensor([0, 0, 0, 1, 1, 2]), torch.tensor([0, 0, 1, 1, 2, 2])
    found = confusion(labels, predicted, ("a", "b", "c"))
    assert found.counts.tolist() == [[2, 1, 0], [0, 1, 1], [0, 0, 1]]
    assert found.accuracy == pytest.approx(4 / 6)
    assert found.per_class()[0] == {"class": "a", "images": 3, "precision": 1.0, "recall": 2 / 3, "f1": 4 / 5}
    with pytest.raises(ValueError, match=r"prediction 2 is none of the 2 classes a, b"):
        confusion(labels[:5], predicted[:5], ("a", "b"))


def blocks(training: Tensor, size: int) -> list[Tensor]:
    return list(training.split(size))


def test_the_nearest_image_is_found_in_whatever_block_it_lies(generator: torch.Generator) -> None:
    training = torch.rand(40, 9, generator=generator)
    images = torch.cat([training[[31, 2]] + 1e-3, torch.rand(5, 9, generator=generator)])
    expected = torch.cdist(images, training, compute_mode="donot_use_mm_for_euclid_dist").min(1)
    for size in (1, 7, 40):
        found = nearest(images, blocks(training, size))
        assert torch.equal(found.index, expected.indices)
        torch.testing.assert_close(found.distance, expected.values, rtol=1e-3, atol=1e-3)
    assert found.index[:2].tolist() == [31, 2]
    with pytest.raises(ValueError, match=r"the training set is empty"):
        nearest(images, [])


def test_an_exact_copy_has_no_distance(generator: torch.Generator) -> None:
    training = torch.rand(500, 784, generator=generator)
    found = nearest(training[:100].clone(), blocks(training, 128))
    assert torch.equal(found.distance, torch.zeros(100))
    assert torch.equal(found.index, torch.arange(100))


def test_the_nearest_of_images_that_hardly_differ_is_found(generator: torch.Generator) -> None:
    training = 0.8 + 1e-4 * torch.rand(50, 784, generator=generator)
    found = nearest(training + 1e-6, blocks(training, 20))
    assert torch.equal(found.index, torch.arange(50))


def test_a_copying_model_is_caught_and_an_honest_one_is_not(generator: torch.Generator) -> None:
    training = torch.rand(300, 12, generator=generator)
    test, honest = torch.rand(2, 100, 12, generator=generator)
    copied = training[:100] + 0.01 * torch.rand(100, 12, generator=generator)
    distances = {
        name: nearest(images, [training]).distance
        for name, images in (("test", test), ("honest", honest), ("copied", copied))
    }
    caught = compare_distances(distances["copied"], distances["test"])
    assert caught.share > 0.9
    assert caught.median_ratio < 0.2
    fair = compare_distances(distances["honest"], distances["test"])
    assert fair.share < 0.1
    assert 0.8 < fair.median_ratio < 1.2


def test_a_perfect_copier_is_caught_where_test_images_are_in_the_training_set_too(generator: torch.Generator) -> None:
    test = torch.cat([torch.zeros(3), 1 + torch.rand(97, generator=generator)])
    assert compare_distances(torch.zeros(100), test).share == 1
    assert compare_distances(1 + torch.rand(100, generator=generator), test).share == 0


def test_near_copies_of_grey_and_of_coloured_images_are_told_by_as_many_channels() -> None:
    grey, tinted = torch.full((3, 1, 8, 8), 90, dtype=torch.uint8), torch.full((3, 3, 8, 8), 90, dtype=torch.uint8)
    tinted[0, 2] += 3
    for channels in (1, 3):
        found = [
            torch.cat(list(pixel_vectors(from_tensor(x, "x"), channels=channels)))
            for x in (grey, tinted, grey.expand(-1, 3, -1, -1))
        ]
        assert {tuple(x.shape) for x in found} == {(3, channels * 64)}
        assert found[0].equal(found[2])


def test_data_may_have_fewer_classes_and_another_order_but_no_other_ones() -> None:
    names = ("boot", "bag", "shirt")
    config = ModelConfig(network="classifier", layers="conv4 avgpool readout", image_size=8, class_names=names)
    model = SpikingClassifier(config).eval()
    pixels = torch.randint(0, 256, (30, 1, 8, 8), dtype=torch.uint8)
    labels = model.classify(pixels / 255).argmax(1)  # so that all answers are right
    in_order = sorted(names)
    permuted = torch.tensor([in_order.index(name) for name in names])[labels]
    permuted[::10] = -1
    found = classify_split(model, ImageSet(pixels, permuted, name="own", split="test", class_names=tuple(in_order)))
    assert (int(found.counts.sum()), found.accuracy) == (27, 1.0)
    of_one = pixels[labels == labels[0]]
    one = ImageSet(of_one, torch.zeros(len(of_one)).long(), name="own", split="test", class_names=(names[labels[0]],))
    found = classify_split(model, one)
    assert (found.accuracy, found.note) == (1.0, "images of 1 of 3 classes")
    assert confusion(torch.arange(3), torch.arange(3), names).note == ""
    others = ImageSet(pixels, labels, name="own", split="test", class_names=("boot", "bag", "coat"))
    with pytest.raises(OtherClassesError, match="own has the classes coat, which the model does not know"):
        classify_split(model, others)


@pytest.mark.parametrize("labels", [None, torch.full((5,), -1)])
def test_without_a_label_there_is_no_accuracy_and_the_reason_is_said(labels: Tensor | None) -> None:
    config = ModelConfig(network="classifier", layers="conv4 avgpool readout", image_size=8, class_names=("a", "b"))
    model = SpikingClassifier(config).eval()
    given = ImageSet(torch.zeros(5, 1, 8, 8).byte(), labels, name="own", split="test", class_names=("a", "b"))
    with pytest.raises(NotComputedError, match="own has no labels to compare with"):
        classify_split(model, given)
    evaluation = ModelEvaluation(EvaluationConfig(model="own"), "own", model, DataConfig())
    evaluation.given = given
    (score,) = MODEL_METRICS["accuracy"].run(evaluation)
    assert (score.value, score.note) == (None, "own has no labels to compare with")


def test_evaluating_leaves_every_module_in_its_mode() -> None:
    config = ModelConfig(network="classifier", layers="conv4 avgpool readout", image_size=8, class_names=("a", "b"))
    model = SpikingClassifier(config).train()
    norm = model.get_submodule("layers.0.norm").eval()  # frozen
    with pytest.raises(ValueError, match="name it: data=NAME"):
        spikevae.evaluate(model)
    assert [model.training, model.layers[0].training, norm.training] == [True, True, False]
