"""What several tabs are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import gradio as gr
from gradio.components import Component

from .. import limits, pictures
from ..actions import Actions
from ..boxes import ClassBox, TemperatureBox
from ..limits import Number, Sent
from ..models import Models
from ..own_images import images_of
from ..show import Show
from ..traits import needs
from ..upload import Upload

_OWN_EXAMPLES = 6  # pictures that a model draws itself

# Values arrive as they were sent: the actions check them, and say what is wrong in words of their own.
SHARED: dict[str, Any] = {"concurrency_id": "model", "concurrency_limit": limits.WORKERS, "preprocess": False}
"""For every event that a model computes for."""
LIVE: dict[str, Any] = {**SHARED, "trigger_mode": "always_last", "show_progress": "minimal"}
"""The same, for one that is asked again before it has answered: of what comes meanwhile the last counts."""
QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "trigger_mode": "always_last"}
"""For an event that only rearranges the page. The last model that was chosen counts, however soon it was."""
CHOOSE: dict[str, Any] = {**QUIET, "trigger_mode": "multiple", "preprocess": False}
"""For a click on one of several pictures, each of which is answered."""


class Answer(NamedTuple):
    """What a picture is answered with: as the model sees it, redrawn, named, and a line."""

    seen: gr.Image
    again: gr.Image
    classes: gr.Label
    line: gr.HTML


def answer(shown: Sequence[Any]) -> Answer:
    """Boxes for an answer, with what they show first: `Show.reconstruction`'s, or nothing and a line."""
    seen, again, named, facts = shown
    line = gr.HTML(facts, padding=False)
    with gr.Row():
        boxes = picture("What the model sees", seen), picture("Its reconstruction", again)
    classes = gr.Label(named, label="Classes", num_top_classes=5, elem_classes=needs("classes"))
    return Answer(*boxes, classes, line)


def unanswered(words: str) -> tuple[None, None, None, str]:
    """An answer that is empty, and says what to do."""
    return None, None, None, hint(words)


def hint(words: str) -> str:
    """A line that says what to do."""
    return pictures.facts_line(words)


def bell() -> gr.Textbox:
    """Something that nobody sees, whose change makes an event look at the page's values anew.

    An event that both a click and another model start must be one event: two could answer in the wrong order.
    """
    return gr.Textbox(visible="hidden", label="Changes where the page is to look again")


def where(applies: bool) -> bool | Literal["hidden"]:
    """Whether a box is shown. One that is not must stay on the page: Gradio would not change what is not there."""
    return True if applies else "hidden"


def of_own_model(applies: bool) -> dict[str, Any]:
    """Settings of a box whose model is not the page's, where `app.traits` says nothing: whether it is shown."""
    return {"visible": where(applies), "elem_classes": []}


def ring(event: Any, box: gr.Textbox) -> Any:
    """Change a :func:`bell` once an event has answered: not with it, or the bell would be heard before the rest."""
    return event.then(None, None, box, js="() => String(Math.random())", **QUIET)


def keep_answered(event: Any, box: Any, name: str) -> None:
    """Let a file that was refused not stay beside the answer to another one: the last good one comes back.

    That one is never set anew: its change would start the event again, and again if something else is wrong.

    Args:
        event: what answers to the file.
        box: holds it.
        name: one word, which no other box has.
    """
    kept = f"window.spikevaeKept_{name}"
    back = f"(file) => file?.path === {kept}?.path ? {{__type__: 'update'}} : {kept} ?? null"
    event.success(None, box, None, js=f"(file) => {{ {kept} = file; }}", **QUIET)
    event.failure(None, box, box, js=back, **QUIET)


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


def picture(label: str, value: str | None, *classes: str) -> gr.Image:
    return gr.Image(
        value,
        label=label,
        format="png",
        interactive=False,
        buttons=["download"],
        elem_classes=["picture", *classes],
        alt_text=label,
        min_width=130,
    )


def gallery(label: str, value: Sequence[Any], *classes: str, is_choice: bool = False) -> gr.Gallery:
    return gr.Gallery(
        list(value),
        label=label,
        format="png",
        height="auto",
        object_fit="contain",
        interactive=False,
        allow_preview=not is_choice,
        elem_classes=["pictures", *classes],
        buttons=[] if is_choice else ["download", "fullscreen"],
    )


