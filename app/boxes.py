"""Boxes whose values belong to a model.

Until the server has answered to the choice of another model, a browser sends the values of the one before with the new
one's name. No visitor is blamed for it: what comes from the page is made to fit. Programs are told instead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import gradio as gr
from gradio.blocks import Block

from .limits import Sent

Fit = Callable[[Sent, Sent], Sent]
"""A model and a value to the value, if it may be the model's, or to one that all models have."""


class ClassBox(gr.Dropdown):
    """Classes of a model. Its settings are gr.Dropdown's: see `app.upload`."""

    is_template = True
    belongs: tuple[Block, Fit] | None = None


class TemperatureBox(gr.Slider):
    """How varied the pictures of a model are. Its settings are gr.Slider's."""

    is_template = True
    belongs: tuple[Block, Fit] | None = None


def fitted(boxes: Sequence[Block], values: Sequence[Sent]) -> list[Sent]:
    """The values of an event's boxes, of which some are of another model than the one that is among them."""
    sent = {box._id: value for box, value in zip(boxes, values, strict=True)}
    return [_fit(box, value, sent) for box, value in zip(boxes, values, strict=True)]


def _fit(box: Block, value: Sent, sent: dict[int, Sent]) -> Sent:
    if isinstance(box, ClassBox | TemperatureBox) and box.belongs is not None:
        model, fit = box.belongs
        if model._id in sent:
            return fit(sent[model._id], value)
    return value
