"""The page as a person uses it, in a headless Chromium; skipped where there is none."""

from __future__ import annotations

import json
import re
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import app
from spikevae.data.events.writers import encode_atis
from tests.made_events import made_recording

sync_api = pytest.importorskip("playwright.sync_api")
sync_api.expect.set_options(timeout=60_000)  # the machine may be busy with something else
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium found: apt-get install chromium")

QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--no-first-run",
)
TABS = (
    "Sample", "Reconstruct", "Edit", "Complete", "Walk", "Look inside", "Watch it spike", "Compare", "Recordings",
    "Scores",
)  # fmt: skip
SHOE = Path(app.__file__).parent / "examples" / "fashion-mnist-ankle-boot-0.png"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def desk(browser: Any, page_address: str) -> Iterator[Any]:
    """A page on a desktop's screen, and what went wrong on it."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme="light")
    context.set_default_timeout(60_000)
    page = context.new_page()
    page.asked, page.wrong = [], []
    page.on("request", lambda request: page.asked.append(request.url))
    page.on("pageerror", lambda error: page.wrong.append(str(error)))
    page.on("console", lambda message: page.wrong.append(message.text) if message.type == "error" else None)
    page.goto(page_address)
    yield page
    context.close()


@pytest.fixture
def page(desk: Any) -> Iterator[Any]:
    """The same, for one test."""
    yield desk
    assert desk.wrong == []


def tab(page: Any, name: str, inner: str | None = None) -> Any:
    """Open a tab and, within it, another; gives the outer one's panel."""
    page.get_by_role("tab", name=name, exact=True).click()
    panel = page.locator("#" + {"Look inside": "inside", "Watch it spike": "spikes"}.get(name, name.lower()))
    if inner is not None:
        panel.get_by_role("tab", name=inner, exact=True).click()
    return panel


def pictures(panel: Any, count: int) -> list[str]:
    """Addresses of a gallery's pictures, once it holds so many and all are on the screen."""
    panel.page.wait_for_function(
        """([panel, count]) => {
            const found = [...panel.querySelectorAll('.pictures .thumbnail-item img')];
            return found.length === count && found.every((image) => image.complete && image.naturalWidth > 0);
        }""",
        arg=[panel.element_handle(), count],
    )
    found: list[str] = panel.locator(".pictures .thumbnail-item img").evaluate_all("all => all.map(image => image.src)")
    return found


def test_the_first_pictures_are_there_without_a_click(page: Any, page_address: str) -> None:
    assert len(set(pictures(page.locator("#sample"), 24))) > 1
    sync_api.expect(page.locator("#first")).to_have_count(0)  # what stood there before has gone
    assert page.title() == "spikevae: images from spikes"
    assert page.locator("#terms").evaluate("line => getComputedStyle(line).display") != "none"
    assert (
        page.locator(".pictures img").first.evaluate("image => getComputedStyle(image).imageRendering") == "pixelated"
    )
    page.wait_for_load_state("networkidle")
    assert [url for url in page.asked if not url.startswith((page_address, "data:", "blob:"))] == []


def test_samples_follow_from_their_settings_and_a_link_leads_back(page: Any, browser: Any, page_address: str) -> None:
    panel = tab(page, "Sample")
    panel.get_by_label("Seed", exact=True).fill("7")
    panel.get_by_label("number input for Number of pictures").fill("5")
    panel.get_by_role("button", name="Generate").click()
    first = pictures(panel, 5)
    link = panel.get_by_role("link", name="Link to exactly these pictures")
    sync_api.expect(link).to_have_attribute("href", re.compile("seed=7"))
    assert re.search(r"5 pictures in [\d.]+ s, \d+ ms each", panel.locator(".facts").inner_text())
    other = browser.new_page()
    other.set_default_timeout(60_000)
    other.goto(f"{page_address}/{link.get_attribute('href')}")
    assert pictures(other.locator("#sample"), 5) == first
    assert other.get_by_label("Seed", exact=True).input_value() == "7"
    other.close()
    panel.get_by_role("button", name="Random seed").click()
    page.wait_for_function("before => !document.querySelector('#sample .facts a').href.includes('seed=7&')")
    assert pictures(panel, 5) != first
    for name, kind in (("Download PNG", b"\x89PNG"), ("Download ZIP", b"PK")):
        with page.expect_download() as download:
            panel.get_by_text(name).click()
        assert Path(download.value.path()).read_bytes().startswith(kind)


