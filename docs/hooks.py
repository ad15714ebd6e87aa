"""A hook of mkdocs: pages that lie outside docs/ join the site, and links between all of them hold.

On disk README links to docs/install.md, and docs/security.md to ../SECURITY.md, so that both work where the files are
read as they are. In the site they become index.md, install.md and report.md.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
OUTSIDE = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "report.md",
    "CHANGELOG.md": "changelog.md",
    "LICENSE": "LICENSE.txt",
    "CITATION.cff": "CITATION.cff",
    "requirements.lock": "requirements.lock.txt",
}
"""Files of the repository, and where they lie in the site."""
CARDS = "model-cards.md"
_LINK = re.compile(r"(\]\()([^)\s]+)(\))")
_FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)


def on_files(files: Files, config: MkDocsConfig, **_: Any) -> Files:
    """Add the files from outside."""
    for source, name in OUTSIDE.items():
        files.append(File.generated(config, name, content=(ROOT / source).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Point links to where their targets lie in the site. Where a target is not in it, leave the words."""
    home = page.file.src_uri
    markdown = _relink(markdown, _source(home), home)
    if home == CARDS:
        for card in sorted(ROOT.glob("spikevae/released/*/README.md")):
            text = _FRONT_MATTER.sub("", card.read_text(encoding="utf-8"))
            text = re.sub("^#", "##", _relink(text, card.relative_to(ROOT).as_posix(), home), flags=re.MULTILINE)
            markdown += "\n\n" + text.strip().replace("\n", f" {{ #{card.parent.name} }}\n", 1) + "\n"
    return markdown


def _source(name: str) -> str:
    """Where a page of the site lies in the repository."""
    return next((source for source, place in OUTSIDE.items() if place == name), f"docs/{name}")


def _place(source: str) -> str | None:
    """Where a file of the repository lies in the site, if it does."""
    if card := re.fullmatch(r"spikevae/released/([^/]+)/README\.md", source):
        return f"{CARDS}#{card[1]}"
    if source.startswith("docs/") and not source.endswith(".py"):
        return source.removeprefix("docs/")
    return OUTSIDE.get(source)


def _relink(markdown: str, source: str, home: str) -> str:
    """The links of a text of the repository, for a page of the site."""

    def moved(link: re.Match[str]) -> str:
        parts = urlsplit(link[2])
        path = os.path.normpath(Path(source).parent / parts.path)
        if parts.scheme or not parts.path or not (ROOT / path).exists():
            return link[0]
        place = _place(path)
        if place is None:
            return "]()"
        target, _, anchor = place.partition("#")
        fragment = parts.fragment or anchor
        return f"]({os.path.relpath(target, Path(home).parent)}{'#' * bool(fragment)}{fragment})"

    text = _LINK.sub(moved, markdown)
    return re.sub(r"\[([^\]]*)\]\(\)", r"\1", text)
