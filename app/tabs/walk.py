"""The tab that walks from one picture to another."""

from __future__ import annotations

from typing import Any

import gradio as gr

from app import limits
from app.actions import Actions
from app.limits import Sent
from app.show import Show
from app.tabs.parts import (
    QUEUED,
    content,
    examples,
    gallery,
    label_choices,
    label_dropdown,
    picture,
    upload,
)


class WalkTab:
    """From one sample or picture to another, as an animation and its frames.

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
        first = self._actions.names[0]
        names = self._ends(first)
        start = (1, names[0], 2, names[-1], 12)
        animation, images, facts = self._show.walk(self._actions.walk_samples(first, *start))
        with gr.Row():
            with gr.Column(scale=4, min_width=280):
                with gr.Tabs():
                    with gr.Tab("Two samples"):
                        with gr.Row():
                            self._seed = gr.Number(start[0], label="First seed", min_width=110)
                            self._label = label_dropdown(self._actions, "First class", start[1])
                        with gr.Row():
                            self._other_seed = gr.Number(start[2], label="Last seed", min_width=110)
                            self._other_label = label_dropdown(self._actions, "Last class", start[3])
                        self._go = gr.Button("Walk", variant="primary")
                    with gr.Tab("Two pictures"):
                        with gr.Row():
                            self._picture, self._other = upload("First picture"), upload("Last picture")
                        examples(self._picture, self._other)
                        self._go_pictures = gr.Button("Walk between the pictures", variant="primary")
                self._frames = gr.Slider(*limits.FRAMES, value=start[4], step=1, label="Number of frames")
            with gr.Column(scale=6, min_width=280):
                self._film = picture("There and back", animation)
                self._gallery = gallery("Frames", images, "pictures", "frames")
                self._line = gr.HTML(facts, padding=False)

    def _connect(self) -> None:
        outputs = [self._film, self._gallery, self._line]
        ends = [self._seed, self._label, self._other_seed, self._other_label]
        pictures = [self._picture, self._other]
        self._go.click(
            self.walk_samples, [self._model, *ends, self._frames], outputs, api_name="walk_samples", **QUEUED
        )
        self._go_pictures.click(
            self.walk_pictures, [self._model, *pictures, self._frames], outputs, api_name="walk_pictures", **QUEUED
        )
        self.refresh: dict[str, Any] = {
            "fn": self._refresh,
            "inputs": [self._model, self._seed, self._other_seed, self._frames, *pictures],
            "outputs": [self._label, self._other_label, *outputs],
        }
        """The event that shows the same for another model."""

    def walk_samples(
        self, model: Sent, seed: Sent, label: Sent, other_seed: Sent, other_label: Sent, frames: Sent
    ) -> tuple[str, list[str], str]:
        """From the first picture of one seed to that of another: an animation, its frames, and a line about them."""
        return self._show.walk(self._actions.walk_samples(model, seed, label, other_seed, other_label, frames))

    def walk_pictures(self, model: Sent, picture: Sent, other: Sent, frames: Sent) -> tuple[str, list[str], str]:
        """From the reconstruction of one picture to that of another: an animation, its frames, and a line."""
        ends = content(self._show, picture), content(self._show, other)
        return self._show.walk(self._actions.walk_pictures(model, *ends, frames))

    def _refresh(
        self, model: Sent, seed: Sent, other_seed: Sent, frames: Sent, picture: Sent, other: Sent
    ) -> tuple[Any, ...]:
        names = self._ends(model)
        shown = (
            self.walk_samples(model, seed, names[0], other_seed, names[-1], frames)
            if picture is None or other is None
            else self.walk_pictures(model, picture, other, frames)
        )
        return (*(label_choices(self._actions, model, names[position]) for position in (0, -1)), *shown)

    def _ends(self, model: Sent) -> tuple[str, ...]:
        """Classes to walk between."""
        return self._actions.class_names(model) if self._actions.has_class_choice(model) else (limits.ANY,)
