"""The tab that draws new pictures."""

from __future__ import annotations

from typing import Any

import gradio as gr

from app import limits
from app.actions import Actions, random_seed
from app.limits import Sent
from app.show import Show
from app.tabs.parts import QUEUED, SHARED, gallery, label_choices, label_dropdown, temperature_box

_SHOW_SETTINGS = """(model, count, seed, label, temperature) => {
  const query = new URLSearchParams(window.location.search);
  for (const [name, value] of Object.entries({model, count, seed, label, temperature})) query.set(name, value);
  window.history.replaceState(null, "", "?" + query);
}"""
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
        shown, grid, archive, facts = self._show.samples(self._actions.sample(*start), _settings(*start))
        with gr.Row():
            with gr.Column(scale=7, min_width=300):
                self._gallery = gallery("New pictures", shown, "pictures")
                self._line = gr.HTML(facts, padding=False)
            with gr.Column(scale=3, min_width=260):
                with gr.Row():
                    self._go = gr.Button("Generate", variant="primary", min_width=100)
                    self._surprise = gr.Button("Random seed", min_width=100)
                self._count = gr.Slider(1, limits.COUNT_LIMIT, value=_FIRST_COUNT, step=1, label="Number of pictures")
                self._seed = gr.Number(
                    _FIRST_SEED, label="Seed", info="The same seed and settings give the same pictures."
                )
                self._label = label_dropdown(self._actions, "Class")
                self._temperature = gr.Slider(
                    0,
                    limits.TEMPERATURE_LIMIT,
                    value=1.0,
                    step=0.05,
                    label="Temperature",
                    info="Less is more typical, more is more varied.",
                    visible=self._actions.has_temperature(self._first),
                )
                with gr.Row():
                    self._as_png = gr.DownloadButton("Download PNG", value=grid, size="sm", min_width=100)
                    self._as_zip = gr.DownloadButton("Download ZIP", value=archive, size="sm", min_width=100)

    def _connect(self, page: gr.Blocks) -> None:
        boxes = [self._model, self._count, self._seed, self._label, self._temperature]
        outputs = [self._gallery, self._as_png, self._as_zip, self._line]
        call: dict[str, Any] = {"fn": self.sample, "inputs": boxes, "outputs": outputs, **QUEUED}
        call["show_progress_on"] = self._gallery
        quietly = call | {"api_visibility": "private"}
        remember: dict[str, Any] = {"fn": None, "inputs": boxes, "js": _SHOW_SETTINGS, "api_visibility": "private"}
        self._go.click(**call, api_name="sample").success(**remember)
        self._seed.submit(**quietly).success(**remember)
        self._surprise.click(random_seed, None, self._seed, api_name="random_seed", show_progress="hidden").then(
            **quietly
        ).success(**remember)
        self._model.input(
            self.fit_choices,
            self._model,
            [self._label, self._temperature],
            api_visibility="private",
            show_progress="hidden",
        ).then(**quietly).success(**remember)
        page.load(self.open_link, None, [*boxes, *outputs], api_visibility="private", show_progress="hidden", **SHARED)

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
        return self._show.samples(found, _settings(model, count, seed, label, temperature))

    def fit_choices(self, model: Sent) -> tuple[gr.Dropdown, gr.Slider]:
        """The choices that a model has."""
        return label_choices(self._actions, model), temperature_box(self._actions, model)

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
        name, count, seed, chosen, spread = values
        boxes = (label_choices(self._actions, name, chosen), temperature_box(self._actions, name, spread))
        return [name, count, seed, *boxes, *self._show.samples(found, _settings(*values))]


def _settings(model: Sent, count: Sent, seed: Sent, label: Sent, temperature: Sent) -> dict[str, Any]:
    return {
        "model": model,
        "count": int(count),
        "seed": int(seed),
        "label": label or limits.ANY,
        "temperature": temperature,
    }


def _as_number(text: Any) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"The link asks for {str(text)[:40]!r} where a number is expected") from None
