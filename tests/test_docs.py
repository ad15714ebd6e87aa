"""What people read holds together: links, spelling, reading ease, and a site that asks no other host for anything."""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

pytest.importorskip("mkdocs", reason="the docs' tools are not installed: pip install '.[docs]'")
pytest.importorskip("markdown_it")

ROOT = Path(__file__).parents[1]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


PUBLISHED = [
    *ROOT.glob("*.md"),
    *ROOT.glob("docs/*.md"),
    *ROOT.glob("notebooks/*.ipynb"),
    *ROOT.glob("spikevae/released/*/scores.json"),
    *ROOT.glob("benchmarks/*.json"),
]


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_published_names_a_folder_of_the_machine_that_made_it(path: Path) -> None:
    """A measured command or a saved warning brings them along."""
    found = re.findall(r"(?<![\w.:~])/(?:home|root|srv|mnt|work|Users)/\S*|/site-packages/\S*", path.read_text())
    assert not found


@pytest.fixture(scope="module")
def check() -> ModuleType:
    """docs/check.py, which lies in no package."""
    spec = importlib.util.spec_from_file_location("check", ROOT / "docs" / "check.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` does; a warning is an error."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert result.returncode == 0, result.stdout + result.stderr
    return folder


def test_every_link_leads_somewhere(check: ModuleType) -> None:
    assert not [line for path in check.texts() for line in check.broken_links(path)]


def test_a_link_to_no_file_no_heading_and_no_address_is_found(check: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "there.md").write_text("# One `two` three\n\n| a |\n| --- |\n| [x](there.md#one-two-three) |\n")
    page = tmp_path / "page.md"
    page.write_text(
        "[a](gone.md) [b](there.md) [c](there.md#one) ![d](gone.png) <https://example.org>\n\n"
        "- [e](https://nowhere) [f](#here) [g](there.md#one-two-three)\n\n```\n[h](gone.md)\n```\n"
    )
    assert check.broken_links(tmp_path / "there.md") == []
    found = [line.split()[1] for line in check.broken_links(page)]
    assert found == ["gone.md", "there.md#one", "gone.png", "https://nowhere", "#here"]


def test_words_are_spelt_right(check: ModuleType) -> None:
    assert check.misspelt() == []


def test_only_sentences_count_for_the_reading_ease(check: ModuleType) -> None:
    text = (
        "# Heading\n\nThe `x.y` of [a link](https://a.org) is 5.9, .5.\n\n- An item\n- Two:\n\n  ```\n  z = 1\n  ```\n"
    )
    assert check.prose(text + "\n| table |\n| --- |\n| cell |\n") == "The code of a link is 59, 5.\nAn item.\nTwo."


def test_every_page_reads_easily(check: ModuleType) -> None:
    eases = {path.name: check.reading_ease(check.read(path)) for path in check.pages()}
    assert {name: ease for name, ease in eases.items() if ease <= check.LEAST_EASE} == {}
    hard = "Notwithstanding computational complexity, probabilistic autoregressive formulations necessitate it."
    assert check.reading_ease(hard) < 0 < 100 < check.reading_ease("The cat sat. The dog ran. It was a fine day.")


def test_the_site_documents_the_public_interface(site: Path) -> None:
    page = (site / "api.html").read_text(encoding="utf-8")
    for name in ("load", "train", "evaluate", "ModelConfig", "SpikingVAE", "register_metric"):
        assert f'id="spikevae.{name}"' in page


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium found: apt-get install chromium")
def test_the_site_asks_no_other_host_and_can_be_searched(site: Path) -> None:
    playwright = pytest.importorskip("playwright.sync_api")

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=site)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/"
        with playwright.sync_playwright() as chromium:
            browser = chromium.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
            page = browser.new_page()
            asked: list[str] = []
            page.on("request", lambda request: asked.append(request.url))
            for name in ("index.html", "how-it-works.html", "api.html"):
                page.goto(address + name)
                page.wait_for_load_state("networkidle")
            page.keyboard.press("s")
            page.locator("input.md-search__input").press_sequentially("surrogate")  # it listens to keys
            page.locator(".md-search-result__item").first.wait_for()
            browser.close()
        server.shutdown()
    assert len(asked) > 10
    assert [url for url in asked if not url.startswith((address, "data:", "blob:"))] == []
