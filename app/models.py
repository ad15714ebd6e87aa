"""The models of the page, each computing one request at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from app.limits import Sent
from spikevae.hub.checkpoints import load_generator
from spikevae.nn.vae import SpikingVAE
from spikevae.text import printable


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
        self._locks = {name: threading.Lock() for name in self._models}

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

    @contextmanager
    def alone(self, model: Sent) -> Iterator[SpikingVAE]:
        """A model that computes for nobody else meanwhile. Errors as for :meth:`known`."""
        network = self.known(model)
        with self._locks[model]:
            yield network