def choice(label: str, value: Sequence[Any]) -> gr.Gallery:
    """Small pictures, one of which is to be clicked on."""
    return gallery(label, value, "examples", is_choice=True)


def label_dropdown(actions: Actions, model: Component, name: str, value: str = limits.ANY, **more: Any) -> ClassBox:
    """Classes to choose from."""
    choices = [limits.ANY, *actions.models.class_names(actions.names[0])]
    return class_box(actions.models, model, choices, value, name, **more)


def class_box(
    models: Models[Any], model: Component, choices: list[str], value: str, name: str, **more: Any
) -> ClassBox:
    """A box for a class of the model that another box holds, or nothing where samples of one class cannot be had."""
    box = ClassBox(
        choices,
        value=value,
        label=name,
        allow_custom_value=True,  # checked by the action: the choices differ between models
        **{"min_width": 110, "elem_classes": needs("label"), **more},
    )
    box.belongs = model, models.fit_class
    return box


def label_choices(actions: Actions, model: Sent, value: str = limits.ANY, **more: Any) -> gr.Dropdown:
    """The same, for another model."""
    return gr.Dropdown([limits.ANY, *actions.models.class_names(model)], value=value, **more)


def temperature_slider(
    actions: Actions, model: Component, label: str = "Temperature", value: Number = 1.0, **more: Any
) -> TemperatureBox:
    """How varied new pictures are, or nothing where that cannot be chosen."""
    first = actions.names[0]
    box = TemperatureBox(
        0,
        limits.TEMPERATURE_LIMIT,
        value=actions.models.fit_temperature(first, value),
        step=0.05,
        label=label,
        info="Less is more typical, more is more varied.",
        **{"elem_classes": needs("density"), **more},
    )
    box.belongs = model, actions.models.fit_temperature
    return box


def content(show: Show, picture: Sent) -> bytes | None:
    """An uploaded file's bytes. Whatever else a visitor sends in its place is refused."""
    return None if picture is None else show.files.read_upload(path_of(picture))


def path_of(picture: Sent) -> Any:
    """The path in what stands for a picture."""
    return picture.get("path") if isinstance(picture, dict) else picture


def clicked(paths: Mapping[str, Sequence[str]], model: Sent, event: gr.SelectData) -> Any:
    """Of a model's files the one that was clicked on; nothing new if none was."""
    known = paths.get(model, []) if isinstance(model, str) else []
    return known[event.index] if event.selected and event.index < len(known) else gr.skip()


class Examples:
    """Pictures to click on, for every model: test images of its data set, or what it draws itself.

    Args:
        actions: whose models.
        show: writes the files.
    """

    def __init__(self, actions: Actions, show: Show) -> None:
        self._models = actions.models
        self._paths: dict[str, list[str]] = {}
        self._labels: dict[str, str] = {}
        for model in actions.names:
            found = images_of(actions.models.dataset(model))
            self._labels[model] = "Or one of these test images" if found else "Or one that the model drew itself"
            self._paths[model] = [show.files.store(path.read_bytes(), path.name) for path in found] or [
                show.picture(image) for image in actions.sample(model, _OWN_EXAMPLES, 1, limits.ANY, 1.0).images
            ]

    def __getitem__(self, model: Sent) -> list[str]:
        """Files of a model's examples. Errors as for `Models.known`."""
        self._models.known(model)
        return self._paths[model]

    def has(self, picture: Sent) -> bool:
        """Whether a picture is an example of a model."""
        return any(path_of(picture) in paths for paths in self._paths.values())

    def box(self, model: str) -> gr.Gallery:
        """A choice of them."""
        return choice(self._labels[model], self[model])

    def choices(self, model: Sent) -> gr.Gallery:
        """The same, for another model."""
        return gr.Gallery(self[model], label=self._labels[model])

    def chosen(self, model: Sent, event: gr.SelectData) -> Any:
        """The file that was clicked on; nothing new if none was."""
        return clicked(self._paths, model, event)
