"""What tests share: real data where there is any, made data in the official formats, fixed seeds."""

from __future__ import annotations

import gzip
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import torch


@pytest.fixture(autouse=True)
def _fixed_seed() -> None:
    """Weights that a test draws are the same in every run."""
    torch.manual_seed(0)


@pytest.fixture
def generator() -> torch.Generator:
    """A source of randomness that is the same in every run."""
    return torch.Generator().manual_seed(0)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The data root with real images: $SPIKEVAE_TEST_DATA, otherwise ``shared/data`` beside the checkout."""
    root = Path(os.environ.get("SPIKEVAE_TEST_DATA") or Path(__file__).parents[2] / "shared" / "data")
    if not root.is_dir():
        pytest.skip("no real data: set SPIKEVAE_TEST_DATA to a data root")
    return root


@pytest.fixture(scope="session")
def made_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with 120 + 30 made images, packed as the official Fashion-MNIST files are.

    Each class is a bright block at a place of its own, so even a tiny model can learn something. Do not change it.
    """
    root = tmp_path_factory.mktemp("made")
    random = np.random.RandomState(0)
    for stem, count in (("train", 120), ("t10k", 30)):
        labels = (np.arange(count) % 10).astype(np.uint8)
        images = random.randint(0, 40, (count, 28, 28)).astype(np.uint8)
        for image, label in zip(images, labels, strict=True):
            row, column = 2 + 12 * (label // 5), 1 + 5 * (label % 5)
            image[row : row + 11, column : column + 5] += 180
        write_idx(root / "FashionMNIST" / "raw" / f"{stem}-images-idx3-ubyte.gz", images)
        write_idx(root / "FashionMNIST" / "raw" / f"{stem}-labels-idx1-ubyte.gz", labels)
    return root


def write_idx(path: Path, array: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> None:
    """Write bytes as a gzipped IDX file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header = bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(gzip.compress(header + array.tobytes(), mtime=0))
