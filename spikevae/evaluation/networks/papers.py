"""The autoencoder and the statistics with which FSVAE, ESVAE and FSDDIM measure their Fréchet autoencoder distance."""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from spikevae.evaluation.networks.autoencoder import halving
from spikevae.evaluation.networks.weights import read_weights
from spikevae.files import hash_file, open_regular

IMAGE_SIZE = 32
BATCH_SIZE = 256
LEAST_SAMPLES = 5_000
LATENT_SIZE = 64
_WIDTHS = (1, 32, 64, 128, 256)
_LARGEST_STATISTICS = 2**20  # bytes
PROTOCOL = (
    f"grey images at {IMAGE_SIZE}x{IMAGE_SIZE} (bilinear, antialiased) in [-1, 1], batches of {BATCH_SIZE} in their "
    f"order, an incomplete last one left out, batch norm in training mode, {LEAST_SAMPLES:,} images or more"
)


class PapersEncoder(nn.Module):
    """The encoder of FSVAE's autoencoder: four strided convolutions with batch norm, then 64 latents.

    Source: Kamata et al., arXiv:2110.00375; weights in ``metrics/stat_checkpoints`` of kamata1729/FullySpikingVAE.
    """

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(*(halving(before, after) for before, after in pairwise(_WIDTHS)))
        self.latent_layer = nn.Linear(_WIDTHS[-1] * (IMAGE_SIZE // 16) ** 2, LATENT_SIZE)

    def forward(self, x: Tensor) -> Tensor:
        """Latents [N, 64] of images [N, 1, 32, 32] in [-1, 1]. In training mode they depend on the whole batch."""
        latent: Tensor = self.latent_layer(self.encoder(x).flatten(1))
        return latent


@dataclass(frozen=True)
class PapersInstrument:
    """The network, the test split's statistics, and the hashes of both files."""

    network: PapersEncoder
    mean: Tensor
    """[64], float64."""
    covariance: Tensor
    """[64, 64], float64."""
    autoencoder_hash: str
    statistics_hash: str

    @torch.no_grad()
    def latents(self, x: Tensor) -> Tensor:
        """Latents [M, 64] of images [N, 1, 32, 32] in [0, 1]; M is N rounded down to whole batches."""
        self.network.train()  # as the published figures were made: normalised by the statistics of each batch
        batches = [part for part in x.split(BATCH_SIZE) if len(part) == BATCH_SIZE]
        return torch.cat([self.network(2 * part - 1) for part in batches])


def open_instrument(autoencoder: Path, statistics: Path) -> PapersInstrument:
    """Read both files; nothing in them is executed.

    Raises:
        OSError: if one cannot be opened.
        ValueError: if one is not what its option asks for.
    """
    network = PapersEncoder()
    network.load_state_dict(_encoder_weights(autoencoder, network.state_dict()))
    mean, covariance = _statistics(statistics)
    return PapersInstrument(network, mean, covariance, hash_file(autoencoder), hash_file(statistics))


def _encoder_weights(path: Path, expected: dict[str, Tensor]) -> dict[str, Tensor]:
    """The encoder's part of the autoencoder's weights; those of its decoder are left out."""
    state = read_weights(path)
    for name, like in expected.items():
        found = state.get(name)
        if found is None or found.shape != like.shape or not bool(found.isfinite().all()):
            what = (
                "is missing" if found is None else f"is {list(found.shape)} or not finite; expected {list(like.shape)}"
            )
            raise ValueError(f"{path} is not FSVAE's autoencoder of grey images: the weight {name} {what}")
    return {name: state[name].to(like.dtype) for name, like in expected.items()}


def _statistics(path: Path) -> tuple[Tensor, Tensor]:
    with open_regular(path) as file:
        try:
            with zipfile.ZipFile(file) as archive:
                if sum(member.file_size for member in archive.infolist()) > _LARGEST_STATISTICS:
                    raise ValueError(f"it unpacks to more than {_LARGEST_STATISTICS:,} bytes")
            file.seek(0)
            with np.load(file, allow_pickle=False) as arrays:
                mean, covariance = (np.asarray(arrays[name], np.float64) for name in ("mu", "sigma"))
        except (OSError, ValueError, LookupError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
            raise ValueError(f"{path} is not an .npz file of FSVAE's statistics, mu and sigma: {error}") from error
    if mean.shape != (LATENT_SIZE,) or covariance.shape != (LATENT_SIZE, LATENT_SIZE):
        raise ValueError(
            f"{path}: mu is {list(mean.shape)} and sigma {list(covariance.shape)}; expected [64] and [64, 64]"
        )
    if not (np.isfinite(mean).all() and np.isfinite(covariance).all()):
        raise ValueError(f"{path} holds statistics that are not finite")
    return torch.from_numpy(mean), torch.from_numpy(covariance)
