"""The tab that shows two models, or two settings of one, side by side."""

from __future__ import annotations

from typing import Any

import gradio as gr

from .. import limits
from ..actions import Actions
from ..limits import Sent
from ..show import Show
from .parts import LIVE, QUIET, bell, gallery, label_choices, label_dropdown, of_own_model, ring, temperature_slider

_COUNT, _SEED = 16, 0
_TEMPERATURES = (1.0, 0.5)  # to begin with, of the two sides


class CompareTab:
    """Pictures of one seed, drawn twice.

    Args:
        actions: what its buttons call.
        show: turns results into what is on the screen.
    """

    def __init__(self, actions: Actions, show: Show) -> None:
        self._actions, self._show = actions, show
        self._bell = bell()
        with gr.Row():
            with gr.Column(scale=2, min_width=160):
                self._go = gr.Button("Compare", variant="primary")
            with gr.Column(scale=3, min_width=160):
                self._seed = gr.Number(_SEED, label="Seed of both")
            with gr.Column(scale=5, min_width=240):
                self._count = gr.Slider(1, limits.COMPARED, value=_COUNT, step=1, label="Number of pictures of each")
        with gr.Row():
            sides = [self._side(place) for place in range(2)]
        inputs = [box for side in sides for box in side[:3]]
        outputs = [box for side in sides for box in side[3:]]
        triggers = [self._go.click, self._seed.submit, self._count.input, self._bell.change]
        triggers += [box.input for side in sides for box in side[1:3]]
        gr.on(triggers, self.compare, [*inputs, self._count, self._seed], outputs, api_name="compare", **LIVE)
        for model, label, temperature, *_ in sides:
            ring(model.input(self._fit, model, [label, temperature], preprocess=False, **QUIET), self._bell)

    def _side(self, place: int) -> list[Any]:
        """Model, class, temperature, gallery and line."""
        first = self._actions.names[0]
        of_label, of_temperature = self._shown_of(first)
        spread = self._actions.models.fit_temperature(first, _TEMPERATURES[place])
        images, line = self._shown(first, _COUNT, _SEED, limits.ANY, spread)
        with gr.Column(min_width=280):
            with gr.Row():
                model = gr.Dropdown(list(self._actions.names), value=first, label=f"Model {'AB'[place]}", min_width=150)
                label = label_dropdown(self._actions, model, f"Class {'AB'[place]}", **of_label)
            name = f"Temperature {'AB'[place]}"
            slider = temperature_slider(self._actions, model, name, spread, **of_temperature)
            box = gallery(f"Pictures {'AB'[place]}", images)
            return [model, label, slider, box, gr.HTML(line, padding=False)]

    def compare(
        self,
        model: Sent,
        label: Sent,
        temperature: Sent,
        other_model: Sent,
        other_label: Sent,
        other_temperature: Sent,
        count: Sent,
        seed: Sent,
    ) -> tuple[list[str], str, list[str], str]:
        """Pictures of the same seed by two models or settings: each side's files, and a line about them."""
        limits.whole_number("number of pictures", count, 1, limits.COMPARED)
        one = self._shown(model, count, seed, label, temperature)
        return (*one, *self._shown(other_model, count, seed, other_label, other_temperature))

    def _shown(self, model: Sent, count: Sent, seed: Sent, label: Sent, temperature: Sent) -> tuple[list[str], str]:
        found = self._actions.sample(model, count, seed, label, temperature)
        return self._show.side(found)

    def _fit(self, model: Sent) -> tuple[Any, Any]:
        label, temperature = self._shown_of(model)
        return label_choices(self._actions, model, **label), gr.Slider(value=1.0, **temperature)

    def _shown_of(self, model: Sent) -> tuple[dict[str, Any], dict[str, Any]]:
        """Whether the boxes for class and temperature are shown."""
        has_choice, has_temperature = self._actions.has_class_choice(model), self._actions.models.has_density(model)
        return of_own_model(has_choice), of_own_model(has_temperature)
