"""What several tabs are made of."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from app import limits
from app.actions import Actions
from app.limits import Number, Sent
from app.show import Show
from app.upload import Upload

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.png"))
"""Six garments, then six digits."""

# Values arrive as they were sent: the actions check them, and say what is wrong in words of their own.
SHARED: dict[str, Any] = {"concurrency_id": "model", "concurrency_limit": limits.WORKERS, "preprocess": False}
"""For every event that a model computes for."""
QUEUED: dict[str, Any] = {**SHARED, "trigger_mode": "once"}
"""The same, if a second click before the answer counts for nothing."""


def upload(label: str, value: str | None = None) -> Upload:
    return Upload(
        value,
        type="filepath",
        sources=["upload", "clipboard"],
        label=label,
        height=230,
        image_mode=None,
        buttons=[],
        elem_classes=["picture", "upload"],
        format="png",
        min_width=110,
    )


def picture(label: str, value: str) -> gr.Image:
    return gr.Image(
        value,
        label=label,
        format="png",
        interactive=False,
        buttons=["download"],
        elem_classes="picture",
        alt_text=label,
        min_width=130,
    )


def gallery(label: str, value: Sequence[Any], *classes: str) -> gr.Gallery:
    return gr.Gallery(
        list(value),
        label=label,
        format="png",
        height="auto",
        object_fit="contain",
        interactive=False,
        elem_classes=list(classes),
        buttons=["fullscreen"],
    )


def label_dropdown(actions: Actions, name: str, value: str = limits.ANY) -> gr.Dropdown:
    """Classes to choose from, or nothing where there is no choice."""
    first = actions.names[0]
    return gr.Dropdown(
        [limits.ANY, *actions.class_names(first)],
        value=value,
        label=name,
        min_width=110,
        allow_custom_value=True,  # checked by the action: the choices differ between models
        visible=actions.has_class_choice(first),
    )


def label_choices(actions: Actions, model: str, value: str = limits.ANY) -> gr.Dropdown:
    """The same, for another model."""
    choices = [limits.ANY, *actions.class_names(model)]
    return gr.Dropdown(choices, value=value, visible=actions.has_class_choice(model))


def temperature_box(actions: Actions, model: str, value: Number = 1.0) -> gr.Slider:
    return gr.Slider(value=value, visible=actions.has_temperature(model))


def examples(*boxes: Upload) -> None:
    """Small test images to click on; with two boxes, pairs of one kind."""
    rows = [list(map(str, row)) for row in zip(*[iter(EXAMPLES)] * len(boxes), strict=True)]
    gr.Examples(
        rows,
        list(boxes),
        label="Or one of these test images of Fashion-MNIST (MIT licence) and MNIST (CC BY-SA 3.0)",
        examples_per_page=12,
    )


def content(show: Show, picture: Sent) -> bytes | None:
    """An uploaded file's bytes. Whatever else a visitor sends in its place is refused."""
    if picture is None:
        return None
    return show.files.read_upload(picture.get("path") if isinstance(picture, dict) else picture)
