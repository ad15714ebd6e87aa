"""The tab that changes a picture along directions found in the data."""

from __future__ import annotations

from typing import Any

import gradio as gr

from .. import limits, pictures
from ..actions import Actions
from ..limits import Sent
from ..show import Show
from ..studio import SLIDERS, Ends
from ..traits import needs
from .parts import LIVE, QUIET, SHARED, class_box, content, keep_answered, picture, ring, upload, where
from .tab import Tab

# .5 to 2.5 along each direction, this way or that: none stays where it was.
_SURPRISE = f"""() => Array.from({{length: {SLIDERS}}}, () =>
  (Math.random() < 0.5 ? -1 : 1) * Math.round(5 + Math.random() * 20) / 10)"""
_BACK = f"() => [...Array({SLIDERS}).fill(0), 0]"
_REMEMBER = """(model, label, ...values) => {
  const past = (window.spikevaeEdits ??= []);
  const of = JSON.stringify([model, label]);
  // Other directions, from which nothing was changed at first.
  if (window.spikevaeEdited !== of) past.splice(0, past.length, JSON.stringify(values.map(() => 0)));
  window.spikevaeEdited = of;
  const now = JSON.stringify(values);
  if (past[past.length - 1] !== now) past.push(now);
  if (past.length > 100) past.shift();
}"""
_UNDO = f"""() => {{
  const past = (window.spikevaeEdits ??= []);
  if (past.length > 1) past.pop();
  const values = past.length ? JSON.parse(past[past.length - 1]) : Array({SLIDERS + 1}).fill(0);
  return values;
}}"""
_CANNOT = (
    "This model cannot change pictures: its latent has no density, so there are no directions to move them along. "
    "Choose another model."
)


