"""What is measured: networks, a step of training, a batch of samples. The same for every side."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from typing import Literal

import torch
from spikingjelly.activation_based import neuron
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

import spikevae
from benchmarks.reference import ReferenceVAE
from spikevae.config import ModelConfig, ObjectiveConfig, TrainConfig
from spikevae.hub.checkpoints import load_generator
from spikevae.nn.neurons import SpikingLayer
from spikevae.nn.synapses import SpikeConv2d, SpikeConvTranspose2d
from spikevae.nn.vae import SpikingVAE
from spikevae.presets import PRESETS
from spikevae.runtime import prefers_bfloat16
from spikevae.training.losses import vae_objective

Network = Literal["ours", "reference", "relu"]
Precision = Literal["auto", "float32"]
RELEASED = "fashion-mnist"


@dataclasses.dataclass(frozen=True)
class Sizes:
    """How large everything is."""

    paper: ModelConfig
    small: ModelConfig  # the network of the released fashion-mnist model
    pictures: ModelConfig
    batch: int
    layer: tuple[int, ...]  # [T, N, C, H, W]
    time_steps: tuple[int, ...]  # of the growth with T
    matrix: int  # side of the matrices that tell what the machine can do at most


def full_sizes(device: torch.device) -> Sizes:
    """The sizes of the published figures; an accelerator gets batches that fill it."""
    return Sizes(
        paper=PRESETS["paper"].model,
        small=PRESETS[RELEASED].model,
        pictures=PRESETS["pictures"].model,
        batch=64 if device.type == "cpu" else 512,
        layer=(16, 64, 64, 16, 16),
        time_steps=(4, 8, 16, 32),
        matrix=4096,
    )


def quick_sizes() -> Sizes:
    """Sizes that take no time and mean nothing."""
    paper = dataclasses.replace(
        PRESETS["paper"].model,
        image_size=8,
        time_steps=4,
        encoder_widths=(4, 4),
        decoder_widths=(4, 4, 4),
        latent_size=4,
        latent_choices=3,
    )
    tiny = {"encoder_widths": (4, 4), "decoder_widths": (4, 4), "latent_size": 8, "prior_rank": 2}
    return Sizes(
        paper=paper,
        small=dataclasses.replace(
            PRESETS[RELEASED].model,
            encoder_widths=(4, 4, 4),
            decoder_widths=(4, 4, 4),
            latent_size=7 * 7,
            prior_rank=2,
            prior_components=1,
        ),
        pictures=dataclasses.replace(PRESETS["pictures"].model, image_size=8, **tiny),  # type: ignore[arg-type]
        batch=2,
        layer=(3, 2, 4, 4, 4),
        time_steps=(3, 4, 5, 6),
        matrix=64,
    )


def build(network: Network, config: ModelConfig, device: torch.device) -> nn.Module:
    """A network with fresh weights, always the same.

    The speed of ours depends on how many of its neurons fire: with statistics of its own activity as many as in a
    network that has learned.
    """
    torch.manual_seed(0)
    model: nn.Module = ReferenceVAE(config) if network == "reference" else SpikingVAE(config)
    if network == "relu":
        _make_ordinary(model)
    if network == "ours":
        # Few images: what they leave in memory is not seen when memory is measured later on.
        shape = (2, config.image_channels, config.image_size, config.image_size)
        update_bn([torch.rand(shape) for _ in range(8)], model)
    return model.to(device)


def released_model(config: ModelConfig, device: torch.device) -> SpikingVAE:
    """The released model if ``config`` is its own and it is there, otherwise its network with fresh weights."""
    if config == PRESETS[RELEASED].model and RELEASED in spikevae.released_models():
        return load_generator(RELEASED, device=device)
    model = build("ours", config, device)
    assert isinstance(model, SpikingVAE)
    return model.eval()


def training_step(
    model: nn.Module, config: ModelConfig, batch: int, device: torch.device, precision: Precision = "auto"
) -> Callable[[], None]:
    """A step as in training: forward, loss, backward, clipping, AdamW. All sides share everything but the network.

    The step is that of the first phase, in which the whole network learns. ``precision`` is that of
    :class:`spikevae.config.TrainConfig`: "auto" runs convolutions in bfloat16 where the hardware can.
    """
    settings, weights = TrainConfig(), ObjectiveConfig()
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    x = torch.rand(batch, config.image_channels, config.image_size, config.image_size, device=device)
    labels = torch.randint(max(config.classes, 1), (batch,), device=device)
    use_bfloat16 = precision == "auto" and prefers_bfloat16(device)

    def step() -> None:
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=use_bfloat16):
            outputs = model(x)
        terms = vae_objective(outputs.reconstruction, x, outputs.divergence, outputs.logits, labels, weights)
        optimizer.zero_grad()
        terms.loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), settings.gradient_clip)
        optimizer.step()

    return step


def sampling(model: nn.Module, batch: int) -> Callable[[], Tensor]:
    """A batch of new images, random numbers included; every call takes the next seed."""
    model.eval()
    seeds = itertools.count()
    if isinstance(model, ReferenceVAE):
        shape = (batch, model.config.time_steps, model.config.latent_size)
        device = model.decay.device
        return lambda: model.sample(torch.rand(shape, generator=torch.Generator().manual_seed(next(seeds))).to(device))
    assert isinstance(model, SpikingVAE)
    return lambda: model.sample(batch, seed=next(seeds), batch_size=batch)


def work(
    subject: str, model: nn.Module, config: ModelConfig, batch: int, device: torch.device, precision: Precision = "auto"
) -> Callable[[], object]:
    """What ``subject`` names, "training" or "sampling": :func:`training_step` or :func:`sampling`."""
    if subject == "sampling":
        return sampling(model, batch)
    return training_step(model, config, batch, device, precision)


def layer_pass(layer: nn.Module, x_seq: Tensor) -> Callable[[], None]:
    """Forward and backward of one layer on a sequence."""
    x_seq = x_seq.clone().requires_grad_()
    grad = torch.rand_like(x_seq)

    def both() -> None:
        (torch.autograd.grad(layer(x_seq), x_seq, grad))

    return both


def our_layer() -> SpikingLayer:
    """The spiking layer of the presets, its time constant fixed."""
    return SpikingLayer(ModelConfig().tau, ModelConfig().surrogate_slope)


class _ReLU(nn.ReLU):
    """In the place of neurons that take a step at a time or a whole sequence."""

    multi_step_forward = nn.ReLU.forward


_ORDINARY: dict[type, type] = {
    SpikeConv2d: nn.Conv2d,
    SpikeConvTranspose2d: nn.ConvTranspose2d,
}


def _make_ordinary(module: nn.Module) -> None:
    """ReLU for every neuron, and torch's synapses, which multiply every input, as ordinary networks have."""
    for name, child in module.named_children():
        if isinstance(child, neuron.BaseNode):
            setattr(module, name, _ReLU())
        child.__class__ = _ORDINARY.get(type(child), type(child))
        _make_ordinary(child)