def test_settings_act_at_once_and_the_last_value_wins(page: Any) -> None:
    panel = tab(page, "Sample")
    count = panel.get_by_label("number input for Number of pictures")
    for number in (3, 9, 4):
        count.fill(str(number))
    pictures(panel, 4)
    panel.get_by_label("number input for Temperature").fill("0.2")
    sync_api.expect(panel.locator(".facts a")).to_have_attribute("href", re.compile("count=4.*temperature=0.2"))
    panel.get_by_role("button", name="Show more").click()
    page.wait_for_function("document.querySelectorAll('#sample .thumbnail-item').length >= 20")
    columns = panel.locator(".pictures .grid-container").first.evaluate(
        "grid => getComputedStyle(grid).gridTemplateColumns.split(' ').length"
    )
    assert columns == 8


def test_a_favourite_is_kept_with_what_makes_it_again(page: Any) -> None:
    panel = tab(page, "Sample")
    panel.get_by_role("button", name="Keep the chosen picture").click()
    sync_api.expect(page.get_by_text("Choose a picture first")).to_be_visible()
    panel.locator(".thumbnail-item").nth(2).click()
    link = panel.get_by_role("link", name="Link to exactly these pictures").get_attribute("href")
    panel.get_by_label("Seed", exact=True).fill("99")  # not what made the pictures
    panel.get_by_role("button", name="Keep the chosen picture").click()
    kept = panel.locator(".kept .thumbnail-item")
    sync_api.expect(kept).to_have_count(1)
    with page.expect_download() as download:
        panel.get_by_text("Download favourites").click()
    with zipfile.ZipFile(download.value.path()) as archive:
        (kept_picture,) = json.loads(archive.read("settings.json"))["pictures"]
    assert kept_picture["number"] == 2
    assert f"seed={kept_picture['seed']}&" in link
    panel.get_by_role("button", name="Forget favourites").click()
    sync_api.expect(kept).to_have_count(0)
    page.keyboard.press("Escape")


def test_a_mistake_is_explained_and_no_trace_is_shown(page: Any) -> None:
    panel = tab(page, "Sample")
    before = pictures(panel, panel.locator(".thumbnail-item").count())
    panel.get_by_label("Seed", exact=True).fill("-5")
    panel.get_by_role("button", name="Generate").click()
    message = page.get_by_text("The seed -5 is out of range")
    sync_api.expect(message.first).to_be_visible()
    assert "Traceback" not in page.content()
    assert pictures(panel, len(before)) == before
    panel.get_by_label("Seed", exact=True).fill("0")


def test_a_picture_is_redrawn_and_named(page: Any, tmp_path: Path) -> None:
    panel = tab(page, "Reconstruct")
    sync_api.expect(panel.locator(".facts")).to_contain_text("Mean squared error")  # an example, before any click
    before = panel.get_by_alt_text("What the model sees").get_attribute("src")
    panel.get_by_label("Remove Image").first.click()
    light = tmp_path / "light.png"
    paper = Image.new("RGB", (200, 120), "white")
    paper.paste("black", (60, 30, 140, 90))
    paper.save(light)
    panel.locator("input[type=file]").first.set_input_files(light)
    seen = panel.get_by_alt_text("What the model sees")
    sync_api.expect(seen).not_to_have_attribute("src", before)
    sync_api.expect(panel.get_by_alt_text("Its reconstruction")).to_be_visible()
    assert panel.locator("[data-testid=label-output-value]").inner_text().strip() in "0123456789"
    black = seen.get_attribute("src")
    panel.get_by_label("dark").check()
    sync_api.expect(seen).not_to_have_attribute("src", black)
    panel.get_by_label("auto").check()


def test_an_example_is_one_click_away(page: Any) -> None:
    panel = tab(page, "Reconstruct", "A picture")
    seen = panel.get_by_alt_text("What the model sees")
    before = seen.get_attribute("src")
    panel.locator(".examples .thumbnail-item").nth(3).click()
    sync_api.expect(seen).not_to_have_attribute("src", before)


