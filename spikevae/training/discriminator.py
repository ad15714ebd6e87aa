"""The discriminator of adversarial fine-tuning. Used in training only; not part of a released model."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

_WIDTHS = (64, 128, 256)  # feature maps of the layers of patches; each but the last halves the image
_GROUP = 4  # images whose variety is compared
_SIDE = 4  # height and width of the maps of the judgement of a whole image


class Verdict(NamedTuple):
    """What a discriminator says of N images."""

    patches: Tensor  # [N, H', W'], scores, one for each patch; high for real
    whole: Tensor  # [N], the scores of whole images
    logits: Tensor | None  # [N, K]
    features: list[Tensor]  # of each layer of patches, [N, C_i, H_i, W_i]


class Discriminator(nn.Module):
    """An ordinary (not spiking) convolutional discriminator of patches and of whole images, spectrally normalised.

    It also names the class of an image, so that its features, in which reconstructions are compared with images, tell
    classes apart; and where a label is known, its scores depend on it (projection, Miyato & Koyama,
    arXiv:1802.05637). The judgement of a whole image sees how much a few images differ, so that images which are all
    alike give themselves away (minibatch deviation, Karras et al., arXiv:1710.10196).

    Args:
        image_channels: C.
        classes: K; 0 without labels.
    """

    def __init__(self, image_channels: int, classes: int) -> None:
        super().__init__()
        layers = []
        before = image_channels
        for depth, width in enumerate(_WIDTHS):
            is_last = depth == len(_WIDTHS) - 1
            layers.append(_layer(before, width, *((3, 1) if is_last else (4, 2))))
            before = width
        self.layers = nn.ModuleList(layers)
        self.score = spectral_norm(nn.Conv2d(before, 1, 3, padding=1))
        self.classify = nn.Linear(before, classes) if classes else None
        self.embed = spectral_norm(nn.Embedding(classes, before)) if classes else None
        self.summary = nn.Sequential(
            _layer(before + 1, before, 3, 2),
            _layer(before, before, 3, 1),
            nn.AdaptiveAvgPool2d(_SIDE),
            nn.Flatten(),
            spectral_norm(nn.Linear(before * _SIDE**2, before)),
            nn.LeakyReLU(0.2),
        )
        self.score_whole = spectral_norm(nn.Linear(before, 1))
        self.embed_whole = spectral_norm(nn.Embedding(classes, before)) if classes else None

    def forward(self, x: Float[Tensor, "N C H W"], labels: Int[Tensor, " N"] | None) -> Verdict:
        """Scores of images in [0, 1]; ``labels`` is None where no image has one."""
        maps = (2.0 * x - 1.0).contiguous(memory_format=torch.channels_last)
        features = []
        for layer in self.layers:
            maps = layer(maps)
            features.append(maps)
        pooled = maps.mean(dim=(2, 3))
        summary = self.summary(torch.cat([maps, _variety(maps)], dim=1))
        patches, whole = self.score(maps)[:, 0], self.score_whole(summary)[:, 0]
        if self.embed is not None and self.embed_whole is not None and labels is not None:
            patches = patches + (self.embed(labels) * pooled).sum(dim=1)[:, None, None]
            whole = whole + (self.embed_whole(labels) * summary).sum(dim=1)
        logits = None if self.classify is None else self.classify(pooled)
        return Verdict(patches.float(), whole.float(), logits, features)


def _layer(before: int, width: int, kernel: int, stride: int) -> nn.Sequential:
    return nn.Sequential(spectral_norm(nn.Conv2d(before, width, kernel, stride, padding=1)), nn.LeakyReLU(0.2))


def _variety(maps: Float[Tensor, "N C H W"]) -> Float[Tensor, "N 1 H W"]:
    """Mean standard deviation of the features of a few images beside each other, the same everywhere."""
    size = _GROUP if len(maps) % _GROUP == 0 else len(maps)
    groups = maps.float().permute(0, 2, 3, 1).unflatten(0, (-1, size))  # [G, n, H, W, C], as they lie in memory
    variance = (groups - groups.mean(dim=1, keepdim=True)).square().mean(dim=1)
    deviation = (variance + 1e-4).sqrt().mean(dim=(1, 2, 3)).repeat_interleave(size)
    everywhere: Tensor = deviation.to(maps.dtype)[:, None, None, None].expand(-1, 1, *maps.shape[2:])
    return everywhere
