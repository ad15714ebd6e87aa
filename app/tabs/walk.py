"""The tab that walks from one picture to another."""

from __future__ import annotations

from typing import Any

import gradio as gr
from gradio.components import Component

from .. import limits
from ..actions import Actions
from ..limits import Sent
from ..show import Show
from .parts import (
    CHOOSE,
    LIVE,
    Examples,
    content,
    gallery,
    hint,
    keep_answered,
    label_choices,
    label_dropdown,
    picture,
    upload,
)
from .tab import PictureTab

_FRAMES = 12
_CHOOSE = "Choose two pictures, or click on two examples: the way from one to the other appears here."


class WalkTab(PictureTab):
    """From one sample or picture to another, as an animation and its frames."""

    def __init__(self, actions: Actions, model: gr.Radio, show: Show, examples: Examples) -> None:
        super().__init__(actions, model, show, examples)
        with gr.Tabs():
            with gr.Tab("Two samples"):
                self._build_samples()
            with gr.Tab("Two pictures"):
                self._build_pictures()
        self._connect()
        self.refresh = {
            "fn": self._refresh,
            "inputs": [model, self._picture, self._other],
            "outputs": [self._label, self._other_label, self._choices, self._picture, self._other],
        }

    def _build_samples(self) -> None:
        names = self._ends(self._actions.names[0])
        first = self._actions.walk_samples(self._actions.names[0], 1, names[0], 2, names[-1], _FRAMES)
        with gr.Row():
            with gr.Column(scale=4, min_width=280):
                self._go = gr.Button("Walk", variant="primary")
                with gr.Row():
                    self._seed = gr.Number(1, label="First seed", min_width=110)
                    self._label = label_dropdown(self._actions, self._model, "First class", names[0])
                with gr.Row():
                    self._other_seed = gr.Number(2, label="Last seed", min_width=110)
                    self._other_label = label_dropdown(self._actions, self._model, "Last class", names[-1])
                self._frames = _frames_slider()
            with gr.Column(scale=6, min_width=280):
                self._shown = _way(self._show.walk(first))

    def _build_pictures(self) -> None:
        with gr.Row():
            with gr.Column(scale=4, min_width=280):
                with gr.Row():
                    self._picture, self._other = upload("First picture"), upload("Last picture")
                self._go_pictures = gr.Button("Walk between the pictures", variant="primary")
                self._choices = self._examples.box(self._actions.names[0])
                self._picture_frames = _frames_slider()
            with gr.Column(scale=6, min_width=280):
                self._pictures_shown = _way((None, [], hint(_CHOOSE)))

    def _connect(self) -> None:
        ends = [self._seed, self._label, self._other_seed, self._other_label]
        triggers = [
            self._go.click,
            *(box.submit for box in (self._seed, self._other_seed)),
            *(box.input for box in (self._label, self._other_label, self._frames)),
            self.bell.change,
        ]
        settings = [self._model, *ends, self._frames]
        gr.on(triggers, self.walk_samples, settings, self._shown, api_name="walk_samples", **LIVE)
        inputs: list[Component] = [self._model, self._picture, self._other, self._picture_frames]
        self._go_pictures.click(self.walk_pictures, inputs, self._pictures_shown, api_name="walk_pictures", **LIVE)
        changes = [self._picture.change, self._other.change, self._picture_frames.input, self.bell.change]
        event = gr.on(changes, self._changed, inputs, self._pictures_shown, **LIVE, api_visibility="private")
        keep_answered(event, self._picture, "walkFirst")
        keep_answered(event, self._other, "walkLast")
        self._choices.select(
            self._chosen,
            [self._model, self._picture],
            [self._picture, self._other],
            **CHOOSE,
        )

    def walk_samples(
        self, model: Sent, seed: Sent, label: Sent, other_seed: Sent, other_label: Sent, frames: Sent
    ) -> tuple[str, list[str], str]:
        """From the first picture of one seed to that of another: an animation, its frames, and a line about them."""
        return self._show.walk(self._actions.walk_samples(model, seed, label, other_seed, other_label, frames))

    def walk_pictures(self, model: Sent, picture: Sent, other: Sent, frames: Sent) -> tuple[str, list[str], str]:
        """From the reconstruction of one picture to that of another: an animation, its frames, and a line."""
        ends = content(self._show, picture), content(self._show, other)
        return self._show.walk(self._actions.walk_pictures(model, *ends, frames))

    def _changed(self, model: Sent, picture: Sent, other: Sent, frames: Sent) -> tuple[Any, ...]:
        if picture is None or other is None:
            for box in (picture, other):
                if box is not None:  # what is no picture is refused before there is another one
                    self._actions.read(model, content(self._show, box))
            return None, None, hint(_CHOOSE)
        return self.walk_pictures(model, picture, other, frames)

    def _chosen(self, model: Sent, picture: Sent, event: gr.SelectData) -> tuple[Any, Any]:
        """An example becomes the first picture if there is none, otherwise the last."""
        chosen = self._examples.chosen(model, event)
        return (chosen, gr.skip()) if picture is None else (gr.skip(), chosen)

    def _refresh(self, model: Sent, picture: Sent, other: Sent) -> tuple[Any, ...]:
        names = self._ends(model)
        labels = (label_choices(self._actions, model, names[position]) for position in (0, -1))
        kept = (None if self._examples.has(box) else gr.skip() for box in (picture, other))
        return (*labels, self._examples.choices(model), *kept)

    def _ends(self, model: Sent) -> tuple[str, ...]:
        """Classes to walk between."""
        return self._actions.models.class_names(model) if self._actions.has_class_choice(model) else (limits.ANY,)


def _frames_slider() -> gr.Slider:
    return gr.Slider(*limits.FRAMES, value=_FRAMES, step=1, label="Number of frames")


def _way(shown: tuple[str | None, list[str], str]) -> list[Any]:
    """Boxes for a walk."""
    animation, images, facts = shown
    line = gr.HTML(facts, padding=False)
    return [picture("There and back", animation), gallery("Frames", images, "frames"), line]
