"""The tab that draws new pictures."""

from __future__ import annotations

import json
from typing import Any

import gradio as gr

from .. import limits
from ..actions import Actions, random_seed
from ..favourites import favourites
from ..limits import Number, Sent
from ..show import Show
from .parts import (
    LIVE,
    QUIET,
    SHARED,
    bell,
    gallery,
    label_choices,
    label_dropdown,
    ring,
    temperature_slider,
)

_SHOW_SETTINGS = """(model, count, seed, label, temperature) => {
  const query = new URLSearchParams(window.location.search);
  for (const [name, value] of Object.entries({model, count, seed, label, temperature})) query.set(name, value);
  window.history.replaceState(null, "", "?" + query);
}"""
# What made the pictures that are shown: the boxes may say something else by now.
_AS_CHOSEN = """(...boxes) => {
  const pictures = [...document.querySelectorAll("#sample .pictures:not(.kept) .thumbnail-lg")];
  const place = pictures.findIndex((picture) => picture.classList.contains("selected"));
  const made = new URL(document.querySelector("#sample .facts a").href).searchParams;
  const [model, label] = ["model", "label"].map((name) => made.get(name));
  return [boxes[0], model, Number(made.get("seed")), label, Number(made.get("temperature")), place];
}"""
_MORE = f"(count) => Math.min(count + 16, {limits.COUNT_LIMIT})"
_FIRST_COUNT, _FIRST_SEED = 24, 0


