"""FAD as the papers measure it: the protocol by hand, files that are refused, and the real files' own checks."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from spikevae.data.images import save_images
from spikevae.data.readers import read_mnist_family
from spikevae.evaluation.command import evaluate
from spikevae.evaluation.metrics.frechet import distance_to, matrix_root
from spikevae.evaluation.networks.papers import PapersEncoder, open_instrument
from spikevae.evaluation.settings import EvaluationConfig


def write_instrument(folder: Path, latents: Tensor | None = None) -> tuple[Path, Path]:
    """An untrained autoencoder in the papers' form, and the statistics of latents."""
    torch.manual_seed(0)
    network = PapersEncoder()
    state = {**network.state_dict(), "decoder.weight": torch.zeros(3)}  # the files hold a decoder as well
    torch.save(state, folder / "auto.pth")
    table = torch.randn(500, 64) if latents is None else latents
    np.savez(folder / "stat.npz", mu=table.double().mean(0).numpy(), sigma=torch.cov(table.double().T).numpy())
    return folder / "auto.pth", folder / "stat.npz"


def test_batches_are_normalised_by_themselves_and_the_incomplete_one_is_left_out(tmp_path: Path) -> None:
    instrument = open_instrument(*write_instrument(tmp_path))
    x = torch.rand(600, 1, 32, 32)
    latents = instrument.latents(x)
    assert latents.shape == (512, 64)
    network = PapersEncoder()
    network.load_state_dict(instrument.network.state_dict())
    with torch.no_grad():
        expected = network.train()(2 * x[256:512] - 1)
    torch.testing.assert_close(latents[256:], expected)
    with torch.no_grad():
        assert not torch.allclose(network.eval()(2 * x[256:512] - 1), expected, atol=1e-3)


def test_the_command_gives_the_distance_with_hashes_and_protocol(tmp_path: Path) -> None:
    images = torch.rand(5_120, 1, 8, 8)
    save_images(images, tmp_path / "x.npz")
    bytes_of = (images * 255).round() / 255
    small = interpolate(bytes_of, size=(32, 32), mode="bilinear", antialias=True)
    autoencoder, _ = write_instrument(tmp_path)
    latents = open_instrument(*write_instrument(tmp_path)).latents(small)
    autoencoder, statistics = write_instrument(tmp_path, latents)  # so that the distance is that to itself
    config = EvaluationConfig(
        images=tmp_path / "x.npz",
        reference=tmp_path / "x.npz",
        metrics=("fad_papers",),
        fad_autoencoder=autoencoder,
        fad_statistics=statistics,
    )
    with_all = EvaluationConfig(**{**vars(config), "count": 5_120})
    score = evaluate(with_all)["fad_papers"]
    assert score.value == pytest.approx(0, abs=1e-6)
    assert score.samples == 5_120
    assert score.weights_hash in score.note
    assert "batch norm in training mode" in score.note
    assert evaluate(config)["fad_papers"].samples == 19 * 256
    few = evaluate(EvaluationConfig(**{**vars(config), "count": 600}))["fad_papers"]
    assert few.value is None
    assert "5,000 samples or more, not 600" in few.note


def test_files_that_are_not_the_papers_are_refused(tmp_path: Path) -> None:
    autoencoder, statistics = write_instrument(tmp_path)
    (tmp_path / "x").write_bytes(b"cos\nsystem\n(S'touch harmed'\ntR.")
    with pytest.raises(ValueError, match=r"x is not a file of weights"):
        open_instrument(tmp_path / "x", statistics)
    torch.save({"encoder.0.0.weight": torch.zeros(2)}, tmp_path / "other.pth")
    with pytest.raises(
        ValueError, match=r"other.pth is not FSVAE's autoencoder of grey images: the weight encoder.0.0"
    ):
        open_instrument(tmp_path / "other.pth", statistics)
    with pytest.raises(ValueError, match=r"auto.pth is not an .npz file of FSVAE's statistics"):
        open_instrument(autoencoder, autoencoder)
    np.savez(tmp_path / "small.npz", mu=np.zeros(3), sigma=np.zeros((3, 3)))
    with pytest.raises(ValueError, match=r"mu is \[3\] and sigma \[3, 3\]; expected \[64\]"):
        open_instrument(autoencoder, tmp_path / "small.npz")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match=r"pipe is a pipe"):
        open_instrument(tmp_path / "pipe", statistics)
    with pytest.raises(ValueError, match=r"go together"):
        EvaluationConfig(images=tmp_path, reference=tmp_path, fad_autoencoder=autoencoder)


@pytest.mark.parametrize(("name", "folder", "expected"), [("fashion", "FashionMNIST", 0.87), ("mnist", "MNIST", 4.59)])
def test_the_papers_own_files_pass_their_checks(name: str, folder: str, expected: float, real_data: Path) -> None:
    instruments = Path(os.environ.get("SPIKEVAE_TEST_INSTRUMENTS") or real_data.parent / "instruments" / "fsvae")
    if not instruments.is_dir():
        pytest.skip("FSVAE's files are not here: set SPIKEVAE_TEST_INSTRUMENTS to their folder")
    instrument = open_instrument(instruments / f"{name}_64.pth", instruments / f"{name}_test_64.npz")
    root = matrix_root(instrument.covariance)
    found = {}
    for is_test in (True, False):
        pixels, _ = read_mnist_family(folder, real_data, is_test)  # type: ignore[arg-type]
        x = interpolate(pixels[:10_000].float() / 255, size=(32, 32), mode="bilinear", antialias=True)
        latents = instrument.latents(x if is_test else x[:5_120]).double()
        found[is_test] = distance_to(latents, instrument.mean, root)
    assert found[True] == pytest.approx(0, abs=0.005)
    assert found[False] == pytest.approx(expected, abs=0.005)
