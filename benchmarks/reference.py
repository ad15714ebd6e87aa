"""A plain spiking VAE to compare with: FSVAE with TCJA, written from the equations in FSVAE's own data layout.

Sequences are [N, C, H, W, T] here, as in FSVAE's published code, and nowhere else in this repository. Convolutions are
3-D with a depth of 1, the image is shown T times, neurons are a Python loop over time with autograd, and both latent
networks run every prefix again: step t + 1 is drawn from a run over steps 0 to t. Prefixes run without gradient, and
one whole run at the end has it, as in the published code. Nothing is slowed down beyond that.

With the weights of our network and the same random numbers the images are the same (see ``tests/test_benchmarks.py``).

Sources: Kamata et al., Fully Spiking Variational Autoencoder, arXiv:2110.00375; Zhu et al., TCJA-SNN, arXiv:2206.10177.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from jaxtyping import Float
from spikingjelly.activation_based import surrogate
from torch import Tensor, nn

from spikevae.config import ModelConfig
from spikevae.nn.attention import TemporalChannelJointAttention
from spikevae.nn.autoencoder import Outputs
from spikevae.nn.decoder import MEMBRANE_DECAY
from spikevae.nn.latents.autoregressive import PSP_TAU, SCHEDULED_SAMPLING, AutoregressiveLatent, StepNetwork
from spikevae.nn.latents.base import uniform
from spikevae.nn.stage import SpikingStage
from spikevae.nn.vae import SpikingVAE


class PlainLIF(nn.Module):
    """Leaky integrate-and-fire neurons, one time step after the other; T is the last axis."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.tau = config.tau
        self.spike = surrogate.ATan(alpha=config.surrogate_slope)

    def forward(self, x: Float[Tensor, "N *F T"]) -> Float[Tensor, "N *F T"]:
        membrane_potential = torch.zeros_like(x[..., 0])
        steps = []
        for t in range(x.shape[-1]):
            charged = membrane_potential + (x[..., t] - membrane_potential) / self.tau
            spikes = self.spike(charged - 1.0)
            membrane_potential = charged * (1.0 - spikes.detach())
            steps.append(spikes)
        return torch.stack(steps, dim=-1)


class PlainTCJA(nn.Module):
    """``x * sigmoid(TLA(Z) * CLA(Z))``, Z being the spatial mean of ``x``, [N, C, T]."""

    def __init__(self, config: ModelConfig, channels: int) -> None:
        super().__init__()
        steps = config.time_steps
        self.temporal = nn.Conv1d(channels, channels, config.temporal_kernel, padding="same", bias=False)
        self.channel = nn.Conv1d(steps, steps, config.channel_kernel, padding="same", bias=False)

    def forward(self, x: Float[Tensor, "N C H W T"]) -> Float[Tensor, "N C H W T"]:
        squeezed = x.mean(dim=(2, 3))  # [N, C, T]
        along_channels = self.channel(squeezed.transpose(1, 2)).transpose(1, 2)  # [N, T, C] -> [N, C, T]
        gate = torch.sigmoid(self.temporal(squeezed) * along_channels)
        return x * gate[:, :, None, None, :]


class PlainLinear(nn.Linear):
    """A linear layer on the features of every time step."""

    def forward(self, x: Float[Tensor, "N F T"]) -> Float[Tensor, "N G T"]:
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


class PlainStage(nn.Sequential):
    """Synapses → batch norm over batch, space and time → neurons → TCJA if ``config.attention`` says so."""

    def __init__(self, config: ModelConfig, synapses: nn.Module, channels: int) -> None:
        layers = [synapses, nn.BatchNorm3d(channels), PlainLIF(config)]
        if config.attention == "tcja":
            layers.append(PlainTCJA(config, channels))
        super().__init__(*layers)


class PlainNetwork(nn.Sequential):
    """Linear → norm → neurons, three times, over a whole prefix; k outputs per latent unit."""

    def __init__(self, config: ModelConfig, in_features: int) -> None:
        size = config.latent_size
        layers: list[nn.Module] = []
        for before, after in pairwise((in_features, 2 * size, 4 * size, size * config.latent_choices)):
            layers += [PlainLinear(before, after, bias=False), nn.BatchNorm1d(after), PlainLIF(config)]
        super().__init__(*layers, nn.Unflatten(1, (size, config.latent_choices)))  # [N, L, k, T]


