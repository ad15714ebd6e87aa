"""The models of the page, each computing one request at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from spikevae.hub.checkpoints import load_generator, model_folder, read_dataset_name
from spikevae.nn.vae import SpikingVAE
from spikevae.text import printable

from .familiar import Familiarity, thresholds
from .limits import Sent


class Models:
    """Models by the names that visitors give.

    Args:
        models: bundled names or folders; a folder is known by its last part.

    Raises:
        ValueError: if there is none, or one is damaged.
        FileNotFoundError: if one is not there.
    """

    def __init__(self, models: Sequence[str]) -> None:
        if not models:
            raise ValueError(
                "no model is bundled with this installation; train one with `spikevae train fashion-mnist`"
            )
        self._models = {Path(model).name: load_generator(model) for model in models}
        folders = {Path(model).name: model_folder(model) for model in models}
        self._locks = {name: threading.Lock() for name in self._models}
        self._datasets = {name: read_dataset_name(folder) for name, folder in folders.items()}
        self._familiar = {name: thresholds(folder / "model.safetensors") for name, folder in folders.items()}

    @property
    def names(self) -> tuple[str, ...]:
        """The models, the first being the one that the page opens with."""
        return tuple(self._models)

    def known(self, model: Sent) -> SpikingVAE:
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

    @contextmanager
    def alone(self, model: Sent) -> Iterator[SpikingVAE]:
        """A model that computes for nobody else meanwhile. Errors as for :meth:`known`."""
        network = self.known(model)
        with self._locks[model]:
            yield network
