"""What every tab is that another model changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from ..actions import Actions
from ..show import Show
from ..traits import needs
from ..upload import Upload
from .parts import CHOOSE, Examples, bell, hint

_HERE = Path(__file__).parents[1]


class Tab:
    """A tab of the page.

    Args:
        actions: what its buttons call.
        model: the choice of a model.
        show: turns results into what is on the screen.
    """

    refresh: dict[str, Any]
    """The event that shows the same for another model."""

    def __init__(self, actions: Actions, model: gr.Radio, show: Show) -> None:
        self._actions, self._show, self._model = actions, show, model
        self.bell = bell()

    def _with_density(self, why_not: str) -> gr.Row:
        """A row for all of a tab that needs a density, behind a line for models that have none."""
        gr.HTML(hint(why_not), padding=False, elem_classes=needs("no-density"))
        return gr.Row(elem_classes=needs("density"))


class PictureTab(Tab):
    """A tab to which one brings a picture, or takes one of the examples."""

    def __init__(self, actions: Actions, model: gr.Radio, show: Show, examples: Examples) -> None:
        super().__init__(actions, model, show)
        self._examples = examples

    def _take_chosen(self, choices: gr.Gallery, picture: Upload) -> None:
        """An example that is clicked on becomes the picture."""
        choices.select(self._examples.chosen, self._model, picture, **CHOOSE)


def paper_html(what: str, clear: str, more: str = "") -> str:
    """A canvas to paint on with a mouse, a finger or a pen, and two buttons.

    Args:
        what: for those who do not see it, without its last words.
        clear: on the second button.
        more: HTML below the buttons.
    """
    return (
        '<div class="drawing"><canvas width="280" height="280" role="img" '
        f'aria-label="{what}, with the mouse, a finger or a pen"></canvas><div><button type="button">Undo</button> '
        f'<button type="button">{clear}</button></div>{more}</div>'
    )


def paper_script(name: str) -> str:
    """A script for :func:`paper_html`, behind that of the brush, which it uses."""
    return "".join((_HERE / file).read_text(encoding="utf-8") for file in ("brush.js", name))
