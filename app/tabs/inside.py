"""The tab that looks inside the network."""

from __future__ import annotations

from typing import Any

import gradio as gr

from app import limits
from app.actions import Actions
from app.limits import Sent
from app.show import Show
from app.tabs.parts import QUEUED, content, examples, gallery, label_choices, label_dropdown, upload


class InsideTab:
    """Spikes, gates, rates and energy of one picture's computation, and the picture as it forms.

    Args:
        actions: what its buttons call.
        model: the choice of a model.
        show: turns results into what is on the screen.
    """

    def __init__(self, actions: Actions, model: gr.Radio, show: Show) -> None:
        self._actions, self._show, self._model = actions, show, model
        self._build()
        self._connect()

    def _build(self) -> None:
        first = self._actions.look_inside_sample(self._actions.names[0], 0, limits.ANY)
        frames, panels = self._show.observation(first)
        with gr.Row():
            with gr.Column(scale=4, min_width=280), gr.Tabs():
                with gr.Tab("At a sample"):
                    with gr.Row():
                        self._seed = gr.Number(0, label="Seed", min_width=110)
                        self._label = label_dropdown(self._actions, "Class")
                    self._go = gr.Button("Look inside", variant="primary")
                with gr.Tab("At a picture"):
                    self._picture = upload("Your picture")
                    examples(self._picture)
                    self._go_picture = gr.Button("Look inside while it sees this picture", variant="primary")
            with gr.Column(scale=6, min_width=280):
                self._gallery = gallery("The picture as it forms over the time steps", frames, "pictures", "forming")
                gr.HTML(
                    '<p class="facts">Each frame is what the read-out makes of the spikes so far; the last one is the '
                    "picture.</p>",
                    padding=False,
                )
        self._panels = gr.HTML(panels, padding=False)

    def _connect(self) -> None:
        outputs = [self._gallery, self._panels]
        self._go.click(
            self.look_inside_sample,
            [self._model, self._seed, self._label],
            outputs,
            api_name="look_inside_sample",
            **QUEUED,
        )
        self._go_picture.click(
            self.look_inside_picture, [self._model, self._picture], outputs, api_name="look_inside_picture", **QUEUED
        )
        self.refresh: dict[str, Any] = {
            "fn": self._refresh,
            "inputs": [self._model, self._seed, self._picture],
            "outputs": [self._label, *outputs],
        }
        """The event that shows the same for another model."""

    def look_inside_sample(self, model: Sent, seed: Sent, label: Sent) -> tuple[list[Any], str]:
        """The decoder at work on a sample: the picture as it forms, and panels of HTML."""
        return self._show.observation(self._actions.look_inside_sample(model, seed, label))

    def look_inside_picture(self, model: Sent, picture: Sent) -> tuple[list[Any], str]:
        """Encoder and decoder at work on a picture: the picture as it forms, and panels of HTML."""
        return self._show.observation(self._actions.look_inside_picture(model, content(self._show, picture)))

    def _refresh(self, model: Sent, seed: Sent, picture: Sent) -> tuple[Any, ...]:
        shown = (
            self.look_inside_sample(model, seed, limits.ANY)
            if picture is None
            else self.look_inside_picture(model, picture)
        )
        return (label_choices(self._actions, model), *shown)
