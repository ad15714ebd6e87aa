"""Feature extractors for torch-fidelity: our meters, registered by name, and its own Inception with checked weights."""

from __future__ import annotations

import logging
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from torch import Tensor
from torch_fidelity import FeatureExtractorInceptionV3, register_feature_extractor
from torch_fidelity.feature_extractor_base import FeatureExtractorBase
from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3
from torch_fidelity.utils import create_feature_extractor

from spikevae.evaluation.networks.bundle import bundled_meters, hash_file, load_meter, meter_folder, to_meter_input

logger = logging.getLogger(__name__)

OFFICIAL_INCEPTION = "6726825d"
"""First digits of the SHA-256 of torch-fidelity's Inception weights; its file name ends in them."""
_DOWNLOAD_TIMEOUT = 20.0  # seconds without an answer
_PREFIX = "spikevae-"


class InceptionUnavailableError(RuntimeError):
    """The Inception weights could not be had; the message says why and what to do."""


class _MeterExtractor(FeatureExtractorBase):  # type: ignore[misc]
    """One of our meters as torch-fidelity wants it: uint8 [N, 3, H, W] in, a tuple of features [N, D] out.

    ``feature_extractor_weights_path`` is a folder of meters; without one, the bundled meters that the name ends in.
    """

    kind: str

    def __init__(
        self, name: str, features_list: list[str], feature_extractor_weights_path: str | None = None, **_: Any
    ) -> None:
        super().__init__(name, features_list)
        dataset = name.removeprefix(f"{_PREFIX}{self.kind}").removeprefix("-")
        folder = None if feature_extractor_weights_path is None else Path(feature_extractor_weights_path)
        self.meter = load_meter(meter_folder(dataset, folder), self.kind)
        self.network: Any = self.meter.network

    def prepare(self, x: Tensor) -> Tensor:
        return to_meter_input(x, self.meter.image_channels, self.meter.image_size)

    @staticmethod
    def can_be_compiled() -> bool:
        return False


class AutoencoderExtractor(_MeterExtractor):
    """Latents of the Fréchet autoencoder distance."""

    kind = "autoencoder"

    @staticmethod
    def get_provided_features_list() -> tuple[str, ...]:
        return ("latent",)

    @staticmethod
    def get_default_feature_layer_for_metric(metric: str) -> str:
        return "latent"

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return (self.network.encode(self.prepare(x)),)


class ClassifierExtractor(_MeterExtractor):
    """Features and scores of the domain classifier."""

    kind = "classifier"

    @staticmethod
    def get_provided_features_list() -> tuple[str, ...]:
        return ("features", "logits")

    @staticmethod
    def get_default_feature_layer_for_metric(metric: str) -> str:
        return "logits" if metric == "isc" else "features"

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        features = self.network.features(self.prepare(x))
        found = {"features": features, "logits": self.network.scores(features)}
        return tuple(found[name] for name in self.features_list)


class ResizedInception(FeatureExtractorInceptionV3):  # type: ignore[misc]
    """Inception after the papers' resizing: images are brought to 32x32 first (bilinear), rounded to uint8 again."""

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        resized = (to_meter_input(x, 3, 32) * 255).round().to(torch.uint8)
        features: tuple[Tensor, ...] = super().forward(resized)
        return features


for _class in (AutoencoderExtractor, ClassifierExtractor):
    register_feature_extractor(f"{_PREFIX}{_class.kind}", _class)
    for _dataset in bundled_meters():
        register_feature_extractor(f"{_PREFIX}{_class.kind}-{_dataset}", _class)
register_feature_extractor(f"{_PREFIX}inception-32", ResizedInception)