def test_a_file_that_is_no_picture_is_refused_in_words_until_the_next_action(page: Any, tmp_path: Path) -> None:
    panel = tab(page, "Reconstruct", "A picture")
    panel.get_by_label("Remove Image").first.click()
    sync_api.expect(panel.locator(".facts").first).to_contain_text("Choose a picture")
    text = tmp_path / "text.png"
    text.write_bytes(b"not an image at all")
    panel.locator("input[type=file]").first.set_input_files(text)
    message = page.get_by_text("not a known image format")
    sync_api.expect(message).to_have_count(1)
    sync_api.expect(panel.get_by_label("Remove Image")).to_have_count(0)  # it does not stay beside another answer
    sync_api.expect(message).to_have_count(1)
    tab(page, "Reconstruct", "A drawing")
    sync_api.expect(message).to_have_count(0)
    page.wrong.clear()  # the browser itself complains of a picture that it cannot show


def test_a_drawing_is_answered_while_one_draws(page: Any) -> None:
    panel = tab(page, "Reconstruct", "A drawing")
    paper = panel.get_by_label("Paper to draw on")
    paper.hover()  # until it stands still
    box = paper.bounding_box()
    seen = panel.get_by_alt_text("What the model sees").last
    facts = panel.locator(".facts").last
    sync_api.expect(facts).to_contain_text("Draw something")
    assert "0, 1, 2, 3" in panel.locator(".facts").nth(-2).inner_text()
    sources: list[str] = []
    for x in (140, 60):
        page.mouse.move(box["x"] + x, box["y"] + 40)
        page.mouse.down()
        page.mouse.move(box["x"] + x - 10, box["y"] + 230, steps=6)
        before = sources[-1] if sources else "none"
        page.wait_for_function(
            "([image, before]) => image.src && image.src !== before", arg=[seen.element_handle(), before]
        )
        page.mouse.up()  # not before the answer
        page.wait_for_timeout(1500)  # that may have been to a part of the stroke
        sources.append(seen.get_attribute("src"))
    panel.get_by_role("button", name="Undo").click()
    sync_api.expect(seen).to_have_attribute("src", sources[0])
    panel.get_by_role("button", name="Clear the drawing").click()
    sync_api.expect(facts).to_contain_text("Draw something")
    panel.get_by_role("button", name="Reconstruct and classify the drawing").click()
    sync_api.expect(page.get_by_text("Draw something first").first).to_be_visible()


def test_a_walk_leads_from_one_end_to_the_other(page: Any) -> None:
    panel = tab(page, "Walk", "Two samples")
    frames = pictures(panel, 12)
    panel.get_by_label("number input for Number of frames").fill("6")
    panel.get_by_role("button", name="Walk", exact=True).click()
    assert len(set(pictures(panel, 6)) & set(frames)) >= 1  # the ends stay
    assert panel.get_by_alt_text("There and back").get_attribute("src").endswith(".gif")
    tab(page, "Walk", "Two pictures")
    facts = panel.locator(".facts").last
    sync_api.expect(facts).to_contain_text("Choose two pictures")  # not the walk between the samples
    for number in range(2):
        panel.locator(".examples .thumbnail-item").nth(number).click()
        sync_api.expect(panel.get_by_label("Remove Image")).to_have_count(number + 1)
    sync_api.expect(facts).to_contain_text("spikes differ")


def test_looking_inside_shows_spikes_gates_rates_and_energy(page: Any) -> None:
    panel = tab(page, "Look inside", "At a sample")
    pictures(panel, 3)
    for words in ("Spikes", "TCJA gates", "Firing rates", "Operations and energy"):
        sync_api.expect(panel.get_by_role("heading", name=words)).to_be_visible()
    assert panel.get_by_text("encoder stage 1").count() == 0
    tab(page, "Look inside", "At a picture")
    panel.locator("input[type=file]").first.set_input_files(SHOE)
    sync_api.expect(panel.get_by_label("Remove Image")).to_have_count(1)
    panel.get_by_role("button", name="Look inside while it sees this picture").click()
    sync_api.expect(panel.get_by_text("encoder stage 1").first).to_be_visible()


def test_a_slider_changes_a_picture_and_undo_takes_it_back(page: Any) -> None:
    panel = tab(page, "Edit")
    sync_api.expect(panel.locator(".facts:visible")).to_have_text("0 of 36 latent spikes differ from the start.")
    amounts = [panel.get_by_label(f"number input for Direction {number}") for number in (1, 2, 3)]
    panel.get_by_role("button", name="Surprise me").click()
    for amount in amounts:
        sync_api.expect(amount).not_to_have_value("0")
    page.wait_for_function("(window.spikevaeEdits ?? []).length > 0")
    surprise = [box.input_value() for box in amounts]
    assert all(0.5 <= abs(float(value)) <= 2.5 for value in surprise), surprise
    amounts[1].fill("2.9")
    page.wait_for_function("window.spikevaeEdits.at(-1).includes('2.9')")  # answered without a button
    panel.get_by_role("button", name="Undo").click()
    sync_api.expect(amounts[1]).to_have_value(surprise[1])
    panel.get_by_role("button", name="Start again").click()
    sync_api.expect(amounts[0]).to_have_value("0")


