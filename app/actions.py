"""What the page's buttons call: values and pictures in, values and pictures out. Knows nothing of the page.

Every error that a visitor can cause is a ValueError of one line that can be shown as it is.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from spikevae.evaluation.energy import add_density
from spikevae.hub.checkpoints import load, load_generator, model_folder, read_config
from spikevae.nn.event_vae import SpikingEventVAE
from spikevae.nn.vae import SpikingVAE
from spikevae.text import printable

from . import limits
from .familiar import familiarity, is_foreign
from .limits import Sent
from .models import Models, name_of
from .reading import Decode, decode_here, read_drawing, read_picture
from .recordings import DecodeRecording, Recordings
from .studio import Studio
from .walks import Walk, walk
from .watch import Observation, watch

_BATCH = 16  # images between two reports of progress

Report = Callable[[float], None]
"""Told how much is done, 0 to 1."""


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
    is_foreign: bool  # unlike what the model was trained on, where that is known
    seconds: float


class Actions:
    """The models of the page, and what can be done with them.

    A model computes one request at a time, so that what one visitor watches is not another's.

    Args:
        models: bundled names or folders; a folder is known by the last part of its path. At least one is of pictures.
        decode: reads a picture that came from a visitor; otherwise it is decoded in this process.
        decode_recording: the same for recordings.

    Raises:
        ValueError: if there is none of pictures, two have the same name, or one is damaged.
        FileNotFoundError: if one is not there.
    """

    def __init__(
        self, models: Sequence[str], decode: Decode | None = None, decode_recording: DecodeRecording | None = None
    ) -> None:
        of_events, of_pictures = _by_kind(models)
        self.models: Models[SpikingVAE] = Models(of_pictures, load_generator)
        self._decode = decode or decode_here
        self.studio = Studio(self.models, decode)
        events: Models[SpikingEventVAE] = Models(of_events, load)
        self.recordings = Recordings(events, decode_recording)

    @property
    def names(self) -> tuple[str, ...]:
        """The models of pictures, the first being the one that the page opens with."""
        return self.models.names

    def warm_up(self) -> None:
        """Draw and redraw a picture with the first model: the first ones take seconds, and are no measure."""
        name = self.names[0]
        config = self.models.known(name).config
        self.sample(name, 1, 0, limits.ANY, 1.0)
        self._through(name, torch.zeros(config.image_channels, config.image_size, config.image_size))

    def is_colour(self, model: Sent) -> bool:
        """Whether a model's pictures have colours."""
        return self.models.known(model).config.image_channels == 3

    def has_class_choice(self, model: Sent) -> bool:
        """Whether samples of one class can be asked for."""
        return self.models.known(model).latent.is_conditional

    def sample(
        self, model: Sent, count: Sent, seed: Sent, label: Sent, temperature: Sent, report: Report | None = None
    ) -> Samples:
        """New pictures: the same for the same arguments, whatever else is computed.

        Raises:
            ValueError: if an argument is out of range.
        """
        settings = self.prior_settings(model, seed, label, temperature)
        images_wanted = limits.whole_number("number of pictures", count, 1, limits.COUNT_LIMIT)
        parts: list[Tensor] = []
        with self.models.alone(model) as network:
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
        decode = decode_here if is_own else self._decode
        return read_picture(content, self.models.known(model).config, background, decode)

    def read_drawing(self, model: Sent, drawing: Sent) -> Float[Tensor, "C H W"]:
        """A drawing as the model sees it, in [0, 1]. Arguments and errors as for :meth:`reconstruct_drawing`."""
        return read_drawing(drawing, self.models.known(model).config, self._decode)

    def walk_samples(
        self, model: Sent, seed: Sent, label: Sent, other_seed: Sent, other_label: Sent, frames: Sent
    ) -> Walk:
        """From the first picture of one seed to that of another.

        Raises:
            ValueError: if an argument is out of range.
        """
        steps = limits.whole_number("number of frames", frames, *limits.FRAMES)
        ends = [self.prior_settings(model, *end, 1.0) for end in ((seed, label), (other_seed, other_label))]
        with self.models.alone(model) as network, torch.inference_mode():
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
            return walk(network, potentials, spikes, steps)

    def walk_pictures(self, model: Sent, content: bytes | None, other: bytes | None, frames: Sent) -> Walk:
        """From the reconstruction of one picture file to that of another.

        Raises:
            ValueError: if a file is missing, too large, damaged or no picture, or an argument is out of range.
        """
        steps = limits.whole_number("number of frames", frames, *limits.FRAMES)
        if content is None or other is None:
            raise ValueError("A walk needs two pictures; choose both of its ends")
        x = [self.read(model, end) for end in (content, other)]
        with self.models.alone(model) as network, torch.inference_mode():
            posteriors = [network.encode(end[None]) for end in x]
            return walk(network, [p.potential for p in posteriors], [p.mode() for p in posteriors], steps)

    def look_inside_sample(self, model: Sent, seed: Sent, label: Sent) -> Observation:
        """The decoder at work on the first picture of a seed.

        Raises:
            ValueError: if an argument is out of range.
        """
        settings = self.prior_settings(model, seed, label, 1.0)
        with self.models.alone(model) as network:
            seen = watch(network, lambda: network.sample(1, **settings))
            add_density(seen.cost, network)
            return seen

    def look_inside_picture(self, model: Sent, content: bytes | None) -> Observation:
        """Encoder, decoder and classifier at work on a picture file.

        Raises:
            ValueError: if the file is missing, too large, damaged or no picture.
        """
        x = self.read(model, content)[None]

        def run() -> Tensor:
            with torch.inference_mode():
                return network.decode(network.encode(x).mode())

        with self.models.alone(model) as network:
            return watch(network, run)

    def prior_settings(self, model: Sent, seed: Sent, label: Sent, temperature: Sent) -> dict[str, Any]:
        """The checked settings of `network.sample`.

        Raises:
            ValueError: if one is out of range.
        """
        return {
            "seed": limits.whole_number("seed", seed, 0, limits.SEED_LIMIT),
            "label": limits.label_index(label, self.models.known(model).config.class_names),
            "temperature": float(limits.number("temperature", temperature, 0, limits.TEMPERATURE_LIMIT)),
        }

    def _through(self, model: Sent, x: Float[Tensor, "C H W"]) -> Reconstruction:
        with self.models.alone(model) as network:
            start = time.perf_counter()
            with torch.inference_mode():
                posterior = network.encode(x[None])
                image = network.decode(posterior.mode())[0]
            probabilities = None
            if network.classifier is not None:
                shares = network.classify(x[None])[0].tolist()
                probabilities = dict(zip(network.config.class_names, shares, strict=True))
            seconds = time.perf_counter() - start
            found = familiarity(network, x[None], image[None], getattr(posterior, "potential", None))
        least = self.models.familiar(model)
        foreign = found is not None and least is not None and is_foreign(found[0], least)
        return Reconstruction(x, image, probabilities, float(4 * (image - x).square().mean()), foreign, seconds)


def _by_kind(models: Sequence[str]) -> tuple[list[str], list[str]]:
    """Models of event recordings, and of pictures."""
    if not models:
        raise ValueError("no model is bundled with this installation; train one with `spikevae train fashion-mnist`")
    models = list(dict.fromkeys(models))
    _require_own_names(models)
    of_events = [model for model in models if read_config(model_folder(model)).network == "event-vae"]
    of_pictures = [model for model in models if model not in of_events]
    if not of_pictures:
        raise ValueError(
            f"{printable(', '.join(of_events))} makes recordings, and the page needs a model of pictures beside it; "
            "add one, for instance mnist"
        )
    return of_events, of_pictures


def _require_own_names(models: Sequence[str]) -> None:
    """Refuse models that visitors could not tell apart."""
    for name in map(name_of, models):
        alike = [model for model in models if name_of(model) == name]
        if len(alike) > 1:
            raise ValueError(
                f"{printable(', '.join(alike), 400)} would all be called {printable(name)!r} on the page; rename a "
                "folder, or leave out all but one"
            )


def random_seed() -> int:
    """A seed that nobody can foresee."""
    return secrets.randbelow(limits.SEED_LIMIT + 1)
