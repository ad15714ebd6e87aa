"""Values computed of tensors, kept for as long as the tensors stay as they are."""

from __future__ import annotations

from operator import is_
from typing import Any

from torch import Tensor


class Remembered:
    """A dictionary of values that follow from some tensors; empty again once one of them is not what it was.

    It is part of no state_dict, and a copy or a pickle of it is empty.
    """

    def __init__(self) -> None:
        self._tensors: tuple[Tensor, ...] = ()
        self._state: list[tuple[int, int]] = []  # of each tensor where it lies, and how often it was written to
        self._values: dict[Any, Any] = {}

    def of(self, *tensors: Tensor) -> dict[Any, Any]:
        """What is known of these very tensors, to be read and added to."""
        if any(each.is_inference() for each in tensors):  # these do not count how often they are written to
            return {}
        state = [(each.data_ptr(), each._version) for each in tensors]
        if state != self._state or not all(map(is_, tensors, self._tensors)):
            self._tensors, self._state, self._values = tensors, state, {}
        return self._values

    def __reduce__(self) -> tuple[type[Remembered], tuple[()]]:
        return Remembered, ()