def test_what_is_painted_over_is_completed(page: Any) -> None:
    panel = tab(page, "Complete")
    panel.get_by_role("button", name="Complete", exact=True).click()
    sync_api.expect(page.get_by_text("Paint over a part of the picture first")).to_be_visible()
    picture = panel.get_by_label("The picture: paint over")
    picture.hover()  # until it stands still
    box = picture.bounding_box()
    page.mouse.move(box["x"] + 60, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + 200, box["y"] + 90, steps=5)
    page.mouse.up()
    panel.get_by_role("button", name="Complete", exact=True).click()
    sync_api.expect(panel.locator(".proposals .thumbnail-item")).to_have_count(4)
    panel.locator(".examples .thumbnail-item").nth(2).click()
    sync_api.expect(panel.locator(".proposals .thumbnail-item")).to_have_count(0)  # they were for another picture


def test_a_half_is_hidden_without_a_mouse(page: Any) -> None:
    panel = tab(page, "Complete")
    panel.get_by_role("button", name="Clear the paint").press("Enter")
    quarters = """async () => {
        const [image, pen] = [new Image(), document.createElement("canvas").getContext("2d")];
        pen.canvas.width = pen.canvas.height = 2;
        image.src = window.spikevaeMask();
        await image.decode();
        pen.drawImage(image, 0, 0, 2, 2);
        return [0, 4, 8, 12].map((place) => pen.getImageData(0, 0, 2, 2).data[place] > 127);
    }"""
    for name, hidden in (
        ("left", [True, False, True, False]),
        ("right", [False, True, False, True]),
        ("upper", [True, True, False, False]),
        ("lower", [False, False, True, True]),
    ):
        panel.get_by_role("button", name=f"Hide the {name} half").press("Enter")
        assert page.evaluate(quarters) == hidden
        panel.get_by_role("button", name="Undo").press("Enter")
        assert page.evaluate(quarters) == [False] * 4
    panel.get_by_role("button", name="Hide the lower half").press("Space")
    panel.get_by_role("button", name="Complete", exact=True).press("Enter")
    sync_api.expect(panel.locator(".proposals .thumbnail-item")).to_have_count(4)


@pytest.mark.parametrize(
    ("name", "inner", "kept"),
    [
        ("Edit", None, "edit"),
        ("Complete", None, "complete"),
        ("Walk", "Two pictures", "walkLast"),
        ("Look inside", "At a picture", "inside"),
    ],
)
def test_a_refused_file_gives_way_to_the_last_good_one(
    page: Any, tmp_path: Path, name: str, inner: str | None, kept: str
) -> None:
    box = tab(page, name, inner).locator(".upload:visible").last
    shown = box.locator("img")
    box.locator("input[type=file]").set_input_files(SHOE)
    sync_api.expect(shown).to_have_attribute("src", re.compile("upload"))
    good = shown.get_attribute("src")
    page.wait_for_function(  # until it is answered here: other tabs may have kept the same picture
        "([kept, src]) => window[`spikevaeKept_${kept}`]?.url === src", arg=[kept, good]
    )
    page.wait_for_timeout(3000)  # Gradio tells twice of a file that takes another's place; the second is answered too
    text = tmp_path / "text.png"
    text.write_bytes(b"not an image at all")
    box.locator("input[type=file]").set_input_files(text)
    message = page.locator("[data-testid=toast-text]:visible")
    sync_api.expect(message).to_have_text([re.compile("not a known image format")])  # once
    sync_api.expect(shown).to_have_attribute("src", good)
    page.wait_for_timeout(1000)  # for what its return may start
    sync_api.expect(message).to_have_count(1)
    page.keyboard.press("Enter")
    page.wrong.clear()  # the browser itself complains of a picture that it cannot show


