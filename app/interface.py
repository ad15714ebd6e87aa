"""The page: its head and its tabs. What is on a tab is in `app.tabs`, what its buttons do in `app.actions`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import gradio as gr

from app.actions import Actions
from app.files import Files
from app.page import Page
from app.scores import scores_page
from app.show import Show
from app.tabs.inside import InsideTab
from app.tabs.parts import QUEUED
from app.tabs.reconstruct import ReconstructTab
from app.tabs.sample import SampleTab
from app.tabs.walk import WalkTab

CSS = (Path(__file__).parent / "style.css").read_text(encoding="utf-8")
_TITLE_HTML = (
    "<h1>Images from spikes</h1><p>This network computes with on-off pulses, as nerve cells do. It has learned to draw "
    "new pictures, to redraw what it is shown, and to name it.</p>"
)


def build_page(actions: Actions, models: Sequence[str], files: Files) -> gr.Blocks:
    """The page, with the first model's first results already on every tab.

    Args:
        actions: what its buttons call.
        models: names or folders of the same models, for their scores.
        files: where uploads are, and where results are written.
    """
    show = Show(files)
    page = Page(title="spikevae: images from spikes", analytics_enabled=False)
    with page:
        with gr.Row(elem_id="top"):
            gr.HTML(_TITLE_HTML, elem_id="title", padding=False)
            model = gr.Radio(
                list(actions.names),
                value=actions.names[0],
                label="Model",
                visible=len(actions.names) > 1,
                elem_id="model",
            )
        with gr.Tabs(elem_id="tabs"):
            with gr.Tab("Sample", id="sample", elem_id="sample"):
                SampleTab(page, actions, model, show)
            with gr.Tab("Reconstruct", id="reconstruct", elem_id="reconstruct"):
                refreshes = [ReconstructTab(actions, model, show).refresh]
            with gr.Tab("Walk", id="walk", elem_id="walk"):
                refreshes.append(WalkTab(actions, model, show).refresh)
            with gr.Tab("Look inside", id="inside", elem_id="inside"):
                refreshes.append(InsideTab(actions, model, show).refresh)
            with gr.Tab("Scores", id="scores", elem_id="scores"):
                gr.HTML(scores_page(models))
        # Another model, by hand or by a link: whatever the other tabs show is of the old one. One after the other,
        # so that a visitor who only looks at samples waits for nothing.
        event = model.change
        for refresh in refreshes:
            event = event(**refresh, api_visibility="private", **QUEUED).then
    return page
