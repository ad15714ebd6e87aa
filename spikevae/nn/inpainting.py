"""Completing a picture: images of the prior that agree with what is visible."""

from __future__ import annotations

from typing import TYPE_CHECKING, SupportsIndex

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from spikevae.labels import Label, class_index
from spikevae.nn.images import cpu_by_default, image_rngs, require_images, require_tensor, whole_number
from spikevae.nn.latents.base import straight_through

if TYPE_CHECKING:
    from spikevae.nn.vae import SpikingVAE

_CANDIDATES = 256  # images of the prior, of which those that fit best are the starting points
_CHOICES = 2  # leading numbers of the noise, which choose class and Gaussian
_STEPS = 30
_STEP_SIZE = 0.15
_FIRST, _SECOND = 0.9, 0.999  # decays of Adam's moments; torch.optim would import torch's compiler, for seconds
_PRIOR_WEIGHT = 0.004  # of the noise's mean square, against the mean square error of the visible pixels
_BATCH = 64  # images decoded together


@torch.inference_mode(False)  # which would keep the gradients away that it is made with
@torch.no_grad()
@cpu_by_default()
def inpaint(
    self: SpikingVAE,
    x: Float[Tensor, "*n C H W"],
    mask: Tensor,
    *,
    count: int = 4,
    seed: SupportsIndex = 0,
    label: Label | None = None,
) -> Float[Tensor, "N C H W"]:
    """Proposals for the hidden part of one image, those that fit best first; visible pixels stay as they are.

    A new image is a function of white noise: noise, potentials, latent spikes, image. So we look for the posterior
    given the visible pixels in the noise, where the prior is N(0, I) whatever the density. Some hundred images of the
    prior are compared with what is visible, and each of the best is a starting point, with its own class and
    Gaussian; exemplars are left out. Then some steps of Adam (Kingma and Ba, arXiv:1412.6980) lower
    ``visible error + weight * noise^2``, straight through the latent spikes.

    Args:
        self: the model; its latent must have a density.
        x: [C, H, W] or [1, C, H, W], in [0, 1].
        mask: [H, W], true (or above one half) where the image shall be filled in.
        count: N, 1 to 256.
        seed: 0 to 2^63 - 1.
        label: class by name or number; None leaves it to what is visible.

    Raises:
        ValueError: if a shape or number is wrong, nothing is hidden, or this model's latent has no density.
    """
    image, is_hidden = _checked(self, x, mask)
    if not 1 <= whole_number("count", count) <= _CANDIDATES:
        raise ValueError(f"count={count}: expected 1 to {_CANDIDATES}")
    number = None if label is None else class_index(label, self.config.class_names)
    weight = (~is_hidden).to(image.dtype) / (~is_hidden).sum().clamp(min=1) / len(image)

    def images_of(noise: Tensor) -> Tensor:
        labels = None if number is None else torch.full((len(noise),), number, device=noise.device)
        potential = self.latent.potential_of(noise, labels)
        return self.decode(straight_through((potential > 0).to(potential.dtype), potential.sigmoid()))

    def error_of(images: Tensor) -> Tensor:
        return ((images - image).square() * weight).sum(dim=(1, 2, 3)).cpu()

    noise = self.latent.noise(image_rngs(seed, range(_CANDIDATES)))
    errors = torch.cat([error_of(images_of(part)) for part in noise.split(_BATCH)])
    found = []
    for best in noise[errors.argsort(stable=True)[:count]].split(_BATCH):
        choice, white = best[:, :_CHOICES], best[:, _CHOICES:]
        mean = square = torch.zeros((), device=white.device)
        for step in range(1, _STEPS + 1):
            with torch.enable_grad():
                white.requires_grad_()
                error = error_of(images_of(torch.cat([choice, white], dim=1)))
                (gradient,) = torch.autograd.grad((error + _PRIOR_WEIGHT * white.square().mean(dim=1)).sum(), [white])
            mean = _FIRST * mean + (1 - _FIRST) * gradient
            square = _SECOND * square + (1 - _SECOND) * gradient.square()
            deviation = (square / (1 - _SECOND**step)).sqrt() + 1e-8
            white = white - _STEP_SIZE * mean / (1 - _FIRST**step) / deviation
        found.append(images_of(torch.cat([choice, white], dim=1)))
    images = torch.cat(found)
    return torch.where(is_hidden, images[error_of(images).argsort(stable=True)], image)  # the steps changed the order


def _checked(model: SpikingVAE, x: Tensor, mask: Tensor) -> tuple[Float[Tensor, "C H W"], Bool[Tensor, "H W"]]:
    """The one image, and whether each of its pixels is hidden; what is hidden is not looked at, and may be anything."""
    if not model.latent.has_density:
        raise ValueError("this model's latent has no density, so it cannot complete pictures")
    require_tensor("images", x)
    if x.dim() == 3:
        x = x[None]
    try:
        is_hidden = torch.as_tensor(mask, device=x.device) > 0.5
    except (RuntimeError, TypeError, ValueError):
        raise ValueError(f"mask must be numbers [H, W], got {type(mask).__qualname__}") from None
    if x.dim() != 4 or len(x) != 1 or is_hidden.numel() != x[0, 0].numel() or is_hidden.shape[-2:] != x.shape[-2:]:
        raise ValueError(
            f"expected one image and a mask [H, W] of its size; got {list(x.shape)} and {list(is_hidden.shape)}"
        )
    is_hidden = is_hidden.reshape(x.shape[-2:])
    if not is_hidden.any():
        raise ValueError("mask: no pixel is hidden, so there is nothing to fill in")
    x = x.masked_fill(is_hidden, 0.0)
    require_images(x, model.config, is_training=False)
    return x[0].to(model.device), is_hidden.to(model.device)
