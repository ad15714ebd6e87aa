"""The files of each data set: found in the data root, downloaded where they are not, read or listed.

torchvision is imported where it is needed alone, since that takes longer than to read most files.
"""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from spikevae.config import Split
from spikevae.data.folders import list_pictures
from spikevae.data.image_files import ImageFile
from spikevae.files import open_regular

_LARGEST_IDX = 2**28  # bytes; the official files have 47 million
_CELEBA_FOLDERS = ("celeba", "CelebA", "celeba-dataset", "archive", "")


def read_mnist_family(
    folder: Literal["FashionMNIST", "MNIST"], root: Path, is_test: bool
) -> tuple[UInt8[Tensor, "N 1 28 28"], Int64[Tensor, " N"]]:
    """Images and labels from the official IDX files, packed or unpacked, in ``root/folder/raw``.

    Read here and not by torchvision, which unpacks beside the files and so fails on a root that is read-only.
    """
    raw = root / folder / "raw"
    stem = "t10k" if is_test else "train"
    names = [f"{stem}-images-idx3-ubyte", f"{stem}-labels-idx1-ubyte"]
    missing = [name for name in names if not (raw / name).exists() and not (raw / f"{name}.gz").exists()]
    if missing:
        from torchvision import datasets

        dataset = getattr(datasets, folder)
        advice = f"put {missing[0]}.gz into {raw}, from {dataset.mirrors[0]}{missing[0]}.gz"
        _download(lambda: dataset(root, download=True), raw / f"{missing[0]}.gz", advice)
    pixels, labels = (_read_idx(raw, name, dimensions) for name, dimensions in zip(names, (3, 1), strict=True))
    if len(pixels) != len(labels) or pixels.shape[1:] != (28, 28) or labels.max() > 9:
        raise ValueError(
            f"{raw / names[0]} and {names[1]} do not belong together: images {list(pixels.shape)}, "
            f"labels {list(labels.shape)} up to {int(labels.max())}; expected [N, 28, 28] and [N] up to 9"
        )
    return pixels.unsqueeze(1), labels.to(torch.int64)


def read_cifar10(root: Path, is_test: bool) -> tuple[UInt8[Tensor, "N 3 32 32"], Int64[Tensor, " N"]]:
    """Images and labels from the official Python batches in ``root/cifar-10-batches-py``."""
    return _read_cifar("CIFAR10", root, is_test)


def read_cifar100(root: Path, is_test: bool) -> tuple[UInt8[Tensor, "N 3 32 32"], Int64[Tensor, " N"]]:
    """Images and fine labels from the official Python batches in ``root/cifar-100-python``."""
    return _read_cifar("CIFAR100", root, is_test)


def _read_cifar(
    name: Literal["CIFAR10", "CIFAR100"], root: Path, is_test: bool
) -> tuple[UInt8[Tensor, "N 3 32 32"], Int64[Tensor, " N"]]:
    """Official batches. They are pickles: torchvision opens them only after their MD5 sums are found right."""
    from torchvision import datasets
    from torchvision.datasets.utils import check_integrity

    dataset = getattr(datasets, name)
    parts = [(root / dataset.base_folder / name, md5) for name, md5 in dataset.train_list + dataset.test_list]
    for path, md5 in [*parts, (root / dataset.filename, dataset.tgz_md5)]:
        if path.exists() and not check_integrity(path, md5):
            raise ValueError(f"{path} is truncated or not the official file; delete it and get it again")
    missing = next((path for path, _ in parts if not path.exists()), None)
    if missing:
        advice = f"put {dataset.filename} into {root}, from {dataset.url}"
        _download(lambda: dataset(root, download=True), missing, advice)
    try:
        images = dataset(root, train=not is_test)
    except RuntimeError as error:  # the list of class names, the one part that is not checked above
        meta = root / dataset.base_folder / dataset.meta["filename"]
        raise ValueError(f"{meta} is missing or damaged") from error
    return torch.from_numpy(images.data).permute(0, 3, 1, 2).contiguous(), torch.tensor(images.targets)


