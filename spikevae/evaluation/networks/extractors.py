"""Feature extractors for torch-fidelity: the domain networks, registered by name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch_fidelity import register_feature_extractor
from torch_fidelity.feature_extractor_base import FeatureExtractorBase
from torch_fidelity.utils import create_feature_extractor

from spikevae.evaluation.networks.bundle import Domain, bundled_networks, load_network, networks_folder, prepared

PREFIX = "spikevae-"


class _DomainExtractor(FeatureExtractorBase):  # type: ignore[misc]
    """A domain network as torch-fidelity wants it: uint8 [N, 3, H, W] in, a tuple of features [N, D] out.

    ``feature_extractor_weights_path`` is a folder of networks; without one, the bundled ones that the name ends in.
    """

    role: str

    def __init__(
        self, name: str, features_list: list[str], feature_extractor_weights_path: str | None = None, **_: Any
    ) -> None:
        super().__init__(name, features_list)
        dataset = name.removeprefix(f"{PREFIX}{self.role}").removeprefix("-")
        folder = None if feature_extractor_weights_path is None else Path(feature_extractor_weights_path)
        self.domain = load_network(networks_folder(Domain(dataset, folder)), self.role)
        self.network: Any = self.domain.network

    def prepare(self, x: Tensor) -> Tensor:
        return prepared(x, self.domain.image_channels, self.domain.image_size)

    @staticmethod
    def can_be_compiled() -> bool:
        return False


class AutoencoderExtractor(_DomainExtractor):
    """Latents of the Fréchet autoencoder distance."""

    role = "autoencoder"

    @staticmethod
    def get_provided_features_list() -> tuple[str, ...]:
        return ("latent",)

    @staticmethod
    def get_default_feature_layer_for_metric(metric: str) -> str:
        return "latent"

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return (self.network.encode(self.prepare(x)),)


class ClassifierExtractor(_DomainExtractor):
    """Features and scores of the domain classifier."""

    role = "classifier"

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


for _class in (AutoencoderExtractor, ClassifierExtractor):
    register_feature_extractor(f"{PREFIX}{_class.role}", _class)
    for _dataset in bundled_networks():
        register_feature_extractor(f"{PREFIX}{_class.role}-{_dataset}", _class)


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
    device: torch.device
    """Where it computes."""

    @property
    def about(self) -> dict[str, Any]:
        """What a `Score` says of the network that it was measured with."""
        return {"extractor": self.name, "weights_hash": self.weights_hash, "image_size": self.resizing}

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """Features [N, D] float32 by layer, on the CPU, of images uint8 [N, 3, H, W]."""
        with torch.inference_mode():
            features = self.module(images.to(self.device))
        named: dict[str, Tensor] = self.module.convert_features_tuple_to_dict(features)
        return {layer: value.cpu() for layer, value in named.items()}


def domain_extractor(role: str, domain: Domain, *, device: torch.device | None = None) -> Extractor:
    """The autoencoder's or classifier's extractor of a domain.

    Args:
        role: autoencoder or classifier.
        domain: whose networks.
        device: where it computes; None for the CPU.

    Raises:
        NoNetworkError: if there is no such network for this data.
    """
    path = networks_folder(domain)
    network = load_network(path, role)
    name = f"{PREFIX}{role}" + ("" if domain.folder is not None else f"-{domain.name}")
    layers = ["latent"] if role == "autoencoder" else ["features", "logits"]
    module = create_feature_extractor(name, layers, cuda=False, feature_extractor_weights_path=str(path), verbose=False)
    where = device or torch.device("cpu")
    resizing = f"bilinear to {network.image_size}x{network.image_size}"
    return Extractor(name, network.weights_hash, resizing, module.to(where), where)
