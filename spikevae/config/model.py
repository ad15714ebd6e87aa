"""Every setting of a network."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from spikevae.config.checks import require_not_negative, require_positive, require_types

ReadOut = Literal["weighted", "membrane"]
Synapses = Literal["instant", "exponential"]
SliceBy = Literal["number", "time"]

_LARGEST_SEQUENCE = 2**31  # elements; a config asking for more is a mistake or an attack, not a model
_DEEPEST = 6  # stages
_MOST_LAYERS = 64
_LONGEST = 1024  # time steps
_LONGEST_RECORDING = 10**9  # microseconds


@dataclass(frozen=True)
class ModelConfig:
    """The network: a checkpoint's weights and this are all that is needed to rebuild it.

    Raises:
        ValueError: if a setting is out of range or two of them disagree.
    """

    image_size: int = 28
    """Height and width of the images, in pixels. The network pads them to a size that its decoder can double up to."""
    image_channels: int = 1
    """1 for grey images, 3 for RGB, 2 for frames of OFF and ON events."""
    image_width: int | None = field(default=None, metadata={"before": None})
    """Width of event frames that are not square; otherwise the image size."""
    slice_by: SliceBy = field(default="number", metadata={"before": "number"})
    """How a recording is cut into T frames: with equally many events, or of equal duration."""
    duration: int = field(default=300_000, metadata={"before": 300_000})
    """Microseconds of the recordings that an event-vae makes."""
    network: str = field(default="vae", metadata={"before": "vae"})
    """vae: encoder, latent spikes and decoder; event-vae: the same of event frames; classifier: the layers below alone;
    or one that you registered."""
    layers: str = field(default="", metadata={"before": ""})
    """Layers of a classifier, in their order, as "conv32/2+attention readout"; nn/classifiers.py lists the words."""
    class_names: tuple[str, ...] = ()
    """Names of the labels, in their order; empty where the data has none, and then there is no classifier."""
    time_steps: int = 4
    """T, simulated steps. The channel branch of TCJA mixes T inputs, so weights hold for one T only."""
    encoder_widths: tuple[int, ...] = (64, 128, 160)
    """Feature maps of each encoder stage; every stage halves the image."""
    decoder_widths: tuple[int, ...] = (128, 48, 24)
    """Feature maps at the decoder's lowest resolution and after each stage, of which every one doubles the image."""
    encoder_depth: int = field(default=0, metadata={"before": 0})
    """Spiking convolutions in the encoder before the latent spikes of a grid (grid latent only)."""
    upsampling: Literal["subpixel", "transposed"] = "subpixel"
    """How a decoder stage doubles the image."""
    attention: str = "tcja"
    """Attention after each stage: tcja, one of its two branches alone (tla, cla), none, or one that you registered."""
    temporal_kernel: int = 3
    """Width of the attention kernel that slides along T, in time steps."""
    channel_kernel: int = 3
    """Width of the attention kernel that slides along C, in channels."""
    gate: Literal["sigmoid", "pow2"] = field(default="sigmoid", metadata={"before": "sigmoid"})
    """The attention's gates: the sigmoid itself, or rounded to 2^-k, which makes a gate a shift."""
    neuron: str = "plif"
    """lif: leaky integrate-and-fire; plif: the same with a time constant learned per layer; relu: no spikes, an
    ordinary classifier of the same layers, to compare with or to learn from; or one you registered."""
    tau: float = 2.0
    """Membrane time constant, in time steps (its initial value for plif)."""
    surrogate_slope: float = 2.0
    """Slope of the arctan surrogate gradient at the threshold."""
    latent: str = "potential"
    """Latent spikes: potential or grid (a density is fitted), autoregressive (FSVAE's), esvae (ESVAE's, of a Poisson
    process), or one that you registered."""
    latent_size: int = 256
    """Latent units; each sends T spikes."""
    latent_synapses: Synapses = "exponential"
    """What a latent spike causes in the decoder: a current of that time step, or one that decays over the next ones."""
    latent_choices: int = 20
    """k, outputs per latent unit of which one is drawn at random (autoregressive latent only)."""
    prior_rank: int = 64
    """Directions of the density fitted to each class's latent membrane potentials (latents potential and grid)."""
    prior_components: int = 8
    """Gaussians of that density for each class; fewer where a class has few images."""
    prior_exemplars: int = field(default=0, metadata={"before": 0})
    """Training images of each class whose codes the density keeps, so that new images begin at one of them (latent grid
    only; 0: none, and nothing of a single image is kept)."""
    prior_bandwidth: float = field(default=0.65, metadata={"before": 0.65})
    """How far new images go from there, 0 to 1: 1 forgets the exemplars, near 0 new images are copies of them."""
    classify_mirrored: bool = False
    """Classify an image together with its mirror image (where mirroring changes no class): the mean of both answers."""
    read_out: ReadOut = "weighted"
    """Time into an image: one learned weight per step, or the last potential of a leaky neuron."""

    def __post_init__(self) -> None:
        require_types(self)
        require_positive(
            self, "image_size", "time_steps", "latent_size", "latent_choices", "prior_rank", "prior_components"
        )
        require_positive(self, "temporal_kernel", "channel_kernel", "surrogate_slope")
        if self.network == "vae" and self.image_channels not in (1, 3):
            raise ValueError(f"image_channels={self.image_channels}: images of a VAE are grey (1) or RGB (3)")
        if self.network == "event-vae":
            self._check_events()
        if self.image_channels not in (1, 2, 3):
            raise ValueError(f"image_channels={self.image_channels}: expected 1 (grey), 2 (events) or 3 (RGB)")
        if self.image_width is not None and not (self.image_channels == 2 and 1 <= self.image_width <= 1024):
            raise ValueError(f"image_width={self.image_width}: expected 1 to 1024, and only with image_channels=2")
        count = len(self.layers.split())
        is_wrong = {"vae": count > 0, "event-vae": count > 0, "classifier": count == 0}.get(self.network, False)
        if is_wrong or count > _MOST_LAYERS:
            raise ValueError(
                f"layers={self.layers!r}, network={self.network!r}: a classifier has 1 to {_MOST_LAYERS} layers, "
                "a VAE none"
            )
        if self.neuron == "relu" and self.network != "classifier":
            raise ValueError('neuron="relu": a classifier alone has them; a VAE needs neurons that spike, as plif')
        if self.time_steps > _LONGEST:
            raise ValueError(f"time_steps={self.time_steps} is more than {_LONGEST}")
        if not 1 < self.tau < math.inf:
            raise ValueError(f"tau={self.tau}: a membrane time constant is larger than 1 time step")
        for name, least in (("encoder_widths", 1), ("decoder_widths", 2)):
            widths = getattr(self, name)
            if not least <= len(widths) <= _DEEPEST or any(width < 1 for width in widths):
                raise ValueError(f"{name}={widths}: give {least} to {_DEEPEST} positive numbers of feature maps")
        if self.attention in ("tcja", "tla") and self.temporal_kernel > self.time_steps:
            raise ValueError(
                f"temporal_kernel={self.temporal_kernel} is wider than time_steps={self.time_steps}; "
                f"use at most {self.time_steps}"
            )
        if self.latent == "grid":
            self._check_grid()
        require_not_negative(self, "prior_exemplars")
        if not 0 < self.prior_bandwidth <= 1:
            raise ValueError(f"prior_bandwidth={self.prior_bandwidth} is outside (0, 1]")
        narrowest = min(*self.encoder_widths, *self.decoder_widths)
        if self.attention in ("tcja", "cla") and self.channel_kernel > narrowest:
            raise ValueError(
                f"channel_kernel={self.channel_kernel} is wider than the {narrowest} channels of the narrowest stage; "
                f"use at most {narrowest}"
            )
        widest = max(*self.encoder_widths, *self.decoder_widths) * self.image_size * self.frame_size[1]
        if self.time_steps * max(widest, self.latent_size * self.latent_choices) > _LARGEST_SEQUENCE:
            raise ValueError(
                f"time_steps={self.time_steps}, image_size={self.image_size} and these widths make a sequence of more "
                f"than {_LARGEST_SEQUENCE:,} numbers for one image; reduce one of them"
            )

    def _check_events(self) -> None:
        if not self.takes_events or self.image_width not in (None, self.image_size) or self.slice_by != "time":
            raise ValueError(
                f"image_channels={self.image_channels}, image_size={self.image_size}, image_width={self.image_width}, "
                f"slice_by={self.slice_by!r}: an event-vae takes square frames of 2 channels and of equal duration "
                '("time")'
            )
        if self.classify_mirrored:
            raise ValueError("classify_mirrored=True: an event-vae does not mirror recordings; leave it out")
        if not self.time_steps <= self.duration <= _LONGEST_RECORDING:
            raise ValueError(
                f"duration={self.duration}: expected a microsecond a time step at least, {_LONGEST_RECORDING:,} at most"
            )

    def _check_grid(self) -> None:
        side, sides = self.padded_size, []
        for _ in self.encoder_widths:
            side = math.ceil(side / 2)
            sides.append(side)
        if self.grid_size not in sides:
            raise ValueError(
                f"latent='grid': the decoder starts at {self.grid_size}x{self.grid_size}, but the encoder has maps of "
                f"{' and '.join(map(str, sides))}; give another number of encoder_widths or decoder_widths"
            )
        if self.latent_size % self.grid_size**2:
            raise ValueError(
                f"latent_size={self.latent_size}: with image_size={self.image_size} a grid of "
                f"{self.grid_size}x{self.grid_size} places needs a multiple of {self.grid_size**2}, such as "
                f"{12 * self.grid_size**2}"
            )
        if not 0 <= self.encoder_depth <= _DEEPEST:
            raise ValueError(f"encoder_depth={self.encoder_depth} is outside 0 to {_DEEPEST}")

    @property
    def classes(self) -> int:
        """K, the number of labels; 0 without a classifier."""
        return len(self.class_names)

    @property
    def grid_size(self) -> int:
        """S, height and width of the decoder's lowest maps, and of a grid of latent spikes."""
        return self.padded_size // int(2 ** (len(self.decoder_widths) - 1))

    @property
    def latent_channels(self) -> int:
        """C_z, latent spikes of each place of a grid and time step."""
        return self.latent_size // self.grid_size**2

    @property
    def frame_size(self) -> tuple[int, int]:
        """Height and width of an image or frame."""
        return self.image_size, self.image_width or self.image_size

    @property
    def takes_events(self) -> bool:
        """Whether the input is event frames [T, N, 2, H, W] in place of images."""
        return self.image_channels == 2

    @property
    def padded_size(self) -> int:
        """Height and width inside the network: ``image_size`` rounded up to what the decoder can reach.

        The encoder takes any size: its stages round up where they halve an odd one.
        """
        scale: int = 2 ** (len(self.decoder_widths) - 1)
        return math.ceil(self.image_size / scale) * scale
