"""What is sent of a model: its files, without the places on this machine that they name."""

from __future__ import annotations

import json
import os
import re
import shlex
from pathlib import Path
from typing import Any

from spikevae.hub.checkpoints import WEIGHTS_NAME
from spikevae.hub.measured import SCORES_NAME

_PLACE = re.compile(r"\b(folder|events):[^\s`\"']+")


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
        text = json.dumps(_scores_without_places(scores, dataset), indent=1, ensure_ascii=False) + "\n"
    else:
        text = _said(text, dataset)
    return text.encode(errors="backslashreplace")  # a path may hold bytes that are no UTF-8


def _scores_without_places(value: Any, dataset: str, key: str = "") -> Any:
    if isinstance(value, dict):
        return {name: _scores_without_places(item, dataset, name) for name, item in value.items()}
    if isinstance(value, list):
        return [_scores_without_places(item, dataset, key) for item in value]
    if not isinstance(value, str):
        return value
    if key == "command":
        return shlex.join(map(_last_part, shlex.split(value)))
    return _last_part(value) if key in ("model", "data") else _said(value, dataset)


def _said(text: str, dataset: str) -> str:
    """A text with this data set, or other data of one's own, in it."""
    for written in (dataset, json.dumps(dataset)[1:-1]):
        text = text.replace(written, _last_part(dataset))
    return _PLACE.sub(lambda found: _last_part(found[0]), text)


def _last_part(word: str) -> str:
    kind, colon, place = word.partition(":")
    if colon and kind in ("folder", "events"):
        return f"{kind}:{Path(os.path.abspath(os.path.expanduser(place))).name}"
    return word if word.startswith("hf:") or os.sep not in word else Path(word).name
