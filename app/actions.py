"""What the page's buttons call: values and pictures in, values and pictures out. Knows nothing of the page.

Every error that a visitor can cause is a ValueError of one line that can be shown as it is.
"""

from __future__ import annotations

import base64
import binascii
import io
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional

from app import limits
from app.limits import Sent
from app.watch import Observation, watch
from spikevae.data.images import read_image
from spikevae.hub.checkpoints import load_generator
from spikevae.nn.vae import SpikingVAE
from spikevae.text import printable

Background = Literal["auto", "dark", "light"]
BACKGROUNDS: tuple[Background, ...] = ("auto", "dark", "light")
_DRAWING_SIDE = 280  # pixels of a drawing before it is cut to its strokes
_DRAWING_MARGIN = 1 / 7  # around the strokes, as in MNIST: 4 of 28 pixels
_PNG_PREFIX = "data:image/png;base64,"
_BATCH = 16  # images between two reports of progress

Report = Callable[[float], None]
"""Told how much is done, 0 to 1."""
Decode = Callable[[bytes, int, int], Tensor]
"""A picture file, channels and size into uint8 [channels, size, size]; ValueError if it is none."""


class Samples(NamedTuple):
    """New pictures."""

    images: Tensor  # [N, C, H, W], [0, 1]
    seconds: float


class Reconstruction(NamedTuple):
    """A picture as the model sees it, and what it makes of it."""

    seen: Tensor  # [C, H, W], [0, 1]
    image: Tensor  # [C, H, W], [0, 1]
    probabilities: dict[str, float] | None  # None without a classifier
    error: float  # mean squared, on the [-1, 1] scale
    seconds: float


class Walk(NamedTuple):
    """Pictures from one end to the other."""

    images: Tensor  # [F, C, H, W], [0, 1]
    flips: int  # latent spikes that differ between the ends
    latents: int  # latent spikes of a picture, T x L


