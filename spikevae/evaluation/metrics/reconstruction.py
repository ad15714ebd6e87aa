"""How close images come back: mean squared error, PSNR and SSIM, one value per image."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import conv2d, interpolate

from spikevae.console import progress
from spikevae.data.sets import ImageSet
from spikevae.evaluation.features import BATCH_SIZE
from spikevae.evaluation.inputs import Evaluation
from spikevae.evaluation.metrics.registry import NotComputedError, register
from spikevae.evaluation.scores import Score
from spikevae.nn.vae import SpikingVAE

PAPER_SIZE = 32
_WINDOW, _SIGMA, _K1, _K2 = 11, 1.5, 0.01, 0.03


@register(
    "reconstruction",
    {
        "reconstruction_mse": "reconstruction MSE",
        "reconstruction_mse_32": "reconstruction MSE at 32x32",
        "psnr": "reconstruction PSNR (dB)",
        "ssim": "reconstruction SSIM",
    },
    needs=("model", "split"),
    reads=(),
)
def measure_reconstruction(evaluation: Evaluation) -> list[Score]:
    """Errors of reconstructed images of the split."""
    if evaluation.model is None or evaluation.reference_set is None:
        raise NotComputedError("only a model can reconstruct a data set's images")
    errors = reconstruction_errors(evaluation.model, evaluation.reference_set)
    return reconstruction_scores(errors, evaluation.reference_set)


def reconstruction_scores(errors: dict[str, Tensor], images: ImageSet) -> list[Score]:
    """Mean errors, from those [N] of each image of a split."""
    too_small = f"SSIM needs images of {_WINDOW}x{_WINDOW} pixels or more, these have {images.image_size}"
    return [
        Score(name, None, note=too_small)
        if name == "ssim" and images.image_size < _WINDOW
        else Score(
            name,
            float(values.double().mean()),
            float(values.double().std()) / len(values) ** 0.5,
            "standard error over the images",
            "lower" if name.startswith("reconstruction") else "higher",
            samples=len(values),
            reference=f"{images.name} {images.split}",
            image_size="bilinear to 32x32" if name.endswith("32") else f"{images.image_size}x{images.image_size}",
        )
        for name, values in errors.items()
    ]


def reconstruction_errors(model: SpikingVAE, images: ImageSet) -> dict[str, Tensor]:
    """Errors of ``model.reconstruct``, without randomness, on every image of a split.

    Returns:
        reconstruction_mse: [N], on the [-1, 1] scale, at the images' own size.
        reconstruction_mse_32: [N], the same with both images brought to 32x32 first, as in the papers.
        psnr: [N], in decibel, for a peak of 1 on the [0, 1] scale.
        ssim: [N]; NaN for images that are smaller than its window.
    """
    parts: dict[str, list[Tensor]] = {}
    with progress(len(images), "reconstructions") as done:
        for x, _ in images.batches(BATCH_SIZE):
            for name, values in compare(model.reconstruct(x.to(model.device)).cpu(), x).items():
                parts.setdefault(name, []).append(values)
            done(len(x))
    return {name: torch.cat(values) for name, values in parts.items()}


def compare(x: Tensor, y: Tensor) -> dict[str, Tensor]:
    """The errors of ``reconstruction_errors`` for images ``x`` and originals ``y``, [N, C, H, W] in [0, 1]."""
    mse = (x - y).square().flatten(1).mean(1)
    small_x, small_y = (
        interpolate(images, size=(PAPER_SIZE, PAPER_SIZE), mode="bilinear", align_corners=False) for images in (x, y)
    )
    return {
        "reconstruction_mse": 4 * mse,
        "reconstruction_mse_32": 4 * (small_x - small_y).square().flatten(1).mean(1),
        "psnr": -10 * mse.clamp(min=1e-10).log10(),
        "ssim": ssim(x, y) if min(x.shape[-2:]) >= _WINDOW else torch.full_like(mse, torch.nan),
    }


def ssim(x: Tensor, y: Tensor) -> Tensor:
    """Structural similarity of image pairs, [N], 1 for equal ones.

    ``(2 mx my + c1) (2 cov + c2) / ((mx² + my² + c1) (vx + vy + c2))`` in every 11x11 Gaussian window (sigma 1.5) that
    lies inside the image, averaged over windows and channels; c1 = 0.01², c2 = 0.03².

    Args:
        x: [N, C, H, W] in [0, 1], H and W at least 11.
        y: the same shape.

    Raises:
        ValueError: if the shapes differ or the images are smaller than the window.

    Source: Wang et al., Image quality assessment, IEEE TIP 2004.
    """
    if x.shape != y.shape or min(x.shape[-2:]) < _WINDOW:
        raise ValueError(
            f"images {list(x.shape)} and {list(y.shape)}: SSIM needs equal shapes of at least 11x11 pixels"
        )
    offsets = torch.arange(_WINDOW, dtype=torch.float64) - _WINDOW // 2
    line = torch.exp(-offsets.square() / (2 * _SIGMA**2))
    window = torch.outer(line, line) / line.sum() ** 2

    def local_mean(image: Tensor) -> Tensor:
        return conv2d(image.flatten(0, 1)[:, None], window[None, None])  # [N*C, 1, H-10, W-10]

    a, b = x.double(), y.double()
    mean_x, mean_y = local_mean(a), local_mean(b)
    variance_x = local_mean(a * a) - mean_x.square()
    variance_y = local_mean(b * b) - mean_y.square()
    covariance = local_mean(a * b) - mean_x * mean_y
    c1, c2 = _K1**2, _K2**2
    numerator = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    denominator = (mean_x.square() + mean_y.square() + c1) * (variance_x + variance_y + c2)
    of_planes = (numerator / denominator).flatten(1).mean(1)  # [N*C]
    return of_planes.reshape(x.shape[:2]).mean(1).float()
