"""Data for tests: made images in files as those of Fashion-MNIST, and real ones of CIFAR-10 as a folder of classes.

``python -m tests.made_data FOLDER`` makes a data root of the first; ``python -m tests.made_data FOLDER SOURCE``
unpacks SOURCE, npz files of JPEG files (see `write_class_folders`), to FOLDER, to be used as ``folder:FOLDER``.
"""

from __future__ import annotations

import gzip
import struct
import sys
from pathlib import Path

import numpy as np

from spikevae.config import CIFAR10_CLASSES


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


def write_class_folders(folder: Path, source: Path, *, limit: int | None = None) -> None:
    """Unpack a copy of CIFAR-10 that holds JPEG files in ``train_*.npz`` and ``test.npz``: a folder for each class.

    Args:
        folder: gets ``train/airplane/00000.jpg`` and so on.
        source: folder of the npz files: ``jpeg`` (all files one after another), ``offsets`` [N + 1], ``labels`` [N].
        limit: only the first so many images of each npz file.
    """
    for path in sorted(source.glob("*.npz")):
        part = path.stem.partition("_")[0]
        with np.load(path, allow_pickle=False) as arrays:
            content, offsets, labels = arrays["jpeg"].tobytes(), arrays["offsets"].tolist(), arrays["labels"].tolist()
        for number, (label, start, stop) in enumerate(
            zip(labels[:limit], offsets[:-1], offsets[1:], strict=limit is None)
        ):
            place = folder / part / CIFAR10_CLASSES[label] / f"{path.stem}_{number:05}.jpg"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content[start:stop])


if __name__ == "__main__":
    if len(sys.argv) == 2:
        write_made_data(Path(sys.argv[1]), train=6000, test=1000)
    else:
        write_class_folders(Path(sys.argv[1]), Path(sys.argv[2]))
