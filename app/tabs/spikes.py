"""The tab in which a picture forms spike by spike."""

from __future__ import annotations

from typing import Any

import gradio as gr

from .. import limits
from ..actions import Actions
from ..film import sampled_film
from ..limits import Sent
from ..show import Show
from .parts import LIVE, label_choices, label_dropdown, picture
from .tab import Tab

_PACE = 5
_EXPLAINED = (
    '<p class="facts">At every time step one layer after the other fires (bright), then its spikes reach the read-out, '
    "a fifth at a time, and the picture takes shape. Each dot is a neuron.</p>"
)


class SpikesTab(Tab):
    """An animation of one picture's computation, with a running count of operations."""

    def __init__(self, actions: Actions, model: gr.Radio, show: Show) -> None:
        super().__init__(actions, model, show)
        animation, facts = show.film(sampled_film(actions, actions.names[0], 3, limits.ANY, _PACE))
        with gr.Row():
            with gr.Column(scale=3, min_width=240):
                go = gr.Button("Watch", variant="primary")
                with gr.Row():
                    seed = gr.Number(3, label="Seed", min_width=110)
                    label = label_dropdown(actions, model, "Class")
                pace = gr.Slider(*limits.PACE, value=_PACE, step=1, label="Frames a second")
            with gr.Column(scale=7, min_width=280):
                shown = picture("A picture forming spike by spike", animation, "film")
                line = gr.HTML(facts, padding=False)
                gr.HTML(_EXPLAINED, padding=False)
        gr.on(
            [go.click, seed.submit, label.input, pace.input, self.bell.change],
            self.watch_spikes,
            [model, seed, label, pace],
            [shown, line],
            api_name="watch_spikes",
            **LIVE,
        )
        self.refresh = {"fn": self._refresh, "inputs": [model], "outputs": [label]}

    def watch_spikes(self, model: Sent, seed: Sent, label: Sent, pace: Sent) -> tuple[str, str]:
        """A picture forming spike by spike: an animation, and a line about its operations."""
        return self._show.film(sampled_film(self._actions, model, seed, label, pace))

    def _refresh(self, model: Sent) -> Any:
        return label_choices(self._actions, model)
