"""Connections: how many there may be, and how long one may do nothing."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from collections import Counter
from typing import Any, ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol

from . import limits
from .rates import visitor_at

_BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nContent-Length: 31\r\nRetry-After: 5\r\n"
    b"Connection: close\r\n\r\nToo many connections; try later"
)
_SPARE_FILES = 256  # for everything that is no connection


class Connections:
    """Counts of the open connections of a server.

    Args:
        most: of all.
        most_by_address: of one address.
        unbounded: addresses or networks of reverse proxies, behind which there are many visitors; * for all.
    """

    def __init__(self, most: int, most_by_address: int, unbounded: frozenset[str]) -> None:
        self._most, self._most_by_address, self._unbounded = most, most_by_address, unbounded
        self._open: Counter[str] = Counter()

    def admit(self, address: str) -> bool:
        """Count a connection in, if there is room for it."""
        visitor = visitor_at(address) or address
        is_full = self._open[visitor] >= self._most_by_address and not self._is_unbounded(address)
        if is_full or self._open.total() >= self._most:
            return False
        self._open[visitor] += 1
        return True

    def leave(self, address: str) -> None:
        """Count it out."""
        visitor = visitor_at(address) or address
        self._open[visitor] -= 1
        if not self._open[visitor]:
            del self._open[visitor]

    def _is_unbounded(self, address: str) -> bool:
        if self._unbounded & {address, "*"}:
            return True
        try:
            found = ipaddress.ip_address(address)
        except ValueError:  # of a socket that has none
            return False
        return any(found in ipaddress.ip_network(proxy) for proxy in self._unbounded)


def third_for_an_address(unbounded: frozenset[str] = frozenset()) -> Connections:
    """Counts by which one address may hold a third of the connections that this process may have."""
    allowed = connections_allowed()
    return Connections(allowed, max(allowed // 3, 16), unbounded)


def connections_allowed() -> int:
    """How many the limit on open files of this process leaves room for; the limit is raised as far as it may be."""
    try:
        import resource
    except ImportError:  # Windows
        return limits.CONNECTIONS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = limits.CONNECTIONS + _SPARE_FILES
    if soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(
                resource.RLIMIT_NOFILE, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard)
            )
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(min(limits.CONNECTIONS, soft - _SPARE_FILES), 32)


class BoundedProtocol(H11Protocol):
    """uvicorn's protocol, which closes a connection whose header does not come, or whose visitor does not read."""

    admission: ClassVar[Connections]  # of all addresses

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._address: str | None = None
        self._header_timer: asyncio.TimerHandle | None = None
        self._reading_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        address = self.client[0] if self.client else ""
        if self.admission.admit(address):
            self._address = address
            self._await_header()
        else:
            transport.write(_BUSY)
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._header_timer, self._reading_timer):
            if timer is not None:
                timer.cancel()
        if self._address is not None:
            self.admission.leave(self._address)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if not self.transport.is_closing():
            super().data_received(data)

    def send_400_response(self, msg: str) -> None:
        super().send_400_response(msg)
        if self.cycle is not None:
            self.cycle.disconnected = True  # the application's own answer has no place any more

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._await_header()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._reading_timer = self.loop.call_later(limits.SILENT_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._reading_timer is not None:
            self._reading_timer.cancel()

    def _await_header(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
        self._header_timer = self.loop.call_later(limits.HEADER_SECONDS, self._end_if_idle)

    def _end_if_idle(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.transport.abort()


def protocol_with(connections: Connections) -> type[H11Protocol]:
    """The protocol, with bounds on what a connection may do without asking for anything."""
    return type("ConnectionProtocol", (BoundedProtocol,), {"admission": connections})
