"""Recordings of event cameras: what the tab Recordings calls. Errors as in `app.actions`."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from spikevae.config import DataConfig
from spikevae.data.events.recording import Recording
from spikevae.data.events.sets import load_recordings
from spikevae.data.events.simulate import record_digits
from spikevae.data.sets import data_root
from spikevae.nn.event_vae import SpikingEventVAE

from . import limits
from .limits import Sent
from .models import Models
from .own_images import images_of
from .slices import Slices, sliced, sliced_file

DecodeRecording = Callable[[bytes, str, int, int], Slices]
"""A file, its suffix, time steps and side of the frames into slices; ValueError if it is no recording."""

_RECORDED = ("n-mnist", "dvs128-gesture", "cifar10-dvs", "n-caltech101")  # data sets of a camera
_REAL_EXAMPLES = 6
_DIGITS = ("n-mnist", "sim-n-mnist")  # data sets that the simulated camera's recordings of digits are like
_FIRST_SEED, _OWN_EXAMPLES = 100, 4  # recordings that a model of other things draws itself


class Example(NamedTuple):
    """A recording to show beside a new one."""

    name: str
    title: str
    recording: Recording


class Seen(NamedTuple):
    """A recording, and what the model makes of it."""

    slices: Slices
    probabilities: Float[Tensor, "T K"] | None
    """Of each class after 1, 2 … T time steps; None without a classifier."""


def _real(dataset: str, names: tuple[str, ...]) -> list[Example]:
    """Some of a camera's recordings for testing; none where the data set is not on this machine, or not whole."""
    if dataset not in _RECORDED:
        return []
    try:
        root = data_root(DataConfig(dataset=dataset))
        found = load_recordings(dataset, "test", root=root, count=_REAL_EXAMPLES)
    except (ValueError, OSError):
        return []
    known = [(recording, names[label]) for recording, label in found if 0 <= label < len(names)]
    return [Example(name, f"Real camera, {name}", recording) for recording, name in known]


class Recordings:
    """What can be done with the page's models of event recordings.

    Args:
        models: of the page.
        decode: reads a file that came from a visitor; otherwise it is decoded in this process.
    """

    def __init__(self, models: Models[SpikingEventVAE], decode: DecodeRecording | None = None) -> None:
        self.models, self._decode = models, decode or sliced_file

    def sample(self, model: Sent, seed: Sent, label: Sent) -> Recording:
        """The first new recording of a seed, as `spikevae sample` draws it.

        Raises:
            ValueError: if an argument is out of range, or the recording is empty.
        """
        network = self.models.known(model)
        number = limits.whole_number("seed", seed, 0, limits.SEED_LIMIT)
        group = limits.label_index(label, network.config.class_names)
        with self.models.alone(model):
            recording = network.sample_events(1, seed=number, label=group)[0]
        if not len(recording):
            raise ValueError(f"The recording of seed {number} has no events; choose another seed")
        return recording

    def see(self, model: Sent, recording: Recording) -> Seen:
        """A recording of one's own, and its classes."""
        return self._seen(model, sliced(recording, *self._cut(model)))

    def see_file(self, model: Sent, content: bytes, suffix: str) -> Seen:
        """A visitor's recording, and its classes.

        Raises:
            ValueError: if the file is too large, damaged or no recording.
        """
        return self._seen(model, self._decode(content, suffix, *self._cut(model)))

    def examples(self, model: str) -> list[Example]:
        """Recordings to show beside new ones.

        Real ones of the data set's test split, where it is on this machine. Elsewhere, for models of digits, what the
        simulated camera reports of the page's test images; for others, what the model draws itself.
        """
        return _real(self.models.dataset(model), self.models.class_names(model)) or self._made(model)

    def _made(self, model: str) -> list[Example]:
        if self.models.dataset(model) not in _DIGITS:
            seeds = range(_FIRST_SEED, _FIRST_SEED + _OWN_EXAMPLES)
            return [Example(f"seed {n}", f"Made up, seed {n}", self.sample(model, n, None)) for n in seeds]
        paths = images_of("mnist")
        images = np.stack([np.asarray(Image.open(path).convert("L")) for path in paths])
        digits = [path.stem.split("-")[1] for path in paths]
        return [
            Example(digit, f"Simulated camera, digit {digit}", recording)
            for digit, recording in zip(digits, record_digits(images, seed=0), strict=True)
        ]

    # ------------------------------------------------------------ details

    def _cut(self, model: Sent) -> tuple[int, int]:
        config = self.models.known(model).config
        return config.time_steps, config.image_size

    def _seen(self, model: Sent, slices: Slices) -> Seen:
        network = self.models.known(model)
        if network.classifier is None:
            return Seen(slices, None)
        x_seq = torch.from_numpy(slices.frames.copy()).float()[:, None]
        with self.models.alone(model):
            return Seen(slices, network.probabilities(x_seq)[:, 0])
