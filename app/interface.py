"""The page: its tabs, and which button calls what. What the buttons do is in `app.actions`."""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import gradio as gr
from gradio.data_classes import ImageData
from jaxtyping import Float
from torch import Tensor

from app import limits, pictures
from app.actions import BACKGROUNDS, Actions, Reconstruction, Samples, Walk, random_seed
from app.scores import scores_page
from app.watch import Observation

log = logging.getLogger(__name__)

HERE = Path(__file__).parent
CSS = (HERE / "style.css").read_text(encoding="utf-8")
_DRAWING_JS = (HERE / "drawing.js").read_text(encoding="utf-8")
_DRAWING_HTML = (
    '<div class="drawing"><canvas width="280" height="280" role="img" aria-label="Paper to draw on, with the mouse, '
    'a finger or a pen"></canvas><button type="button">Clear the drawing</button></div>'
)
_READ_DRAWING = "(model, _) => [model, document.querySelector('.drawing canvas').toDataURL('image/png')]"
_SHOW_SETTINGS = """(model, count, seed, label, temperature) => {
  const query = new URLSearchParams(window.location.search);
  for (const [name, value] of Object.entries({model, count, seed, label, temperature})) query.set(name, value);
  window.history.replaceState(null, "", "?" + query);
}"""
_FIRST_COUNT, _FIRST_SEED = 24, 0
_ENLARGED = 8  # screen pixels of a pixel in single pictures, so that they stay sharp where they are saved

FAILURE = "Something went wrong here, and it is not your doing. Please try again."


