"""The autoencoder in whose latent space the Fréchet autoencoder distance (FAD) is measured."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor, nn


@dataclass(frozen=True)
class AutoencoderConfig:
    """The network's shape.

    Raises:
        ValueError: if the image cannot be halved once per width.
    """

    image_channels: int = 1
    """1 for grey images, 3 for RGB."""
    image_size: int = 32
    """Height and width that images are brought to first, in pixels."""
    latent_size: int = 64
    """Latent units: the papers' 64 for grey images, 128 for RGB."""
    widths: tuple[int, ...] = (32, 64, 128, 256)
    """Feature maps of each stage, of which every one halves the image."""

    def __post_init__(self) -> None:
        if self.image_size % 2 ** len(self.widths):
            raise ValueError(
                f"image_size={self.image_size} cannot be halved {len(self.widths)} times (once per entry of "
                f"widths={self.widths}); use a multiple of {2 ** len(self.widths)}"
            )


class Autoencoder(nn.Module):
    """The papers' ordinary (not spiking) autoencoder: strided convolutions, a linear layer, and their mirror.

    Nothing fixes the scale of its latent space, so distances compare only where the same weights measured them.

    Source: Kamata et al., Fully Spiking Variational Autoencoder, arXiv:2110.00375, and its published code, which
    trains it for 150 epochs of AdamW on the mean squared error.
    """

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        self.config = config
        self.lowest_size = config.image_size // 2 ** len(config.widths)
        flat_size = config.widths[-1] * self.lowest_size**2
        downwards = (config.image_channels, *config.widths)
        upwards = (*config.widths[::-1], config.widths[0])
        self.encoder = nn.Sequential(*(halving(a, b) for a, b in pairwise(downwards)))
        self.to_latent = nn.Linear(flat_size, config.latent_size)
        self.from_latent = nn.Linear(config.latent_size, flat_size)
        self.decoder = nn.Sequential(
            *(_up(a, b) for a, b in pairwise(upwards)),
            nn.Conv2d(config.widths[0], config.image_channels, 3, padding=1),
            nn.Tanh(),
        )

    def encode(self, x: Tensor) -> Tensor:
        """Latents [N, L] of images ``x`` [N, C, H, W] in [0, 1], H and W as configured."""
        latent: Tensor = self.to_latent(self.encoder(2 * x - 1).flatten(1))
        return latent

    def decode(self, latent: Tensor) -> Tensor:
        """Images [N, C, H, W] in [0, 1] from latents [N, L]."""
        x = self.from_latent(latent).unflatten(1, (-1, self.lowest_size, self.lowest_size))  # [N, C, H/2^k, W/2^k]
        reconstruction: Tensor = (self.decoder(x) + 1) / 2
        return reconstruction

    def forward(self, x: Tensor) -> Tensor:
        """Reconstruction [N, C, H, W] in [0, 1]."""
        return self.decode(self.encode(x))

    def loss(self, x: Tensor, labels: Tensor) -> Tensor:
        """Mean squared error on the [-1, 1] scale; ``labels`` are not looked at."""
        return nn.functional.mse_loss(2 * self(x).float(), 2 * x)

    def test_score(self, x: Tensor, labels: Tensor) -> Tensor:
        """Mean squared error [N] of each image on the [-1, 1] scale."""
        errors: Tensor = (2 * self(x) - 2 * x).square().flatten(1).mean(1)
        return errors


def halving(in_channels: int, out_channels: int) -> nn.Module:
    """A stage of the encoder, which halves the image."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, stride=2, padding=1),
        nn.BatchNorm2d(out_channels),
        nn.LeakyReLU(),
    )


def _up(in_channels: int, out_channels: int) -> nn.Module:
    return nn.Sequential(
        nn.ConvTranspose2d(in_channels, out_channels, 3, stride=2, padding=1, output_padding=1),
        nn.BatchNorm2d(out_channels),
        nn.LeakyReLU(),
    )
