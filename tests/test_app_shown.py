"""What the page shows besides pictures: films, favourites, comparisons, cards, and previews of its links."""

from __future__ import annotations

import gzip
import io
import itertools
import json
import os
import re
import subprocess
import sys
import urllib.request
import zipfile
from base64 import b64decode
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.testclient import TestClient

from app import cards, limits
from app.actions import Actions
from app.browser import is_desktop
from app.favourites import favourites
from app.files import Files
from app.film import film, running_counts, sampled_film
from app.preview import Described, described
from app.show import Show
from app.watch import watch
from spikevae.data.images import to_uint8
from spikevae.hub.checkpoints import load_generator
from spikevae.nn.attention import TemporalChannelJointAttention
from spikevae.nn.vae import SpikingVAE

MODEL = "tiny"


@pytest.fixture(scope="module")
def actions(tiny_release: Path, autoregressive_release: Path) -> Actions:
    return Actions([str(tiny_release), str(autoregressive_release)])


@pytest.fixture(scope="module")
def model(tiny_release: Path) -> SpikingVAE:
    return load_generator(tiny_release)


# ---------------------------------------------------------------- films


def test_a_film_ends_with_the_picture_and_counts_what_was_measured(actions: Actions, model: SpikingVAE) -> None:
    seen = watch(model, lambda: model.sample(1, seed=3), stages=5)
    assert seen.partial.shape[0] == 5 * model.config.time_steps
    assert torch.allclose(seen.partial[-1], model.sample(1, seed=3)[0], atol=1e-6)
    assert seen.partial[4::5].equal(seen.forming)
    found = sampled_film(actions, MODEL, 3, "any", 6)
    assert found.total.additions == pytest.approx(sum(cost.folded.accumulates for cost in seen.cost.layers.values()))
    assert found.total.ordinary == pytest.approx(sum(cost.dense for cost in seen.cost.layers.values()))
    with Image.open(io.BytesIO(found.content)) as moving:
        times = []
        for frame in ImageSequence.Iterator(moving):
            frame.load()
            times.append(frame.info["timestamp"])
    assert len(times) > len(seen.partial)
    assert times[2] - times[1] == pytest.approx(1000 / 6, abs=1)


def test_gates_that_are_shifts_are_counted_as_such(grid_release: Path) -> None:
    network = load_generator(grid_release)
    for module in network.modules():
        if isinstance(module, TemporalChannelJointAttention):
            module.is_rounded = True
    seen = watch(network, lambda: network.sample(1, seed=3), stages=5)
    total = film(seen, 6).total
    assert total.shifts == pytest.approx(sum(cost.folded.shifts for cost in seen.cost.layers.values()))
    assert total.shifts > 0


def test_a_films_counts_only_rise(model: SpikingVAE) -> None:
    seen = watch(model, lambda: model.sample(1, seed=3))
    counts = [count for row in running_counts(seen, list(seen.spikes)) for count in row]
    for before, after in itertools.pairwise(counts):
        assert all(new >= old for old, new in zip(before, after, strict=True))
    assert counts[0].ordinary < counts[-1].ordinary


@pytest.mark.parametrize("pace", [0, 13, None, "fast", float("nan")])
def test_a_films_pace_is_checked(actions: Actions, pace: Any) -> None:
    with pytest.raises(ValueError, match="number of frames a second"):
        sampled_film(actions, MODEL, 3, "any", pace)


def test_every_latent_can_be_filmed(actions: Actions) -> None:
    assert sampled_film(actions, "autoregressive", 0, "any", 5).total.additions > 0


# ---------------------------------------------------------------- favourites


def test_favourites_are_the_pictures_that_were_chosen_and_say_how_to_make_them(
    actions: Actions, model: SpikingVAE, tmp_path: Path
) -> None:
    wishes = [[MODEL, 7, "any", 1.0, 5], [MODEL, 8, "3", 0.5, 0], ["autoregressive", 1, "any", 1.0, 2]]
    found = favourites(actions, wishes)
    assert torch.allclose(found[0].image, model.sample(6, seed=7)[5], atol=1e-6)
    assert torch.allclose(found[1].image, model.sample(1, seed=8, label=3, temperature=0.5)[0], atol=1e-6)
    shown, archive = Show(Files(tmp_path)).favourites(found)
    assert len(shown) == 3
    assert archive is not None
    with zipfile.ZipFile(archive) as file:
        settings = json.loads(file.read("settings.json"))["pictures"]
        assert len(file.namelist()) == 4
    assert settings[0]["seed"] == 7
    assert settings[0]["number"] == 5
    assert settings[0]["link"] == "?model=tiny&count=6&seed=7&label=any&temperature=1.0"
    assert Show(Files(tmp_path)).favourites([]) == ([], None)


