"""Latent spikes of a Poisson process, whose rates are the firing rates of latent neurons: ESVAE."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.func import functional_call

from spikevae.config import ModelConfig
from spikevae.nn.latents.base import LatentSpikes, NeuronLatent, Posterior, normal, straight_through, uniform
from spikevae.nn.precision import at_least_float32

BANDWIDTHS = (0.25, 0.5, 1.0, 2.0, 4.0)  # of the kernels, times the mean squared distance of two points
PRIOR_GAIN = 10.0  # of the bottleneck: Adam moves a weight by the learning rate, so its rates move ten times as fast
SURROGATE_WINDOW = 0.5  # a spike passes its gradient on where its rate is no further than this from the threshold


class PoissonPosterior(Posterior):
    """Spikes that fire at each of T steps with the same probability r, whatever fired before.

    The paper's Poisson process in bins of one time step: a unit fires where r > u, u from U(0, 1). Without randomness
    the thresholds u are the odd multiples of 1 / 2T, each once, in an order that differs from unit to unit. So a unit
    fires T r times exactly. (The most probable spikes are no answer: a unit with r < 1/2 would never fire.)
    """

    def __init__(self, latent: PoissonLatent, unit_rate: Float[Tensor, "N L"]) -> None:
        self.latent = latent
        self.unit_rate = unit_rate  # [N, L], multiples of 1 / T

    def spikes(self, generator: torch.Generator | None = None, *, random: bool = True) -> LatentSpikes:
        rate = self.unit_rate.expand(self.latent.shape[0], -1, -1)  # [T, N, L]
        if random:
            threshold = uniform(tuple(rate.shape), generator, rate.device)
        else:
            threshold = even_thresholds(*self.latent.shape).to(rate.device)
        is_near = ((rate - threshold).abs() < SURROGATE_WINDOW).to(rate.dtype)
        return LatentSpikes(straight_through((rate > threshold).to(rate.dtype), rate * is_near), rate)

    def kl(self, spikes: LatentSpikes | None = None, generator: torch.Generator | None = None) -> Tensor:
        """ESVAE's stand-in for it: the squared MMD between the batch's rates and as many rates of the prior."""
        noise = normal(tuple(self.unit_rate.shape), generator, self.unit_rate.device)
        return squared_mmd(self.unit_rate, self.latent.prior_rate(noise))


class PoissonLatent(NeuronLatent):
    """ESVAE's latent: q(z | x) fires with the rates of latent neurons, p(z) with rates made from noise.

    Encoder spikes → linear → norm → spiking neurons, whose mean over T is the rate of each unit, [N, L] in [0, 1]. The
    prior's rates are ``sigmoid(linear(e))``, e from N(0, I) with L numbers. That layer, the bottleneck, learns from the
    divergence alone.

    Kernels, window, noise size and the bottleneck's learning rate, ten times that of the other layers, are those of the
    authors' code (github.com/QgZhan/ESVAE). It has one optimizer group more for that; here a gain does the same.
    Neurons and norm are those of this package, and spikes without randomness are our addition.

    Source: Zhan et al., ESVAE, arXiv:2310.14839.
    """

    def __init__(self, config: ModelConfig, features: int) -> None:
        super().__init__(config, features)
        self.bottleneck = nn.Linear(config.latent_size, config.latent_size)
        with torch.no_grad():
            for weight in self.bottleneck.parameters():
                weight.div_(PRIOR_GAIN)

    def posterior(self, feature_seq: Float[Tensor, "T N F"]) -> PoissonPosterior:
        """q(z | x) from the encoder's gated spikes."""
        return PoissonPosterior(self, self.fire(feature_seq).mean(dim=0))

    def prior_rate(self, noise: Float[Tensor, "N L"]) -> Float[Tensor, "N L"]:
        """Firing rates of new images, from N(0, I)."""
        logits: Tensor = self.bottleneck(noise.to(self.bottleneck.weight.dtype))
        return (PRIOR_GAIN * at_least_float32(logits)).sigmoid()

    def sample_prior(
        self,
        rngs: Sequence[np.random.Generator],
        labels: Int[Tensor, " N"] | None = None,
        temperature: float = 1.0,
        *,
        reject: bool = True,
    ) -> Float[Tensor, "T N L"]:
        if labels is not None or temperature != 1:
            given = f"temperature={temperature}" if labels is None else "a label"
            raise ValueError(
                f"{given}: a model with latent='esvae' has neither classes nor a temperature; leave it out"
            )
        noise = np.stack([rng.standard_normal(self.shape[1]) for rng in rngs])  # [N, L]
        threshold = torch.from_numpy(np.stack([rng.random(self.shape) for rng in rngs], axis=1))  # [T, N, L]
        # In float64 on the CPU: an image must not depend on the batch that it is drawn in, nor on the device.
        weights = {name: weight.cpu().double() for name, weight in self.bottleneck.named_parameters()}
        logits: Tensor = functional_call(self.bottleneck, weights, (torch.from_numpy(noise),))
        return ((PRIOR_GAIN * logits).sigmoid() > threshold).to(self.bottleneck.weight.device, torch.float32)


def even_thresholds(time_steps: int, latent_size: int) -> Float[Tensor, "T 1 L"]:
    """``((t + l) mod T + 1/2) / T``: of each unit every multiple once, so that it fires T r times in all."""
    turn = torch.arange(time_steps)[:, None, None] + torch.arange(latent_size)
    return (turn % time_steps + 0.5) / time_steps


def squared_mmd(x: Float[Tensor, "N L"], y: Float[Tensor, "M L"]) -> Float[Tensor, ""]:
    """Squared maximum mean discrepancy of two sets of points, with five Gaussian kernels.

    ``k(a, b) = sum_i exp(-|a - b|^2 / (s_i m))`` with :data:`BANDWIDTHS` s and m the mean of ``|a - b|^2`` over all
    pairs of different points, which has no gradient. The means over all pairs, ``k(x, x') + k(y, y') - 2 k(x, y)``:
    0 for equal sets, at most 10.

    Source: Gretton et al., JMLR 2012, with several bandwidths as in Long et al., DAN, ICML 2015.
    """
    points = torch.cat([x, y])  # [N + M, L]
    # Not by a matrix product, which loses the digits of small distances, and under autocast many more.
    distance = torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist").square()
    count = len(points)
    width = (distance.detach().sum() / (count * (count - 1))).clamp(min=1e-12)
    kernel = torch.stack([(-distance / (factor * width)).exp() for factor in BANDWIDTHS]).sum(dim=0)
    own, other = kernel[: len(x), : len(x)], kernel[len(x) :, len(x) :]
    return own.mean() + other.mean() - 2 * kernel[: len(x), len(x) :].mean()
