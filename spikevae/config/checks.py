"""What every config refuses in the same words."""

from __future__ import annotations

import math
from typing import Any

from spikevae.config.reading import hints_of, typed

_MOST = 10**12  # more than any machine counts to, and no product of two of them is too large for a float


def require_types(config: Any) -> None:
    """Refuse settings of other types than those of the config, as a file of settings would be refused."""
    for name, hint in hints_of(type(config)).items():  # type: ignore[arg-type]  # classes have a hash
        object.__setattr__(config, name, typed(name, hint, getattr(config, name)))


def require_positive(config: Any, *names: str) -> None:
    """Refuse settings of these names that are not finite and larger than 0."""
    for name in names:
        if not 0 < getattr(config, name) < math.inf:
            raise ValueError(f"{name}={getattr(config, name)} must be larger than 0")


def require_not_negative(config: Any, *names: str) -> None:
    """Refuse settings of these names that are not finite and at least 0, and counts that no machine reaches."""
    for name in names:
        value = getattr(config, name)
        if not 0 <= value < math.inf:
            raise ValueError(f"{name}={value} must be at least 0")
        if isinstance(value, int) and value > _MOST:
            raise ValueError(f"{name}={value} must be at most {_MOST:,}")