@dataclass(frozen=True)
class Extractor:
    """A network that turns images into features, with what a reader must know of it."""

    name: str
    """As registered with torch-fidelity."""
    weights_hash: str
    """SHA-256 of the weights' file."""
    resizing: str
    """What happens to the size of the images before the network, in words."""
    module: Any
    """torch-fidelity's FeatureExtractorBase: uint8 [N, 3, H, W] to a tuple of [N, D]."""

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """Features [N, D] float32 by layer, on the CPU, of images uint8 [N, 3, H, W]."""
        with torch.inference_mode():
            features = self.module(images.to(_device()))
        named: dict[str, Tensor] = self.module.convert_features_tuple_to_dict(features)
        return {layer: value.cpu() for layer, value in named.items()}


def meter_extractor(kind: str, dataset: str, folder: Path | None = None) -> Extractor:
    """The autoencoder's or classifier's extractor for a data set.

    Args:
        kind: autoencoder or classifier.
        dataset: the data set's name.
        folder: where its meters lie; None for the bundled ones.

    Raises:
        FileNotFoundError: if there are no meters for this data.
    """
    path = meter_folder(dataset, folder)
    meter = load_meter(path, kind)
    name = f"{_PREFIX}{kind}" + ("" if folder is not None else f"-{dataset}")
    layers = ["latent"] if kind == "autoencoder" else ["features", "logits"]
    module = create_feature_extractor(
        name, layers, cuda=torch.cuda.is_available(), feature_extractor_weights_path=str(path), verbose=False
    )
    return Extractor(name, meter.weights_hash, f"bilinear to {meter.image_size}x{meter.image_size}", module)


def inception_extractor(weights: Path | None, expected_hash: str | None, *, resize_to_32: bool) -> Extractor:
    """torch-fidelity's Inception, with weights from a file, from torch's cache, or from torch-fidelity's download.

    Args:
        weights: file of weights, or None for the cache and then the download.
        expected_hash: at least 8 first digits of the file's SHA-256; None for torch-fidelity's own weights.
        resize_to_32: bring images to 32x32 first, as the papers do.

    Raises:
        InceptionUnavailableError: if there are no weights and they cannot be downloaded.
        FileNotFoundError: if ``weights`` is not there.
        ValueError: if the file is not the expected one: it is not read then, because reading it could run code.
    """
    expected = OFFICIAL_INCEPTION if expected_hash is None else expected_hash.lower()
    if not re.fullmatch("[0-9a-f]{8,64}", expected):
        raise ValueError(f"inception_sha256={expected_hash!r}: give at least 8 hexadecimal digits of a SHA-256")
    file = weights if weights is not None else _download()
    if not file.is_file():
        raise FileNotFoundError(f"inception_weights={file} does not exist")
    found = hash_file(file)
    if not found.startswith(expected):
        raise ValueError(
            f"{file} has SHA-256 {found[:16]}…, not {expected}…: these are not the expected Inception weights and were "
            f"not read; get {URL_INCEPTION_V3}, or name the hash you trust with --inception-sha256"
        )
    # torch-fidelity unpickles without restriction, so first see that the file holds nothing but tensors.
    torch.load(file, map_location="cpu", weights_only=True)
    name = f"{_PREFIX}inception-32" if resize_to_32 else "inception-v3-compat"
    module = create_feature_extractor(
        name,
        ["2048", "logits_unbiased"],
        cuda=torch.cuda.is_available(),
        feature_extractor_weights_path=str(file),
        verbose=False,
    )
    label = name if found.startswith(OFFICIAL_INCEPTION) else f"{name} with OTHER WEIGHTS than the published ones"
    resizing = ("bilinear to 32x32, then " if resize_to_32 else "") + "bilinear to 299x299 as in TensorFlow 1"
    return Extractor(label, found, resizing, module)


def _download() -> Path:
    folder = Path(str(torch.hub.get_dir())) / "checkpoints"
    file: Path = folder / str(URL_INCEPTION_V3).rpartition("/")[2]
    if file.is_file():
        return file
    folder.mkdir(parents=True, exist_ok=True)
    logger.info("downloading %s to %s", URL_INCEPTION_V3, file)
    try:
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


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
