"""Open the page in the browser of the person who started it, where there is one."""

from __future__ import annotations

import ipaddress
import os
import sys
import webbrowser
from collections.abc import Mapping


def is_desktop(host: str, environment: Mapping[str, str] = os.environ, platform: str = sys.platform) -> bool:
    """Whether the page is for this machine alone, and a person sits at its screen.

    Args:
        host: that the page listens on.
        environment: variables of the process.
        platform: as `sys.platform`.
    """
    try:
        is_own = ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_own = host == "localhost"
    is_remote = any(environment.get(name) for name in ("SSH_CONNECTION", "SSH_TTY", "SPACE_ID", "CI"))
    has_screen = platform in ("darwin", "win32") or any(
        environment.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")
    )
    return is_own and has_screen and not is_remote


def open_page(address: str) -> bool:
    """Show an address in the default browser; False if there is none."""
    try:
        return webbrowser.open(address)
    except (webbrowser.Error, OSError):
        return False
