"""The tab that fills in what is painted over."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gradio as gr

from .. import limits, pictures
from ..actions import Actions
from ..limits import Sent
from ..show import Show
from .parts import LIVE, QUIET, Examples, content, gallery, hint, keep_answered, label_choices, label_dropdown, upload
from .tab import PictureTab, paper_html, paper_script

_READ_MASK = """(model, picture, _, ...rest) => {
  window.spikevaeCompleted = JSON.stringify([model, picture?.path]);
  return [model, picture, window.spikevaeMask(), ...rest];
}"""
_PAINT = "Paint over a part of the picture, or hide a half, then press Complete: proposals for it appear here."
_HALVES = {"Left": "0 0 0.5 1", "Right": "0.5 0 0.5 1", "Upper": "0 0 1 0.5", "Lower": "0 0.5 1 0.5"}
"""Buttons that need no mouse, and what each hides: place, width and height as shares of the picture's side."""
_CANNOT = (
    "This model cannot complete pictures: its latent has no density, from which the hidden part could be drawn. "
    "Choose another model."
)
_COUNT = 4
# Proposals that come when another model or picture was chosen go at once.
_DROP_LATE = f"""(model, picture) => window.spikevaeCompleted === JSON.stringify([model, picture?.path])
  ? [{{__type__: "update"}}, {{__type__: "update"}}] : [[], {json.dumps(hint(_PAINT))}]"""


class CompleteTab(PictureTab):
    """Proposals for the hidden part of a picture."""

    def __init__(self, actions: Actions, model: gr.Radio, show: Show, examples: Examples) -> None:
        super().__init__(actions, model, show, examples)
        first = actions.names[0]
        example = examples[first][0]
        seen = pictures.data_url(Path(example).read_bytes())
        with self._with_density(_CANNOT):
            with gr.Column(scale=3, min_width=260):
                paper = paper_html("The picture: paint over the part to fill in", "Clear the paint", _halves_html())
                self._paper = gr.HTML(seen, html_template=paper, js_on_load=paper_script("mask.js"), padding=False)
                self._go = gr.Button("Complete", variant="primary")
                self._choices = examples.box(first)
            with gr.Column(scale=6, min_width=280):
                self._line = gr.HTML(hint(_PAINT), padding=False)
                self._proposals = gallery("Proposals", [], "proposals")
                with gr.Row():
                    self._count = gr.Slider(1, limits.PROPOSALS, value=_COUNT, step=1, label="Number of proposals")
                    self._seed = gr.Number(0, label="Seed of the proposals", min_width=110)
                    self._label = label_dropdown(actions, model, "Class of the proposals")
                self._picture = upload("Your picture", example)
        self._mask = gr.Textbox(visible="hidden", label="Mask, as a data URL with a PNG")
        self._connect()
        self.refresh = {
            "fn": self._refresh,
            "inputs": [model, self._picture],
            "outputs": [
                self._label,
                self._choices,
                self._picture,
                self._paper,
                self._proposals,
                self._line,
            ],
        }

    def _connect(self) -> None:
        inputs: list[Any] = [self._model, self._picture, self._mask, self._count, self._seed, self._label]
        outputs = [self._proposals, self._line]
        event = self._go.click(self.complete, inputs, outputs, js=_READ_MASK, api_name="complete", **LIVE)
        event.success(None, [self._model, self._picture], outputs, js=_DROP_LATE, **QUIET)
        changed = self._picture.change(
            self._seen,
            [self._model, self._picture],
            [self._paper, *outputs],
            **LIVE | {"show_progress": "hidden"},
            api_visibility="private",
        )
        keep_answered(changed, self._picture, "complete")
        self._take_chosen(self._choices, self._picture)

    def complete(
        self, model: Sent, picture: Sent, mask: Sent, count: Sent, seed: Sent, label: Sent
    ) -> tuple[list[str], str]:
        """Proposals for a part of a picture; the mask is a data URL with a PNG, white where it is to be filled in."""
        found = self._actions.studio.complete(model, content(self._show, picture), mask, count, seed, label)
        words = "Each agrees with what is visible; those that fit best come first. Click on one to see it larger."
        return [self._show.picture(image) for image in found], pictures.facts_line(words)

    def _seen(self, model: Sent, picture: Sent) -> tuple[str, list[str], str]:
        """The picture as the model sees it, to paint on; proposals for another one go."""
        file = content(self._show, picture)
        seen = "" if file is None else pictures.data_url(pictures.png(self._actions.read(model, file)))
        return seen, [], hint(_PAINT)

    def _refresh(self, model: Sent, picture: Sent) -> tuple[Any, ...]:
        chosen = self._examples[model][0] if self._examples.has(picture) else picture
        new = chosen if self._examples.has(picture) else gr.skip()
        choices = label_choices(self._actions, model), self._examples.choices(model)
        return (*choices, new, *self._seen(model, chosen))


def _halves_html() -> str:
    buttons = (
        f'<button type="button" data-half="{box}" aria-label="Hide the {name.lower()} half">{name}</button>'
        for name, box in _HALVES.items()
    )
    return f'<div class="halves" role="group" aria-label="Hide a half"><span>Hide a half</span>{"".join(buttons)}</div>'
