"""The tab that looks inside the network."""

from __future__ import annotations

from typing import Any

import gradio as gr
from gradio.components import Component

from .. import limits
from ..actions import Actions
from ..limits import Sent
from ..show import Show
from .parts import (
    LIVE,
    Examples,
    content,
    gallery,
    hint,
    keep_answered,
    label_choices,
    label_dropdown,
    upload,
)
from .tab import PictureTab

_CHOOSE = "Choose a picture, or click on an example: what goes on inside the network appears here."
_FORMING = "Each frame is what the read-out makes of the spikes so far; the last one is the picture."


class InsideTab(PictureTab):
    """Spikes, gates, rates and energy of one picture's computation, and the picture as it forms."""

    def __init__(self, actions: Actions, model: gr.Radio, show: Show, examples: Examples) -> None:
        super().__init__(actions, model, show, examples)
        first = actions.names[0]
        with gr.Tabs():
            with gr.Tab("At a sample"):
                with gr.Row():
                    with gr.Column(scale=4, min_width=280):
                        self._go = gr.Button("Look inside", variant="primary")
                        with gr.Row():
                            self._seed = gr.Number(0, label="Seed", min_width=110)
                            self._label = label_dropdown(actions, model, "Class")
                    with gr.Column(scale=6, min_width=280):
                        shown = show.observation(actions.look_inside_sample(first, 0, limits.ANY))
                        frames = _forming(shown[0])
                self._shown = [frames, gr.HTML(shown[1], padding=False)]
            with gr.Tab("At a picture"):
                with gr.Row():
                    with gr.Column(scale=4, min_width=280):
                        self._picture = upload("Your picture")
                        self._go_picture = gr.Button("Look inside while it sees this picture", variant="primary")
                        self._choices = examples.box(first)
                    with gr.Column(scale=6, min_width=280):
                        frames = _forming([])
                self._picture_shown = [frames, gr.HTML(hint(_CHOOSE), padding=False)]
        self._connect()
        self.refresh = {
            "fn": self._refresh,
            "inputs": [model, self._picture],
            "outputs": [self._label, self._choices, self._picture],
        }

    def _connect(self) -> None:
        settings = [self._model, self._seed, self._label]
        triggers = [self._go.click, self._seed.submit, self._label.input, self.bell.change]
        gr.on(triggers, self.look_inside_sample, settings, self._shown, api_name="look_inside_sample", **LIVE)
        inputs: list[Component] = [self._model, self._picture]
        self._go_picture.click(
            self.look_inside_picture, inputs, self._picture_shown, api_name="look_inside_picture", **LIVE
        )
        changes = [self._picture.change, self.bell.change]
        event = gr.on(changes, self._changed, inputs, self._picture_shown, **LIVE, api_visibility="private")
        keep_answered(event, self._picture, "inside")
        self._take_chosen(self._choices, self._picture)

    def look_inside_sample(self, model: Sent, seed: Sent, label: Sent) -> tuple[list[Any], str]:
        """The decoder at work on a sample: the picture as it forms, and panels of HTML."""
        return self._show.observation(self._actions.look_inside_sample(model, seed, label))

    def look_inside_picture(self, model: Sent, picture: Sent) -> tuple[list[Any], str]:
        """Encoder and decoder at work on a picture: the picture as it forms, and panels of HTML."""
        return self._show.observation(self._actions.look_inside_picture(model, content(self._show, picture)))

    def _changed(self, model: Sent, picture: Sent) -> tuple[Any, ...]:
        return (None, hint(_CHOOSE)) if picture is None else self.look_inside_picture(model, picture)

    def _refresh(self, model: Sent, picture: Sent) -> tuple[Any, ...]:
        kept = None if self._examples.has(picture) else gr.skip()
        return label_choices(self._actions, model), self._examples.choices(model), kept


def _forming(frames: list[Any]) -> gr.Gallery:
    box = gallery("The picture as it forms over the time steps", frames, "forming")
    gr.HTML(hint(_FORMING), padding=False)
    return box
