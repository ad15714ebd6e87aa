"""The files of each data set: found in the data root, downloaded where they are not, read or listed."""

from __future__ import annotations

import gzip
import io
import math
import os
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor
from torchvision import datasets
from torchvision.datasets.utils import check_integrity, extract_archive

from spikevae.config import Split
from spikevae.data.images import IMAGE_SUFFIXES, read_image


@dataclass(frozen=True, order=True)
class ImageFile:
    """An image file on its own, or one that is a stretch of a tar file."""

    path: Path
    member: str = ""
    offset: int = 0
    length: int = 0

    def read(
        self, channels: Literal[1, 3], size: int, crop: int | None = None
    ) -> UInt8[Tensor, "{channels} {size} {size}"]:
        """Decode it, as `read_image` does."""
        if not self.member:
            return read_image(self.path, channels=channels, size=size, crop=crop)
        with self.path.open("rb") as file:
            file.seek(self.offset)
            content = io.BytesIO(file.read(self.length))
        return read_image(content, channels=channels, size=size, crop=crop, name=f"{self.path}: {self.member}")


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
    """Images and labels from the official Python batches in ``root/cifar-10-batches-py``.

    They are pickles: torchvision opens them only after their MD5 sums are found right.
    """
    dataset = datasets.CIFAR10
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
        raise ValueError(f"{root / dataset.base_folder / 'batches.meta'} is missing or damaged") from error
    return torch.from_numpy(images.data).permute(0, 3, 1, 2).contiguous(), torch.tensor(images.targets)


