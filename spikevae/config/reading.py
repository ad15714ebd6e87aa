"""Configs as JSON-ready values, and strictly back."""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

_FORMER_NAMES = {
    "settling_share": "deterministic_share",
    "settling_learning_rate": "deterministic_learning_rate",
    "refinement_share": "adversarial_share",
    "refinement_learning_rate": "adversarial_learning_rate",
}
"""Settings by the names they had: run folders and command lines of those times still work."""

_REMOVED: dict[str, object] = {"read_out_scale": 1, "decoder_depth": 0}

Config = TypeVar("Config", bound=Any)


def to_dict(config: Any) -> dict[str, Any]:
    """The settings as JSON-ready values."""
    return dataclasses.asdict(config)


def from_dict(config_class: type[Config], values: object) -> Config:
    """Rebuild a config from parsed JSON, strictly.

    Raises:
        ValueError: on an unknown or missing name, a wrong type, or a value that the config refuses.
    """
    if not isinstance(values, Mapping):
        raise ValueError(f"{config_class.__name__}: expected a JSON object, found {type(values).__name__}")
    hints = get_type_hints(config_class)
    values = {_FORMER_NAMES.get(str(name), str(name)): value for name, value in values.items()}
    for name in _REMOVED.keys() & values.keys() - hints.keys():
        if (value := values.pop(name)) != _REMOVED[name]:
            raise ValueError(f"{name}={value!r}: this setting is gone; only models with {_REMOVED[name]} are read")
    unknown = [name for name in values if name not in hints]
    if unknown:
        near = difflib.get_close_matches(unknown[0], hints, n=1)
        raise ValueError(
            f"{config_class.__name__} has no setting {unknown[0]!r}" + (f"; did you mean {near[0]!r}?" if near else "")
        )
    fields = dataclasses.fields(config_class)
    older = {field.name: field.metadata["before"] for field in fields if "before" in field.metadata}
    values = {**older, **values}  # a setting that an older version did not know had the effect of this value
    missing = [name for name in hints if name not in values]
    if missing:
        raise ValueError(f"{config_class.__name__}: the setting {missing[0]!r} is missing")
    config: Config = config_class(**{name: _checked(name, hints[name], value) for name, value in values.items()})
    return config


def _checked(name: str, hint: Any, value: Any) -> Any:
    if dataclasses.is_dataclass(hint):
        return from_dict(hint, value)  # type: ignore[arg-type]
    if get_origin(hint) is tuple:
        if not isinstance(value, list | tuple):
            raise ValueError(f"{name}={value!r} is not a list")
        return tuple(_checked(name, get_args(hint)[0], item) for item in value)
    if get_origin(hint) is Literal:
        if value in get_args(hint):
            return value
        raise ValueError(f"{name}={value!r} is none of {', '.join(map(str, get_args(hint)))}")
    allowed = get_args(hint) or (hint,)
    choices = [kind for kind in allowed if get_origin(kind) is Literal]
    if choices:  # one of several words, or None
        return value if value is None else _checked(name, choices[0], value)
    if float in allowed and isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53:
        return float(value)
    if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
        raise ValueError(f"{name}={value!r} is not of type {getattr(hint, '__name__', hint)}")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{name}={value!r} is not a finite number")
    return value