class EditTab(Tab):
    """A sample or a picture, and sliders that change it at once."""

    def __init__(self, actions: Actions, model: gr.Radio, show: Show) -> None:
        super().__init__(actions, model, show)
        first = actions.names[0]
        label, can = self._first_class(first), actions.models.has_density(first)
        shown = self.edit(first, 1, label, None, 0, 0, 0, 0, 0, 0, limits.ANY, 0) if can else (None, None, "")
        with self._with_density(_CANNOT):
            with gr.Column(scale=5, min_width=280, elem_classes="start"):
                with gr.Row(equal_height=True):
                    self._surprise = gr.Button("Surprise me", variant="primary", min_width=90)
                    self._undo = gr.Button("Undo", min_width=70)
                    self._back = gr.Button("Start again", min_width=90)
                with gr.Row(elem_classes="shown"):
                    self._before = picture("Start", shown[0])
                    self._after = picture("Changed", shown[1])
                self._line = gr.HTML(shown[2], padding=False)
                self._build_start(first, label)
            with gr.Column(scale=5, min_width=280):
                self._build_sliders(first, label)
        self._connect()
        self.refresh = {
            "fn": self._refresh,
            "inputs": [model, self._picture],
            "outputs": [self._label, self._towards, self._picture, *self._ends, *self._sliders, self._way],
        }

    def _build_sliders(self, model: str, label: str) -> None:
        ends = self._actions.studio.ends(model, label)
        self._ends: list[gr.HTML] = []
        self._sliders: list[Any] = []
        for shown, (name, is_there) in zip(self._shown_ends(ends), _names(ends), strict=True):
            with gr.Row(elem_classes="direction"):
                self._ends.append(gr.HTML(shown, padding=False, min_width=150, scale=1))
                self._sliders.append(
                    gr.Slider(-3, 3, value=0, step=0.1, label=name, visible=where(is_there), min_width=140, scale=3)
                )
        with gr.Row(elem_classes=needs("label")):
            names = self._actions.models.class_names(model)
            self._towards = class_box(
                self._actions.models, self._model, [limits.ANY, *names], limits.ANY, "Towards class", info="any: stay"
            )
            self._way = gr.Slider(0, 1, value=0, step=0.02, label="Part of the way there")

    def _build_start(self, model: str, label: str) -> None:
        with gr.Row():
            self._seed = gr.Number(1, label="Seed of the start", min_width=110)
            names = self._actions.models.class_names(model)
            choices = list(names) or [limits.ANY]
            self._label = class_box(self._actions.models, self._model, choices, label, "Class of the start")
        self._picture = upload("Or start from a picture of yours")

    def _connect(self) -> None:
        start: list[Any] = [self._model, self._seed, self._label, self._picture]
        moves: list[Any] = [*self._sliders, self._way]
        outputs = [self._before, self._after, self._line]
        triggers: list[Any] = [
            *(box.input for box in moves),
            self._towards.select,  # not input, which other choices cause too
            self._picture.change,
            self.bell.change,
        ]
        live = LIVE | {"show_progress": "hidden"}
        inputs = [*start, *self._sliders, self._towards, self._way]
        self._seed.submit(self.edit, inputs, outputs, api_name="edit", **live)
        event = gr.on(triggers, self._moved, inputs, outputs, api_visibility="private", **live)
        event.success(None, [self._model, self._label, *moves], None, js=_REMEMBER, **QUIET)
        keep_answered(event, self._picture, "edit")
        ring(self._surprise.click(None, None, self._sliders, js=_SURPRISE, **QUIET), self.bell)
        ring(self._back.click(None, None, moves, js=_BACK, **QUIET), self.bell)
        ring(self._undo.click(None, None, moves, js=_UNDO, **QUIET), self.bell)
        renewed = [*self._ends, *self._sliders]
        new = self._label.input(self._new_class, [self._model, self._label], renewed, **QUIET, **SHARED)
        ring(new, self.bell)

    def edit(
        self,
        model: Sent,
        seed: Sent,
        label: Sent,
        picture: Sent,
        first: Sent,
        second: Sent,
        third: Sent,
        fourth: Sent,
        fifth: Sent,
        sixth: Sent,
        towards: Sent,
        way: Sent,
    ) -> tuple[str, str, str]:
        """A sample, or a picture, moved along six directions of its class and towards another: both, and a line."""
        start = seed, label, content(self._show, picture)
        amounts = first, second, third, fourth, fifth, sixth
        found = self._actions.studio.edit(model, start, amounts, towards, way)
        return self._show.picture(found.start), self._show.picture(found.image), _line(found.flips, found.latents)

    def _moved(self, model: Sent, *rest: Sent) -> tuple[Any, ...]:
        return self.edit(model, *rest) if self._actions.models.has_density(model) else (None, None, "")

    def _new_class(self, model: Sent, label: Sent) -> tuple[Any, ...]:
        ends = self._actions.studio.ends(model, label)
        return (*self._shown_ends(ends), *self._reset_sliders(ends))

    def _refresh(self, model: Sent, picture: Sent) -> tuple[Any, ...]:
        if not self._actions.models.has_density(model):
            return (gr.skip(),) * (4 + 2 * SLIDERS)
        names, label = self._actions.models.class_names(model), self._first_class(model)
        ends = self._actions.studio.ends(model, label)
        return (
            gr.Dropdown(list(names) or [limits.ANY], value=label),
            gr.Dropdown([limits.ANY, *names], value=limits.ANY),
            gr.skip() if picture is None else None,  # a change of it would be answered before the rest is there
            *self._shown_ends(ends),
            *self._reset_sliders(ends),
            0,
        )

    def _shown_ends(self, ends: list[Ends]) -> list[str]:
        return [_ends_html(end) for end in ends] + [""] * (SLIDERS - len(ends))

    def _reset_sliders(self, ends: list[Ends]) -> list[gr.Slider]:
        return [gr.Slider(value=0, label=name, visible=where(is_there)) for name, is_there in _names(ends)]

    def _first_class(self, model: Sent) -> str:
        names = self._actions.models.class_names(model)
        return names[0] if names else limits.ANY


def _names(ends: list[Ends]) -> list[tuple[str, bool]]:
    """What each slider is called, and whether there is a direction for it."""
    return [(end.name.capitalize(), True) for end in ends] + [("", False)] * (SLIDERS - len(ends))


def _ends_html(ends: Ends) -> str:
    low, high = (pictures.data_url(pictures.png(image)) for image in (ends.low, ends.high))
    return pictures.ends_pair(low, high, ends.name)


def _line(flips: int, latents: int) -> str:
    return pictures.facts_line(f"{flips} of {latents:,} latent spikes differ from the start.")