def test_a_picture_forms_and_two_models_stand_side_by_side(page: Any) -> None:
    panel = tab(page, "Watch it spike")
    film = panel.get_by_alt_text("A picture forming spike by spike")
    before = film.get_attribute("src")
    panel.get_by_label("Seed", exact=True).fill("8")
    panel.get_by_role("button", name="Watch").click()
    sync_api.expect(film).not_to_have_attribute("src", before)
    assert "additions" in panel.locator(".facts").first.inner_text()
    panel = tab(page, "Compare")
    pictures(panel, 32)
    panel.get_by_label("number input for Number of pictures of each").fill("3")
    pictures(panel, 6)


def test_the_keyboard_changes_the_pace_of_a_film(page: Any) -> None:
    panel = tab(page, "Watch it spike")
    film = panel.get_by_alt_text("A picture forming spike by spike")
    before = film.get_attribute("src")
    panel.locator("input[type=range]").focus()
    page.keyboard.press("ArrowRight")
    sync_api.expect(film).not_to_have_attribute("src", before)


def test_two_recordings_play_once_on_one_clock(page: Any, tmp_path: Path) -> None:
    panel = tab(page, "Recordings")
    button = panel.get_by_role("button", name=re.compile("^(Play|Pause|Play again)$"))
    sync_api.expect(button).to_have_text("Play again")  # it began by itself, and ended
    terms = page.locator("#terms")  # of the images' model
    assert terms.evaluate("line => getComputedStyle(line).display") == "none"
    clock = panel.get_by_label("Time", exact=True)
    assert clock.input_value() == clock.get_attribute("max")
    drawn = (
        "canvas => canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.some((v) => v < 200)"
    )
    clock.fill("30")
    sync_api.expect(button).to_have_text("Play")
    assert panel.locator("canvas").evaluate_all(f"all => all.map({drawn})") == [True, True]
    shares = panel.locator(".shares li").all_inner_texts()
    assert len(shares) == 4
    assert all(re.search(r"(above|below)\s+\d+ %", words) for words in shares)
    path = tmp_path / "mine.bin"
    path.write_bytes(encode_atis(made_recording(321, size=(12, 12))))
    panel.locator("[aria-label=Clear]:visible").first.click()
    sync_api.expect(panel.locator("figure:visible")).to_have_count(1)
    panel.locator("input[type=file]").set_input_files(path)
    sync_api.expect(panel.get_by_text("321 events")).to_be_visible()
    sync_api.expect(panel.locator("figcaption").nth(1)).to_have_text("Your recording")


def test_a_mistake_about_recordings_takes_nothing_away(page: Any, tmp_path: Path) -> None:
    panel = tab(page, "Recordings")
    panel.locator(".examples .thumbnail-item").nth(1).click()
    title = panel.locator("figcaption").nth(1)
    sync_api.expect(title).to_have_text("Made up, seed 101")
    asked = sum("queue/join" in url for url in page.asked)
    panel.get_by_label("Seed", exact=True).fill("-5")
    panel.get_by_role("button", name="Generate").click()
    sync_api.expect(page.get_by_text("The seed -5 is out of range").first).to_be_visible()
    page.wait_for_timeout(1000)
    assert sum("queue/join" in url for url in page.asked) == asked + 1  # the answer does not start it anew
    panel.get_by_label("Seed", exact=True).fill("0")
    panel.locator("[aria-label=Clear]:visible").first.click()
    sync_api.expect(panel.locator("figure:visible")).to_have_count(1)
    wrong = tmp_path / "wrong.bin"
    wrong.write_bytes(b"four")
    panel.locator("input[type=file]").set_input_files(wrong)
    sync_api.expect(page.get_by_text("no whole number of 5-byte events").first).to_be_visible()
    sync_api.expect(panel.locator("input[type=file]")).to_have_count(1)  # it does not stay
    sync_api.expect(panel.locator("figure:visible")).to_have_count(1)


def test_scores_are_on_the_page(page: Any) -> None:
    panel = tab(page, "Scores")
    sync_api.expect(panel.get_by_role("heading", name="tiny")).to_be_visible()


