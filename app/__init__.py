"""The web page that shows what the models do. `app.launch` serves it; everything heavy is imported there, not here."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["launch"]


def launch(
    host: str = "127.0.0.1", port: int = 7860, auth: str | None = None, models: Sequence[str] | None = None
) -> None:
    """Serve the page until it is interrupted.

    Args:
        host: address to listen on; 127.0.0.1 is reached from this machine only, 0.0.0.0 from everywhere.
        port: 1 to 65535.
        auth: "name:password" that visitors must give; None lets everybody in.
        models: bundled names or folders; None for all that are bundled.

    Raises:
        ValueError: if an argument is out of range, there is no model, or Gradio is not installed.
        OSError: if the address or the port is taken, or not ours to take.
    """
    from app.server import serve

    serve(host, port, auth, models)
