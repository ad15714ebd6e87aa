"""Autoregressive Bernoulli latent spikes: FSVAE."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from threading import RLock

import numpy as np
import torch
from jaxtyping import Float, Int
from spikingjelly.activation_based import neuron
from torch import Tensor, nn

from spikevae.config import ModelConfig
from spikevae.nn.latents.base import LatentSpikes, NeuronLatent, Posterior, uniform
from spikevae.nn.neurons import SequenceNorm, SpikingLayer, threshold_scaled

PSP_TAU = 2.0  # of the filter that turns spikes into post-synaptic potentials for MMD, in time steps
SCHEDULED_SAMPLING = 0.3  # share of images whose prior follows its own spikes in training, not the posterior's

_ONE_SEQUENCE = RLock()  # potentials lie in the networks from step to step, so sequences of several callers take turns


class StepNetwork(nn.Module):
    """Linear → norm → LIF, three times. The last layer has k outputs per latent unit.

    A call is one time step: membrane potentials carry over to the next call, until :meth:`reset`.
    """

    def __init__(self, config: ModelConfig, in_features: int) -> None:
        super().__init__()
        size = config.latent_size
        widths = (in_features, 2 * size, 4 * size, size * config.latent_choices)
        self.layers = nn.Sequential(
            *(
                nn.Sequential(
                    nn.Linear(before, after, bias=False),
                    threshold_scaled(SequenceNorm(after), config),
                    SpikingLayer(float(config.tau), config.surrogate_slope, step_mode="s"),
                )
                for before, after in pairwise(widths)
            )
        )
        self.choices = config.latent_choices

    def forward(self, x: Float[Tensor, "N F"]) -> Float[Tensor, "N L k"]:
        """Spikes of one step."""
        for layer in self.layers:
            x = layer(x.to(layer.get_parameter("0.weight").dtype))
        choices: Tensor = x.unflatten(1, (-1, self.choices))
        return choices

    def reset(self) -> None:
        """Back to rest, whatever came before."""
        for layer in self.modules():
            if isinstance(layer, neuron.BaseNode | SequenceNorm):
                layer.reset()

    def end_sequence(self) -> None:
        """In training the norms take in the statistics of the sequence that has ended; then back to rest."""
        for layer in self.modules():
            if isinstance(layer, SequenceNorm):
                layer.end_sequence()
        self.reset()


class AutoregressivePosterior(Posterior):
    """Bernoulli spikes whose probabilities depend on the spikes of the steps before.

    Without randomness every unit follows the same one of its k outputs all the time. (What most of them do is no
    answer: where a unit fires with less than one half at every step, that is silence.)
    """

    def __init__(self, latent: AutoregressiveLatent, current_seq: Float[Tensor, "T N L"]) -> None:
        self.latent = latent
        self.current_seq = current_seq  # [T, N, L]

    def spikes(self, generator: torch.Generator | None = None, *, random: bool = True) -> LatentSpikes:
        if random:
            u_seq = uniform(tuple(self.current_seq.shape), generator, self.current_seq.device)
        else:
            u_seq = torch.full_like(self.current_seq, 0.5)
        output_seq = self.latent.outputs(self.latent.posterior_network, self.current_seq, u_seq)
        return LatentSpikes(self.latent.chosen(output_seq, u_seq), output_seq.mean(dim=3))

    def kl(self, spikes: LatentSpikes | None = None, generator: torch.Generator | None = None) -> Tensor:
        """FSVAE's stand-in for it: the squared MMD, a mean squared distance of PSP-filtered rates."""
        z_seq, rate = spikes or self.spikes(random=False)
        prior_rate = self.latent.prior_rate(z_seq, generator)
        return (post_synaptic_potential(rate) - post_synaptic_potential(prior_rate)).square().mean()


