"""Configs as JSON-ready values, and strictly back."""

from __future__ import annotations

import dataclasses
import math
import numbers
import operator
from collections.abc import Hashable, Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from spikevae.text import did_you_mean

_FORMER_NAMES = {
    "settling_share": "deterministic_share",
    "settling_learning_rate": "deterministic_learning_rate",
    "refinement_share": "adversarial_share",
    "refinement_learning_rate": "adversarial_learning_rate",
}
"""Settings by the names they had: run folders and command lines of those times still work."""

_REMOVED: dict[str, object] = {"read_out_scale": 1, "decoder_depth": 0}

_EXACT: Any = 2**53  # whole numbers below it are the same as floats

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
    hints = hints_of(config_class)  # type: ignore[arg-type]  # classes have a hash
    values = {_FORMER_NAMES.get(str(name), str(name)): value for name, value in values.items()}
    for name in _REMOVED.keys() & values.keys() - hints.keys():
        if (value := values.pop(name)) != _REMOVED[name]:
            raise ValueError(f"{name}={value!r}: this setting is gone; only models with {_REMOVED[name]} are read")
    unknown = [name for name in values if name not in hints]
    if unknown:
        hint = did_you_mean(unknown[0], hints)
        raise ValueError(f"{config_class.__name__} has no setting {unknown[0]!r}" + (f"; {hint}" if hint else ""))
    fields = dataclasses.fields(config_class)
    older = {field.name: field.metadata["before"] for field in fields if "before" in field.metadata}
    values = {**older, **values}  # a setting that an older version did not know had the effect of this value
    missing = [name for name in hints if name not in values]
    if missing:
        raise ValueError(f"{config_class.__name__}: the setting {missing[0]!r} is missing")
    config: Config = config_class(**{name: typed(name, hints[name], value) for name, value in values.items()})
    return config


@lru_cache
def hints_of(config_class: Hashable) -> dict[str, Any]:
    """Types of the settings, by name."""
    return get_type_hints(config_class)


def typed(name: str, hint: Any, value: Any) -> Any:
    """A setting's value as its type asks for: lists become tuples, words paths, numbers of numpy those of Python.

    Raises:
        ValueError: if it is of another type.
    """
    if get_origin(hint) in (Union, UnionType):  # a type, or None
        return None if value is None else typed(name, get_args(hint)[0], value)
    if dataclasses.is_dataclass(hint):
        return value if isinstance(value, hint) else from_dict(hint, value)  # type: ignore[arg-type]
    if get_origin(hint) is tuple:
        if not isinstance(value, list | tuple):
            raise ValueError(f"{name}={value!r} is not a list")
        return tuple(typed(name, get_args(hint)[0], item) for item in value)
    if get_origin(hint) is Literal:
        if value in get_args(hint):
            return value
        raise ValueError(f"{name}={value!r} is none of {', '.join(map(str, get_args(hint)))}")
    if hint is Path and isinstance(value, str):
        value = Path(value)
    elif hint is int and hasattr(value, "__index__") and not isinstance(value, bool):
        with suppress(TypeError):  # of an array, or of a tensor that holds no whole number
            value = int(operator.index(value))
    elif hint is float and isinstance(value, numbers.Real) and not isinstance(value, bool) and abs(value) < _EXACT:
        value = float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise ValueError(f"{name}={value!r} is not of type {hint.__name__}")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{name}={value!r} is not a finite number")
    return value