def test_another_model_brings_its_own_choices_and_results(page: Any) -> None:
    tab(page, "Sample")
    sample, reconstruct = page.locator("#sample"), page.locator("#reconstruct")
    before = pictures(sample, sample.locator(".thumbnail-item").count())
    page.get_by_label("unlabelled").check()
    sync_api.expect(sample.get_by_label("Class", exact=True)).to_be_hidden()
    page.wait_for_function(
        "before => document.querySelector('#sample .thumbnail-item img').src !== before", arg=before[0]
    )
    panel = tab(page, "Reconstruct", "A picture")
    panel.locator(".examples .thumbnail-item").nth(1).click()
    sync_api.expect(reconstruct.locator(".facts").first).to_contain_text("trained without labels")
    sync_api.expect(reconstruct.locator("[data-testid=label-output-value]")).to_have_count(0)
    page.get_by_label("autoregressive").check()
    for name in ("Edit", "Complete"):
        panel = tab(page, name)
        sync_api.expect(panel.locator(".facts:visible")).to_have_text(re.compile("has no density"))
        shown = panel.locator("button:visible, input:visible, canvas:visible, img:visible")
        sync_api.expect(shown).to_have_count(0)  # nothing that would not work
    tab(page, "Sample")
    sync_api.expect(sample.get_by_label("number input for Temperature")).to_be_hidden()
    page.get_by_label("tiny").check()
    sync_api.expect(sample.get_by_label("Class", exact=True)).to_be_visible()
    for name, button in (("Edit", "Surprise me"), ("Complete", "Complete")):
        panel = tab(page, name)
        sync_api.expect(panel.get_by_role("button", name=button, exact=True)).to_be_visible()
        sync_api.expect(panel.get_by_text("has no density")).to_be_hidden()


def test_an_answer_that_came_before_its_receipt_leaves_the_page_alive(browser: Any, page_address: str) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(60_000)
    page = context.new_page()
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.goto(page_address)
    before = pictures(page.locator("#sample"), 24)
    page.evaluate("""() => {
        const [real, waits] = [window.fetch, [3000, 10000]]; // of the first two receipts
        window.fetch = async (...asked) => {
            const answer = await real(...asked);
            const wait = String(asked[0].url ?? asked[0]).includes("queue/join") ? waits.shift() ?? 0 : 0;
            await new Promise((done) => setTimeout(done, wait));
            return answer;
        };
    }""")
    streams: list[str] = []  # of answers, which the page opens for each receipt that comes late
    page.on("response", lambda answer: streams.append(answer.url) if "queue/data" in answer.url else None)
    page.get_by_role("button", name="Generate").click()
    tab(page, "Walk", "Two samples").get_by_role("button", name="Walk", exact=True).click()
    for _ in range(600):
        if len(streams) >= 2:
            break
        page.wait_for_timeout(100)
    assert len(streams) >= 2
    panel = tab(page, "Sample")
    panel.get_by_label("Seed", exact=True).fill("8")
    panel.get_by_role("button", name="Generate").click()
    sync_api.expect(panel.locator(".facts a")).to_have_attribute("href", re.compile("seed=8"))
    assert pictures(panel, 24) != before
    assert wrong == []
    context.close()


@pytest.mark.parametrize("width", [1200, 390])
def test_a_model_that_is_chosen_at_once_leaves_nothing_of_the_one_before(
    browser: Any, page_address: str, width: int
) -> None:
    context = browser.new_context(viewport={"width": width, "height": 844})
    context.set_default_timeout(120_000)  # all tabs follow three models
    page = context.new_page()
    asked: list[list[Any]] = []
    page.on("request", lambda sent: asked.append(json.loads(sent.post_data)["data"]) if "join" in sent.url else None)
    page.goto(page_address)
    page.get_by_label("unlabelled").check()
    panel = tab(page, "Edit")
    sync_api.expect(panel.get_by_label("Class of the start")).to_be_hidden()
    changed = panel.get_by_alt_text("Changed")
    page.wait_for_function("image => image.naturalWidth === 272", arg=changed.element_handle())  # 17 times 16
    assert panel.get_by_alt_text("Start").evaluate("image => image.naturalWidth") == 272
    page.wait_for_load_state("networkidle")
    sync_api.expect(page.locator("[data-testid=toast-body]")).to_have_count(0)
    page.get_by_label("tiny").check()
    page.get_by_label("unlabelled").check()
    page.get_by_label("tiny").check()  # each before the one before it is answered
    sync_api.expect(panel.get_by_label("Class of the start")).to_have_value("0")
    page.wait_for_function("image => image.naturalWidth === 280", arg=changed.element_handle())
    sync_api.expect(tab(page, "Walk").get_by_label("Last class")).to_have_value("9")
    sync_api.expect(page.locator("[data-testid=toast-body]")).to_have_count(0)
    assert [data[0] for data in asked if data and data[0] in ("tiny", "unlabelled")][-1] == "tiny"
    context.close()