class SampleTab:
    """Pictures of a seed, with settings, downloads and a link that leads to exactly these.

    Args:
        page: what it stands on.
        actions: what its buttons call.
        model: the choice of a model.
        show: turns results into what is on the screen.
    """

    def __init__(self, page: gr.Blocks, actions: Actions, model: gr.Radio, show: Show) -> None:
        self._actions, self._show, self._model = actions, show, model
        self._first = actions.names[0]
        self._build()
        self._connect(page)

    def _build(self) -> None:
        start = (self._first, _FIRST_COUNT, _FIRST_SEED, limits.ANY, 1.0)
        shown, grid, archive, facts = self._show.samples(self._actions.sample(*start), self._settings(*start))
        self._bell = bell()
        with gr.Row(elem_classes="actions"):
            self._go = gr.Button("Generate", variant="primary", min_width=100)
            self._surprise = gr.Button("Random seed", min_width=100)
        with gr.Row():
            with gr.Column(scale=7, min_width=300):
                self._gallery = gallery("New pictures", shown)
                self._line = gr.HTML(facts, padding=False)
                with gr.Row():
                    self._more = gr.Button("Show more", size="sm", elem_id="more", min_width=100)
                    self._keep = gr.Button("Keep the chosen picture", size="sm", min_width=100)
                self._build_favourites()
            with gr.Column(scale=3, min_width=260):
                self._build_settings()
                with gr.Row():
                    self._as_png = gr.DownloadButton("Download PNG", value=grid, size="sm", min_width=100)
                    self._as_zip = gr.DownloadButton("Download ZIP", value=archive, size="sm", min_width=100)

    def _build_settings(self) -> None:
        self._label = label_dropdown(self._actions, self._model, "Class")
        self._count = gr.Slider(
            1, limits.COUNT_LIMIT, value=_FIRST_COUNT, step=1, label="Number of pictures", elem_id="count"
        )
        self._temperature = temperature_slider(self._actions, self._model)
        self._seed = gr.Number(_FIRST_SEED, label="Seed", info="The same seed and settings give the same pictures.")

    def _build_favourites(self) -> None:
        self._chosen = gr.Number(-1, visible="hidden", label="Place of the chosen picture")
        self._wishes = gr.Textbox("[]", visible="hidden", label="Favourites, as JSON")
        with gr.Group(visible=False) as self._favourites:
            self._kept = gallery("Favourites", [], "kept")
            with gr.Row():
                self._as_favourites = gr.DownloadButton("Download favourites", size="sm", min_width=100)
                self._forget = gr.Button("Forget favourites", size="sm", min_width=100)

    def _connect_favourites(self, boxes: list[Any]) -> None:
        model, _, seed, label, temperature = boxes
        outputs = [self._wishes, self._kept, self._as_favourites, self._favourites]
        inputs = [self._wishes, model, seed, label, temperature, self._chosen]
        private = LIVE | {"api_visibility": "private"}
        self._keep.click(self._add_favourite, inputs, outputs, js=_AS_CHOSEN, **private)
        self._forget.click(lambda: self._shown_favourites([]), None, outputs, **private)

    def _add_favourite(
        self, wishes: Sent, model: Sent, seed: Sent, label: Sent, temperature: Sent, place: Sent
    ) -> tuple[Any, ...]:
        if place is None or place == -1:
            raise ValueError("Choose a picture first: click on one of them")
        before = _as_list(wishes)
        wish = [model, seed, label, temperature, place]
        return self._shown_favourites(before if wish in before else [*before, wish])

    def _shown_favourites(self, wishes: list[Any]) -> tuple[Any, ...]:
        shown, archive = self._show.favourites(favourites(self._actions, wishes))
        return json.dumps(wishes, separators=(",", ":")), shown, archive, gr.Group(visible=bool(shown))

    def _connect(self, page: gr.Blocks) -> None:
        boxes = [self._model, self._count, self._seed, self._label, self._temperature]
        outputs = [self._gallery, self._as_png, self._as_zip, self._line]
        triggers = [
            self._go.click,
            self._seed.submit,
            *(box.input for box in (self._count, self._label, self._temperature)),
            self._bell.change,
        ]
        answered = gr.on(
            triggers, self.sample, boxes, outputs, api_name="sample", show_progress_on=self._gallery, **LIVE
        )
        answered.success(None, boxes, None, js=_SHOW_SETTINGS, **QUIET)
        drawn = self._surprise.click(random_seed, None, self._seed, api_name="random_seed", show_progress="hidden")
        more = self._more.click(None, self._count, self._count, js=_MORE, **QUIET)
        fitted = self._model.input(
            self.fit_choices, self._model, [self._label, self._temperature], preprocess=False, **QUIET
        )
        for event in (drawn, more, fitted):
            ring(event, self._bell)
        self._connect_favourites(boxes)
        page.load(self.open_link, None, [*boxes, *outputs], **QUIET, **SHARED)

    def sample(
        self,
        model: Sent,
        count: Sent,
        seed: Sent,
        label: Sent,
        temperature: Sent,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> tuple[list[str], str, str, str]:
        """New pictures: PNG files, one PNG with all, a ZIP archive, and a line about them."""
        found = self._actions.sample(model, count, seed, label, temperature, report=progress)
        return self._show.samples(found, self._settings(model, count, seed, label, temperature))

    def fit_choices(self, model: Sent) -> tuple[gr.Dropdown, float]:
        """The choices that a model has."""
        return label_choices(self._actions, model), 1.0

    def open_link(self, request: gr.Request) -> list[Any]:
        """What the page's address asks for, if it asks for anything."""
        asked = dict(request.query_params)
        if not {"model", "count", "seed", "label", "temperature"} & set(asked):
            return [gr.skip()] * 9
        values = (
            asked.get("model", self._first),
            _as_number(asked.get("count", _FIRST_COUNT)),
            _as_number(asked.get("seed", _FIRST_SEED)),
            asked.get("label", limits.ANY),
            _as_number(asked.get("temperature", 1.0)),
        )
        found = self._actions.sample(*values)
        name, count, seed, _, spread = values
        settings = self._settings(*values)
        return [
            name,
            count,
            seed,
            label_choices(self._actions, name, settings["label"]),
            spread,
            *self._show.samples(found, settings),
        ]

    def _settings(self, model: Sent, count: Sent, seed: Sent, label: Sent, temperature: Sent) -> dict[str, Any]:
        return {
            "model": model,
            "count": int(count),
            "seed": int(seed),
            "label": limits.label_name(label, self._actions.models.class_names(model)),
            "temperature": temperature,
        }


def _as_number(text: Any) -> Number:
    try:
        number = float(text)
        return int(number) if number.is_integer() else number
    except ValueError:
        raise ValueError(f"The link asks for {str(text)[:40]!r} where a number is expected") from None


def _as_list(wishes: Sent) -> list[Any]:
    """Favourites as the page keeps them."""
    try:
        found = json.loads(wishes)
    except (TypeError, ValueError, RecursionError):
        found = None
    if not isinstance(found, list):
        raise ValueError("Favourites are JSON, a list of lists")
    return found
