"""`python -m app`: the same as `spikevae demo`."""

from __future__ import annotations

import argparse
import sys

from spikevae.runtime import reuse_freed_memory, sleep_while_waiting
from spikevae.text import printable


def main() -> int:
    """Serve the page; 0 once it is interrupted, 1 if it cannot be served."""
    parser = argparse.ArgumentParser(prog="python -m app", description="Serve the page.")
    parser.add_argument("models", nargs="*", metavar="MODEL", help="bundled names or folders; otherwise all bundled")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 for all (%(default)s)")
    parser.add_argument("--port", default=7860, type=int, help="port to listen on (%(default)s)")
    parser.add_argument("--auth", metavar="NAME:PASSWORD", help="ask visitors for this name and password")
    for option, metavar, words in (
        ("--allow-host", "NAME", "a name under which browsers may ask for the page; may be repeated"),
        ("--allow-origin", "SITE", "another site whose scripts may call the API; may be repeated"),
        ("--embed-in", "SITE", "another site that may show the page in a frame; may be repeated"),
        ("--proxy", "ADDRESS", "a reverse proxy, whose word on a visitor's address is believed; may be repeated"),
    ):
        parser.add_argument(option, action="append", default=[], metavar=metavar, help=words)
    parser.add_argument("--root-path", default="", help="path under which a reverse proxy serves the page")
    parser.add_argument("--no-browser", dest="browser", action="store_false", help="do not open the page in a browser")
    arguments = vars(parser.parse_args())
    arguments["models"] = arguments["models"] or None
    sleep_while_waiting()
    reuse_freed_memory(stores=2)
    from . import launch

    try:
        launch(**arguments)
    except (ValueError, OSError) as error:
        print(f"error: {printable(error, 1000)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