@pytest.mark.parametrize("width", [1200, 390])
def test_a_picture_that_is_clicked_on_is_shown_larger(browser: Any, page_address: str, width: int) -> None:
    context = browser.new_context(viewport={"width": width, "height": 844})
    context.set_default_timeout(120_000)
    page = context.new_page()
    page.goto(f"{page_address}/?count=3")  # of one row
    panel = page.locator("#sample")
    pictures(panel, 3)
    small = panel.locator(".thumbnail-lg").first.bounding_box()["width"]
    panel.locator(".thumbnail-lg").first.click()
    large = panel.locator(".preview .media-button img").bounding_box()
    assert min(large["width"], large["height"]) > 2 * small
    context.close()


def test_a_drawing_is_not_offered_for_a_colour_model_once_it_was_shown(browser: Any, page_address: str) -> None:
    context = browser.new_context(viewport={"width": 1200, "height": 844})
    context.set_default_timeout(120_000)
    page = context.new_page()
    page.goto(page_address)
    panel = tab(page, "Reconstruct", "A drawing")
    drawing = panel.get_by_role("tab", name="A drawing", exact=True)
    paper = panel.get_by_label("Paper to draw on")
    sync_api.expect(paper).to_be_visible()
    page.get_by_label("unlabelled").check()
    sync_api.expect(drawing).to_be_hidden()
    sync_api.expect(paper).to_be_hidden()
    sync_api.expect(panel.locator(".upload:visible")).to_have_count(1)  # of the other inner tab
    frames = "all => all.map((frame) => frame.getBoundingClientRect().height).filter((height) => height < 10)"
    assert panel.locator(".form:visible").evaluate_all(frames) == []  # no frame around nothing
    page.get_by_label("tiny").check()
    sync_api.expect(drawing).to_be_visible()
    drawing.click()
    sync_api.expect(paper).to_be_visible()
    context.close()


def test_a_phone_shows_all_tabs_and_never_scrolls_sideways(browser: Any, page_address: str) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, color_scheme="dark", has_touch=True)
    context.set_default_timeout(60_000)
    page = context.new_page()
    page.goto(page_address)
    pictures(page.locator("#sample"), 24)
    go = page.get_by_role("button", name="Generate").bounding_box()
    assert go["y"] + go["height"] < 500  # on the first screen of any phone
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert max(map(int, re.findall(r"\d+", ground)[:3])) < 60  # dark
    for name in TABS:
        tab(page, name)
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), name
        assert page.evaluate(
            "[...document.querySelectorAll('.wide')].every((box) => box.scrollWidth <= box.clientWidth + 1)"
        ), name
    context.close()


def test_more_pictures_come_at_the_end_of_a_scroll_unless_their_number_was_chosen(
    browser: Any, page_address: str
) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 600}, has_touch=True)
    context.set_default_timeout(60_000)
    page = context.new_page()
    panel, more = page.locator("#sample"), page.get_by_role("button", name="Show more")

    def scroll(way: int) -> None:
        page.mouse.wheel(0, way)
        page.wait_for_timeout(1000)  # for what may be asked, and is not to be

    page.goto(page_address)
    pictures(panel, 24)
    assert more.bounding_box()["y"] > 600  # below the screen
    scroll(10)
    pictures(panel, 24)
    more.scroll_into_view_if_needed()  # downwards
    pictures(panel, 40)
    panel.get_by_label("number input for Number of pictures").fill("4")
    pictures(panel, 4)
    page.evaluate("window.scrollTo(0, 0)")
    for way in (30, 600):
        scroll(way)
        pictures(panel, 4)
    page.goto(f"{page_address}/?count=24")
    pictures(panel, 24)
    scroll(600)
    pictures(panel, 24)
    context.close()


def test_the_keyboard_reaches_the_tabs_and_the_first_button(page: Any) -> None:
    page.get_by_role("tab", name="Sample", exact=True).focus()
    page.get_by_role("tab", name="Sample", exact=True).click()
    reached = set()
    for _ in range(14):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.innerText || document.activeElement.ariaLabel"))
    assert {"Generate", "Random seed"} <= reached
    unnamed = page.locator("#sample button:visible, #sample input:visible").evaluate_all(
        """all => all.filter((part) => !(part.innerText || part.ariaLabel || part.title || part.labels?.length
            || part.getAttribute('aria-labelledby'))).map((part) => part.outerHTML)"""
    )
    assert unnamed == []
