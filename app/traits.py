"""What the page's model can do, as the style sheet is told: it hides what means nothing for a model.

Gradio loses a change of `visible` where the tab of a box is opened in the same instant, so no box of the other tabs is
hidden that way.
"""

from __future__ import annotations

import json
from typing import Any

from .actions import Actions

_TELL = "(model) => {{ document.documentElement.dataset.can = {traits}[model] ?? ''; }}"


def needs(trait: str) -> str:
    """The class of a box that is shown only for models with a trait of :func:`traits`, or "no-" and one: without."""
    return f"needs-{trait}"


def traits(actions: Actions, model: str) -> str:
    """What a model can do, in words that `style.css` knows: "density", "label" (samples of one class), "classes"
    (it names what it sees) and "grey"."""
    has = {
        "density": actions.models.has_density(model),
        "label": actions.has_class_choice(model),
        "classes": bool(actions.models.class_names(model)),
        "grey": not actions.is_colour(model),
    }
    return " ".join(trait for trait, holds in has.items() if holds)


def head(actions: Actions) -> str:
    """For the page's head: what its first model can do, before anything is on the screen."""
    return f"<script>document.documentElement.dataset.can = {json.dumps(traits(actions, actions.names[0]))};</script>"


def told(actions: Actions) -> dict[str, Any]:
    """The event that tells the style sheet of another model: nothing is asked of the server for it."""
    script = _TELL.format(traits=json.dumps({model: traits(actions, model) for model in actions.names}))
    return {"fn": None, "js": script}