class Actions:
    """The models of the page, and what can be done with them.

    A model computes one request at a time, so that what one visitor watches is not another's.

    Args:
        models: bundled names or folders; a folder is known by its last part.
        decode: reads a file that came from a visitor; otherwise it is decoded in this process.

    Raises:
        ValueError: if there is none, or one is damaged.
        FileNotFoundError: if one is not there.
    """

    def __init__(self, models: Sequence[str], decode: Decode | None = None) -> None:
        if not models:
            raise ValueError(
                "no model is bundled with this installation; train one with `spikevae train fashion-mnist`"
            )
        self._models = {Path(model).name: load_generator(model) for model in models}
        self._locks = {name: threading.Lock() for name in self._models}
        self._decode = decode or decode_here

    @property
    def names(self) -> tuple[str, ...]:
        """The models, the first being the one that the page opens with."""
        return tuple(self._models)

    def class_names(self, model: Sent) -> tuple[str, ...]:
        """Classes of a model; empty where it was trained without labels."""
        return self._known(model).config.class_names

    def has_temperature(self, model: Sent) -> bool:
        """Whether the spread of a model's samples can be chosen."""
        return self._known(model).latent.has_density

    def has_class_choice(self, model: Sent) -> bool:
        """Whether samples of one class can be asked for."""
        return self._known(model).latent.is_conditional

    def sample(
        self, model: Sent, count: Sent, seed: Sent, label: Sent, temperature: Sent, report: Report | None = None
    ) -> Samples:
        """New pictures: the same for the same arguments, whatever else is computed.

        Raises:
            ValueError: if an argument is out of range.
        """
        settings = self._prior_settings(model, seed, label, temperature)
        images_wanted = limits.whole_number("number of pictures", count, 1, limits.COUNT_LIMIT)
        parts: list[Tensor] = []
        with self._alone(model) as network:
            start = time.perf_counter()
            for part in network.sample_batches(images_wanted, batch_size=_BATCH, **settings):
                parts.append(part)
                if report is not None:
                    report(sum(map(len, parts)) / images_wanted)
            return Samples(torch.cat(parts), time.perf_counter() - start)

    def reconstruct(
        self, model: Sent, content: bytes | None, background: Sent = "auto", *, is_own: bool = False
    ) -> Reconstruction:
        """A picture file through the latent spikes and back, with its class.

        Args:
            model: a name of ``names``.
            content: the file.
            background: "light": dark things on a light ground, which is inverted for grey models, whose training
                pictures are light on dark; "dark": left as it is; "auto": judged by the picture's edge.
            is_own: whether the file is the page's own, and needs no care.

        Raises:
            ValueError: if the file is missing, too large, damaged or no picture.
        """
        return self._through(model, self.read(model, content, background, is_own=is_own))

    def reconstruct_drawing(self, model: Sent, drawing: Sent) -> Reconstruction:
        """A drawing, dark on light, as a data URL with a PNG; cut to its strokes and centred.

        Raises:
            ValueError: if nothing is drawn, or it is no such data URL.
        """
        return self._through(model, self.read_drawing(model, drawing))

    def read(
        self, model: Sent, content: bytes | None, background: Sent = "auto", *, is_own: bool = False
    ) -> Float[Tensor, "C H W"]:
        """A picture file as the model sees it, in [0, 1]. Arguments and errors as for :meth:`reconstruct`."""
        config = self._known(model).config
        if background not in BACKGROUNDS:
            raise ValueError(
                f"There is no background {printable(background, 40)!r}; choose one of: {', '.join(BACKGROUNDS)}"
            )
        x = self._decoded(content, config.image_channels, config.image_size, decode_here if is_own else self._decode)
        if config.image_channels == 3 or background == "dark":
            return x
        return 1 - x if background == "light" or float(_edge(x).mean()) > 0.5 else x

    def read_drawing(self, model: Sent, drawing: Sent) -> Float[Tensor, "C H W"]:
        """A drawing as the model sees it, in [0, 1]. Arguments and errors as for :meth:`reconstruct_drawing`."""
        config = self._known(model).config
        if not isinstance(drawing, str) or not drawing.startswith(_PNG_PREFIX):
            raise ValueError("Draw something first")
        try:
            content = base64.b64decode(drawing.removeprefix(_PNG_PREFIX), validate=True)
        except binascii.Error as error:
            raise ValueError(f"The drawing is not base64 ({error}); send a data URL with a PNG") from None
        ink = 1 - self._decoded(content, 1, _DRAWING_SIDE, self._decode)[0]
        rows, columns = (torch.nonzero(ink.amax(dim=axis) > 0.2).flatten() for axis in (1, 0))
        if len(rows) == 0:
            raise ValueError("Draw something first")
        strokes = ink[int(rows[0]) : int(rows[-1]) + 1, int(columns[0]) : int(columns[-1]) + 1]
        height, width = strokes.shape
        side = round(max(height, width) / (1 - 2 * _DRAWING_MARGIN))
        left, top = (side - width) // 2, (side - height) // 2
        square = functional.pad(strokes, (left, side - width - left, top, side - height - top))
        size = (config.image_size, config.image_size)
        x = functional.interpolate(square[None, None], size=size, mode="bilinear", antialias=True)[0]
        return x.clamp(0, 1) if config.image_channels == 1 else 1 - x.clamp(0, 1).repeat(3, 1, 1)

    def walk_samples(
        self, model: Sent, seed: Sent, label: Sent, other_seed: Sent, other_label: Sent, frames: Sent
    ) -> Walk:
        """From the first picture of one seed to that of another.

        Raises:
            ValueError: if an argument is out of range.
        """
        steps = limits.whole_number("number of frames", frames, *limits.FRAMES)
        ends = [self._prior_settings(model, *end, 1.0) for end in ((seed, label), (other_seed, other_label))]
        with self._alone(model) as network, torch.inference_mode():
            potentials, spikes = [], []
            for end in ends:
                chosen = end["label"]
                arguments = {
                    "seed": end["seed"],
                    "temperature": end["temperature"],
                    "labels": None if chosen is None else torch.tensor([chosen]),
                }
                potentials.append(network.sample_potential(range(1), **arguments))
                spikes.append(network.sample_prior(range(1), **arguments))
            return _walk(network, potentials, spikes, steps)

    def walk_pictures(
        self, model: Sent, content: bytes | None, other: bytes | None, frames: Sent, background: Sent = "auto"
    ) -> Walk:
        """From the reconstruction of one picture file to that of another.

        Raises:
            ValueError: if a file is missing, too large, damaged or no picture, or an argument is out of range.
        """
        steps = limits.whole_number("number of frames", frames, *limits.FRAMES)
        if content is None or other is None:
            raise ValueError("A walk needs two pictures; choose both of its ends")
        x = [self.read(model, end, background) for end in (content, other)]
        with self._alone(model) as network, torch.inference_mode():
            posteriors = [network.encode(end[None]) for end in x]
            return _walk(network, [p.potential for p in posteriors], [p.mode() for p in posteriors], steps)

    def look_inside_sample(self, model: Sent, seed: Sent, label: Sent) -> Observation:
        """The decoder at work on the first picture of a seed.

        Raises:
            ValueError: if an argument is out of range.
        """
        settings = self._prior_settings(model, seed, label, 1.0)
        with self._alone(model) as network:
            return watch(network, lambda: network.sample(1, **settings))

    def look_inside_picture(self, model: Sent, content: bytes | None, background: Sent = "auto") -> Observation:
        """Encoder, decoder and classifier at work on a picture file.

        Raises:
            ValueError: if the file is missing, too large, damaged or no picture.
        """
        x = self.read(model, content, background)[None]

        def run() -> Tensor:
            with torch.inference_mode():
                return network.decode(network.encode(x).mode())

        with self._alone(model) as network:
            return watch(network, run)

    # ------------------------------------------------------------ details

    def _known(self, model: Sent) -> SpikingVAE:
        if not isinstance(model, str) or model not in self._models:
            raise ValueError(
                f"There is no model {printable(model, 40)!r} here; choose one of: {', '.join(self._models)}"
            )
        return self._models[model]

    @contextmanager
    def _alone(self, model: Sent) -> Iterator[SpikingVAE]:
        network = self._known(model)
        with self._locks[model]:
            yield network

    def _prior_settings(self, model: Sent, seed: Sent, label: Sent, temperature: Sent) -> dict[str, Any]:
        return {
            "seed": limits.whole_number("seed", seed, 0, limits.SEED_LIMIT),
            "label": limits.label_index(label, self._known(model).config.class_names),
            "temperature": float(limits.number("temperature", temperature, 0, limits.TEMPERATURE_LIMIT)),
        }

    def _decoded(self, content: bytes | None, channels: int, size: int, decode: Decode) -> Float[Tensor, "C H W"]:
        if content is None:
            raise ValueError("Choose a picture first")
        if len(content) > limits.UPLOAD_BYTES:
            raise ValueError(f"The file is larger than {limits.UPLOAD_BYTES // 2**20} MiB; choose a smaller one")
        return decode(content, channels, size).float() / 255

    def _through(self, model: Sent, x: Float[Tensor, "C H W"]) -> Reconstruction:
        with self._alone(model) as network:
            start = time.perf_counter()
            image = network.reconstruct(x[None])[0]
            probabilities = None
            if network.classifier is not None:
                shares = network.classify(x[None])[0].tolist()
                probabilities = dict(zip(network.config.class_names, shares, strict=True))
            seconds = time.perf_counter() - start
        return Reconstruction(x, image, probabilities, float(4 * (image - x).square().mean()), seconds)


