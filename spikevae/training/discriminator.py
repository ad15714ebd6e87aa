"""The discriminator of adversarial fine-tuning. Used in training only; not part of a released model."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm


class Verdict(NamedTuple):
    """What a discriminator says of N images."""

    scores: Tensor  # [N, H', W'], one for each patch; high for real
    logits: Tensor | None  # [N, K]
    features: list[Tensor]  # of each layer, [N, C_i, H_i, W_i]


class PatchDiscriminator(nn.Module):
    """An ordinary (not spiking) convolutional discriminator of image patches, spectrally normalised.

    It also names the class of an image, so that its features, in which reconstructions are compared with images, tell
    classes apart; and where a label is known, its scores depend on it (projection, Miyato & Koyama,
    arXiv:1802.05637).

    Args:
        image_channels: C.
        classes: K; 0 without labels.
        widths: feature maps of its layers; each but the last halves the image.
    """

    def __init__(self, image_channels: int, classes: int, widths: tuple[int, ...] = (48, 96, 128)) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = image_channels
        for depth, width in enumerate(widths):
            is_last = depth == len(widths) - 1
            kernel, stride = (3, 1) if is_last else (4, 2)
            convolution = nn.Conv2d(before, width, kernel, stride=stride, padding=1)
            layers.append(nn.Sequential(spectral_norm(convolution), nn.LeakyReLU(0.2)))
            before = width
        self.layers = nn.ModuleList(layers)
        self.score = spectral_norm(nn.Conv2d(before, 1, 3, padding=1))
        self.classify = nn.Linear(before, classes) if classes else None
        self.embed = spectral_norm(nn.Embedding(classes, before)) if classes else None

    def forward(self, x: Float[Tensor, "N C H W"], labels: Int[Tensor, " N"] | None) -> Verdict:
        """Scores of images in [0, 1]; ``labels`` is None where no image has one."""
        maps = (2.0 * x - 1.0).contiguous(memory_format=torch.channels_last)
        features = []
        for layer in self.layers:
            maps = layer(maps)
            features.append(maps)
        scores = self.score(maps)[:, 0]
        pooled = maps.mean(dim=(2, 3))
        if self.embed is not None and labels is not None:
            scores = scores + (self.embed(labels) * pooled).sum(dim=1)[:, None, None]
        return Verdict(scores, None if self.classify is None else self.classify(pooled), features)
