"""The web page that shows what the models do. `app.launch` serves it; everything heavy is imported there, not here."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["launch"]


def launch(
    host: str = "127.0.0.1",
    port: int = 7860,
    auth: str | None = None,
    models: Sequence[str] | None = None,
    *,
    allow_host: Sequence[str] = (),
    allow_origin: Sequence[str] = (),
    embed_in: Sequence[str] = (),
    root_path: str = "",
    proxy: Sequence[str] = (),
    browser: bool = True,
) -> None:
    """Serve the page until it is interrupted.

    Args:
        host: address to listen on; 127.0.0.1 is reached from this machine only, 0.0.0.0 from everywhere.
        port: 1 to 65535.
        auth: "name:password" that visitors must give; None lets everybody in.
        models: bundled names or folders; None for all that are bundled.
        allow_host: names under which browsers may ask for the page, besides the address itself and localhost.
        allow_origin: other sites ("https://example.org") whose scripts may call the API.
        embed_in: other sites that may show the page in a frame.
        root_path: path, or whole address, under which a reverse proxy serves the page.
        proxy: addresses of reverse proxies, whose word on a visitor's address is believed; "*" for all.
        browser: whether to open the page in the default browser, where a person sits at this machine's screen.

    Raises:
        ValueError: if an argument is out of range, there is no model, or Gradio is not installed.
        OSError: if the address or the port is taken, or not ours to take.
    """
    from .access import Access, on_a_space
    from .server import serve

    access = Access(host, port, auth, allow_host, allow_origin, embed_in, root_path, proxy)
    serve(on_a_space(access), models, browser=browser)
