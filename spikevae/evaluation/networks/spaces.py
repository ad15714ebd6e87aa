"""The spaces that images are compared in: what each makes of an image, and what it needs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from spikevae.evaluation.features import Measure
from spikevae.evaluation.networks.bundle import Domain, NoNetworkError, prepared
from spikevae.evaluation.networks.extractors import Extractor, domain_extractor
from spikevae.evaluation.networks.inception import InceptionUnavailableError, inception_extractor
from spikevae.evaluation.networks.papers import IMAGE_SIZE
from spikevae.evaluation.settings import EvaluationConfig
from spikevae.registry import choose


@dataclass(frozen=True)
class SpaceRequest:
    """What a space may be opened with."""

    config: EvaluationConfig
    domain: Domain | None
    device: torch.device


def _domain_network(role: str) -> Callable[[SpaceRequest], Extractor]:
    def open_space(request: SpaceRequest) -> Extractor:
        if request.domain is None:
            raise NoNetworkError("neither --data nor --networks says which domain networks to compare in")
        return domain_extractor(role, request.domain, device=request.device)

    return open_space


def _inception(request: SpaceRequest) -> Extractor:
    config = request.config
    return inception_extractor(
        config.inception_weights,
        config.inception_sha256,
        resize_to_32=config.protocol == "paper",
        device=request.device,
    )


def edges(images: Tensor) -> dict[str, Tensor]:
    """How much edge there is in each image, pixels in [0, 1].

    Args:
        images: uint8 [N, 3, H, W].

    Returns:
        laplacian: [N], the mean absolute Laplacian.
        side: [N], the width in pixels.
    """
    kernel = torch.tensor([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]])[None, None]
    grey = images.float().mean(1, keepdim=True) / 255
    laplacian = conv2d(grey, kernel).abs().flatten(1).mean(1)
    return {"laplacian": laplacian, "side": torch.full((len(images),), images.shape[-1])}


def small_pixels(images: Tensor) -> dict[str, Tensor]:
    """Grey images as the papers' autoencoder takes them: pixels, float [N, 1, 32, 32] in [0, 1].

    Raises:
        ValueError: if an image has colours.
    """
    if bool((images != images[:, :1]).any()):
        raise ValueError("the papers' autoencoder takes grey images, these have colours; leave --fad-autoencoder out")
    return {"pixels": prepared(images[:, :1], 1, IMAGE_SIZE, antialias=True)}


SPACES: dict[str, Callable[[SpaceRequest], Measure]] = {
    "autoencoder": _domain_network("autoencoder"),
    "classifier": _domain_network("classifier"),
    "inception": _inception,
    "edges": lambda request: edges,
    "small pixels": lambda request: small_pixels,
}
"""By name, how to open a space: from a request to a function from images to named tables."""


def open_spaces(
    names: Iterable[str], config: EvaluationConfig, domain: Domain | None, device: torch.device
) -> tuple[dict[str, Measure], dict[str, str]]:
    """The spaces that can be had, and for each of the others why not.

    Raises:
        ValueError, OSError: if there is no space of a name, or a file or folder that was named cannot be used.
    """
    request = SpaceRequest(config, domain, device)
    found: dict[str, Measure] = {}
    missing: dict[str, str] = {}
    for name in names:
        try:
            found[name] = choose(SPACES, "space", name)(request)
        except (InceptionUnavailableError, NoNetworkError) as error:
            missing[name] = str(error)
    return found, missing
