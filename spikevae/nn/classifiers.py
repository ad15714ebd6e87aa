"""A classifier without a decoder: a stack of layers, each named by a word of ``ModelConfig.layers``.

========================  ================================================================================
``conv64``, ``conv64/2``  3x3 convolution to 64 maps, batch norm, spiking neurons; ``/2`` halves the image
``stem64``                the same without neurons: currents, for the residual blocks that follow
``res64``, ``res64/2``    MS-ResNet block: neurons, convolution, norm, twice, beside a shortcut
``…+attention``           one of these with the config's attention on its output
``fire``                  spiking neurons alone
``maxpool2``              of 2x2 places, rounding down; ``avgpool2`` likewise; ``avgpool`` of all places
``dropout0.5``            hides this share of the values, the same ones at every time step
``linear512``             linear layer to 512 spiking neurons, without bias
``vote10``                last: 10 spiking neurons for each class, whose mean rate is its score
``readout``               last: linear layer to one logit a class and time step
========================  ================================================================================

Source: Zhu et al., TCJA-SNN, arXiv:2206.10177; Hu et al., MS-ResNet, arXiv:2112.08954.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from spikevae.config import ModelConfig
from spikevae.nn.attention import attention_layer
from spikevae.nn.frames import require_frames
from spikevae.nn.images import in_batches, require_images
from spikevae.nn.neurons import spiking_layer, threshold_scaled
from spikevae.nn.residual import ResidualBlock
from spikevae.nn.stage import convolutional_stage
from spikevae.nn.synapses import SpikeConv2d
from spikevae.ops import each_step

_WORD = re.compile(
    r"(?P<kind>conv|stem|res|linear|vote|maxpool)(?P<width>[1-9]\d{0,4})(?P<half>/2)?(?P<attention>\+attention)?"
    r"|(?P<plain>fire|readout|avgpool\d?|dropout0?\.\d+)"
)


class SpikingClassifier(nn.Module):
    """The layers that ``config.layers`` names, from images or event frames to scores of the classes.

    Images are float tensors [N, C, H, W] in [0, 1], shown at every time step. Event frames are counts [T, N, 2, H, W].
    Neurons start at rest in every call. After ``eval()`` nothing is random.

    Args:
        config: everything that the network is.

    Raises:
        ValueError: if a layer is none of the known words, stands in the wrong place, or there are no classes.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        if not config.classes:
            raise ValueError("a classifier needs class_names")
        words = config.layers.split()
        if not words[-1].startswith(("vote", "readout")):
            raise ValueError(f"layers end with {words[-1]!r}; expected readout, or vote10")
        self.config = config
        self.has_rates = words[-1] != "readout"  # scores are firing rates, not logits
        shape: tuple[int, ...] = (config.image_channels, *config.frame_size)
        layers = []
        for place, word in enumerate(words):
            layer, shape = _layer(config, word, shape, is_last=place == len(words) - 1)
            layers.append(layer)
        self.layers = nn.ModuleList(layers)
        self.to(memory_format=torch.channels_last)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def forward(self, x: Float[Tensor, ...]) -> Float[Tensor, "T N K"]:
        """Scores of every time step: logits, or shares of each class's neurons that fire.

        Raises:
            ValueError: if the input has not this model's shape.
        """
        scores: Tensor = self.layers[-1](self._before_last(x))
        return scores

    @torch.no_grad()
    def features(self, x: Float[Tensor, ...]) -> Float[Tensor, "N F"]:
        """What the last layer reads: of every map, or neuron, its mean over time and places."""
        x_seq = self._before_last(x)
        return x_seq.float().mean(dim=(0, 3, 4) if x_seq.dim() == 5 else 0)

    @torch.no_grad()
    def classify(
        self, x: Float[Tensor, ...], *, batch_size: int = 64, flip_tta: bool | None = None
    ) -> Float[Tensor, "N K"]:
        """Class probabilities; columns are ``config.class_names``.

        They are the softmax of the mean logits, or the mean firing rates divided by their sum.

        Args:
            x: images [N, C, H, W] in [0, 1], or event frames [T, N, 2, H, W].
            batch_size: inputs computed together.
            flip_tta: whether to average the answers to an input and its mirror image (flip test-time augmentation),
                which costs twice as much. None: as ``config.classify_mirrored`` says.
        """
        return self.probabilities(x, batch_size=batch_size, flip_tta=flip_tta)[-1]

    @torch.no_grad()
    def probabilities(
        self, x: Float[Tensor, ...], *, batch_size: int = 64, flip_tta: bool | None = None
    ) -> Float[Tensor, "T N K"]:
        """Class probabilities after 1, 2, … T steps, as they form over time; the last ones are :meth:`classify`'s.

        A model with attention weighs its steps in sight of all of them. Arguments as for :meth:`classify`.
        """
        has_events = self.config.takes_events
        parts = in_batches(x, batch_size, "recording" if has_events else "image", dim=1 if has_events else 0)
        return torch.cat([self.probabilities_together(part, flip_tta=flip_tta) for part in parts], dim=1)

    def probabilities_together(self, x: Float[Tensor, ...], *, flip_tta: bool | None = None) -> Float[Tensor, "T N K"]:
        """The same of all inputs at once, however many."""
        flips = self.config.classify_mirrored if flip_tta is None else flip_tta
        views = [x, x.flip(-1)] if flips else [x]
        return torch.stack([self._probabilities_of_view(view) for view in views]).mean(dim=0)

    def _probabilities_of_view(self, x: Tensor) -> Tensor:
        score_seq = self(x).float()
        steps = torch.arange(1, len(score_seq) + 1, device=score_seq.device)[:, None, None]
        mean_seq = score_seq.cumsum(dim=0) / steps
        if not self.has_rates:
            probabilities: Tensor = mean_seq.softmax(dim=2)
            return probabilities
        total = mean_seq.sum(dim=2, keepdim=True)
        return torch.where(total > 0, mean_seq / total.clamp(min=1e-9), 1 / self.config.classes)

    def feature_maps(self, x: Float[Tensor, ...]) -> list[Float[Tensor, "T N C H W"]]:
        """What the layers with places give, in their order. The values of x are not looked at."""
        return [x_seq for x_seq in self._states(self._as_sequence(x, checks=False)) if x_seq.dim() == 5]

    def _before_last(self, x: Float[Tensor, ...]) -> Float[Tensor, "T N ..."]:
        x_seq = self._as_sequence(x)
        for state in self._states(x_seq):
            x_seq = state
        return x_seq

    def _states(self, x_seq: Float[Tensor, "T N ..."]) -> Iterator[Float[Tensor, "T N ..."]]:
        """What each layer but the last gives."""
        for layer in self.layers[:-1]:
            x_seq = layer(x_seq)
            yield x_seq

    def _as_sequence(self, x: Tensor, *, checks: bool = True) -> Tensor:
        """The input as [T, N, C, H, W], its values checked or not; an image is repeated without a copy."""
        config, dtype = self.config, next(self.parameters()).dtype
        if not config.takes_events:
            require_images(x, config, is_training=self.training or not checks)
            return (2.0 * x.to(dtype) - 1.0).expand(config.time_steps, *x.shape)
        require_frames(x, config, is_training=self.training or not checks)
        return x.to(dtype)