def test_a_favourite_names_the_class_that_a_number_stands_for(actions: Actions, model: SpikingVAE) -> None:
    found = favourites(actions, [[MODEL, 8, 0, 1.0, 0]])[0]
    assert found.label == "0"
    assert torch.allclose(found.image, model.sample(1, seed=8, label=0)[0], atol=1e-6)


@pytest.mark.parametrize(
    "wishes",
    [
        None,
        "[]",
        {},
        [[]],
        ["tiny"],
        [[MODEL, 7, "any", 1.0]],
        [[MODEL, 7, "any", 1.0, -1]],
        [[MODEL, 7, "any", 1.0, limits.COUNT_LIMIT]],
        [[MODEL, -7, "any", 1.0, 0]],
        [["/etc/passwd", 7, "any", 1.0, 0]],
        [[MODEL, 7, "boots", 1.0, 0]],
        [[MODEL, 7, "any", 9, 0]],
        [[MODEL, 7, "any", 1.0, 0]] * (limits.FAVOURITES + 1),
    ],
)
def test_favourites_are_checked(actions: Actions, wishes: Any) -> None:
    with pytest.raises(ValueError, match=r"\w+ \w+") as caught:
        favourites(actions, wishes)
    assert "\n" not in str(caught.value)


# ---------------------------------------------------------------- cards and previews


def test_terms_come_from_the_models_card() -> None:
    assert "non-commercial research only" in cards.terms_line("faces")
    assert "MIT licence" in cards.terms_line("fashion-mnist")
    assert cards.card("faces").startswith("Generates")
    assert 'href="#scores"' in cards.footer()
    assert "arxiv.org" in cards.footer()


