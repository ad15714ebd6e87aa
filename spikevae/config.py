"""Every setting of a model, its data and its training. No torch."""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from tyro.conf import Suppress, arg

ReadOut = Literal["weighted", "membrane"]
Synapses = Literal["instant", "exponential"]
Split = Literal["train", "validation", "test"]
SliceBy = Literal["number", "time"]

FASHION_MNIST_CLASSES = (
    "t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip
MNIST_CLASSES = tuple(str(digit) for digit in range(10))
CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CIFAR100_CLASSES = (
    "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle", "bowl", "boy",
    "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle", "chair", "chimpanzee", "clock",
    "cloud", "cockroach", "couch", "crab", "crocodile", "cup", "dinosaur", "dolphin", "elephant", "flatfish",
    "forest", "fox", "girl", "hamster", "house", "kangaroo", "keyboard", "lamp", "lawn_mower", "leopard", "lion",
    "lizard", "lobster", "man", "maple_tree", "motorcycle", "mountain", "mouse", "mushroom", "oak_tree", "orange",
    "orchid", "otter", "palm_tree", "pear", "pickup_truck", "pine_tree", "plain", "plate", "poppy", "porcupine",
    "possum", "rabbit", "raccoon", "ray", "road", "rocket", "rose", "sea", "seal", "shark", "shrew", "skunk",
    "skyscraper", "snail", "snake", "spider", "squirrel", "streetcar", "sunflower", "sweet_pepper", "table", "tank",
    "telephone", "television", "tiger", "tractor", "train", "trout", "tulip", "turtle", "wardrobe", "whale",
    "willow_tree", "wolf", "woman", "worm",
)  # fmt: skip
DVS128_CLASSES = (
    "hand clapping", "right hand wave", "left hand wave", "right arm clockwise", "right arm counter-clockwise",
    "left arm clockwise", "left arm counter-clockwise", "arm roll", "air drums", "air guitar", "other gestures",
)  # fmt: skip
GESTURE_CLASSES = (
    "left", "right", "up", "down", "clockwise", "counter-clockwise", "nearer", "farther", "to and fro",
    "twice and stop",
)  # fmt: skip
CLASS_NAMES = {
    "fashion-mnist": FASHION_MNIST_CLASSES,
    "mnist": MNIST_CLASSES,
    "cifar10": CIFAR10_CLASSES,
    "cifar100": CIFAR100_CLASSES,
    "n-mnist": MNIST_CLASSES,
    "sim-n-mnist": MNIST_CLASSES,
    "dvs128-gesture": DVS128_CLASSES,
    "cifar10-dvs": CIFAR10_CLASSES,
    "sim-gestures": GESTURE_CLASSES,
    "sim-shapes": GESTURE_CLASSES,
}
"""Of each labelled data set; `spikevae.data.register` adds to them. Those of a folder are its subfolders."""

EVENT_DATASET_NAMES = (
    "n-mnist", "dvs128-gesture", "cifar10-dvs", "n-caltech101", "sim-n-mnist", "sim-gestures", "sim-shapes",
)  # fmt: skip
"""Data sets of event cameras; a folder of recordings is ``events:FOLDER``."""

_FORMER_NAMES = {
    "settling_share": "deterministic_share",
    "settling_learning_rate": "deterministic_learning_rate",
    "refinement_share": "adversarial_share",
    "refinement_learning_rate": "adversarial_learning_rate",
}
"""Settings by the names they had: run folders and command lines of those times still work."""

_REMOVED: dict[str, object] = {"read_out_scale": 1, "decoder_depth": 0}
"""Settings that no model used, and the value that did nothing: folders that say so are read."""

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
    """Width of event frames that are not square; otherwise ``image_size``."""
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
    """lif: leaky integrate-and-fire; plif: the same with a time constant learned per layer; or one you registered."""
    tau: float = 2.0
    """Membrane time constant, in time steps (its initial value for plif)."""
    surrogate_slope: float = 2.0
    """Slope of the arctan surrogate gradient at the threshold."""
    latent: str = "potential"
    """Latent spikes: potential (a density is fitted), autoregressive (FSVAE's networks), or one that you registered."""
    latent_size: int = 256
    """Latent units; each sends T spikes."""
    latent_synapses: Synapses = "exponential"
    """What a latent spike causes in the decoder: a current of that time step, or one that decays over the next ones."""
    latent_choices: int = 20
    """k, outputs per latent unit of which one is drawn at random (autoregressive latent only)."""
    prior_rank: int = 64
    """Directions of the density fitted to each class's latent membrane potentials (potential latent only)."""
    prior_components: int = 8
    """Gaussians of that density for each class; fewer where a class has few images."""
    classify_mirrored: bool = False
    """Classify an image together with its mirror image (where mirroring changes no class): the mean of both answers."""
    read_out: ReadOut = "weighted"
    """Time into an image: one learned weight per step, or the last potential of a leaky neuron."""

    def __post_init__(self) -> None:
        _require_positive(
            self, "image_size", "time_steps", "latent_size", "latent_choices", "prior_rank", "prior_components"
        )
        _require_positive(self, "temporal_kernel", "channel_kernel", "surrogate_slope")
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
                f"latent_size={self.latent_size}: a grid of {self.grid_size}x{self.grid_size} places needs a multiple "
                f"of {self.grid_size**2}"
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


@dataclass(frozen=True)
class DataConfig:
    """Which images to learn from."""

    dataset: Suppress[str] = "fashion-mnist"  # the command line's own argument
    """fashion-mnist, mnist, cifar10, celeba, another one that was registered, or folder:PATH for one's own pictures;
    n-mnist and other event data (docs/events.md), or events:FOLDER for one's own recordings."""
    data_root: Suppress[str | None] = None  # likewise
    """Where the data sets lie or are downloaded to; otherwise $SPIKEVAE_DATA, otherwise the user's cache folder."""
    image_size: int | None = None
    """Height and width that images are cropped and resized to; otherwise the data set's own (folders: 64)."""
    image_width: Suppress[int | None] = field(default=None, metadata={"before": None})  # in a run the model's, as below
    """Width of event frames that are not square; otherwise ``image_size``."""
    time_steps: Suppress[int | None] = field(default=None, metadata={"before": None})
    """T, frames that an event recording is cut into; otherwise 10."""
    slice_by: Suppress[SliceBy | None] = field(default=None, metadata={"before": None})
    """Frames with equally many events ("number", also if None), or of equal duration ("time")."""
    also: str | None = field(default=None, metadata={"before": None})
    """Another event data set of the same classes, whose training split is learned from too: sim-n-mnist, of n-mnist."""
    validation_share: float = 0.05
    """Share of the training split that is held out of training, for choosing between models."""
    unlabelled: Annotated[bool, arg(aliases=("--unlabelled",))] = field(default=False, metadata={"before": True})
    """Ignore that the subfolders of a folder:PATH are classes."""

    def __post_init__(self) -> None:
        if not 0 <= self.validation_share < 1:
            raise ValueError(f"validation_share={self.validation_share} is outside [0, 1)")
        if self.image_size is not None and self.image_size < 4:
            raise ValueError(f"image_size={self.image_size} is smaller than 4 pixels")

    def taken_by(self, model: ModelConfig) -> DataConfig:
        """The same data set in the sizes of a network; recordings in its frames."""
        fitted = replace(self, image_size=model.image_size)
        if not model.takes_events:
            return fitted
        return replace(fitted, image_width=model.image_width, time_steps=model.time_steps, slice_by=model.slice_by)


@dataclass(frozen=True)
class ObjectiveConfig:
    """Weights of the loss terms. The reconstruction error is a mean over pixels on the [-1, 1] scale."""

    divergence_weight: float = 1e-4
    """Of the divergence between posterior and prior (per latent spike)."""
    classification_weight: float = 0.15
    """Of the cross-entropy of the shared classifier."""
    label_smoothing: float = 0.05
    """Probability mass spread over the other labels in that cross-entropy."""
    classification_loss: Literal["cross-entropy", "rate-mse", "tet"] = field(
        default="cross-entropy", metadata={"before": "cross-entropy"}
    )
    """Loss of a classifier: cross-entropy of the mean over time, squared error of the rates, or TET: the mean of
    every step's cross-entropy (Deng et al., arXiv:2202.11946)."""
    tet_weight: float = field(default=1e-3, metadata={"before": 1e-3})
    """Of TET's other term, the squared distance of every logit from 1 (lambda; cross-entropy has 1 - lambda)."""
    adversarial_weight: float = 0.04
    """Of the discriminator's score of new samples, in adversarial fine-tuning."""
    feature_weight: float = 0.1
    """Of the distance between the discriminator's features of images and of their reconstructions, likewise."""
    label_weight: float = 0.02
    """Of the discriminator's cross-entropy on the classes of samples and reconstructions, likewise."""

    firing_rate_weight: float = field(default=0.0, metadata={"before": 0.0})
    """Of how far firing rates lie above the target (mean square over the spiking layers), before fine-tuning."""
    firing_rate_target: float = field(default=0.1, metadata={"before": 0.1})
    """Share of a layer's neurons that may fire at a time step for nothing."""

    def __post_init__(self) -> None:
        _require_not_negative(self, *(name for name in self.__dataclass_fields__ if name.endswith("_weight")))
        if not 0 <= self.firing_rate_target <= 1:
            raise ValueError(f"firing_rate_target={self.firing_rate_target} is outside [0, 1]")
        if not 0 <= self.label_smoothing <= 1:
            raise ValueError(f"label_smoothing={self.label_smoothing} is outside [0, 1]")


@dataclass(frozen=True)
class TrainConfig:
    """How to train. Progress is counted in images, so that batch size changes nothing else.

    Three phases. In the joint phase encoder, latent, decoder and classifier learn together. The deterministic phase is
    the same without randomness in the latent spikes. In adversarial fine-tuning encoder and classifier are frozen, the
    density of the latents is fitted, and the decoder alone learns, against a discriminator.

    A length of 0 is left open: :meth:`fitted_to` chooses it for the number of training images.
    """

    epochs: int = 0
    """Passes over the training split, in all phases together (0: 20, or more where images are few)."""
    deterministic_share: Annotated[float, arg(aliases=["--train.settling-share"])] = 0.15
    """Share of the epochs with the most probable latent spikes in place of random ones (0: none)."""
    adversarial_share: Annotated[float, arg(aliases=["--train.refinement-share"])] = 0.2
    """Share of the epochs, the last ones, of adversarial fine-tuning (0: none; latents with a density only)."""
    batch_size: int = 0
    """Images a step, over all processes together (0: 16 to 64, the more the more images there are)."""
    learning_rate: float = 4e-3
    """Peak rate of AdamW, reached after the warm-up, then brought down along a cosine."""
    deterministic_learning_rate: Annotated[float, arg(aliases=["--train.settling-learning-rate"])] = 1e-3
    """Peak rate of the deterministic phase."""
    adversarial_learning_rate: Annotated[float, arg(aliases=["--train.refinement-learning-rate"])] = 5e-4
    """Peak rate of the decoder and of the discriminator in adversarial fine-tuning."""
    weight_decay: float = 0.01
    """AdamW's, on matrices and kernels only."""
    warmup_images: int = 0
    """Images over which the learning rate rises (0: a sixteenth of the run, at most 20,000)."""
    gradient_clip: float = 1.0
    """Largest norm of the gradient."""
    ema_images: int = 0
    """Time constant of the weights' moving average, which is what is released (0: a sixth of the run, at most 50,000).
    """
    flip: bool = True
    """Mirror half of the images left to right, but not in adversarial fine-tuning (never for digits)."""
    shift: int = 0
    """Move images by up to so many pixels each way, but not in adversarial fine-tuning."""
    rotation: float = field(default=0.0, metadata={"before": 0.0})
    """Turn event frames by up to so many degrees each way."""
    shear: float = field(default=0.0, metadata={"before": 0.0})
    """Slant event frames by up to so many degrees each way."""
    cutout: int = field(default=0, metadata={"before": 0})
    """Side of a square of event frames that is emptied, in pixels."""
    mixup: float = field(default=0.0, metadata={"before": 0.0})
    """Share of event recordings that are mixed with another one, and their labels too."""
    one_change: bool = field(default=True, metadata={"before": True})
    """Change an event recording by one of shift, rotation, shear and cut-out, drawn anew; otherwise by all of them."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Arithmetic of convolutions; auto: bfloat16 where the hardware has instructions for it."""
    seed: int = 0
    """Of weights, shuffling, augmentation and latent spikes."""
    checkpoint_seconds: float = 120.0
    """Longest time between two saved states, and so the most that an interruption can lose."""
    preview_epochs: int = 0
    """Epochs between two validations, with pictures of samples and reconstructions (0: about twenty in a run)."""
    image_limit: Annotated[int | None, arg(metavar="INT")] = None
    """Use only the first so many training images (for trying things out)."""

    def __post_init__(self) -> None:
        _require_positive(self, "learning_rate", "deterministic_learning_rate")
        _require_positive(self, "adversarial_learning_rate", "gradient_clip")
        for name in ("deterministic_share", "adversarial_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}={getattr(self, name)} is outside [0, 1]")
        _require_not_negative(self, "epochs", "batch_size", "warmup_images", "ema_images", "preview_epochs")
        _require_not_negative(
            self, "weight_decay", "shift", "checkpoint_seconds", "seed", "rotation", "shear", "cutout"
        )
        if not 0 <= self.mixup <= 1 or self.shear >= 90:
            raise ValueError(f"mixup={self.mixup}, shear={self.shear}: expected 0 to 1, and below 90 degrees")
        if self.image_limit is not None and self.image_limit < 1:
            raise ValueError(f"image_limit={self.image_limit} leaves no image to train on")

    def fitted_to(self, images: int) -> TrainConfig:
        """These settings with every open length chosen for a run on so many training images; what is set stays.

        The network sees at least 1,200 times the square root of their number, because few images need many epochs.
        """
        epochs = self.epochs or max(20, math.ceil(1200 / math.sqrt(images)))
        return dataclasses.replace(
            self,
            epochs=epochs,
            batch_size=self.batch_size or (16 if images < 1_000 else 32 if images < 20_000 else 64),
            warmup_images=self.warmup_images or max(1, min(20_000, epochs * images // 16)),
            ema_images=self.ema_images or max(1, min(50_000, epochs * images // 6)),
            preview_epochs=self.preview_epochs or max(1, epochs // 20),
        )

    @property
    def adversarial_epochs(self) -> int:
        """Epochs of adversarial fine-tuning, the last ones."""
        return round(self.epochs * self.adversarial_share)

    @property
    def deterministic_epochs(self) -> int:
        """Epochs of the deterministic phase, before them."""
        return min(round(self.epochs * self.deterministic_share), self.epochs - self.adversarial_epochs)


@dataclass(frozen=True)
class RunConfig:
    """All settings of a training run, as written to its folder."""

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    train: TrainConfig = field(default_factory=TrainConfig)


def _require_positive(config: Any, *names: str) -> None:
    for name in names:
        if not 0 < getattr(config, name) < math.inf:
            raise ValueError(f"{name}={getattr(config, name)} must be larger than 0")


def _require_not_negative(config: Any, *names: str) -> None:
    for name in names:
        if not 0 <= getattr(config, name) < math.inf:
            raise ValueError(f"{name}={getattr(config, name)} must be at least 0")


Config = TypeVar("Config", bound=Any)


def to_dict(config: Any) -> dict[str, Any]:
    """The settings as JSON-ready values."""
    return dataclasses.asdict(config)


def from_dict(config_class: type[Config], values: object) -> Config:
    """Rebuild a config from parsed JSON, strictly.

    Raises:
        ValueError: on an unknown or missing name, a wrong type, or a value that the config refuses.
    """
    if not isinstance(values, Mapping):
        raise ValueError(f"{config_class.__name__}: expected a JSON object, found {type(values).__name__}")
    hints = get_type_hints(config_class)
    values = {_FORMER_NAMES.get(str(name), str(name)): value for name, value in values.items()}
    for name in _REMOVED.keys() & values.keys() - hints.keys():
        if (value := values.pop(name)) != _REMOVED[name]:
            raise ValueError(f"{name}={value!r}: this setting is gone; only models with {_REMOVED[name]} are read")
    unknown = [name for name in values if name not in hints]
    if unknown:
        near = difflib.get_close_matches(unknown[0], hints, n=1)
        raise ValueError(
            f"{config_class.__name__} has no setting {unknown[0]!r}" + (f"; did you mean {near[0]!r}?" if near else "")
        )
    fields = dataclasses.fields(config_class)
    older = {field.name: field.metadata["before"] for field in fields if "before" in field.metadata}
    values = {**older, **values}  # a setting that an older version did not know had the effect of this value
    missing = [name for name in hints if name not in values]
    if missing:
        raise ValueError(f"{config_class.__name__}: the setting {missing[0]!r} is missing")
    config: Config = config_class(**{name: _checked(name, hints[name], value) for name, value in values.items()})
    return config


def _checked(name: str, hint: Any, value: Any) -> Any:
    if dataclasses.is_dataclass(hint):
        return from_dict(hint, value)  # type: ignore[arg-type]
    if get_origin(hint) is tuple:
        if not isinstance(value, list | tuple):
            raise ValueError(f"{name}={value!r} is not a list")
        return tuple(_checked(name, get_args(hint)[0], item) for item in value)
    if get_origin(hint) is Literal:
        if value in get_args(hint):
            return value
        raise ValueError(f"{name}={value!r} is none of {', '.join(map(str, get_args(hint)))}")
    allowed = get_args(hint) or (hint,)
    choices = [kind for kind in allowed if get_origin(kind) is Literal]
    if choices:  # one of several words, or None
        return value if value is None else _checked(name, choices[0], value)
    if float in allowed and isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53:
        return float(value)
    if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
        raise ValueError(f"{name}={value!r} is not of type {getattr(hint, '__name__', hint)}")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{name}={value!r} is not a finite number")
    return value
