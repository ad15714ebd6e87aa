"""Which class latent spikes are of, told by the latent spikes of the training images."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


class LatentDiscriminant(nn.Module):
    """Linear discriminant analysis of latent spikes: ``log p(class | z) = log_softmax(weight z + bias)``.

    Where a class's density reaches over into its neighbours, what is drawn from it there looks like them. So rejection
    sampling accepts an image only if its own class is at least as probable as by chance, 1 / K. How often a class
    occurs has no part in that. The fitted values are buffers, so they travel with the weights; before fitting, every
    class is as probable as any other.

    Args:
        size: D, number of latent spikes (T x L).
        classes: K, at least 2.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, size: int, classes: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(classes, size))
        self.register_buffer("bias", torch.zeros(classes))

    @torch.no_grad()
    def fit(self, spikes: Float[Tensor, "M D"], labels: Int[Tensor, " M"]) -> None:
        """Fit to the spikes of M images; those without a label, -1, do not count. Every class must have some."""
        from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
        from threadpoolctl import threadpool_limits

        known, classes = labels >= 0, len(self.bias)
        analysis = LinearDiscriminantAnalysis(
            solver="lsqr",
            shrinkage="auto",  # many units may fire alike, or never
            priors=[1 / classes] * classes,  # a rare class is as probable as any other: it was asked for
        )
        with threadpool_limits(1):  # sums of several threads come in any order, and so would the last digits
            analysis.fit(spikes[known].numpy(), labels[known].numpy())
        weight, bias = torch.from_numpy(analysis.coef_), torch.from_numpy(analysis.intercept_)
        if len(bias) == 1:  # of two classes it tells how much more probable the second one is
            weight, bias = torch.cat([-weight, weight]) / 2, torch.cat([-bias, bias]) / 2
        self.weight.copy_(weight)
        self.bias.copy_(bias)

    def accepts(self, spikes: Float[Tensor, "N D"], labels: Int[Tensor, " N"]) -> Tensor:
        """Whether spikes are of the class given with a probability of at least 1 / K, [N]."""
        # In float64 on the CPU: an image must not depend on the batch that it is drawn in, nor on the device.
        scores = spikes.cpu().double() @ self.weight.cpu().double().T + self.bias.cpu().double()
        least = -math.log(len(self.bias)) - 1e-6
        return scores.log_softmax(dim=1).gather(1, labels.cpu()[:, None])[:, 0] >= least
