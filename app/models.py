"""The models of the page, each computing one request at a time."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Generic, TypeVar

from spikevae.hub.checkpoints import model_folder, read_dataset_name
from spikevae.nn.autoencoder import SpikingAutoencoder
from spikevae.text import printable

from .familiar import Familiarity, thresholds
from .limits import ANY, Sent, label_index

Kind = TypeVar("Kind", bound=SpikingAutoencoder)


def name_of(model: str) -> str:
    """What a model is called on the page: a bundled name, or the last part of its folder, also of ``.``."""
    return Path(os.path.abspath(model)).name


class Models(Generic[Kind]):
    """Models by the names that visitors give.

    Args:
        models: bundled names or folders, known by :func:`name_of`.
        load: reads one.

    Raises:
        ValueError: if one is damaged, or of another kind.
        FileNotFoundError: if one is not there.
    """

    def __init__(self, models: Sequence[str], load: Callable[[str], Kind]) -> None:
        self._models = {name_of(model): load(model) for model in models}
        folders = {name_of(model): model_folder(model) for model in models}
        self._locks = {name: threading.Lock() for name in self._models}
        self._datasets = {name: read_dataset_name(folder) for name, folder in folders.items()}
        self._familiar = {name: thresholds(folder / "model.safetensors") for name, folder in folders.items()}

    @property
    def names(self) -> tuple[str, ...]:
        """The models, the first being the one that the page opens with."""
        return tuple(self._models)

    def known(self, model: Sent) -> Kind:
        """A model.

        Raises:
            ValueError: if there is none of this name.
        """
        if not isinstance(model, str) or model not in self._models:
            raise ValueError(
                f"There is no model {printable(model, 40)!r} here; choose one of: {', '.join(self._models)}"
            )
        return self._models[model]

    def dataset(self, model: Sent) -> str:
        """What a model was trained on. Errors as for :meth:`known`."""
        self.known(model)
        return self._datasets[model]

    def familiar(self, model: Sent) -> Familiarity | None:
        """What a picture of a model's data set reaches, if that was measured. Errors as for :meth:`known`."""
        self.known(model)
        return self._familiar[model]

    def class_names(self, model: Sent) -> tuple[str, ...]:
        """Classes of a model; empty where it was trained without labels. Errors as for :meth:`known`."""
        return self.known(model).config.class_names

    def has_density(self, model: Sent) -> bool:
        """Whether a model's latent has the density that editing, completing and a choice of temperature need.

        Errors as for :meth:`known`.
        """
        return self.known(model).latent.has_density

    def fit_class(self, model: Sent, label: Sent) -> Sent:
        """The class, or any where only other models can draw it. Errors as for :meth:`known`."""
        network = self.known(model)
        if network.latent.is_conditional:
            with suppress(ValueError):  # of a class that this model does not have, by name or number
                label_index(label, network.config.class_names)
                return label
        is_of_some = any(label in other.config.class_names for other in self._models.values())
        return ANY if is_of_some else label

    def fit_temperature(self, model: Sent, temperature: Sent) -> Sent:
        """The temperature, or 1 where the spread of samples cannot be chosen. Errors as for :meth:`known`."""
        return temperature if self.has_density(model) else 1.0

    @contextmanager
    def alone(self, model: Sent) -> Iterator[Kind]:
        """A model that computes for nobody else meanwhile. Errors as for :meth:`known`."""
        network = self.known(model)
        with self._locks[model]:
            yield network
