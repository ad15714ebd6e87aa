"""Made images in files as those of Fashion-MNIST: ``python -m tests.made_data FOLDER`` makes a data root of them."""

from __future__ import annotations

import gzip
import struct
import sys
from pathlib import Path

import numpy as np


def write_made_data(root: Path, *, train: int, test: int) -> None:
    """Write a data root. Each class is a bright block at a place of its own, so even a tiny model can learn something.

    Args:
        root: folder to write to.
        train, test: images of the two splits; their labels go round from 0 to 9.
    """
    random = np.random.RandomState(0)
    for stem, count in (("train", train), ("t10k", test)):
        labels = (np.arange(count) % 10).astype(np.uint8)
        images = random.randint(0, 40, (count, 28, 28)).astype(np.uint8)
        for image, label in zip(images, labels, strict=True):
            row, column = 2 + 12 * (label // 5), 1 + 5 * (label % 5)
            image[row : row + 11, column : column + 5] += 180
        write_idx(root / "FashionMNIST" / "raw" / f"{stem}-images-idx3-ubyte.gz", images)
        write_idx(root / "FashionMNIST" / "raw" / f"{stem}-labels-idx1-ubyte.gz", labels)


def write_idx(path: Path, array: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> None:
    """Write bytes as a gzipped IDX file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header = bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(gzip.compress(header + array.tobytes(), mtime=0))


if __name__ == "__main__":
    write_made_data(Path(sys.argv[1]), train=6000, test=1000)
