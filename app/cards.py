"""What is said of each model: its card, and the terms of the data that it was trained on."""

from __future__ import annotations

import re
from importlib import metadata

from spikevae.hub.checkpoints import model_folder

from .pictures import link_line, paragraph

_DATA = re.compile(r"^## Data\s+(.+?)(?:\. |$)", re.MULTILINE)
_FEW = 1_000_000  # bytes of a card that are read


def card(model: str) -> str:
    """A model's card as Markdown, without its title; empty if it has none.

    Args:
        model: a bundled name or a folder.
    """
    path = model_folder(model) / "README.md"
    if not path.is_file():
        return ""
    with path.open(encoding="utf-8", errors="replace") as file:
        text = file.read(_FEW)
    if text.startswith("---\n"):  # front matter, which hubs read
        text = text.partition("\n---\n")[2]
    return text.strip().partition("\n")[2].strip()


def terms_line(model: str) -> str:
    """What a model was trained on, and on what terms; empty if its card does not say."""
    found = _DATA.search(card(model))
    return paragraph(f"Trained on {found[1]}.", "terms") if found else ""


def footer() -> str:
    """Version, repository, papers, licence, and where the models' cards are."""
    about = metadata.metadata("spikevae")
    links = [tuple(entry.split(", ", 1)) for entry in about.get_all("Project-URL") or []]
    words = f"spikevae {about['Version']}, {about['License-Expression']} licence"
    shown = [(name, address) for name, address in links if address.startswith("https://")]
    return link_line(words, [*shown, ("Model cards and scores", "#scores")])
