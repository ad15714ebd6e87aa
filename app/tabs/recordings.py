"""The tab that plays a generated recording of an event camera beside a real one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr

from .. import limits
from ..actions import Actions, random_seed
from ..limits import Sent
from ..player import HTML, SCRIPT, Side, thumbnail
from ..recordings import Example
from ..show import Show
from ..upload import RecordingUpload
from .parts import (
    CHOOSE,
    LIVE,
    QUIET,
    bell,
    choice,
    class_box,
    clicked,
    content,
    hint,
    keep_answered,
    of_own_model,
    path_of,
    ring,
    where,
)

_EXPLAINED = (
    "An event camera reports only where its picture changes, and when. One recording is made up by the model. The "
    "other is yours (.bin of N-MNIST, .npz or .aedat) or an example. The model names both, and is not told which class "
    "was asked for."
)
_EXAMPLES = "Or one of these: of a camera, of a simulated one, or made up"
_DOWNLOADS = ("Download NPZ", "Download BIN", "Download GIF of both")


class Stored(NamedTuple):
    """Files of an example."""

    path: str
    picture: str
    name: str
    title: str


class RecordingsTab:
    """A generated and a real recording, on one clock, with the classes as they form.

    Args:
        actions: what its buttons call.
        show: turns results into what is on the screen.
        terms: what is said of each model's data.
    """

    def __init__(self, actions: Actions, show: Show, terms: Mapping[str, str]) -> None:
        self._recordings, self._show, self._terms = actions.recordings, show, terms
        self._bell = bell()
        first, *_ = names = self._recordings.models.names
        found = {name: self._recordings.examples(name) for name in names}
        self._examples = {name: [self._stored(example) for example in found[name]] for name in names}
        beside = Side(found[first][0].title, self._recordings.see(first, found[first][0].recording))
        shown, *files = self._played(first, 0, limits.ANY, [beside])
        with gr.Row():
            with gr.Column(scale=3, min_width=260):
                self._build_choices(first)
            with gr.Column(scale=7, min_width=280):
                self._player = gr.HTML(shown, html_template=HTML, js_on_load=SCRIPT, padding=False)
                with gr.Row():
                    self._downloads = [
                        gr.DownloadButton(name, value=file, size="sm", min_width=100)
                        for name, file in zip(_DOWNLOADS, files, strict=True)
                    ]
        gr.HTML(hint(_EXPLAINED), padding=False)
        self._said = gr.HTML(terms[first], padding=False)
        self._connect()

    def _build_choices(self, first: str) -> None:
        names = self._recordings.models.names
        self._model = gr.Radio(list(names), value=first, label="Model of recordings", visible=where(len(names) > 1))
        with gr.Row():
            self._go = gr.Button("Generate", variant="primary", min_width=90)
            self._surprise = gr.Button("Random seed", min_width=90)
        with gr.Row():
            classes = self._recordings.models.class_names(first)
            self._label = class_box(
                self._recordings.models,
                self._model,
                [limits.ANY, *classes],
                limits.ANY,
                "Class",
                min_width=90,
                **of_own_model(bool(classes)),
            )
            self._seed = gr.Number(0, label="Seed", min_width=90)
        self._file = RecordingUpload(self._first_example(first), label="Recording beside it", height=110, buttons=[])
        self._choices = choice(_EXAMPLES, self._thumbnails(first))

    def _connect(self) -> None:
        inputs: list[Any] = [self._model, self._seed, self._label, self._file]
        outputs = [self._player, *self._downloads]
        triggers = [
            self._go.click,
            self._seed.submit,
            self._label.input,
            self._file.change,
            self._bell.change,
        ]
        event = gr.on(triggers, self.play_recordings, inputs, outputs, api_name="play_recordings", **LIVE)
        keep_answered(event, self._file, "recording")
        ring(self._surprise.click(random_seed, None, self._seed, **QUIET), self._bell)
        self._choices.select(self._chosen, self._model, self._file, **CHOOSE)
        fitted = [self._label, self._choices, self._file, self._said]
        ring(self._model.input(self._fit, self._model, fitted, preprocess=False, **QUIET), self._bell)

    def play_recordings(self, model: Sent, seed: Sent, label: Sent, recording: Sent) -> tuple[Any, ...]:
        """A new recording beside a given one, or none: what is played as JSON, the new one as files, both as a GIF."""
        return self._played(model, seed, label, self._given(model, recording))

    def _played(self, model: Sent, seed: Sent, label: Sent, given: list[Side]) -> tuple[Any, ...]:
        made = self._recordings.sample(model, seed, label)
        sides = [Side(f"Made up by {model}", self._recordings.see(model, made)), *given]
        return self._show.recordings(made, sides, self._recordings.models.class_names(model))

    def _given(self, model: Sent, recording: Sent) -> list[Side]:
        file = content(self._show, recording)
        if file is None:
            return []
        path = path_of(recording)
        seen = self._recordings.see_file(model, file, Path(path).suffix)
        known = {example.path: example.title for examples in self._examples.values() for example in examples}
        return [Side(known.get(path, "Your recording"), seen)]

    def _fit(self, model: Sent) -> tuple[Any, ...]:
        """The choices that a model has."""
        names = self._recordings.models.class_names(model)
        choices = gr.Dropdown([limits.ANY, *names], value=limits.ANY, visible=where(bool(names)))
        return choices, self._thumbnails(model), self._first_example(model), self._terms[model]

    # ------------------------------------------------------------ examples

    def _stored(self, example: Example) -> Stored:
        path = self._show.recording(example.recording, re.sub(r"\W+", "-", example.title.lower()) + ".npz")
        picture = self._show.files.store(thumbnail(example.recording), "example.png")
        return Stored(path, picture, example.name, example.title)

    def _first_example(self, model: str) -> str:
        return self._examples[model][0].path

    def _thumbnails(self, model: str) -> list[tuple[str, str]]:
        return [(example.picture, example.name) for example in self._examples[model]]

    def _chosen(self, model: Sent, event: gr.SelectData) -> Any:
        """The file of the example that was clicked on; nothing new if none was."""
        paths = {name: [example.path for example in examples] for name, examples in self._examples.items()}
        return clicked(paths, model, event)
