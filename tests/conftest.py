"""What tests share: real data where there is any, made data in the official formats, fixed seeds."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jaxtyping
import pytest
import torch
from torch import nn

from spikevae.config import FASHION_MNIST_CLASSES, MNIST_CLASSES, DataConfig, ModelConfig, RunConfig, TrainConfig
from spikevae.hub.checkpoints import save_release
from spikevae.nn.event_vae import SpikingEventVAE
from spikevae.nn.vae import SpikingVAE
from tests.made_data import write_made_data


@pytest.fixture(autouse=True)
def _fixed_seed() -> None:
    """Weights that a test draws are the same in every run."""
    torch.manual_seed(0)


@pytest.fixture
def generator() -> torch.Generator:
    """A source of randomness that is the same in every run."""
    return torch.Generator().manual_seed(0)


@pytest.fixture
def unchecked_types() -> Iterator[None]:
    """As in use: in tests alone, other types than those of the annotations are refused before they come in."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The data root with real images: $SPIKEVAE_TEST_DATA, otherwise ``shared/data`` beside the checkout."""
    root = Path(os.environ.get("SPIKEVAE_TEST_DATA") or Path(__file__).parents[2] / "shared" / "data")
    if not root.is_dir():
        pytest.skip("no real data: set SPIKEVAE_TEST_DATA to a data root")
    return root


@pytest.fixture(scope="session")
def made_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with 120 + 30 made images, packed as the official Fashion-MNIST files are. Do not change it."""
    root = tmp_path_factory.mktemp("made")
    write_made_data(root, train=120, test=30)
    return root


@pytest.fixture(scope="session")
def config(made_root: Path) -> RunConfig:
    """A tiny run: an epoch for each phase, of three steps (the last one smaller), with a state after every step."""
    return RunConfig(
        model=ModelConfig(
            class_names=FASHION_MNIST_CLASSES,
            time_steps=3,
            encoder_widths=(8, 8, 8),
            decoder_widths=(8, 8, 4),
            latent_size=8,
            prior_rank=4,
        ),
        data=DataConfig(data_root=str(made_root), validation_share=0.2),
        train=TrainConfig(
            epochs=3,
            deterministic_share=1 / 3,
            adversarial_share=1 / 3,
            batch_size=32,
            warmup_images=50,
            ema_images=50_000,
            preview_epochs=1,
            shift=1,
            precision="float32",
            checkpoint_seconds=0.0,
            image_limit=80,
        ),
    )


@pytest.fixture(scope="session")
def tiny_release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder named "tiny" with an untrained model of ten classes "0" to "9" that computes fast. Do not change it."""
    return _write_release(tmp_path_factory.mktemp("models") / "tiny", class_names=MNIST_CLASSES)


@pytest.fixture(scope="session")
def autoregressive_release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with FSVAE's latent, in a folder named "autoregressive"."""
    folder = tmp_path_factory.mktemp("models") / "autoregressive"
    return _write_release(folder, class_names=MNIST_CLASSES, latent="autoregressive", latent_choices=3)


@pytest.fixture(scope="session")
def gateless_release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first one without attention, and with fixed time constants, in a folder named "gateless"."""
    folder = tmp_path_factory.mktemp("models") / "gateless"
    return _write_release(folder, class_names=MNIST_CLASSES, attention="none", neuron="lif")


@pytest.fixture(scope="session")
def grid_release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first one with latent spikes on a grid and classes from a deeper stage, in a folder named "grid"."""
    folder = tmp_path_factory.mktemp("models") / "grid"
    widths = {"encoder_widths": (8, 8, 8), "decoder_widths": (8, 8, 4), "latent_size": 49 * 2}
    return _write_release(folder, class_names=MNIST_CLASSES, latent="grid", **widths)


@pytest.fixture(scope="session")
def transposed_release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The one without attention, with the paper's upsampling, read-out and synapses and a padded image."""
    folder = tmp_path_factory.mktemp("models") / "transposed"
    papers: dict[str, Any] = {"upsampling": "transposed", "latent_synapses": "instant", "read_out": "membrane"}
    widths = {"encoder_widths": (8, 8, 8), "decoder_widths": (8, 8, 4), "image_size": 14}
    return _write_release(folder, class_names=MNIST_CLASSES, attention="none", **papers, **widths)


@pytest.fixture(scope="session")
def unlabelled_release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same of colour images without classes, in a folder named "unlabelled"."""
    return _write_release(tmp_path_factory.mktemp("models") / "unlabelled", image_size=16, image_channels=3)


@pytest.fixture(scope="session")
def recorder_release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder named "recorder" with an untrained VAE of event recordings of two classes. Do not change it."""
    folder = tmp_path_factory.mktemp("models") / "recorder"
    torch.manual_seed(0)
    config = ModelConfig(
        network="event-vae",
        image_size=12,
        image_channels=2,
        class_names=("above", "below"),
        time_steps=4,
        slice_by="time",
        duration=40_000,
        encoder_widths=(8, 8),
        decoder_widths=(8, 6),
        latent_size=6,
        prior_rank=3,
    )
    save_release(SpikingEventVAE(config).eval(), folder, dataset="events:made", card="# recorder\n\nMade.\n")
    return folder


def _write_release(folder: Path, **settings: Any) -> Path:
    sizes = {"time_steps": 3, "encoder_widths": (8, 8), "decoder_widths": (8, 8), "latent_size": 12, "prior_rank": 4}
    config = ModelConfig(**{**sizes, **settings})
    torch.manual_seed(0)
    model = SpikingVAE(config)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.constant_(module.weight, 2.0)
            nn.init.constant_(module.bias, 0.5)
    model.train()
    with torch.no_grad():  # statistics for batch norm, so that neurons fire
        for _ in range(40):
            model(torch.rand(8, config.image_channels, config.image_size, config.image_size))
    if config.latent == "grid":  # whose density draws nothing before it is fitted
        potentials = 2 * torch.randn(40 * config.classes, config.time_steps * config.latent_size)
        model.latent.fit(potentials, torch.arange(len(potentials)) % config.classes)
    save_release(model.eval(), folder, dataset="mnist", card="---\nlibrary_name: spikevae\n---\nA model of the tests.")
    return folder


@pytest.fixture
def unused_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@pytest.fixture(scope="session")
def page_address(
    tiny_release: Path, autoregressive_release: Path, unlabelled_release: Path, recorder_release: Path
) -> Iterator[str]:
    """Where the page is served with three models of images above, "tiny" first, and one of recordings."""
    from app.access import Access
    from app.server import running

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    folders = tiny_release, autoregressive_release, unlabelled_release, recorder_release
    with running([str(folder) for folder in folders], Access(port=port)) as address:
        yield address
