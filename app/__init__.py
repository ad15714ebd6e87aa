"""The web page that shows what the models do. `app.launch` serves it; everything heavy is imported there, not here."""

from __future__ import annotations

__all__ = ["launch"]


def launch(host: str = "127.0.0.1", port: int = 7860, auth: str | None = None) -> None:
    """Serve the page with the bundled models until it is interrupted.

    Args:
        host: address to listen on; 127.0.0.1 is reached from this machine only, 0.0.0.0 from everywhere.
        port: 1 to 65535.
        auth: "name:password" that visitors must give; None lets everybody in.

    Raises:
        ValueError: if an argument is out of range, no model is bundled, or Gradio is not installed.
        OSError: if the address or the port is taken, or not ours to take.
    """
    from app.server import serve

    serve(host, port, auth)
