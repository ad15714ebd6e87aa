"""What is sent of a model: its files, without the places on this machine that they name."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any

from spikevae.config import own_place
from spikevae.hub.checkpoints import WEIGHTS_NAME
from spikevae.hub.measured import SCORES_NAME

_PLACE = re.compile(r"\b(folder|events):[^\s`\"']+")
_PATH = re.compile(r"(?<![\w:/.~])(?:file://|~|\.\.?)?/(?:[^\s/`\"']+/)+")  # up to its last part; no address of the web


def without_places(file: Path, dataset: str) -> Path | bytes:
    """What to send of one of a model's files: ``folder:/home/me/pictures`` becomes ``folder:pictures``.

    Args:
        file: config, weights, card or scores.
        dataset: that the model was trained on.

    Raises:
        ValueError: if it is no UTF-8 text, or a file of scores that is damaged.
    """
    if file.name == WEIGHTS_NAME:
        return file
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is no UTF-8 text; save it as that") from error
    if file.name == SCORES_NAME:
        try:
            scores = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{file} is damaged; evaluate the model again, or remove it") from error
        places = {dataset, *_places_in(scores)}
        text = json.dumps(_scores_without_places(scores, places), indent=1, ensure_ascii=False) + "\n"
    else:
        text = _said(text, {dataset})
    return text.encode(errors="backslashreplace")  # a path may hold bytes that are no UTF-8


def _places_in(value: Any, key: str = "") -> Iterator[str]:
    """The paths that scores name as such: of data, of a model, and in commands."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _places_in(item, name)
    elif isinstance(value, list):
        for item in value:
            yield from _places_in(item, key)
    elif isinstance(value, str) and key in ("command", "model", "data"):
        words = [_option_and_value(word)[1] for word in shlex.split(value)] if key == "command" else [value]
        yield from (word for word in words if without_place(word) not in (word, ""))


def _option_and_value(word: str) -> tuple[str, str]:
    """A word of a command, as ``--data=`` and what it is set to; an empty option and the word where it sets nothing."""
    option, equals, value = word.partition("=")
    return (option + equals, value) if equals and option.startswith("--") else ("", word)


def _scores_without_places(value: Any, places: AbstractSet[str], key: str = "") -> Any:
    if isinstance(value, dict):
        return {name: _scores_without_places(item, places, name) for name, item in value.items()}
    if isinstance(value, list):
        return [_scores_without_places(item, places, key) for item in value]
    if not isinstance(value, str):
        return value
    if key == "command":
        words = map(_option_and_value, shlex.split(value))
        return shlex.join(option + without_place(word) for option, word in words)
    return without_place(value) if key in ("model", "data") else _PATH.sub("", _said(value, places))


def _said(text: str, places: AbstractSet[str]) -> str:
    """A text with the last part of these places, and of other data of one's own, in it."""
    for place in sorted(places, key=len, reverse=True):  # one may lie in another
        last = without_place(place)
        for written in (place, json.dumps(place)[1:-1]):
            text = re.sub(rf"(?<![\w/.~]){re.escape(written)}(?![\w-])", last.replace("\\", r"\\"), text)
    return _PLACE.sub(lambda found: without_place(found[0]), text)


def without_place(word: str) -> str:
    """The last part of a path, also behind ``folder:`` or ``events:``; any other word as it is."""
    place = own_place(word)
    if place is not None:
        return word.removesuffix(place) + Path(os.path.abspath(os.path.expanduser(place))).name
    return word if word.startswith("hf:") or os.sep not in word else Path(word).name
