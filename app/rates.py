"""How much of something a visitor may have in a while."""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict

from .limits import Number

_VISITORS = 10_000  # that are remembered; beyond, those who came longest ago are forgotten


def visitor_at(address: str) -> str:
    """Whom limits count an address for: itself, or of IPv6 its network of 64 bits, which one visitor has as a whole.

    A proxy may pass on what is no address at all; whoever sends that counts as one visitor.
    """
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    return str(found.ipv4_mapped or ipaddress.ip_network((int(found), 64), strict=False))


class Allowance:
    """A token bucket for each visitor: so much at once, and so much more each second.

    Args:
        most: what a bucket holds.
        per_second: what flows into it.
    """

    def __init__(self, most: Number, per_second: Number) -> None:
        self._most, self._per_second = most, per_second
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # what is in it, and when it was

    def take(self, visitor: str, amount: Number = 1) -> float:
        """Take an amount, and return 0; if there is not enough, take nothing and return the seconds to wait."""
        now = time.monotonic()
        content, then = self._buckets.pop(visitor, (self._most, now))
        content = min(self._most, content + (now - then) * self._per_second)
        missing = max(0.0, min(amount, self._most) - content)
        self._buckets[visitor] = (content if missing else content - amount, now)
        while len(self._buckets) > _VISITORS:
            self._buckets.popitem(last=False)
        return missing / self._per_second

    def give_back(self, visitor: str) -> None:
        """Undo a :meth:`take` of 1."""
        content, then = self._buckets.get(visitor, (self._most, time.monotonic()))
        self._buckets[visitor] = (content + 1, then)
