"""Who may come in, and by which names: what the operator says of it."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from spikevae.text import printable

_HERE = frozenset({"localhost", "127.0.0.1", "::1"})
_EVERYWHERE = frozenset({"0.0.0.0", "::"})
_ORIGIN = re.compile(r"https?://(\*\.)?[\w-]+(\.[\w-]+)*(:\d+)?", re.ASCII)
_ROOT = re.compile(r"(?:https?://([^/*]+))?(?:/[\w.~-]+)*/?")
_NAME = re.compile(r"(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*")


@dataclass(frozen=True)
class Access:
    """Where the page is served, and to whom.

    Raises:
        ValueError: if a setting cannot be understood.
    """

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = 7860
    auth: str | None = None
    """name:password that visitors must give."""
    allow_host: Sequence[str] = ()
    """Names under which browsers may ask for the page, besides the address itself."""
    allow_origin: Sequence[str] = ()
    """Other sites (https://name) whose scripts may call the API."""
    embed_in: Sequence[str] = ()
    """Other sites (https://name) that may show the page in a frame."""
    root_path: str = ""
    """Path, or whole address, under which a reverse proxy serves the page."""
    proxy: Sequence[str] = ()
    """Addresses of reverse proxies, or networks of them, whose word on a visitor's address is believed; * for all."""

    def __post_init__(self) -> None:
        if not self.host.strip():  # the system takes it for all addresses
            raise ValueError("host is empty; give 127.0.0.1 for this machine alone, or 0.0.0.0 to let others in")
        if not 1 <= self.port <= 65535:
            raise ValueError(f"port {self.port} is outside 1 to 65535")
        name, _, password = (self.auth or "").partition(":")
        if self.auth is not None and not (name and password):
            raise ValueError("auth is not NAME:PASSWORD with neither part empty")
        for host in self.allow_host:
            if not _NAME.fullmatch(host.lower()) and not _is_address(host):
                raise ValueError(
                    f"{printable(host)!r} is no name of a host; give one as demo.example.org, without port"
                )
        for origin in (*self.allow_origin, *self.embed_in):
            if not _ORIGIN.fullmatch(origin):
                raise ValueError(f"{printable(origin)!r} is no origin; give one as https://example.org")
        for proxy in self.proxy:
            if proxy != "*" and not _is_network(proxy):
                raise ValueError(
                    f"{printable(proxy)!r} is no address of a proxy; give it as 127.0.0.1, or a network as 10.0.0.0/8"
                )
        if "*" in self.proxy and len(self.proxy) > 1:  # the server would believe none of them
            raise ValueError("proxy is * and more; give * alone, for all addresses, or leave it out")
        root = _ROOT.fullmatch(self.root_path)
        if root is None or (root[1] and host_name(root[1]) is None):
            raise ValueError(f"root_path {printable(self.root_path)!r} is neither a path (/demo) nor an address")

    @property
    def account(self) -> tuple[str, str] | None:
        """Name and password."""
        name, _, password = (self.auth or "").partition(":")
        return (name, password) if self.auth else None

    @property
    def path(self) -> str:
        """The path in front of the page's own, "" or as /demo."""
        return urlsplit(self.root_path).path.rstrip("/")

    def knows_host(self, header: str) -> bool:
        """Whether a request may name this host (with or without a port).

        Listening everywhere, with no name given, every host is one: an address of the machine cannot be told from a
        name that leads to it.
        """
        name = host_name(header)
        if name is None:
            return False
        if name in _HERE or name == self.host.strip("[]").lower() or self._is_named(name):
            return True
        return self.host in _EVERYWHERE and (not self.allow_host or _is_address(name))

    def knows_origin(self, origin: str, host: str) -> bool:
        """Whether scripts of this origin may ask: the page's own under any of its names, or an allowed site."""
        if origin in self.allow_origin:
            return True
        try:
            parts = urlsplit(origin)
        except ValueError:  # half an IPv6 address
            return False
        if parts.scheme not in ("http", "https") or parts.hostname is None:
            return False
        return parts.netloc.lower() == host.lower() or self._is_named(parts.hostname)

    def _is_named(self, name: str) -> bool:
        names = [host.lower() for host in self.allow_host]
        names += [urlsplit(self.root_path).hostname or ""]
        return name in names or any(known.startswith("*.") and name.endswith(known[1:]) for known in names)


def on_a_space(access: Access) -> Access:
    """The same, if this runs in a Hugging Face Space: served through its proxy, and shown in a frame of its page."""
    host = os.environ.get("SPACE_HOST")
    if not os.environ.get("SPACE_ID") or not host:
        return access
    import dataclasses

    return dataclasses.replace(
        access,
        allow_host=(*access.allow_host, *host.split(",")),
        embed_in=(*access.embed_in, "https://huggingface.co", "https://*.hf.space"),
        proxy=access.proxy or ("*",),
    )


def host_name(header: str) -> str | None:
    """The name in a Host header, in small letters and without its port; None if it is no such header."""
    try:
        parts = urlsplit(f"//{header}")
        _ = parts.port
    except ValueError:
        return None
    name = parts.hostname
    is_plain = name is not None and parts.netloc == header and "@" not in header
    return name if name is not None and is_plain and (_NAME.fullmatch(name) or _is_address(name)) else None


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def _is_network(text: str) -> bool:
    try:
        address = ipaddress.ip_network(text).network_address
    except ValueError:
        return False
    return getattr(address, "ipv4_mapped", None) is None  # visitors come under the IPv4 address in it
