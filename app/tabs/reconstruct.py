"""The tab that redraws and names a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from app.actions import Actions
from app.limits import Sent
from app.reading import BACKGROUNDS
from app.show import Show
from app.tabs.parts import EXAMPLES, QUEUED, content, examples, picture, upload

_DRAWING_JS = (Path(__file__).parents[1] / "drawing.js").read_text(encoding="utf-8")
_DRAWING_HTML = (
    '<div class="drawing"><canvas width="280" height="280" role="img" aria-label="Paper to draw on, with the mouse, '
    'a finger or a pen"></canvas><button type="button">Clear the drawing</button></div>'
)
_READ_DRAWING = "(model, _) => [model, document.querySelector('.drawing canvas').toDataURL('image/png')]"


class ReconstructTab:
    """A picture or a drawing through the latent spikes and back, with its class.

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
        first, example = self._actions.names[0], EXAMPLES[0]
        x, image, named, facts = self._show.reconstruction(
            self._actions.reconstruct(first, example.read_bytes(), is_own=True)
        )
        with gr.Row():
            with gr.Column(scale=4, min_width=280), gr.Tabs():
                with gr.Tab("A picture"):
                    self._picture = upload("Your picture", str(example))
                    examples(self._picture)
                    self._background = gr.Radio(
                        list(BACKGROUNDS),
                        value="auto",
                        label="Background",
                        info="Grey models know light things on black; a light background is inverted.",
                    )
                    self._go = gr.Button("Reconstruct and classify", variant="primary")
                with gr.Tab("A drawing"):
                    gr.HTML(_DRAWING_HTML, html_template="${value}", js_on_load=_DRAWING_JS, padding=False)
                    self._drawing = gr.Textbox(visible="hidden", label="Drawing, as a data URL with a PNG")
                    self._go_drawing = gr.Button("Reconstruct and classify the drawing", variant="primary")
            with gr.Column(scale=6, min_width=280):
                with gr.Row():
                    self._seen = picture("What the model sees", x)
                    self._again = picture("Its reconstruction", image)
                self._classes = gr.Label(
                    named, label="Classes", num_top_classes=5, visible=bool(self._actions.class_names(first))
                )
                self._line = gr.HTML(facts, padding=False)

    def _connect(self) -> None:
        inputs = [self._model, self._picture, self._background]
        outputs = [self._seen, self._again, self._classes, self._line]
        self._go.click(self.reconstruct, inputs, outputs, api_name="reconstruct", **QUEUED)
        self._go_drawing.click(
            self.reconstruct_drawing,
            [self._model, self._drawing],
            outputs,
            js=_READ_DRAWING,
            api_name="reconstruct_drawing",
            **QUEUED,
        )
        for change in (self._picture.change, self._background.input):
            # The last picture counts: one that comes while the removal of the one before is answered is not passed
            # over.
            change(self._changed, inputs, outputs, api_visibility="private", **QUEUED | {"trigger_mode": "always_last"})
        self.refresh: dict[str, Any] = {"fn": self._refresh, "inputs": inputs, "outputs": outputs}
        """The event that shows the same for another model."""

    def reconstruct(self, model: Sent, picture: Sent, background: Sent) -> tuple[Any, ...]:
        """A picture as the model sees it, its reconstruction, the classes' probabilities, and a line about them."""
        found = self._actions.reconstruct(model, content(self._show, picture), background)
        return self._show.reconstruction(found)

    def reconstruct_drawing(self, model: Sent, drawing: Sent) -> tuple[Any, ...]:
        """The same of a drawing, given as a data URL with a PNG: dark strokes on white."""
        return self._show.reconstruction(self._actions.reconstruct_drawing(model, drawing))

    def _changed(self, model: Sent, picture: Sent, background: Sent) -> tuple[Any, ...]:
        return (None, None, None, "") if picture is None else self.reconstruct(model, picture, background)

    def _refresh(self, model: Sent, picture: Sent, background: Sent) -> tuple[Any, ...]:
        x, image, named, facts = self._changed(model, picture, background)
        return x, image, gr.Label(named, visible=bool(self._actions.class_names(model))), facts
