"""Autoregressive Bernoulli latent spikes: FSVAE."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import cast

import numpy as np
import torch
from jaxtyping import Float, Int
from spikingjelly.activation_based import neuron
from torch import Tensor, nn

from spikevae.config import ModelConfig
from spikevae.nn.latents.base import Draw, Latent, Posterior, uniform
from spikevae.nn.neurons import SequenceNorm, SpikingLayer, spiking_layer, threshold_scaled
from spikevae.nn.synapses import SpikeLinear

PSP_TAU = 2.0  # of the filter that turns spikes into post-synaptic potentials for MMD, in time steps
SCHEDULED_SAMPLING = 0.3  # share of images whose prior follows its own spikes in training, not the posterior's


class StepNetwork(nn.Module):
    """Linear → norm → LIF, three times. The last layer has k outputs per latent unit.

    A call is one time step, for spikes that are drawn step by step: membrane potentials carry over between calls, and
    there is no gradient. When all steps have been taken, :meth:`whole` gives the same spikes with one.
    """

    def __init__(self, config: ModelConfig, in_features: int) -> None:
        super().__init__()
        size = config.latent_size
        widths = (in_features, 2 * size, 4 * size, size * config.latent_choices)
        self.layers = nn.Sequential(
            *(
                nn.Sequential(
                    SpikeLinear(before, after),
                    threshold_scaled(SequenceNorm(after), config),
                    SpikingLayer(float(config.tau), config.surrogate_slope, step_mode="s"),
                )
                for before, after in pairwise(widths)
            )
        )
        self.choices = config.latent_choices
        self._currents: list[list[Tensor]] | None = None  # of each layer, step after step

    def reset(self, *, remember: bool = False) -> None:
        """Back to rest, and no state kept: a sequence has ended, or another begins (``remember``: for ``whole``)."""
        for layer in self.modules():
            if isinstance(layer, neuron.BaseNode):
                layer.reset()
            elif isinstance(layer, SequenceNorm | SpikeLinear):
                layer.end_sequence()
        self._currents = [[] for _ in self.layers] if remember else None

    @torch.no_grad()
    def forward(self, x: Float[Tensor, "N F"]) -> Float[Tensor, "N L k"]:
        """Spikes of one step."""
        for number, (synapses, norm, neurons) in enumerate(self._parts()):
            current = synapses(x)
            if self._currents is not None:
                self._currents[number].append(current)
            x = neurons(norm(current))
        spikes: Tensor = x.unflatten(1, (-1, self.choices))
        return spikes

    def whole(self, x_seq: Float[Tensor, "T N F"]) -> Float[Tensor, "T N L k"]:
        """Spikes of the sequence that was seen step by step since ``reset(remember=True)``, with a gradient.

        In training the norms take in its statistics.
        """
        assert self._currents is not None
        shape = x_seq.shape[:2]
        for steps, (synapses, norm, neurons) in zip(self._currents, self._parts(), strict=True):
            current = norm.whole(synapses.whole(x_seq.flatten(0, 1), torch.cat(steps)))
            x_seq = neurons.multi_step_forward(current.unflatten(0, shape))
        spike_seq: Tensor = x_seq.unflatten(2, (-1, self.choices))
        return spike_seq

    def _parts(self) -> Iterator[tuple[SpikeLinear, SequenceNorm, SpikingLayer]]:
        for layer in self.layers:
            yield cast(tuple[SpikeLinear, SequenceNorm, SpikingLayer], layer.children())


class AutoregressivePosterior(Posterior):
    """Bernoulli spikes whose probabilities depend on the spikes of the steps before.

    Without randomness every unit follows the same one of its k outputs all the time. (What most of them do is no
    answer: where a unit fires with less than one half at every step, that is silence.)
    """

    potential = None

    def __init__(self, latent: AutoregressiveLatent, current_seq: Float[Tensor, "T N L"]) -> None:
        self.latent = latent
        self.current_seq = current_seq  # [T, N, L]

    def draw(self, generator: torch.Generator | None = None, *, random: bool = True) -> Draw:
        if random:
            u_seq = uniform(tuple(self.current_seq.shape), generator, self.current_seq.device)
        else:
            u_seq = torch.full_like(self.current_seq, 0.5)
        output_seq = self.latent.outputs(self.latent.posterior_network, self.current_seq, u_seq)
        return Draw(self.latent.chosen(output_seq, u_seq), output_seq.mean(dim=3))


class AutoregressiveLatent(Latent):
    """FSVAE's latent: q(z_t | x_<=t, z_<t) and p(z_t | z_<t) by small spiking networks.

    Each network has k outputs per latent unit of which one is chosen at random, so a unit fires with the share of its
    outputs that fire. The networks' membrane potentials carry over from step to step: T steps of work, where the
    authors' code runs every prefix again, T (T + 1) / 2, for the same spikes.

    Source: Kamata et al., Fully Spiking Variational Autoencoder, AAAI 2022, arXiv:2110.00375.
    """

    has_density = False
    is_conditional = False

    def __init__(self, config: ModelConfig, features: int) -> None:
        super().__init__()
        self.shape = (config.time_steps, config.latent_size)
        self.choices = config.latent_choices
        self.synapses = nn.Linear(features, config.latent_size, bias=False)
        self.norm = threshold_scaled(nn.BatchNorm1d(config.latent_size), config)
        self.neurons = spiking_layer(config)
        self.posterior_network = StepNetwork(config, 2 * config.latent_size)
        self.prior_network = StepNetwork(config, config.latent_size)

    def posterior(self, feature_seq: Float[Tensor, "T N F"]) -> AutoregressivePosterior:
        """q(z | x) from the encoder's gated spikes."""
        time_steps = feature_seq.shape[0]
        current = self.norm(self.synapses(feature_seq.flatten(0, 1))).unflatten(0, (time_steps, -1))
        return AutoregressivePosterior(self, self.neurons(current.float()))

    def outputs(
        self,
        network: StepNetwork,
        current_seq: Tensor | None,
        u_seq: Tensor,
        guide: Tensor | None = None,
        guided: Tensor | None = None,
    ) -> Float[Tensor, "T N L k"]:
        """Outputs of a network that sees at each step what was drawn from those of the step before.

        No gradient passes through the spikes that the next step sees (it explodes along T), as in the authors' code. So
        the steps are taken without one, and then the whole sequence learns at once.

        Args:
            network: the posterior's or the prior's.
            current_seq: [T, N, L] what the posterior sees at each step; None for the prior.
            u_seq: [T, N, L] from [0, 1), which of its k outputs each unit follows.
            guide: [T, N, L] spikes that take the place of the network's own as the input of the next step...
            guided: [N, 1] ... for the images where this is 1.
        """
        is_learning = network.training or torch.is_grad_enabled()
        network.reset(remember=is_learning)
        z = torch.zeros_like(u_seq[0])
        seen, outputs = [], []
        with torch.no_grad():
            for t in range(self.shape[0]):
                seen.append(z)
                outputs.append(network(z if current_seq is None else torch.cat([current_seq[t], z], dim=1)))
                z = self.chosen(outputs[t], u_seq[t])
                if guide is not None and guided is not None:
                    z = guided * guide[t] + (1 - guided) * z
        if is_learning:
            x_seq = torch.stack(seen)
            output_seq = network.whole(x_seq if current_seq is None else torch.cat([current_seq, x_seq], dim=2))
        else:
            output_seq = torch.stack(outputs)
        network.reset()
        return output_seq

    def chosen(self, outputs: Float[Tensor, "*T N L k"], u: Float[Tensor, "*T N L"]) -> Float[Tensor, "*T N L"]:
        """Of the k outputs of each unit the one that it follows."""
        choice = (u * self.choices).long().clamp(max=self.choices - 1)
        return outputs.gather(-1, choice.unsqueeze(-1)).squeeze(-1)

    def divergence(self, draw: Draw, generator: torch.Generator | None = None) -> Tensor:
        """Squared MMD between posterior and prior: mean squared distance of their PSP-filtered rates."""
        shape, device = tuple(draw.z_seq.shape), draw.z_seq.device
        u_seq = uniform(shape, generator, device)
        guided = (uniform((shape[1], 1), generator, device) >= SCHEDULED_SAMPLING).to(draw.z_seq.dtype)
        prior_rate = self.outputs(self.prior_network, None, u_seq, guide=draw.z_seq, guided=guided).mean(dim=3)
        return (post_synaptic_potential(draw.rate) - post_synaptic_potential(prior_rate)).square().mean()

    def prior_noise(self, rng: np.random.Generator) -> np.ndarray:
        """The random numbers behind one image."""
        return rng.random(self.shape, dtype=np.float32)

    def draw_prior(self, noise: Tensor, labels: Int[Tensor, " N"] | None, temperature: float) -> Tensor:
        """Latent spikes [T, N, L] of new images; ``noise`` is [N, T, L].

        Raises:
            ValueError: if a class or a temperature is asked for, which this latent does not have.
        """
        if labels is not None:
            raise ValueError("a model with latent='autoregressive' has no classes to sample; leave the label out")
        if temperature != 1:
            raise ValueError(f"temperature={temperature}: a model with latent='autoregressive' samples only at 1")
        u_seq = noise.transpose(0, 1)
        return self.chosen(self.outputs(self.prior_network, None, u_seq), u_seq)


def post_synaptic_potential(x_seq: Float[Tensor, "T N L"]) -> Float[Tensor, "T N L"]:
    """``p[t] = p[t-1] + (x[t] - p[t-1]) / tau`` with tau = 2 and ``p[-1] = 0``."""
    potential = torch.zeros_like(x_seq[0])
    steps = []
    for x in x_seq:
        potential = potential + (x - potential) / PSP_TAU
        steps.append(potential)
    return torch.stack(steps)