def list_celeba(root: Path, split: Split) -> list[ImageFile]:
    """The aligned and cropped images of one of CelebA's own three splits.

    Read are the layouts of the authors' download, of torchvision and of Kaggle's copies: the list of parts as text or
    as CSV; the images in a folder, in a folder of the same name inside it, or still in their zip file.
    """
    places = [root / name / part for name in _CELEBA_FOLDERS for part in ("", "Img", "Eval")]
    partition = _first(places, ("list_eval_partition.txt", "list_eval_partition.csv"))
    images = _first(places, ("img_align_celeba/img_align_celeba", "img_align_celeba", "img_align_celeba.zip"))
    if partition is None or images is None:
        from torchvision import datasets

        folder = root / datasets.CelebA.base_folder
        advice = (
            f"get img_align_celeba.zip and list_eval_partition.txt from "
            f"http://mmlab.ie.cuhk.edu.hk/projects/CelebA.html and put both into {folder}"
        )
        missing = folder / ("img_align_celeba.zip" if images is None else "list_eval_partition.txt")
        _download(lambda: datasets.CelebA(os.fspath(root), download=True), missing, advice)
        return list_celeba(root, split)
    with open_regular(partition) as file:
        text = file.read(2**26).decode(errors="replace")
    lines = [line.replace(",", " ").split() for line in text.splitlines() if line.strip()]
    lines = lines[1:] if lines[:1] == [["image_id", "partition"]] else lines
    if not lines or not all(len(line) == 2 and line[1] in ("0", "1", "2") for line in lines):
        raise ValueError(f"{partition} is damaged: expected lines such as '000001.jpg 0'; get it again")
    present = {file.path.name if not file.member else Path(file.member).name: file for file in list_pictures(images)}
    absent = next((name for name, _ in lines if name not in present), None)
    if absent:
        raise ValueError(f"{absent} is missing in {images}, but {partition.name} names it; get the images again")
    wanted = str(("train", "validation", "test").index(split))
    return [present[name] for name, number in lines if number == wanted]


def _first(folders: list[Path], names: tuple[str, ...]) -> Path | None:
    """The first of some names that is in one of some folders, earlier folders first."""
    return next((folder / name for folder in folders for name in names if (folder / name).exists()), None)


def _read_idx(folder: Path, name: str, dimensions: int) -> UInt8[Tensor, "*shape"]:
    """A tensor from an IDX file: 0, 0, type 8 (bytes), the dimensions as big-endian uint32, then the bytes."""
    path = folder / name if (folder / name).exists() else folder / f"{name}.gz"
    header = 4 + 4 * dimensions
    try:
        with open_regular(path) as file, gzip.open(file) if path.suffix == ".gz" else file as stream:
            content = stream.read(header)
            if len(content) < header or content[:4] != bytes((0, 0, 8, dimensions)):
                raise ValueError(
                    f"{path} is not an IDX file of {dimensions}-dimensional bytes; delete it and get it again"
                )
            shape = struct.unpack(f">{dimensions}I", content[4:])
            promised = math.prod(shape)
            if promised > _LARGEST_IDX:
                raise ValueError(f"{path} has the shape {list(shape)}, more than any file of this format; get it again")
            values = bytearray(stream.read(promised + 1))
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path} is truncated or no gzip file ({error}); delete it and get it again") from error
    if len(values) != promised or not promised:
        found = "more" if len(values) > promised else f"{len(values):,}"
        raise ValueError(
            f"{path} holds {found} bytes, but its header promises {promised:,}; delete it and get it again"
        )
    return torch.frombuffer(values, dtype=torch.uint8).reshape(shape)


def _download(fetch: Callable[[], object], missing: Path, advice: str) -> None:
    try:
        fetch()
    except Exception as error:  # the libraries that torchvision downloads by raise errors of their own kinds
        lines = str(error).strip().splitlines()
        reason = lines[-1] if lines else type(error).__name__
        raise FileNotFoundError(f"{missing} is missing and the download failed ({reason}); {advice}") from error