def read_cifar10_jpeg(root: Path, is_test: bool) -> tuple[UInt8[Tensor, "N 3 32 32"], Int64[Tensor, " N"]]:
    """Images and labels from ``root/cifar10_jpeg``: a lossy copy, whose scores are not those of CIFAR10.

    Each npz file holds ``jpeg`` (all files one after another), ``offsets`` [N + 1] and ``labels`` [N].
    """
    images, labels = [], []
    for name in ["test.npz"] if is_test else ["train_0.npz", "train_1.npz"]:
        path = root / "cifar10_jpeg" / name
        if not path.exists():
            raise FileNotFoundError(f"{path} is missing; this copy is not downloaded, put it there")
        try:
            with path.open("rb") as file:
                arrays = np.load(file, allow_pickle=False)
                content, offsets = arrays["jpeg"].tobytes(), arrays["offsets"].tolist()
                labels.append(torch.from_numpy(arrays["labels"].astype(np.int64)))
        except (ValueError, LookupError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise ValueError(f"{path} is truncated or not of this format ({error})") from error
        for number, (start, stop) in enumerate(pairwise(offsets)):
            stretch = io.BytesIO(content[start:stop])
            images.append(read_image(stretch, channels=3, size=32, name=f"{path}: image {number}"))
    return torch.stack(images), torch.cat(labels)


def list_celeba(root: Path, split: Split) -> list[ImageFile]:
    """The aligned and cropped images of one of CelebA's own three splits, in ``root/celeba``."""
    folder = root / datasets.CelebA.base_folder
    images, archive, partition = (
        folder / name for name in ("img_align_celeba", "img_align_celeba.zip", "list_eval_partition.txt")
    )
    if not partition.exists() or not (images.exists() or archive.exists()):
        advice = (
            f"get img_align_celeba.zip and list_eval_partition.txt from "
            f"http://mmlab.ie.cuhk.edu.hk/projects/CelebA.html and put both into {folder}"
        )
        missing = partition if images.exists() or archive.exists() else archive
        _download(lambda: datasets.CelebA(os.fspath(root), download=True), missing, advice)
    if not images.exists():
        try:
            extract_archive(archive, folder)
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise ValueError(f"{archive} is truncated or no zip file; delete it and get it again") from error
    wanted = str(("train", "validation", "test").index(split))
    lines = [line.split() for line in partition.read_text(errors="replace").splitlines() if line.strip()]
    if not all(len(line) == 2 and line[1] in "012" for line in lines):
        raise ValueError(f"{partition} is damaged: expected lines such as '000001.jpg 0'; get it again")
    present = {entry.name for entry in os.scandir(images)}
    absent = next((name for name, _ in lines if name not in present), None)
    if absent:
        raise ValueError(f"{images / absent} is missing; delete {images} and unpack {archive.name} again")
    return [ImageFile(images / name) for name, number in lines if number == wanted]


def list_folder(path: Path) -> tuple[list[ImageFile], list[ImageFile] | None]:
    """Images for training and for testing in a folder, at any depth, or in an uncompressed tar file.

    Where the folder holds ``train`` and ``test`` (folders or tar files), or is itself a ``train`` beside a ``test``,
    these are the two parts; otherwise the second is None. Hidden files, and those without an image's suffix, are
    passed over; the order is that of the names.
    """
    if not path.exists():
        raise FileNotFoundError(f"folder:{path}: there is no such folder")
    train, test = _child(path, "train"), _child(path, "test")
    if train and test:
        return _list_images(train), _list_images(test)
    if path.name in ("train", "train.tar") and (test := _child(path.parent, "test")):
        return _list_images(path), _list_images(test)
    return _list_images(path), None


def _child(folder: Path, name: str) -> Path | None:
    candidates = (folder / name, folder / f"{name}.tar")
    return next((candidate for candidate in candidates if candidate.exists()), None)


def _list_images(path: Path) -> list[ImageFile]:
    if path.is_dir():
        files = [
            ImageFile(Path(folder) / name)
            for folder, _, names in os.walk(path)
            for name in names
            if _is_image(os.path.relpath(os.path.join(folder, name), path))
        ]
    else:
        try:
            with tarfile.open(path, "r:") as archive:
                files = [
                    ImageFile(path, member.name, member.offset_data, member.size)
                    for member in archive
                    if member.isfile() and _is_image(member.name)
                ]
        except tarfile.TarError as error:
            raise ValueError(f"{path} is neither a folder nor a whole, uncompressed tar file ({error})") from error
    if not files:
        raise ValueError(f"{path} holds no images (files such as .png, .jpg, .webp)")
    return sorted(files)


def _is_image(name: str) -> bool:
    parts = Path(name).parts
    return Path(name).suffix.lower() in IMAGE_SUFFIXES and not any(part[0] == "." and part != "." for part in parts)


def _read_idx(folder: Path, name: str, dimensions: int) -> UInt8[Tensor, "*shape"]:
    """A tensor from an IDX file: 0, 0, type 8 (bytes), the dimensions as big-endian uint32, then the bytes."""
    path = folder / name if (folder / name).exists() else folder / f"{name}.gz"
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path} is truncated or no gzip file ({error}); delete it and get it again") from error
    header = 4 + 4 * dimensions
    if len(content) < header or content[:4] != bytes((0, 0, 8, dimensions)):
        raise ValueError(f"{path} is not an IDX file of {dimensions}-dimensional bytes; delete it and get it again")
    shape = struct.unpack(f">{dimensions}I", content[4:header])
    if len(content) != header + math.prod(shape) or 0 in shape:
        raise ValueError(
            f"{path} holds {len(content) - header:,} bytes, but its header promises {math.prod(shape):,}; "
            "delete it and get it again"
        )
    return torch.frombuffer(bytearray(content), dtype=torch.uint8, offset=header).reshape(shape)


def _download(fetch: Callable[[], object], missing: Path, advice: str) -> None:
    try:
        fetch()
    except Exception as error:  # the libraries that torchvision downloads by raise errors of their own kinds
        lines = str(error).strip().splitlines()
        reason = lines[-1] if lines else type(error).__name__
        raise FileNotFoundError(f"{missing} is missing and the download failed ({reason}); {advice}") from error
