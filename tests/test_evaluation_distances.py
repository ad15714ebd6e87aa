"""Distances between sets of images: what they must not depend on, and what they must agree with."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import torch
import torch_fidelity
from torch import Tensor
from torch.utils.data import Dataset

from spikevae.evaluation.features import Measure, extract
from spikevae.evaluation.metrics.frechet import _MIXED_BY, frechet_distance, frechet_with_error
from spikevae.evaluation.metrics.inception_score import inception_score
from spikevae.evaluation.metrics.kid import kernel_distance
from spikevae.evaluation.metrics.precision_recall import precision_recall
from spikevae.evaluation.networks.bundle import BUNDLED, Domain, save_networks
from spikevae.evaluation.networks.classifier import ClassifierConfig, DomainClassifier
from spikevae.evaluation.networks.extractors import Extractor, domain_extractor
from spikevae.evaluation.networks.spaces import edges
from spikevae.evaluation.streams import degraded, from_tensor

EPSILON = 1e-6  # of a set's distance to itself, as a share of its total variance


@pytest.fixture(scope="module")
def garments() -> Tensor:
    """120 made images with edges, uint8 [N, 1, 28, 28]."""
    generator = torch.Generator().manual_seed(1)
    images = torch.zeros(120, 1, 28, 28, dtype=torch.uint8)
    for index in range(len(images)):
        top, left, height, width = torch.randint(2, 12, (4,), generator=generator).tolist()
        shade = int(torch.randint(90, 256, (1,), generator=generator))
        images[index, 0, top : top + height + 4, left : left + width + 3] = shade
        images[index, 0, top + 2 : top + height, left + 2 : left + 4] = shade // 2
    return images


@pytest.fixture(scope="module")
def autoencoder() -> Extractor:
    return domain_extractor("autoencoder", Domain("fashion-mnist"))


@pytest.fixture(scope="module")
def classifier() -> Extractor:
    return domain_extractor("classifier", Domain("fashion-mnist"))


def latents(extractor: Measure, images: Tensor, batch_size: int = 250) -> Tensor:
    return extract(from_tensor(images, "images"), {"fad": extractor}, batch_size)["fad"]["latent"]


def gaussian(count: int, size: int = 6, *, seed: int, shift: float = 0.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    scale = torch.linspace(0.5, 2.0, size)
    return torch.randn(count, size, generator=generator) * scale + shift


def test_a_set_has_no_distance_to_itself(garments: Tensor, autoencoder: Extractor) -> None:
    features = latents(autoencoder, garments)
    variance = float(features.double().var(dim=0).sum())
    assert abs(frechet_distance(features, features)) < EPSILON * variance
    assert precision_recall(features, features) == (1.0, 1.0)


@pytest.mark.parametrize("how", ["blur", "noise"])
def test_distances_grow_with_damage(garments: Tensor, autoencoder: Extractor, how: str) -> None:
    real = latents(autoencoder, garments[:60])
    others = from_tensor(garments[60:], "others")
    damaged = extract(degraded(others, how), {"fad": autoencoder})["fad"]["latent"]
    mixed = torch.cat([damaged[:30], latents(autoencoder, garments[90:])])
    undamaged = latents(autoencoder, garments[60:])
    distances = [frechet_distance(features, real) for features in (undamaged, mixed, damaged)]
    assert distances == sorted(distances)
    assert distances[2] > 1.5 * distances[0]


def test_order_and_batch_size_change_nothing(garments: Tensor, autoencoder: Extractor) -> None:
    real = latents(autoencoder, garments[:60])
    straight = latents(autoencoder, garments[60:])
    shuffled = latents(autoencoder, garments[60:].flip(0), batch_size=7)
    assert frechet_distance(shuffled, real) == pytest.approx(frechet_distance(straight, real), rel=1e-4)
    assert precision_recall(shuffled, real) == precision_recall(straight, real)


def test_fad_agrees_with_numpy_and_scipy(garments: Tensor, autoencoder: Extractor) -> None:
    a, b = latents(autoencoder, garments[:70]).double().numpy(), latents(autoencoder, garments[40:]).double().numpy()
    product = scipy.linalg.sqrtm(np.cov(a, rowvar=False) @ np.cov(b, rowvar=False)).real
    expected = np.sum((a.mean(0) - b.mean(0)) ** 2) + np.trace(np.cov(a, rowvar=False) + np.cov(b, rowvar=False))
    expected -= 2 * np.trace(product)
    assert frechet_distance(torch.from_numpy(a), torch.from_numpy(b)) == pytest.approx(expected, rel=1e-4)


class Rgb(Dataset[Tensor]):
    """Images as torch-fidelity's own interface wants them."""

    def __init__(self, images: Tensor) -> None:
        self.images = images.expand(-1, 3, -1, -1)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        return self.images[index]