def theme() -> gr.themes.Base:
    """Colours and fonts; the fonts are the system's own, so none is fetched."""
    return gr.themes.Soft(
        primary_hue="violet",
        secondary_hue="violet",
        neutral_hue="slate",
        font=["system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    )


def build_page(actions: Actions, models: Sequence[str]) -> gr.Blocks:
    """The page, with the first samples already on it.

    Args:
        actions: what its buttons call.
        models: names or folders of the same models, for their scores.
    """
    with gr.Blocks(
        title="spikevae: images from spikes",
        analytics_enabled=False,
        delete_cache=(limits.KEEP_SECONDS // 3, limits.KEEP_SECONDS),
    ) as page:
        gr.HTML(
            "<h1>Images from spikes</h1><p>These pictures were never photographed: a spiking neural network draws "
            "them with a few thousand on-off pulses, here on this computer's processor.</p>",
            elem_id="title",
        )
        model = gr.Radio(
            list(actions.names),
            value=actions.names[0],
            label="Model",
            visible=len(actions.names) > 1,
        )
        with gr.Tab("Sample", id="sample"):
            labels, set_samples = _sample_tab(page, actions, model)
        with gr.Tab("Reconstruct and classify", id="reconstruct"):
            _reconstruct_tab(actions, model)
        with gr.Tab("Latent walk", id="walk"):
            labels += _walk_tab(actions, model)
        with gr.Tab("Look inside", id="inside"):
            labels += _inside_tab(actions, model)
        with gr.Tab("Scores", id="scores"):
            gr.HTML(scores_page(models))
        model.input(
            lambda chosen: [_label_choices(actions, chosen) for _ in labels],
            model,
            labels,
            api_visibility="private",
            show_progress="hidden",
        ).then(**set_samples)
    return page


# ---------------------------------------------------------------- tabs


def _sample_tab(page: gr.Blocks, actions: Actions, model: gr.Radio) -> tuple[list[gr.Dropdown], dict[str, Any]]:
    first = actions.sample(actions.names[0], _FIRST_COUNT, _FIRST_SEED, limits.ANY, 1.0)
    settings = _settings(actions.names[0], _FIRST_COUNT, _FIRST_SEED, limits.ANY, 1.0)
    shown, grid, archive, facts = _samples_shown(first, settings)
    with gr.Row():
        with gr.Column(scale=5, min_width=300):
            gallery = gr.Gallery(
                shown,
                label="New pictures",
                format="png",
                columns=6,
                height="auto",
                object_fit="contain",
                interactive=False,
                elem_classes="pictures",
                buttons=["fullscreen"],
            )
            line = gr.HTML(facts)
        with gr.Column(scale=3, min_width=260):
            with gr.Row():
                go = gr.Button("Generate", variant="primary")
                surprise = gr.Button("Random seed")
            count = gr.Slider(1, limits.COUNT_LIMIT, value=_FIRST_COUNT, step=1, label="Number of pictures")
            seed = gr.Number(_FIRST_SEED, label="Seed", info="The same seed gives the same pictures.")
            label = _label_dropdown(actions, "Class")
            temperature = gr.Slider(
                0, limits.TEMPERATURE_LIMIT, value=1.0, step=0.05, label="Temperature", info="More is more varied."
            )
            with gr.Row():
                as_png = gr.DownloadButton("Download PNG", value=grid, size="sm")
                as_zip = gr.DownloadButton("Download ZIP", value=archive, size="sm")

    def sample(
        model: str,
        count: float,
        seed: float,
        label: str,
        temperature: float,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> tuple[list[str], str, str, str]:
        """New pictures: PNG files, one PNG with all, a ZIP archive, and a line about them."""
        with _errors_shown():
            found = actions.sample(model, count, seed, label, temperature, report=progress)
            return _samples_shown(found, _settings(model, count, seed, label, temperature))

    def open_link(request: gr.Request) -> list[Any]:
        """What the page's address asks for, if it asks for anything."""
        inputs = [model, count, seed, label, temperature]
        asked = dict(request.query_params)
        if not {"model", "count", "seed", "label", "temperature"} & set(asked):
            return [gr.skip()] * 9
        name = asked.get("model", actions.names[0])
        with _errors_shown():
            values = [
                name,
                _as_number(asked.get("count", _FIRST_COUNT)),
                _as_number(asked.get("seed", _FIRST_SEED)),
                asked.get("label", limits.ANY),
                _as_number(asked.get("temperature", 1.0)),
            ]
            found = actions.sample(*values)
            choices = [limits.ANY, *actions.class_names(name)]
            boxes = [
                gr.Dropdown(choices, value=value) if box is label else value
                for box, value in zip(inputs, values, strict=True)
            ]
            return [*boxes, *_samples_shown(found, _settings(*values))]

    settings_boxes = [model, count, seed, label, temperature]
    outputs = [gallery, as_png, as_zip, line]
    call: dict[str, Any] = {
        "fn": sample,
        "inputs": settings_boxes,
        "outputs": outputs,
        "show_progress_on": gallery,
        **_QUEUED,
    }
    remember: dict[str, Any] = {"fn": None, "inputs": settings_boxes, "js": _SHOW_SETTINGS, "api_visibility": "private"}
    quietly = call | {"api_visibility": "private"}
    go.click(**call, api_name="sample").success(**remember)
    seed.submit(**quietly).success(**remember)
    surprise.click(random_seed, None, seed, api_name="random_seed", show_progress="hidden").then(**quietly).success(
        **remember
    )
    page.load(open_link, None, [*settings_boxes, *outputs], api_visibility="private", show_progress="hidden", **_SHARED)
    return [label], quietly


def _reconstruct_tab(actions: Actions, model: gr.Radio) -> None:
    with gr.Row():
        with gr.Column(scale=4, min_width=280), gr.Tabs():
            with gr.Tab("A picture"):
                picture = Upload("Your picture")
                background = gr.Radio(
                    list(BACKGROUNDS),
                    value="auto",
                    label="Background",
                    info="Grey models know bright things on black; a light background is inverted.",
                )
                go = gr.Button("Reconstruct and classify", variant="primary")
                _examples(picture)
            with gr.Tab("A drawing"):
                gr.HTML(_DRAWING_HTML, html_template="${value}", js_on_load=_DRAWING_JS)
                drawing = gr.Textbox(visible="hidden", label="Drawing, as a data URL with a PNG")
                go_drawing = gr.Button("Reconstruct and classify the drawing", variant="primary")
        with gr.Column(scale=5, min_width=280):
            with gr.Row():
                seen = _picture("What the model sees")
                again = _picture("Its reconstruction")
            classes = gr.Label(label="Classes", num_top_classes=5)
            line = gr.HTML()
    outputs = [seen, again, classes, line]

    def reconstruct(model: str, picture: str | None, background: str) -> tuple[Any, ...]:
        """A picture as the model sees it, its reconstruction, the classes' probabilities, and a line about them."""
        with _errors_shown():
            return _reconstruction_shown(actions.reconstruct(model, _content(picture), background))

    def reconstruct_drawing(model: str, drawing: str | None) -> tuple[Any, ...]:
        """The same of a drawing, given as a data URL with a PNG: dark strokes on white."""
        with _errors_shown():
            return _reconstruction_shown(actions.reconstruct_drawing(model, drawing))

    def changed(model: str, picture: str | None, background: str) -> tuple[Any, ...]:
        return (None, None, None, "") if picture is None else reconstruct(model, picture, background)

    inputs = [model, picture, background]
    go.click(reconstruct, inputs, outputs, api_name="reconstruct", **_QUEUED)
    go_drawing.click(
        reconstruct_drawing, [model, drawing], outputs, js=_READ_DRAWING, api_name="reconstruct_drawing", **_QUEUED
    )
    for change in (picture.change, background.input, model.change):
        change(changed, inputs, outputs, api_visibility="private", **_QUEUED)


def _walk_tab(actions: Actions, model: gr.Radio) -> list[gr.Dropdown]:
    with gr.Row():
        with gr.Column(scale=4, min_width=280):
            with gr.Tabs():
                with gr.Tab("Between two samples"):
                    with gr.Row():
                        seed = gr.Number(1, label="First seed", min_width=120)
                        label = _label_dropdown(actions, "First class", position=0)
                    with gr.Row():
                        other_seed = gr.Number(2, label="Last seed", min_width=120)
                        other_label = _label_dropdown(actions, "Last class", position=-1)
                    go = gr.Button("Walk", variant="primary")
                with gr.Tab("Between two pictures"):
                    with gr.Row():
                        picture, other = Upload("First picture"), Upload("Last picture")
                    go_pictures = gr.Button("Walk between the pictures", variant="primary")
                    _examples(picture, other)
            frames = gr.Slider(*limits.FRAMES, value=12, step=1, label="Number of frames")
        with gr.Column(scale=5, min_width=280):
            film = _picture("There and back")
            gallery = gr.Gallery(
                label="Frames",
                format="png",
                height="auto",
                interactive=False,
                elem_classes=["pictures", "frames"],
                buttons=["fullscreen"],
            )
            line = gr.HTML()
    outputs = [film, gallery, line]

    def walk_samples(
        model: str, seed: float, label: str, other_seed: float, other_label: str, frames: float
    ) -> tuple[str, list[str], str]:
        """From the first picture of one seed to that of another: an animation, its frames, and a line about them."""
        with _errors_shown():
            return _walk_shown(actions.walk_samples(model, seed, label, other_seed, other_label, frames))

    def walk_pictures(model: str, picture: str | None, other: str | None, frames: float) -> tuple[str, list[str], str]:
        """From the reconstruction of one picture to that of another: an animation, its frames, and a line."""
        with _errors_shown():
            return _walk_shown(actions.walk_pictures(model, _content(picture), _content(other), frames))

    inputs = [model, seed, label, other_seed, other_label, frames]
    go.click(walk_samples, inputs, outputs, api_name="walk_samples", **_QUEUED)
    go_pictures.click(walk_pictures, [model, picture, other, frames], outputs, api_name="walk_pictures", **_QUEUED)
    return [label, other_label]


def _inside_tab(actions: Actions, model: gr.Radio) -> list[gr.Dropdown]:
    with gr.Row():
        with gr.Column(scale=4, min_width=280), gr.Tabs():
            with gr.Tab("Of a sample"):
                with gr.Row():
                    seed = gr.Number(0, label="Seed", min_width=120)
                    label = _label_dropdown(actions, "Class")
                go = gr.Button("Look inside", variant="primary")
            with gr.Tab("Of a picture"):
                picture = Upload("Your picture")
                go_picture = gr.Button("Look inside while it sees this picture", variant="primary")
                _examples(picture)
        with gr.Column(scale=5, min_width=280):
            gallery = gr.Gallery(
                label="The picture as it forms over the time steps",
                format="png",
                height="auto",
                interactive=False,
                elem_classes=["pictures", "forming"],
                buttons=["fullscreen"],
            )
            gr.HTML(
                '<p class="facts">Each frame is what the read-out makes of the spikes so far; the last one is the '
                "picture.</p>"
            )
    panels = gr.HTML()
    outputs = [gallery, panels]

    def look_inside_sample(model: str, seed: float, label: str) -> tuple[list[Any], str]:
        """The decoder at work on a sample: the picture as it forms, and panels of HTML."""
        with _errors_shown():
            return _observation_shown(actions.look_inside_sample(model, seed, label))

    def look_inside_picture(model: str, picture: str | None) -> tuple[list[Any], str]:
        """Encoder and decoder at work on a picture: the picture as it forms, and panels of HTML."""
        with _errors_shown():
            return _observation_shown(actions.look_inside_picture(model, _content(picture)))

    go.click(look_inside_sample, [model, seed, label], outputs, api_name="look_inside_sample", **_QUEUED)
    go_picture.click(look_inside_picture, [model, picture], outputs, api_name="look_inside_picture", **_QUEUED)
    return [label]


# ---------------------------------------------------------------- parts


class Upload(gr.Image):
    """An upload that is not decoded here: the file's place among the uploads goes to the action, which checks it.

    Gradio's own decodes whatever comes, whatever its size, before any check of ours.
    """

    is_template = True  # it looks as gr.Image does

    def __init__(self, label: str) -> None:
        super().__init__(
            type="filepath",
            sources=["upload", "clipboard"],
            label=label,
            height=240,
            image_mode=None,
            buttons=[],
            elem_classes="picture",
            format="png",
        )

    def preprocess(self, payload: ImageData | None) -> str | None:
        """The file, which Gradio has found to be one that was uploaded."""
        return None if payload is None else payload.path


def _picture(label: str) -> gr.Image:
    return gr.Image(
        label=label,
        format="png",
        interactive=False,
        buttons=["download"],
        elem_classes="picture",
        alt_text=label,
        min_width=140,
    )


def _label_dropdown(actions: Actions, name: str, *, position: int | None = None) -> gr.Dropdown:
    """Classes to choose from, showing "any" or the class at ``position``."""
    classes = actions.class_names(actions.names[0])
    return gr.Dropdown(
        [limits.ANY, *classes],
        value=limits.ANY if position is None or not classes else classes[position],
        label=name,
        min_width=120,
        allow_custom_value=True,  # checked by the action: the choices differ between models
    )


def _label_choices(actions: Actions, model: str) -> gr.Dropdown:
    with _errors_shown():
        return gr.Dropdown([limits.ANY, *actions.class_names(model)], value=limits.ANY)


def _examples(*boxes: Upload) -> None:
    """Small test images to click on; with two boxes, pairs."""
    files = sorted((HERE / "examples").glob("*.png"))
    garments, digits = files[: len(files) // 2], files[len(files) // 2 :]
    rows = (
        [[str(file)] for file in files]
        if len(boxes) == 1
        else [
            list(map(str, pair)) for group in (garments, digits) for pair in zip(group[::2], group[1::2], strict=True)
        ]
    )
    gr.Examples(rows, list(boxes), label="Examples: Fashion-MNIST and MNIST test images", examples_per_page=12)


# ---------------------------------------------------------------- what is shown


def _samples_shown(found: Samples, settings: dict[str, Any]) -> tuple[list[str], str, str, str]:
    number = len(found.images)
    each = 1000 * found.seconds / number
    words = f"{number} pictures in {found.seconds:.2f} s, {each:.0f} ms each." if number > 1 else f"{each:.0f} ms."
    return (
        [_stored(pictures.png(image), "picture.png") for image in found.images],
        _stored(pictures.grid_png(found.images), "pictures.png"),
        _stored(pictures.archive(found.images, settings), "pictures.zip"),
        pictures.facts_line(words, "?" + urlencode(settings)),
    )


def _reconstruction_shown(found: Reconstruction) -> tuple[Any, ...]:
    words = f"Mean squared error {found.error:.4f} (pixels from -1 to 1), in {1000 * found.seconds:.0f} ms."
    if found.probabilities is None:
        words += " This model was trained without classes."
    return _shown(found.seen), _shown(found.image), found.probabilities, pictures.facts_line(words)


def _walk_shown(found: Walk) -> tuple[str, list[str], str]:
    words = f"{found.flips} of {found.latents:,} latent spikes differ between the ends; each flips once on the way."
    return (
        _stored(pictures.animation(found.images), "walk.gif"),
        [_stored(pictures.png(image), "frame.png") for image in found.images],
        pictures.facts_line(words),
    )


def _observation_shown(found: Observation) -> tuple[list[Any], str]:
    frames = [(_shown(image), f"t = {t + 1}") for t, image in enumerate(found.forming)]
    panels = (pictures.spikes_panel, pictures.gates_panel, pictures.rates_panel, pictures.energy_panel)
    return frames, "".join(panel(found) for panel in panels)


def _shown(image: Float[Tensor, "C H W"]) -> str:
    return _stored(pictures.png(image, _ENLARGED), "picture.png")


def _stored(content: bytes, name: str) -> str:
    """A file for the browser to fetch, in the folder that the server cleans; equal content is the same file."""
    folder = Path(os.environ["GRADIO_TEMP_DIR"]) / hashlib.sha256(content).hexdigest()[:32]
    folder.mkdir(parents=True, exist_ok=True)
    # Renamed when whole: another visitor may be fetching the same pictures.
    temporary = folder / f".{secrets.token_hex(8)}"
    temporary.write_bytes(content)
    temporary.replace(folder / name)
    return str(folder / name)


def _content(path: str | None) -> bytes | None:
    """An uploaded file's bytes, of which more than the limit are never read."""
    if path is None:
        return None
    with Path(path).open("rb") as file:
        return file.read(limits.UPLOAD_BYTES + 1)


def _settings(model: str, count: float, seed: float, label: str, temperature: float) -> dict[str, Any]:
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


@contextmanager
def _errors_shown() -> Iterator[None]:
    """Show a visitor's mistake as a message, and any other error as an apology, never as a stack trace."""
    try:
        yield
    except ValueError as error:
        raise gr.Error(str(error), title="That did not work", print_exception=False) from None
    except Exception:
        log.exception("a request failed")
        raise gr.Error(FAILURE, title="That did not work", print_exception=False) from None


_SHARED: dict[str, Any] = {"concurrency_id": "model", "concurrency_limit": limits.WORKERS}
_QUEUED: dict[str, Any] = {**_SHARED, "trigger_mode": "once"}