def decode_here(content: bytes, channels: int, size: int) -> UInt8[Tensor, "C {size} {size}"]:
    """A picture file, decoded in this process: for files of one's own, and where there is no other way."""
    return read_image(
        io.BytesIO(content),
        channels=3 if channels == 3 else 1,
        size=size,
        name="The file",
        pixel_limit=limits.UPLOAD_PIXELS,
    )


def random_seed() -> int:
    """A seed that nobody can foresee."""
    return secrets.randbelow(limits.SEED_LIMIT + 1)


def _walk(network: SpikingVAE, potentials: Sequence[Tensor | None], spikes: Sequence[Tensor], frames: int) -> Walk:
    """Decode ``frames`` latents between two ends: [T, 1, L] each.

    Through the potentials where there are any, in a straight line, so that each spike flips at most once. Otherwise
    the spikes that differ flip one after the other, in a fixed random order.
    """
    start, end = spikes
    first, last = potentials
    shares = torch.linspace(0, 1, frames)
    if first is not None and last is not None:
        steps = [(torch.lerp(first, last, share) > 0).to(start.dtype) for share in shares.tolist()]
    else:
        order = torch.rand(start.shape, generator=torch.Generator().manual_seed(0)).to(start.device)
        steps = [torch.where(order < share, end, start) for share in shares.tolist()]
    z_seq = torch.cat([start, *steps[1:-1], end], dim=1)  # [T, F, L]
    return Walk(network.decode(z_seq), int((start != end).sum()), start.numel())


def _edge(x: Float[Tensor, "C H W"]) -> Tensor:
    return torch.cat([x[:, 0].flatten(), x[:, -1].flatten(), x[:, :, 0].flatten(), x[:, :, -1].flatten()])