def test_torch_fidelity_gives_the_same_through_its_own_interface(garments: Tensor, classifier: Extractor) -> None:
    ours, real = garments[:50], garments[50:]
    found = torch_fidelity.calculate_metrics(
        input1=Rgb(ours),
        input2=Rgb(real),
        feature_extractor="spikevae-classifier-fashion-mnist",
        fid=True,
        kid=True,
        prc=True,
        kid_subset_size=50,
        rng_seed=3,
        cuda=torch.cuda.is_available(),
        cache=False,
        save_cpu_ram=True,
        verbose=False,
    )
    a, b = (extract(from_tensor(part, "part"), {"c": classifier})["c"]["features"] for part in (ours, real))
    assert frechet_distance(a, b) == pytest.approx(found[torch_fidelity.KEY_METRIC_FID], rel=1e-3)
    assert kernel_distance(a, b, seed=3)[0] == pytest.approx(found[torch_fidelity.KEY_METRIC_KID_MEAN], rel=1e-3)
    expected = (found[torch_fidelity.KEY_METRIC_PRECISION], found[torch_fidelity.KEY_METRIC_RECALL])
    assert precision_recall(a, b) == pytest.approx(expected)


def test_grey_and_rgb_bytes_and_floats_are_the_same_images(garments: Tensor, autoencoder: Extractor) -> None:
    few = garments[:20]
    forms = [few, few.float() / 255, few.double() / 255, few.expand(-1, 3, -1, -1), few.expand(-1, 3, -1, -1) / 255]
    expected = latents(autoencoder, few)
    for form in forms:
        torch.testing.assert_close(latents(autoencoder, form), expected, rtol=0, atol=0)


def test_the_error_of_a_distance_is_what_other_samples_change() -> None:
    reference = gaussian(800, seed=0)
    found = [frechet_with_error(gaussian(400, seed=seed, shift=0.5), reference) for seed in range(1, 13)]
    values, errors = np.array(found).T
    assert values[0] == pytest.approx(frechet_distance(gaussian(400, seed=1, shift=0.5), reference))
    assert 0.5 < errors.mean() / values.std(ddof=1) < 2