class AutoregressiveLatent(NeuronLatent):
    """FSVAE's latent: q(z_t | x_<=t, z_<t) and p(z_t | z_<t) by small spiking networks.

    Each network has k outputs per latent unit of which one is chosen at random, so a unit fires with the share of its
    outputs that fire. The networks' membrane potentials carry over from step to step: T steps of work, where the
    authors' code runs every prefix again, T (T + 1) / 2, for the same spikes.

    Source: Kamata et al., Fully Spiking Variational Autoencoder, AAAI 2022, arXiv:2110.00375.
    """

    def __init__(self, config: ModelConfig, features: int) -> None:
        super().__init__(config, features)
        self.choices = config.latent_choices
        self.posterior_network = StepNetwork(config, 2 * config.latent_size)
        self.prior_network = StepNetwork(config, config.latent_size)

    def posterior(self, feature_seq: Float[Tensor, "T N F"]) -> AutoregressivePosterior:
        """q(z | x) from the encoder's gated spikes."""
        return AutoregressivePosterior(self, self.fire(feature_seq))

    def outputs(
        self,
        network: StepNetwork,
        current_seq: Tensor | None,
        u_seq: Tensor,
        guide: Tensor | None = None,
        guided: Tensor | None = None,
    ) -> Float[Tensor, "T N L k"]:
        """Outputs of a network that sees at each step what was drawn from those of the step before.

        No gradient passes through the spikes that the next step sees (it explodes along T), as in the authors' code.

        Args:
            network: the posterior's or the prior's.
            current_seq: [T, N, L] what the posterior sees at each step; None for the prior.
            u_seq: [T, N, L] from [0, 1), which of its k outputs each unit follows.
            guide: [T, N, L] spikes that take the place of the network's own as the input of the next step...
            guided: [N, 1] ... for the images where this is 1 (teacher forcing).
        """
        with _ONE_SEQUENCE:
            network.reset()
            z = torch.zeros_like(u_seq[0])
            steps = []
            for t in range(self.shape[0]):
                steps.append(network(z if current_seq is None else torch.cat([current_seq[t], z], dim=1)))
                z = self.chosen(steps[t], u_seq[t]).detach()
                if guide is not None and guided is not None:
                    z = guided * guide[t].detach() + (1 - guided) * z
            network.end_sequence()
        return torch.stack(steps)

    def chosen(self, outputs: Float[Tensor, "*T N L k"], u: Float[Tensor, "*T N L"]) -> Float[Tensor, "*T N L"]:
        """Of the k outputs of each unit the one that it follows."""
        choice = (u * self.choices).long().clamp(max=self.choices - 1)
        return outputs.gather(-1, choice.unsqueeze(-1)).squeeze(-1)

    def prior_rate(
        self, z_seq: Float[Tensor, "T N L"], generator: torch.Generator | None = None
    ) -> Float[Tensor, "T N L"]:
        """Firing rates of the prior along the posterior's spikes (teacher forcing), for some images along its own."""
        u_seq = uniform(tuple(z_seq.shape), generator, z_seq.device)
        guided = (uniform((z_seq.shape[1], 1), generator, z_seq.device) >= SCHEDULED_SAMPLING).to(z_seq.dtype)
        return self.outputs(self.prior_network, None, u_seq, guide=z_seq, guided=guided).mean(dim=3)

    def sample_prior(
        self,
        rngs: Sequence[np.random.Generator],
        labels: Int[Tensor, " N"] | None = None,
        temperature: float = 1.0,
        *,
        reject: bool = True,
    ) -> Float[Tensor, "T N L"]:
        if labels is not None:
            raise ValueError("a model with latent='autoregressive' has no classes to sample; leave the label out")
        if temperature != 1:
            raise ValueError(f"temperature={temperature}: a model with latent='autoregressive' samples only at 1")
        noise = np.stack([rng.random(self.shape, dtype=np.float32) for rng in rngs], axis=1)  # [T, N, L]
        weight = self.synapses.weight
        u_seq = torch.from_numpy(noise).to(weight.device, torch.promote_types(weight.dtype, torch.float32))
        return self.chosen(self.outputs(self.prior_network, None, u_seq), u_seq)


def post_synaptic_potential(x_seq: Float[Tensor, "T N L"]) -> Float[Tensor, "T N L"]:
    """``p[t] = p[t-1] + (x[t] - p[t-1]) / tau`` with tau = 2 and ``p[-1] = 0``."""
    potential = torch.zeros_like(x_seq[0])
    steps = []
    for x in x_seq:
        potential = potential + (x - potential) / PSP_TAU
        steps.append(potential)
    return torch.stack(steps)
