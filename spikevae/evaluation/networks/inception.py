"""torch-fidelity's Inception with checked weights, from a file, torch's cache or its download."""

from __future__ import annotations

import logging
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError

import torch
from torch import Tensor
from torch_fidelity import FeatureExtractorInceptionV3, register_feature_extractor
from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3
from torch_fidelity.utils import create_feature_extractor

from spikevae.evaluation.networks.bundle import prepared
from spikevae.evaluation.networks.extractors import PREFIX, Extractor
from spikevae.evaluation.networks.weights import read_weights
from spikevae.evaluation.scores import OTHER_WEIGHTS
from spikevae.files import hash_file

logger = logging.getLogger(__name__)

OFFICIAL_INCEPTION = "6726825d"
"""First digits of the SHA-256 of torch-fidelity's Inception weights; its file name ends in them."""
_DOWNLOAD_TIMEOUT = 20.0  # seconds without an answer
_LAYERS = ["2048", "logits_unbiased"]


class InceptionUnavailableError(RuntimeError):
    """The Inception weights could not be had; the message says why and what to do."""


class ResizedInception(FeatureExtractorInceptionV3):  # type: ignore[misc]
    """Inception after the papers' resizing: images are brought to 32x32 first (bilinear) and rounded to uint8."""

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        resized = (prepared(x, 3, 32) * 255).round().to(torch.uint8)
        features: tuple[Tensor, ...] = super().forward(resized)
        return features


register_feature_extractor(f"{PREFIX}inception-32", ResizedInception)


def inception_extractor(
    weights: Path | None, expected_hash: str | None, *, resize_to_32: bool, device: torch.device
) -> Extractor:
    """torch-fidelity's Inception, with weights from a file, from torch's cache, or from torch-fidelity's download.

    Args:
        weights: file of weights, or None for the cache and then the download.
        expected_hash: at least 8 first digits of the file's SHA-256; None for torch-fidelity's own weights.
        resize_to_32: bring images to 32x32 first, as the papers do.
        device: where it computes.

    Raises:
        InceptionUnavailableError: if there are no weights and they cannot be downloaded.
        FileNotFoundError: if ``weights`` is not there.
        ValueError: if the file is not the expected one: it is not read then, because reading it could run code.
    """
    expected = OFFICIAL_INCEPTION if expected_hash is None else expected_hash.lower()
    if not re.fullmatch("[0-9a-f]{8,64}", expected):
        raise ValueError(f"inception_sha256={expected_hash!r}: give at least 8 hexadecimal digits of a SHA-256")
    file = weights if weights is not None else _download()
    if not file.exists():
        raise FileNotFoundError(f"inception_weights={file} does not exist")
    found = hash_file(file)
    if not found.startswith(expected):
        raise ValueError(
            f"{file} has SHA-256 {found[:16]}…, not {expected}…: these are not the expected Inception weights and were "
            f"not read; get {URL_INCEPTION_V3}, or name the hash you trust with --inception-sha256"
        )
    # torch-fidelity unpickles without restriction, so first see that the file holds nothing but tensors.
    read_weights(file)
    name = f"{PREFIX}inception-32" if resize_to_32 else "inception-v3-compat"
    try:
        module = create_feature_extractor(
            name, _LAYERS, cuda=False, feature_extractor_weights_path=str(file), verbose=False
        )
    except (RuntimeError, KeyError) as error:
        raise ValueError(f"{file} does not fit Inception: {str(error).splitlines()[0]}") from error
    label = name if found.startswith(OFFICIAL_INCEPTION) else f"{name} with {OTHER_WEIGHTS} than the published ones"
    resizing = ("bilinear to 32x32, then " if resize_to_32 else "") + "bilinear to 299x299 as in TensorFlow 1"
    return Extractor(label, found, resizing, module.to(device), device)


def _download() -> Path:
    folder = Path(str(torch.hub.get_dir())) / "checkpoints"
    file: Path = folder / str(URL_INCEPTION_V3).rpartition("/")[2]
    if file.is_file():
        return file
    logger.info("downloading %s to %s", URL_INCEPTION_V3, file)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _timeout():
            torch.hub.download_url_to_file(URL_INCEPTION_V3, str(file), hash_prefix=OFFICIAL_INCEPTION, progress=True)
    except (URLError, OSError, RuntimeError) as error:
        raise InceptionUnavailableError(
            f"the Inception weights could not be downloaded ({error}), give --inception-weights"
        ) from error
    return file


@contextmanager
def _timeout() -> Iterator[None]:
    # torch's downloader takes no time limit of its own, and a silent network would hold the command for ever.
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_DOWNLOAD_TIMEOUT)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