@pytest.mark.parametrize("count", [5, 30])
def test_leaving_samples_out_follows_the_same_formula(count: int) -> None:
    samples, reference = gaussian(count, size=12, seed=1), gaussian(40, size=12, seed=2)
    groups = min(10, count // 2)
    index = torch.randperm(count, generator=torch.Generator().manual_seed(_MIXED_BY)) % groups
    values = np.array([frechet_distance(samples[index != group], reference) for group in range(groups)])
    expected = np.sqrt((groups - 1) / groups * np.sum((values - values.mean()) ** 2))
    assert frechet_with_error(samples, reference)[1] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("seed", [None, 0, 1])
def test_samples_with_their_classes_in_turn_have_the_error_of_mixed_ones(seed: int | None) -> None:
    generator = torch.Generator().manual_seed(0)
    centres = 5 * torch.randn(10, 4, generator=generator)
    samples = centres.repeat(100, 1) + torch.randn(1000, 4, generator=generator)
    mixed = samples[torch.randperm(1000, generator=generator)]
    if seed is not None:  # whoever mixed them before does not undo it
        samples = samples[torch.randperm(1000, generator=torch.Generator().manual_seed(seed))]
    in_turn, expected = (frechet_with_error(each, gaussian(800, size=4, seed=1))[1] for each in (samples, mixed))
    assert 0.5 < in_turn / expected < 2


@pytest.mark.parametrize(
    ("samples", "references", "has_error"), [(1000, 1500, False), (1500, 1000, False), (1002, 1002, True)]
)
def test_a_kernel_distance_has_an_error_where_its_subsets_differ_on_both_sides(
    samples: int, references: int, has_error: bool
) -> None:
    value, spread, size = kernel_distance(gaussian(samples, seed=0), gaussian(references, seed=1, shift=1.0), seed=0)
    assert value > 0
    assert size == 1000
    assert math.isnan(spread) is not has_error


def test_precision_and_recall_tell_poor_samples_from_uniform_ones() -> None:
    real = gaussian(60, seed=0)
    assert precision_recall(gaussian(60, seed=1, shift=100.0), real) == (0.0, 0.0)
    precision, recall = precision_recall(gaussian(60, seed=1) * 0.05, real)  # all alike, but typical
    assert precision > 0.9 > 0.5 > recall


def test_the_inception_score_is_one_for_a_network_without_opinions() -> None:
    assert inception_score(torch.zeros(40, 5), seed=0)[0] == pytest.approx(1)
    certain = 50 * torch.eye(5).repeat(200, 1)
    assert inception_score(certain, seed=0)[0] == pytest.approx(5, rel=0.1)


@pytest.mark.parametrize("distance", [frechet_distance, precision_recall, lambda a, b: kernel_distance(a, b, seed=0)])
def test_too_few_images_and_broken_features_are_named(distance: Callable[[Tensor, Tensor], object]) -> None:
    good = gaussian(20, seed=0)
    with pytest.raises(ValueError, match=r"samples: 1 images are too few"):
        distance(good[:1], good)
    broken = good.clone()
    broken[3, 2] = float("nan")
    with pytest.raises(ValueError, match=r"reference: some features are not finite"):
        distance(good, broken)


def test_edges_are_the_mean_absolute_laplacian() -> None:
    image = torch.zeros(1, 3, 5, 5, dtype=torch.uint8)
    image[:, :, 2, 2] = 255
    # In the nine inner pixels: 4 at the centre, 1 at each of its four neighbours.
    assert float(edges(image)["laplacian"]) == pytest.approx(8 / 9)


def test_without_domain_networks_the_error_says_how_to_make_them() -> None:
    with pytest.raises(
        FileNotFoundError, match=r"no domain networks for cifar100: .*networks.train --data cifar100 --out FOLDER"
    ):
        domain_extractor("autoencoder", Domain("cifar100"))


def test_networks_that_take_the_place_of_others_are_the_ones_that_compare(tmp_path: Path, garments: Tensor) -> None:
    config, found = ClassifierConfig(image_size=16, classes=2, feature_size=4), []
    for seed in (0, 1):
        torch.manual_seed(seed)
        save_networks(tmp_path, {"classifier": DomainClassifier(config)}, {"classifier": {}})
        found.append(domain_extractor("classifier", Domain("garments", tmp_path)))
    assert found[0].weights_hash != found[1].weights_hash
    images = garments[:3].expand(-1, 3, -1, -1)
    assert not torch.equal(found[0](images)["features"], found[1](images)["features"])


def test_a_damaged_network_is_named(tmp_path: Path) -> None:
    for file in (BUNDLED / "mnist").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "classifier.safetensors").write_bytes(b"not weights")
    with pytest.raises(ValueError, match=r"classifier.safetensors is damaged or belongs to another classifier"):
        domain_extractor("classifier", Domain("mnist", tmp_path))
