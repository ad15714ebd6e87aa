"""Figures of other models, as read in the papers' own tables; others say so in their name."""

from __future__ import annotations

from dataclasses import dataclass

ONE_SHOT = "one shot"
MANY_STEPS = "many steps"


@dataclass(frozen=True)
class Published:
    """A row of a paper's table; None where the paper gives no number."""

    name: str
    sampling: str
    """ONE_SHOT, or MANY_STEPS of denoising for each image."""
    mse: float | None = None
    inception_score: float | None = None
    fid: float | None = None
    fad: float | None = None
    """With FSVAE's autoencoder and statistics."""


_ANN = "ANN VAE (FSVAE's paper)"
_FSVAE, _ESVAE = "FSVAE, T 16", "ESVAE, T 16"
_FSDDIM_4, _FSDDIM_8 = "FSDDIM, T 4", "FSDDIM, T 8"
_SPIKING_DIFFUSION = "Spiking-Diffusion, T 16"
_SDDPM = "SDDPM, T 4, 63.6 M parameters, 1000 steps"

PUBLISHED: dict[str, tuple[Published, ...]] = {
    "mnist": (
        Published(_ANN, ONE_SHOT, 0.048, 5.95, 112.5, 17.09),
        Published(_FSVAE, ONE_SHOT, 0.031, 6.21, 97.06, 35.54),
        Published(_ESVAE, ONE_SHOT, 0.013, 5.61, 117.8, 10.99),
        Published(_FSDDIM_4, MANY_STEPS, fid=7.48, fad=3.62),
        Published(_FSDDIM_8, MANY_STEPS, fid=3.99, fad=5.71),
        Published(_SPIKING_DIFFUSION, MANY_STEPS, fid=37.50),
        Published(_SDDPM, MANY_STEPS, fid=29.48),
    ),
    "fashion-mnist": (
        Published(_ANN, ONE_SHOT, 0.050, 4.25, 123.7, 18.08),
        Published(_FSVAE, ONE_SHOT, 0.031, 4.55, 90.12, 15.75),
        Published(_ESVAE, ONE_SHOT, 0.019, 6.23, 125.3, 11.13),
        Published(_FSDDIM_4, MANY_STEPS, fid=9.17, fad=9.25),
        Published(_FSDDIM_8, MANY_STEPS, fid=11.78, fad=4.91),
        Published(_SPIKING_DIFFUSION, MANY_STEPS, fid=91.98),
        Published(_SDDPM, MANY_STEPS, fid=21.38),
    ),
    "celeba": (
        Published(_ANN, ONE_SHOT, 0.059, 3.23, 92.53, 156.9),
        Published(_FSVAE, ONE_SHOT, 0.051, 3.70, 101.6, 112.9),
        Published(_ESVAE, ONE_SHOT, 0.034, 3.87, 85.33, 51.93),
        Published(_FSDDIM_4, MANY_STEPS, fid=36.08, fad=66.52),
        Published(_SDDPM, MANY_STEPS, fid=25.09),
    ),
    "cifar10": (
        Published(_ANN, ONE_SHOT, 0.105, 2.59, 229.6, 196.9),
        Published(_FSVAE, ONE_SHOT, 0.066, 2.95, 175.5, 133.9),
        Published(_ESVAE, ONE_SHOT, 0.045, 3.76, 127.0, 14.74),
        Published(_FSDDIM_4, MANY_STEPS, fid=51.46, fad=8.63),
        Published(_FSDDIM_8, MANY_STEPS, fid=46.14, fad=12.61),
        Published(_SPIKING_DIFFUSION, MANY_STEPS, fid=120.5),
        Published(_SDDPM, MANY_STEPS, fid=19.73),
        Published("SDM, T 8", MANY_STEPS, fid=12.95),
    ),
}
PUBLISHED_ACCURACY: dict[str, tuple[tuple[str, float], ...]] = {
    "fashion-mnist": (("PLIF, ICCV 2021", 0.9438), ("TCJA-SNN, about (unverified)", 0.948)),
    "mnist": (("PLIF, ICCV 2021", 0.9972),),
}