class _EachStep(nn.Module):
    """A layer without memory, applied to every step of a sequence."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x_seq: Float[Tensor, "T N ..."]) -> Float[Tensor, "T N ..."]:
        return each_step(self.layer, x_seq)


class _SameDropout(nn.Dropout):
    """Dropout that hides the same values at every time step."""

    def forward(self, input: Float[Tensor, "T N ..."]) -> Float[Tensor, "T N ..."]:
        return input * functional.dropout(torch.ones_like(input[0]), self.p, self.training)


class _Votes(nn.Module):
    """The mean over so many neurons of each class."""

    def __init__(self, voters: int) -> None:
        super().__init__()
        self.voters = voters

    def forward(self, spike_seq: Float[Tensor, "T N V"]) -> Float[Tensor, "T N K"]:
        votes: Tensor = spike_seq.unflatten(2, (-1, self.voters))
        return votes.mean(dim=3)


Shape = tuple[int, ...]
"""C, H and W of one step; F alone once it is flat."""


def _layer(config: ModelConfig, word: str, shape: Shape, *, is_last: bool) -> tuple[nn.Module, Shape]:
    """The layer that a word names, for inputs of this shape, and the shape of what it gives."""
    match = _WORD.fullmatch(word)
    is_end = word == "readout" or word.startswith("vote")
    if match is None or (match["attention"] and match["kind"] not in ("conv", "stem", "res")):
        raise ValueError(f"layers: {word!r} is no layer; expected words such as conv64+attention, maxpool2, readout")
    if match["half"] and match["kind"] not in ("conv", "res"):
        raise ValueError(f"layers: {word!r}: only conv and res halve the image")
    if is_end != is_last:
        raise ValueError(f"layers: {word!r} stands in the wrong place; readout or vote10 comes last, and once")
    name = match["kind"] or re.sub(r"[\d.]+", "", word)
    if name in _MAPS and len(shape) == 1:
        raise ValueError(f"layers: {word!r} needs an image, and comes after a linear layer")
    part = config if match["attention"] else replace(config, attention="none")
    number = float(re.sub(r"[^\d.]", "", match["width"] or word) or 0)
    try:
        return _BUILDERS[name](part, number, shape, 2 if match["half"] else 1)
    except ZeroDivisionError:
        raise ValueError(f"layers: {word!r} leaves nothing of {shape[1]}x{shape[2]} places") from None


Builder = Callable[[ModelConfig, float, Shape, int], tuple[nn.Module, Shape]]


def _conv(config: ModelConfig, width: float, shape: Shape, stride: int) -> tuple[nn.Module, Shape]:
    stage = convolutional_stage(config, shape[0], int(width), "down" if stride == 2 else "same")
    return stage, (int(width), *_halved(shape, stride))


def _stem(config: ModelConfig, width: float, shape: Shape, stride: int) -> tuple[nn.Module, Shape]:
    norm = threshold_scaled(nn.BatchNorm2d(int(width)), config)
    currents = _EachStep(nn.Sequential(SpikeConv2d(shape[0], int(width)), norm))
    return nn.Sequential(currents, attention_layer(config, int(width))), (int(width), *shape[1:])


def _res(config: ModelConfig, width: float, shape: Shape, stride: int) -> tuple[nn.Module, Shape]:
    return ResidualBlock(config, shape[0], int(width), stride), (int(width), *_halved(shape, stride))


def _halved(shape: Shape, stride: int) -> Shape:
    """Height and width, rounded up where a stride of 2 halves an odd one."""
    return tuple((side + stride - 1) // stride for side in shape[1:])


def _pool(kind: type[nn.Module], side: float, shape: Shape) -> tuple[nn.Module, Shape]:
    if not side:
        return _EachStep(nn.AdaptiveAvgPool2d(1)), (shape[0], 1, 1)
    if min(shape[1:]) < side:
        raise ZeroDivisionError
    return _EachStep(kind(int(side))), (shape[0], *(length // int(side) for length in shape[1:]))


def _linear(config: ModelConfig, width: float, shape: Shape, stride: int) -> tuple[nn.Module, Shape]:
    synapses = nn.Linear(math.prod(shape), int(width), bias=False)
    return nn.Sequential(nn.Flatten(2), _EachStep(synapses), spiking_layer(config)), (int(width),)


def _vote(config: ModelConfig, voters: float, shape: Shape, stride: int) -> tuple[nn.Module, Shape]:
    neurons, _ = _linear(config, voters * config.classes, shape, stride)
    return nn.Sequential(neurons, _Votes(int(voters))), (config.classes,)


def _readout(config: ModelConfig, _: float, shape: Shape, stride: int) -> tuple[nn.Module, Shape]:
    return nn.Sequential(nn.Flatten(2), _EachStep(nn.Linear(math.prod(shape), config.classes))), (config.classes,)


_MAPS = ("conv", "stem", "res", "maxpool", "avgpool")
_BUILDERS: dict[str, Builder] = {
    "conv": _conv,
    "stem": _stem,
    "res": _res,
    "maxpool": lambda config, side, shape, stride: _pool(nn.MaxPool2d, side, shape),
    "avgpool": lambda config, side, shape, stride: _pool(nn.AvgPool2d, side, shape),
    "fire": lambda config, number, shape, stride: (spiking_layer(config), shape),
    "dropout": lambda config, share, shape, stride: (_SameDropout(share), shape),
    "linear": _linear,
    "vote": _vote,
    "readout": _readout,
}
