"""The page: its head, its tabs and its foot. What is on a tab is in `app.tabs`, what buttons do in `app.actions`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from .actions import Actions
from .cards import footer, terms_line
from .files import Files
from .limits import Sent
from .models import name_of
from .page import Page
from .preview import TITLE
from .show import Show
from .tabs.compare import CompareTab
from .tabs.complete import CompleteTab
from .tabs.edit import EditTab
from .tabs.inside import InsideTab
from .tabs.parts import QUIET, SHARED, Examples, ring
from .tabs.reconstruct import ReconstructTab
from .tabs.recordings import RecordingsTab
from .tabs.sample import SampleTab
from .tabs.scores import ScoresTab
from .tabs.spikes import SpikesTab
from .tabs.tab import Tab
from .tabs.walk import WalkTab
from .traits import told

_HERE = Path(__file__).parent
CSS = (_HERE / "style.css").read_text(encoding="utf-8")
HEAD = f"<script>{(_HERE / 'page.js').read_text(encoding='utf-8')}</script>"
TITLE_HTML = (
    "<h1>Images from spikes</h1><p>This network computes with on-off pulses, as nerve cells do. It has learned to draw "
    "new pictures, to redraw what it is shown, and to name it.</p>"
)


def build_page(actions: Actions, models: Sequence[str], files: Files) -> gr.Blocks:
    """The page, with the first model's first results already on every tab.

    Args:
        actions: what its buttons call.
        models: names or folders of the same models, for their scores and cards.
        files: where uploads are, and where results are written.
    """
    show = Show(files)
    actions.warm_up()
    examples = Examples(actions, show)
    terms = {name_of(model): terms_line(model) for model in models}
    first = actions.names[0]
    page = Page(title=TITLE, analytics_enabled=False)
    with page:
        with gr.Row(elem_id="top"):
            gr.HTML(TITLE_HTML, elem_id="title", padding=False)
            model = gr.Radio(
                list(actions.names),
                value=first,
                label="Model",
                visible=len(actions.names) > 1,
                elem_id="model",
            )
        with gr.Tabs(elem_id="tabs", overflow_behavior="wrap"):
            with gr.Tab("Sample", id="sample", elem_id="sample"):
                SampleTab(page, actions, model, show)
            with gr.Tab("Reconstruct", id="reconstruct", elem_id="reconstruct"):
                tabs: list[Tab] = [ReconstructTab(actions, model, show, examples)]
            with gr.Tab("Edit", id="edit", elem_id="edit"):
                tabs.append(EditTab(actions, model, show))
            with gr.Tab("Complete", id="complete", elem_id="complete"):
                tabs.append(CompleteTab(actions, model, show, examples))
            with gr.Tab("Walk", id="walk", elem_id="walk"):
                tabs.append(WalkTab(actions, model, show, examples))
            with gr.Tab("Look inside", id="inside", elem_id="inside"):
                tabs.append(InsideTab(actions, model, show, examples))
            with gr.Tab("Watch it spike", id="spikes", elem_id="spikes"):
                tabs.append(SpikesTab(actions, model, show))
            with gr.Tab("Compare", id="compare", elem_id="compare"):
                CompareTab(actions, show)
            if actions.recordings.models.names:
                with gr.Tab("Recordings", id="recordings", elem_id="recordings"):
                    RecordingsTab(actions, show, terms)
            with gr.Tab("Scores", id="scores", elem_id="scores"):
                ScoresTab(models)
        said = gr.HTML(terms[first], padding=False, elem_id="terms")
        gr.HTML(footer(), padding=False, elem_id="foot")

        def say_terms(model: Sent) -> str:
            """What a model was trained on, and on what terms."""
            actions.models.known(model)
            return terms[model]

        model.change(inputs=model, **told(actions), **QUIET)
        _follow(model.change(say_terms, model, said, **QUIET, **SHARED), tabs)
    return page


def _follow(event: Any, tabs: Sequence[Tab]) -> None:
    """Another model, by hand or by a link: whatever the other tabs show is of the old one.

    One after the other, so that a visitor who only looks at samples waits for nothing.
    """
    for tab in tabs:
        event = ring(event.then(**tab.refresh, **QUIET, **SHARED), tab.bell)
