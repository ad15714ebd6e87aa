"""The tab that redraws and names a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from ..actions import Actions
from ..limits import Sent
from ..reading import BACKGROUNDS, NothingDrawn
from ..show import Show
from ..traits import needs
from .parts import LIVE, Examples, answer, content, hint, keep_answered, unanswered, upload
from .tab import PictureTab, paper_html, paper_script

_READ_DRAWING = "(model, _) => [model, document.querySelector('#paper canvas').toDataURL('image/png')]"
_PICTURE = "picture"
"""The inner tab that every model has."""
_CHOOSE = "Choose a picture, or click on an example: what the model makes of it appears here."
_DRAW = "Draw something: what the model makes of it appears here while you draw."


class ReconstructTab(PictureTab):
    """A picture or a drawing through the latent spikes and back, with its class."""

    def __init__(self, actions: Actions, model: gr.Radio, show: Show, examples: Examples) -> None:
        super().__init__(actions, model, show, examples)
        with gr.Tabs() as self._inner:
            with gr.Tab("A picture", id=_PICTURE):
                self._build_picture()
            with gr.Tab("A drawing", elem_id="drawing", elem_classes=needs("grey")):
                self._build_drawing()
        self._connect_picture()
        self._connect_drawing()
        self.refresh = {
            "fn": self._refresh,
            "inputs": [model, self._picture],
            "outputs": [
                self._picture,
                self._choices,
                self._inner,
                self._advice,
            ],
        }

    def _build_picture(self) -> None:
        first = self._actions.names[0]
        example = self._examples[first][0]
        found = self._actions.reconstruct(first, Path(example).read_bytes(), is_own=True)
        with gr.Row():
            with gr.Column(scale=4, min_width=280):
                self._picture = upload("Your picture", example)
                self._go = gr.Button("Reconstruct and classify", variant="primary")
                self._choices = self._examples.box(first)
                self._background = gr.Radio(
                    list(BACKGROUNDS),
                    value="auto",
                    label="Background",
                    info="Grey models know light things on black; a light background is inverted.",
                    elem_classes=needs("grey"),
                )
            with gr.Column(scale=6, min_width=280):
                shown = self._show.reconstruction(found)
                self._picture_answer = answer(shown)

    def _build_drawing(self) -> None:
        first = self._actions.names[0]
        with gr.Row():
            with gr.Column(scale=4, min_width=280):
                self._advice = gr.HTML(self._advice_for(first), padding=False)
                self._paper = gr.HTML(
                    paper_html("Paper to draw on", "Clear the drawing"),
                    html_template="${value}",
                    js_on_load=paper_script("drawing.js"),
                    padding=False,
                    elem_id="paper",
                )
                self._drawing = gr.Textbox(visible="hidden", label="Drawing, as a data URL with a PNG")
                self._go_drawing = gr.Button("Reconstruct and classify the drawing", variant="primary")
            with gr.Column(scale=6, min_width=280):
                self._drawing_answer = answer(unanswered(_DRAW))

    def _connect_picture(self) -> None:
        inputs = [self._model, self._picture, self._background]
        private = LIVE | {"api_visibility": "private"}
        self._go.click(self.reconstruct, inputs, list(self._picture_answer), api_name="reconstruct", **LIVE)
        changes = [self._picture.change, self._background.input, self.bell.change]
        event = gr.on(changes, self._changed, inputs, list(self._picture_answer), **private)
        keep_answered(event, self._picture, "picture")
        self._take_chosen(self._choices, self._picture)

    def _connect_drawing(self) -> None:
        inputs = [self._model, self._drawing]
        outputs = list(self._drawing_answer)
        private = LIVE | {"api_visibility": "private", "js": _READ_DRAWING}
        self._go_drawing.click(
            self.reconstruct_drawing, inputs, outputs, js=_READ_DRAWING, api_name="reconstruct_drawing", **LIVE
        )
        gr.on([self._paper.input, self.bell.change], self._drawn, inputs, outputs, **private)

    def reconstruct(self, model: Sent, picture: Sent, background: Sent) -> tuple[Any, ...]:
        """A picture as the model sees it, its reconstruction, the classes' probabilities, and a line about them."""
        found = self._actions.reconstruct(model, content(self._show, picture), background)
        return self._show.reconstruction(found)

    def reconstruct_drawing(self, model: Sent, drawing: Sent) -> tuple[Any, ...]:
        """The same of a drawing, given as a data URL with a PNG: dark strokes on white."""
        return self._show.reconstruction(self._actions.reconstruct_drawing(model, drawing))

    def _changed(self, model: Sent, picture: Sent, background: Sent) -> tuple[Any, ...]:
        return unanswered(_CHOOSE) if picture is None else self.reconstruct(model, picture, background)

    def _drawn(self, model: Sent, drawing: Sent) -> tuple[Any, ...]:
        try:
            return self.reconstruct_drawing(model, drawing)
        except NothingDrawn:
            return unanswered(_DRAW)

    def _refresh(self, model: Sent, picture: Sent) -> tuple[Any, ...]:
        return (
            self._examples[model][0] if self._examples.has(picture) else gr.skip(),
            self._examples.choices(model),
            gr.Tabs(selected=_PICTURE) if self._actions.is_colour(model) else gr.skip(),
            self._advice_for(model),
        )

    def _advice_for(self, model: Sent) -> str:
        names = ", ".join(self._actions.models.class_names(model)[:12])
        wish = f"Draw one of these: {names}." if names else "Draw what the model was trained on."
        return hint(f"{wish} Thick strokes; fill what is solid.")
