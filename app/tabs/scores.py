"""The tab with what was measured of each model, and the models' cards."""

from __future__ import annotations

from collections.abc import Sequence

import gradio as gr

from ..cards import card
from ..models import name_of
from ..scores import scores_section


class ScoresTab:
    """A table for every model, and below it the card.

    Args:
        models: names or folders.
    """

    def __init__(self, models: Sequence[str]) -> None:
        for model in models:
            gr.HTML(scores_section(model), padding=False)
            if text := card(model):
                with gr.Accordion(f"Model card of {name_of(model)}", open=False):
                    gr.Markdown(text)