def test_a_card_with_front_matter_is_shown_without_it(tiny_release: Path, tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((tiny_release / name).read_bytes())
    assert cards.card(str(tmp_path)) == ""
    assert cards.terms_line(str(tmp_path)) == ""
    text = "---\nlicence: mit\n---\n# mine\n\nWords.\n\n## Data\n\n<Own> pictures. Many.\n"
    (tmp_path / "README.md").write_text(text, encoding="utf-8")
    assert cards.card(str(tmp_path)).startswith("Words.")
    assert "Trained on &lt;Own&gt; pictures." in cards.terms_line(str(tmp_path))


def test_a_link_to_the_page_has_a_preview_of_our_own(page_address: str) -> None:
    with urllib.request.urlopen(page_address) as answer:
        page = answer.read().decode()
    tags = dict(re.findall(r'<meta property="(og:[\w:]+)" content="([^"]*)"', page))
    assert tags["og:image"] == f"{page_address}/preview.png"
    assert tags["og:title"] == "spikevae: images from spikes"
    assert page.count('property="og:title"') == 1
    assert page.count("<title>spikevae: images from spikes</title>") == page.count("<title") == 1
    assert not re.search(r'<meta[^>]*content="[^"]*(gradio|githubusercontent)', page, re.IGNORECASE)
    with urllib.request.urlopen(tags["og:image"]) as answer, Image.open(io.BytesIO(answer.read())) as image:
        assert image.size == (1200, 630)


def test_an_address_in_a_preview_is_escaped() -> None:
    page = described("<html><head></head></html>", 'https://a"><script>')
    assert "<script>" not in page


def test_a_page_is_made_once_for_all_who_are_shown_the_same() -> None:
    made: list[str] = []
    members: set[str] = set()

    async def page(scope: Any, receive: Any, send: Any) -> None:
        made.append(Request(scope).headers["host"])
        answer = HTMLResponse(f"<html><head></head><body>{len(made)}</body></html>", 200)
        await answer(scope, receive, send)

    app = Described(page, is_welcome=lambda request: request.cookies.get("name") in members)
    visitor = TestClient(app, "http://a.org")
    first = visitor.get("/").text
    assert visitor.get("/").text == first
    assert visitor.head("/").content == b""
    assert len(made) == 1
    members.add("ann")
    others: list[dict[str, str]] = [
        {"Cookie": "name=ann"},
        {"Host": "b.org"},
        {"X-Forwarded-Proto": "https"},
        {"X-Forwarded-Host": "c.org"},
        {"Accept-Encoding": "identity"},
    ]
    for headers in others:
        assert visitor.get("/", headers=headers).text != first
    assert len(made) == 1 + len(others)
    assert visitor.get("/?seed=7").text != visitor.get("/?seed=7").text  # each is its own
    for number in range(100):
        visitor.get("/", headers={"Host": f"{number}.org"})
    assert len(app._kept) <= 16


def test_a_page_is_not_kept_for_others_where_its_visitor_logs_out_meanwhile() -> None:
    members = {"ann"}

    async def page(scope: Any, receive: Any, send: Any) -> None:
        members.clear()
        await HTMLResponse("<html><head></head><body>for members</body></html>")(scope, receive, send)

    app = Described(page, is_welcome=lambda request: request.cookies.get("name") in members)
    assert TestClient(app).get("/", headers={"Cookie": "name=ann"}).status_code == 200
    assert not app._kept


# ---------------------------------------------------------------- the first paint


def test_a_page_brings_its_first_pictures_along(page_address: str, model: SpikingVAE) -> None:
    with urllib.request.urlopen(page_address) as answer:
        page = answer.read().decode()
    paint = page[page.index('<main id="first"') : page.index("<gradio-app")]
    urls = re.findall(r'<img src="data:image/png;base64,([^"]+)" alt="New picture \d+">', paint)
    shown = [Image.open(io.BytesIO(b64decode(url))) for url in urls]
    assert len(shown) == 24
    for image, expected in zip(shown, to_uint8(model.sample(24, seed=0)), strict=True):
        assert np.array_equal(np.asarray(image), expected[0])
    with urllib.request.urlopen(f"{page_address}/?seed=7") as answer:
        assert b'<main id="first"' not in answer.read()  # these are not the pictures that were asked for


def test_a_page_is_packed_for_those_who_can_unpack_it(page_address: str) -> None:
    with urllib.request.urlopen(page_address) as answer:
        whole = answer.read()
    asked = urllib.request.Request(page_address, headers={"Accept-Encoding": "gzip"})
    with urllib.request.urlopen(asked) as answer:
        packed = answer.read()
        assert answer.headers["Content-Encoding"] == "gzip"
        assert int(answer.headers["Content-Length"]) == len(packed) < len(whole) / 3
    assert gzip.decompress(packed) == whole


def test_scripts_are_kept_by_browsers_and_pages_are_not(page_address: str) -> None:
    with urllib.request.urlopen(page_address) as answer:
        assert answer.headers["Cache-Control"] == "private, no-cache"
        script = re.findall(r'src="\./(assets/[^"]+\.js)"', answer.read().decode())[0]
    with urllib.request.urlopen(f"{page_address}/{script}") as answer:
        assert "immutable" in answer.headers["Cache-Control"]
    with urllib.request.urlopen(f"{page_address}/preview.png") as answer:  # no proxy keeps it for strangers
        assert answer.headers["Cache-Control"] == "private, no-cache"


# ---------------------------------------------------------------- opening a browser


@pytest.mark.parametrize(
    ("host", "environment", "platform", "expected"),
    [
        ("127.0.0.1", {"DISPLAY": ":0"}, "linux", True),
        ("localhost", {"WAYLAND_DISPLAY": "wayland-0"}, "linux", True),
        ("::1", {}, "darwin", True),
        ("127.0.0.1", {}, "win32", True),
        ("127.0.0.1", {}, "linux", False),
        ("0.0.0.0", {"DISPLAY": ":0"}, "linux", False),
        ("192.168.0.4", {"DISPLAY": ":0"}, "linux", False),
        ("example.org", {"DISPLAY": ":0"}, "linux", False),
        ("127.0.0.1", {"DISPLAY": ":0", "SSH_CONNECTION": "a"}, "linux", False),
        ("127.0.0.1", {"SSH_TTY": "/dev/pts/1"}, "darwin", False),
    ],
)
def test_a_browser_is_opened_only_where_somebody_sees_it(
    host: str, environment: dict[str, str], platform: str, expected: bool
) -> None:
    assert is_desktop(host, environment, platform) is expected


@pytest.mark.skipif(os.name != "posix", reason="a script stands for the browser")
def test_the_default_browser_shows_the_page(tmp_path: Path) -> None:
    browser, heard = tmp_path / "browser", tmp_path / "heard"
    browser.write_text(f'#!/bin/sh\necho "$1" > {heard}\n', encoding="utf-8")
    browser.chmod(0o755)
    code = "from app.browser import open_page; print(open_page('http://127.0.0.1:7860'))"
    found = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "BROWSER": f"{browser} %s"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout == "True\n"
    assert heard.read_text() == "http://127.0.0.1:7860\n"