class ReferenceVAE(nn.Module):
    """The network of the ``paper`` preset, plainly.

    Args:
        config: any with the preset's kinds of neuron, latent, upsampling and read-out; attention "tcja" or "none".

    Raises:
        ValueError: if ``config`` asks for another kind.
    """

    decay: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        kinds = (config.neuron, config.latent, config.upsampling, config.read_out)
        if kinds != ("lif", "autoregressive", "transposed", "membrane") or config.attention in ("tla", "cla"):
            raise ValueError("the reference is only the network of the `paper` preset, with attention tcja or none")
        if config.padded_size != config.image_size:
            raise ValueError(f"image_size={config.image_size} needs padding; use {config.padded_size}")
        self.config = config
        widths, rises = (config.image_channels, *config.encoder_widths), config.decoder_widths
        side = config.image_size // 2 ** (len(rises) - 1)
        features = config.encoder_widths[-1] * (config.image_size // 2 ** len(config.encoder_widths)) ** 2
        self.encoder = nn.Sequential(
            *(PlainStage(config, _halving(before, after), after) for before, after in pairwise(widths))
        )
        self.before_latent = nn.Sequential(
            PlainLinear(features, config.latent_size, bias=False), nn.BatchNorm1d(config.latent_size), PlainLIF(config)
        )
        self.posterior_network = PlainNetwork(config, 2 * config.latent_size)
        self.prior_network = PlainNetwork(config, config.latent_size)
        expand = PlainLinear(config.latent_size, rises[0] * side**2, bias=False)
        self.decoder = nn.Sequential(
            PlainStage(config, nn.Sequential(expand, nn.Unflatten(1, (rises[0], side, side))), rises[0]),
            *(PlainStage(config, _doubling(before, after), after) for before, after in pairwise(rises)),
            nn.Conv3d(rises[-1], config.image_channels, (3, 3, 1), padding=(1, 1, 0)),
        )
        self.classifier = nn.Linear(features, config.classes) if config.classes else None
        self.dropout = nn.Dropout(0.2)
        self.register_buffer("decay", MEMBRANE_DECAY ** torch.arange(config.time_steps - 1, -1, -1.0))

    def forward(self, x: Float[Tensor, "N C H W"], generator: torch.Generator | None = None) -> Outputs:
        """One pass of training on images in [0, 1]; random numbers are drawn in the order of our network."""
        time_steps, size = self.config.time_steps, self.config.latent_size
        shown = (2.0 * x - 1.0).unsqueeze(-1).repeat(1, 1, 1, 1, time_steps)  # [N, C, H, W, T]
        features = self.encoder(shown).flatten(1, 3)  # [N, F, T]
        choice = self._choice((time_steps, len(x), size), generator, x.device)
        z, rate = self._posterior(self.before_latent(features), choice)
        prior_choice = self._choice((time_steps, len(x), size), generator, x.device)
        guided = (uniform((len(x), 1), generator, x.device) >= SCHEDULED_SAMPLING).to(z.dtype)
        prior_rate = self._guided_prior_rate(z.detach(), guided, prior_choice)
        divergence = (_post_synaptic_potential(rate) - _post_synaptic_potential(prior_rate)).square().mean()
        logits = None if self.classifier is None else self.classifier(self.dropout(features.mean(dim=-1)))
        return Outputs(self.decode(z), logits, divergence, samples=None)

    def decode(self, z: Float[Tensor, "N L T"]) -> Float[Tensor, "N C H W"]:
        """Images in [0, 1]: the last potential of leaky output neurons that never fire."""
        image: Tensor = (self.decoder(z) * self.decay).sum(dim=-1).tanh()
        return image.add(1).div(2)

    @torch.inference_mode()
    def sample(self, noise: Float[Tensor, "N T L"]) -> Float[Tensor, "N C H W"]:
        """New images; ``noise`` from U(0, 1) says which of its k outputs each unit follows."""
        choice = self._as_choice(noise.permute(0, 2, 1))
        before = z = torch.zeros_like(choice[..., :1], dtype=noise.dtype)  # [N, L, 1], then one step more each time
        for t in range(self.config.time_steps):
            z = self._chosen(self.prior_network(before)[..., -1], choice[..., t])
            before = torch.cat([before, z.unsqueeze(-1)], dim=-1)
        return self.decode(before[..., 1:])

    def _posterior(self, seen: Tensor, choice: Tensor) -> tuple[Tensor, Tensor]:
        """Spikes and rates, [N, L, T], of q(z_t | x_<=t, z_<t)."""
        before = torch.zeros_like(seen[..., :1])
        with torch.no_grad():
            for t in range(self.config.time_steps - 1):
                outputs = self.posterior_network(torch.cat([seen[..., : t + 1], before], dim=1))
                z = self._chosen(outputs[..., -1], choice[..., t])
                before = torch.cat([before, z.unsqueeze(-1)], dim=-1)
        outputs = self.posterior_network(torch.cat([seen, before], dim=1))  # [N, L, k, T]
        return self._chosen(outputs, choice), outputs.mean(dim=2)

    def _guided_prior_rate(self, guide: Tensor, guided: Tensor, choice: Tensor) -> Tensor:
        """Rates, [N, L, T], of p(z_t | z_<t) along the posterior's spikes, or along its own where not ``guided``."""
        before = torch.zeros_like(guide[..., :1])
        with torch.no_grad():
            for t in range(self.config.time_steps - 1):
                own = self._chosen(self.prior_network(before)[..., -1], choice[..., t])
                z = guided * guide[..., t] + (1 - guided) * own
                before = torch.cat([before, z.unsqueeze(-1)], dim=-1)
        rate: Tensor = self.prior_network(before).mean(dim=2)
        return rate

    def _choice(self, shape: tuple[int, ...], generator: torch.Generator | None, device: torch.device) -> Tensor:
        return self._as_choice(uniform(shape, generator, device).permute(1, 2, 0))  # [T, N, L] -> [N, L, T]

    def _as_choice(self, uniform_numbers: Tensor) -> Tensor:
        choices = self.config.latent_choices
        return (uniform_numbers * choices).long().clamp(max=choices - 1)

    @staticmethod
    def _chosen(outputs: Float[Tensor, "N L k *T"], choice: Tensor) -> Float[Tensor, "N L *T"]:
        return outputs.gather(2, choice.unsqueeze(2)).squeeze(2)


def with_weights_of(model: SpikingVAE) -> ReferenceVAE:
    """The reference with the weights of our network, on its device and in its mode."""
    reference = ReferenceVAE(model.config)
    latent = model.latent
    assert isinstance(latent, AutoregressiveLatent)  # the constructor above refuses every other latent
    for plain, ours in zip(reference.encoder, model.encoder.stages, strict=True):
        _copy_stage(plain, ours)
    for plain, ours in zip(reference.decoder[:-1], (model.decoder.expand, *model.decoder.stages), strict=True):
        _copy_stage(plain, ours)
    _copy(reference.before_latent[0], latent.synapses)
    _copy(reference.before_latent[1], latent.norm)
    _copy_network(reference.posterior_network, latent.posterior_network)
    _copy_network(reference.prior_network, latent.prior_network)
    if reference.classifier is not None and model.classifier is not None:
        _copy(reference.classifier, model.classifier.linear)
    _copy(reference.decoder[-1], model.decoder.read_out.convolution)
    # Our read-out sums over time before its convolution, so that the bias comes once, and not once per step.
    with torch.no_grad():
        reference.decoder[-1].get_parameter("bias").div_(reference.decay.sum())
    return reference.to(model.device).train(model.training)


def _halving(before: int, after: int) -> nn.Module:
    return nn.Conv3d(before, after, (3, 3, 1), stride=(2, 2, 1), padding=(1, 1, 0), bias=False)


def _doubling(before: int, after: int) -> nn.Module:
    return nn.ConvTranspose3d(
        before, after, (3, 3, 1), stride=(2, 2, 1), padding=(1, 1, 0), output_padding=(1, 1, 0), bias=False
    )


def _post_synaptic_potential(x: Float[Tensor, "N L T"]) -> Float[Tensor, "N L T"]:
    potential = torch.zeros_like(x[..., 0])
    steps = []
    for t in range(x.shape[-1]):
        potential = potential + (x[..., t] - potential) / PSP_TAU
        steps.append(potential)
    return torch.stack(steps, dim=-1)


def _copy(plain: nn.Module, ours: nn.Module) -> None:
    """Copy a layer's parameters and statistics; a 2-D kernel becomes a 3-D one of depth 1."""
    state = ours.state_dict()
    for name, tensor in plain.state_dict().items():
        tensor.copy_(state[name].reshape(tensor.shape))


def _copy_stage(plain: nn.Module, ours: nn.Module) -> None:
    assert isinstance(plain, PlainStage)
    assert isinstance(ours, SpikingStage)
    synapses, own_synapses = plain[0], ours.synapses
    if isinstance(synapses, nn.Sequential) and isinstance(own_synapses, nn.Sequential):
        synapses, own_synapses = synapses[0], own_synapses[0]
    _copy(synapses, own_synapses)
    _copy(plain[1], ours.norm)
    if isinstance(ours.attention, TemporalChannelJointAttention):
        _copy(plain[3], ours.attention)


def _copy_network(plain: PlainNetwork, ours: StepNetwork) -> None:
    for number, layer in enumerate(ours.layers):
        assert isinstance(layer, nn.Sequential)
        _copy(plain[3 * number], layer[0])
        _copy(plain[3 * number + 1], layer[1])
