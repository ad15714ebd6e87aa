"""The page: its tabs, and which button calls what. What the buttons do is in `app.actions`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from app import limits
from app.actions import BACKGROUNDS, Actions, random_seed
from app.files import Files
from app.limits import Number, Sent
from app.page import Page
from app.scores import scores_page
from app.show import Show
from app.upload import Upload

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
_TITLE_HTML = (
    "<h1>Images from spikes</h1><p>This network computes with on-off pulses, as nerve cells do. It has learned to draw "
    "new pictures, to redraw what it is shown, and to name it.</p>"
)
_EXAMPLES = sorted((HERE / "examples").glob("*.png"))  # six garments, then six digits
_FIRST_COUNT, _FIRST_SEED = 24, 0


def theme() -> gr.themes.Base:
    """Colours and fonts; the fonts are the system's own, so none is fetched."""
    return gr.themes.Base(
        primary_hue="violet",
        secondary_hue="violet",
        neutral_hue="zinc",
        radius_size="lg",
        font=["system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    ).set(
        body_background_fill="#f7f7f8",
        body_background_fill_dark="#131316",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_400",
        block_background_fill="white",
        block_background_fill_dark="#1c1c21",
        block_border_width="1px",
        block_border_color="*neutral_200",
        block_border_color_dark="*neutral_800",
        block_shadow="none",
        block_label_background_fill="transparent",
        block_label_background_fill_dark="transparent",
        block_label_border_width="0px",
        block_label_shadow="none",
        block_label_text_color="*body_text_color_subdued",
        block_label_text_color_dark="*body_text_color_subdued",
        block_label_text_size="*text_md",
        block_title_text_color="*body_text_color",
        block_title_text_color_dark="*body_text_color",
        block_title_text_weight="500",
        block_info_text_color="*body_text_color_subdued",
        block_info_text_color_dark="*body_text_color_subdued",
        input_background_fill="*neutral_50",
        input_background_fill_dark="#26262c",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_dark="*primary_600",
        button_primary_background_fill_hover_dark="*primary_500",
        button_primary_text_color="white",
        button_primary_text_color_dark="white",
        slider_color="*primary_600",
        slider_color_dark="*primary_500",
        link_text_color="*primary_700",
        link_text_color_dark="*primary_300",
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
                _sample_tab(page, actions, model, show)
            with gr.Tab("Reconstruct", id="reconstruct", elem_id="reconstruct"):
                refreshes = [_reconstruct_tab(actions, model, show)]
            with gr.Tab("Walk", id="walk", elem_id="walk"):
                refreshes.append(_walk_tab(actions, model, show))
            with gr.Tab("Look inside", id="inside", elem_id="inside"):
                refreshes.append(_inside_tab(actions, model, show))
            with gr.Tab("Scores", id="scores", elem_id="scores"):
                gr.HTML(scores_page(models))
        # Another model, by hand or by a link: whatever the other tabs show is of the old one. One after the other,
        # so that a visitor who only looks at samples waits for nothing.
        event = model.change
        for refresh in refreshes:
            event = event(**refresh, api_visibility="private", **_QUEUED).then
    return page


# ---------------------------------------------------------------- tabs


def _sample_tab(page: gr.Blocks, actions: Actions, model: gr.Radio, show: Show) -> None:
    first = actions.names[0]
    settings = _settings(first, _FIRST_COUNT, _FIRST_SEED, limits.ANY, 1.0)
    shown, grid, archive, facts = show.samples(
        actions.sample(first, _FIRST_COUNT, _FIRST_SEED, limits.ANY, 1.0), settings
    )
    with gr.Row():
        with gr.Column(scale=7, min_width=300):
            gallery = _gallery("New pictures", shown, "pictures")
            line = gr.HTML(facts, padding=False)
        with gr.Column(scale=3, min_width=260):
            with gr.Row():
                go = gr.Button("Generate", variant="primary", min_width=100)
                surprise = gr.Button("Random seed", min_width=100)
            count = gr.Slider(1, limits.COUNT_LIMIT, value=_FIRST_COUNT, step=1, label="Number of pictures")
            seed = gr.Number(_FIRST_SEED, label="Seed", info="The same seed and settings give the same pictures.")
            label = _label_dropdown(actions, "Class")
            temperature = gr.Slider(
                0,
                limits.TEMPERATURE_LIMIT,
                value=1.0,
                step=0.05,
                label="Temperature",
                info="Less is more typical, more is more varied.",
                visible=actions.has_temperature(first),
            )
            with gr.Row():
                as_png = gr.DownloadButton("Download PNG", value=grid, size="sm", min_width=100)
                as_zip = gr.DownloadButton("Download ZIP", value=archive, size="sm", min_width=100)

    def sample(
        model: Sent,
        count: Sent,
        seed: Sent,
        label: Sent,
        temperature: Sent,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> tuple[list[str], str, str, str]:
        """New pictures: PNG files, one PNG with all, a ZIP archive, and a line about them."""
        found = actions.sample(model, count, seed, label, temperature, report=progress)
        return show.samples(found, _settings(model, count, seed, label, temperature))

    def open_link(request: gr.Request) -> list[Any]:
        """What the page's address asks for, if it asks for anything."""
        asked = dict(request.query_params)
        if not {"model", "count", "seed", "label", "temperature"} & set(asked):
            return [gr.skip()] * 9
        values = (
            asked.get("model", first),
            _as_number(asked.get("count", _FIRST_COUNT)),
            _as_number(asked.get("seed", _FIRST_SEED)),
            asked.get("label", limits.ANY),
            _as_number(asked.get("temperature", 1.0)),
        )
        found = actions.sample(*values)
        name, count, seed, chosen, spread = values
        boxes = (_label_choices(actions, name, chosen), _temperature_box(actions, name, spread))
        return [name, count, seed, *boxes, *show.samples(found, _settings(*values))]

    boxes = [model, count, seed, label, temperature]
    outputs = [gallery, as_png, as_zip, line]
    call: dict[str, Any] = {"fn": sample, "inputs": boxes, "outputs": outputs, "show_progress_on": gallery, **_QUEUED}
    quietly = call | {"api_visibility": "private"}
    remember: dict[str, Any] = {"fn": None, "inputs": boxes, "js": _SHOW_SETTINGS, "api_visibility": "private"}
    go.click(**call, api_name="sample").success(**remember)
    seed.submit(**quietly).success(**remember)
    surprise.click(random_seed, None, seed, api_name="random_seed", show_progress="hidden").then(**quietly).success(
        **remember
    )
    model.input(
        lambda name: [_label_choices(actions, name), _temperature_box(actions, name)],
        model,
        [label, temperature],
        api_visibility="private",
        show_progress="hidden",
    ).then(**quietly).success(**remember)
    page.load(open_link, None, [*boxes, *outputs], api_visibility="private", show_progress="hidden", **_SHARED)


def _reconstruct_tab(actions: Actions, model: gr.Radio, show: Show) -> dict[str, Any]:
    first, example = actions.names[0], _EXAMPLES[0]
    x, image, named, facts = show.reconstruction(actions.reconstruct(first, example.read_bytes(), is_own=True))
    with gr.Row():
        with gr.Column(scale=4, min_width=280), gr.Tabs():
            with gr.Tab("A picture"):
                picture = _upload("Your picture", str(example))
                _examples(picture)
                background = gr.Radio(
                    list(BACKGROUNDS),
                    value="auto",
                    label="Background",
                    info="Grey models know light things on black; a light background is inverted.",
                )
                go = gr.Button("Reconstruct and classify", variant="primary")
            with gr.Tab("A drawing"):
                gr.HTML(_DRAWING_HTML, html_template="${value}", js_on_load=_DRAWING_JS, padding=False)
                drawing = gr.Textbox(visible="hidden", label="Drawing, as a data URL with a PNG")
                go_drawing = gr.Button("Reconstruct and classify the drawing", variant="primary")
        with gr.Column(scale=6, min_width=280):
            with gr.Row():
                seen = _picture("What the model sees", x)
                again = _picture("Its reconstruction", image)
            classes = gr.Label(named, label="Classes", num_top_classes=5, visible=bool(actions.class_names(first)))
            line = gr.HTML(facts, padding=False)
    outputs = [seen, again, classes, line]

    def reconstruct(model: Sent, picture: Sent, background: Sent) -> tuple[Any, ...]:
        """A picture as the model sees it, its reconstruction, the classes' probabilities, and a line about them."""
        return show.reconstruction(actions.reconstruct(model, _content(show, picture), background))

    def reconstruct_drawing(model: Sent, drawing: Sent) -> tuple[Any, ...]:
        """The same of a drawing, given as a data URL with a PNG: dark strokes on white."""
        return show.reconstruction(actions.reconstruct_drawing(model, drawing))

    def changed(model: Sent, picture: Sent, background: Sent) -> tuple[Any, ...]:
        return (None, None, None, "") if picture is None else reconstruct(model, picture, background)

    def refresh(model: Sent, picture: Sent, background: Sent) -> tuple[Any, ...]:
        x, image, named, facts = changed(model, picture, background)
        return x, image, gr.Label(named, visible=bool(actions.class_names(model))), facts

    inputs = [model, picture, background]
    go.click(reconstruct, inputs, outputs, api_name="reconstruct", **_QUEUED)
    go_drawing.click(
        reconstruct_drawing, [model, drawing], outputs, js=_READ_DRAWING, api_name="reconstruct_drawing", **_QUEUED
    )
    for change in (picture.change, background.input):
        # The last picture counts: one that comes while the removal of the one before is answered is not passed over.
        change(changed, inputs, outputs, api_visibility="private", **_QUEUED | {"trigger_mode": "always_last"})
    return {"fn": refresh, "inputs": inputs, "outputs": outputs}


def _walk_tab(actions: Actions, model: gr.Radio, show: Show) -> dict[str, Any]:
    classes = actions.class_names(actions.names[0]) if actions.has_class_choice(actions.names[0]) else (limits.ANY,)
    start = (1, classes[0], 2, classes[-1], 12)
    animation, images, facts = show.walk(actions.walk_samples(actions.names[0], *start))
    with gr.Row():
        with gr.Column(scale=4, min_width=280):
            with gr.Tabs():
                with gr.Tab("Two samples"):
                    with gr.Row():
                        seed = gr.Number(start[0], label="First seed", min_width=110)
                        label = _label_dropdown(actions, "First class", start[1])
                    with gr.Row():
                        other_seed = gr.Number(start[2], label="Last seed", min_width=110)
                        other_label = _label_dropdown(actions, "Last class", start[3])
                    go = gr.Button("Walk", variant="primary")
                with gr.Tab("Two pictures"):
                    with gr.Row():
                        picture, other = _upload("First picture"), _upload("Last picture")
                    _examples(picture, other)
                    go_pictures = gr.Button("Walk between the pictures", variant="primary")
            frames = gr.Slider(*limits.FRAMES, value=start[4], step=1, label="Number of frames")
        with gr.Column(scale=6, min_width=280):
            film = _picture("There and back", animation)
            gallery = _gallery("Frames", images, "pictures", "frames")
            line = gr.HTML(facts, padding=False)
    outputs = [film, gallery, line]

    def walk_samples(
        model: Sent, seed: Sent, label: Sent, other_seed: Sent, other_label: Sent, frames: Sent
    ) -> tuple[str, list[str], str]:
        """From the first picture of one seed to that of another: an animation, its frames, and a line about them."""
        return show.walk(actions.walk_samples(model, seed, label, other_seed, other_label, frames))

    def walk_pictures(model: Sent, picture: Sent, other: Sent, frames: Sent) -> tuple[str, list[str], str]:
        """From the reconstruction of one picture to that of another: an animation, its frames, and a line."""
        return show.walk(actions.walk_pictures(model, _content(show, picture), _content(show, other), frames))

    def refresh(model: Sent, seed: Sent, other_seed: Sent, frames: Sent, picture: Sent, other: Sent) -> tuple[Any, ...]:
        names = actions.class_names(model) if actions.has_class_choice(model) else (limits.ANY,)
        shown = (
            walk_samples(model, seed, names[0], other_seed, names[-1], frames)
            if picture is None or other is None
            else walk_pictures(model, picture, other, frames)
        )
        return (*(_label_choices(actions, model, names[position]) for position in (0, -1)), *shown)

    inputs = [model, seed, label, other_seed, other_label, frames]
    go.click(walk_samples, inputs, outputs, api_name="walk_samples", **_QUEUED)
    go_pictures.click(walk_pictures, [model, picture, other, frames], outputs, api_name="walk_pictures", **_QUEUED)
    return {
        "fn": refresh,
        "inputs": [model, seed, other_seed, frames, picture, other],
        "outputs": [label, other_label, *outputs],
    }


def _inside_tab(actions: Actions, model: gr.Radio, show: Show) -> dict[str, Any]:
    first_frames, first_panels = show.observation(actions.look_inside_sample(actions.names[0], 0, limits.ANY))
    with gr.Row():
        with gr.Column(scale=4, min_width=280), gr.Tabs():
            with gr.Tab("At a sample"):
                with gr.Row():
                    seed = gr.Number(0, label="Seed", min_width=110)
                    label = _label_dropdown(actions, "Class")
                go = gr.Button("Look inside", variant="primary")
            with gr.Tab("At a picture"):
                picture = _upload("Your picture")
                _examples(picture)
                go_picture = gr.Button("Look inside while it sees this picture", variant="primary")
        with gr.Column(scale=6, min_width=280):
            gallery = _gallery("The picture as it forms over the time steps", first_frames, "pictures", "forming")
            gr.HTML(
                '<p class="facts">Each frame is what the read-out makes of the spikes so far; the last one is the '
                "picture.</p>",
                padding=False,
            )
    panels = gr.HTML(first_panels, padding=False)
    outputs = [gallery, panels]

    def look_inside_sample(model: Sent, seed: Sent, label: Sent) -> tuple[list[Any], str]:
        """The decoder at work on a sample: the picture as it forms, and panels of HTML."""
        return show.observation(actions.look_inside_sample(model, seed, label))

    def look_inside_picture(model: Sent, picture: Sent) -> tuple[list[Any], str]:
        """Encoder and decoder at work on a picture: the picture as it forms, and panels of HTML."""
        return show.observation(actions.look_inside_picture(model, _content(show, picture)))

    def refresh(model: Sent, seed: Sent, picture: Sent) -> tuple[Any, ...]:
        shown = look_inside_sample(model, seed, limits.ANY) if picture is None else look_inside_picture(model, picture)
        return (_label_choices(actions, model), *shown)

    go.click(look_inside_sample, [model, seed, label], outputs, api_name="look_inside_sample", **_QUEUED)
    go_picture.click(look_inside_picture, [model, picture], outputs, api_name="look_inside_picture", **_QUEUED)
    return {"fn": refresh, "inputs": [model, seed, picture], "outputs": [label, *outputs]}


# ---------------------------------------------------------------- parts


def _upload(label: str, value: str | None = None) -> Upload:
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


def _picture(label: str, value: str) -> gr.Image:
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


def _gallery(label: str, value: Sequence[Any], *classes: str) -> gr.Gallery:
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


def _label_dropdown(actions: Actions, name: str, value: str = limits.ANY) -> gr.Dropdown:
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


def _label_choices(actions: Actions, model: str, value: str = limits.ANY) -> gr.Dropdown:
    """The same, for another model."""
    choices = [limits.ANY, *actions.class_names(model)]
    return gr.Dropdown(choices, value=value, visible=actions.has_class_choice(model))


def _temperature_box(actions: Actions, model: str, value: Number = 1.0) -> gr.Slider:
    return gr.Slider(value=value, visible=actions.has_temperature(model))


def _examples(*boxes: Upload) -> None:
    """Small test images to click on; with two boxes, pairs of one kind."""
    rows = [list(map(str, row)) for row in zip(*[iter(_EXAMPLES)] * len(boxes), strict=True)]
    gr.Examples(
        rows,
        list(boxes),
        label="Or one of these test images of Fashion-MNIST (MIT licence) and MNIST (CC BY-SA 3.0)",
        examples_per_page=12,
    )


# ---------------------------------------------------------------- details


def _content(show: Show, picture: Sent) -> bytes | None:
    """An uploaded file's bytes. Whatever else a visitor sends in its place is refused."""
    if picture is None:
        return None
    return show.files.read_upload(picture.get("path") if isinstance(picture, dict) else picture)


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


# Values arrive as they were sent: the actions check them, and say what is wrong in words of their own.
_SHARED: dict[str, Any] = {"concurrency_id": "model", "concurrency_limit": limits.WORKERS, "preprocess": False}
_QUEUED: dict[str, Any] = {**_SHARED, "trigger_mode": "once"}
