"""Serve the page: where it listens, who may come in, and what is cleaned up behind it."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import spikevae
from app import limits
from spikevae.hub.checkpoints import model_folder, read_config

# No report to Gradio's makers; and none on the last 10,000 requests, made anew after each, which no page shows.
_NO_ANALYTICS = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "GRADIO_ANALYTICS_MAX_EVENTS": "1",
    "GRADIO_ANALYTICS_CACHE_FREQUENCY": str(10**9),
}


def serve(host: str, port: int, auth: str | None, models: Sequence[str] | None = None) -> None:
    """Serve the models until Ctrl-C or SIGTERM. Arguments and errors as for `app.launch`."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with running(models or bundled(), host, port, auth) as address:
            print(f"the demo is on {address} (Ctrl-C stops it)", flush=True)
            threading.Event().wait()
    except KeyboardInterrupt:
        print("the demo is stopped", flush=True)


def bundled() -> list[str]:
    """The bundled models, in the order of the page: first those that can also name what the page's examples show."""
    names = spikevae.released_models()
    return sorted(names, key=lambda name: not read_config(model_folder(name)).classes)


@contextmanager
def running(models: Sequence[str], host: str, port: int, auth: str | None) -> Iterator[str]:
    """A server in threads of its own, as long as the block lasts; gives its address.

    Args:
        models: bundled names or folders.
        host, port, auth: as for `app.launch`.
    """
    if importlib.util.find_spec("gradio") is None:
        raise ValueError("the demo needs gradio: pip install 'spikevae[app]'")
    if not 1 <= port <= 65535:
        raise ValueError(f"port {port} is outside 1 to 65535")
    name, _, password = (auth or "").partition(":")
    if auth is not None and not (name and password):
        raise ValueError("auth is not NAME:PASSWORD with neither part empty")
    _check_address(host, port)
    with tempfile.TemporaryDirectory(prefix="spikevae-demo-", ignore_cleanup_errors=True) as files:
        # Gradio reads these when it is imported, a component is made, or the queue is.
        before = os.environ.get("GRADIO_TEMP_DIR")
        os.environ.update(GRADIO_TEMP_DIR=files, **_NO_ANALYTICS)
        from app.actions import Actions
        from app.cleanup import tidying
        from app.interface import CSS, build_page, theme
        from app.middleware import Door

        page = build_page(Actions(models), models)
        page.queue(max_size=limits.QUEUE_SIZE)
        page.launch(
            server_name=host,
            server_port=port,
            auth=(name, password) if auth else None,
            app_kwargs={"middleware": [(Door, (), {})], "lifespan": tidying(page, Path(files))},
            prevent_thread_lock=True,
            quiet=True,
            share=False,
            ssr_mode=False,
            enable_monitoring=False,
            run_history=False,
            show_error=False,
            max_file_size=limits.UPLOAD_BYTES,
            state_session_capacity=limits.SESSIONS,
            footer_links=["api"],
            theme=theme(),
            css=CSS,
        )
        try:
            yield f"http://{host}:{port}"
        finally:
            page.close(verbose=False)
            del os.environ["GRADIO_TEMP_DIR"]
            if before is not None:
                os.environ["GRADIO_TEMP_DIR"] = before


def _check_address(host: str, port: int) -> None:
    """Find out before a model is loaded; Gradio's own message says nothing of the address."""
    try:
        socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError as error:
        raise OSError(f"{host}:{port} cannot be listened on ({error}); choose another --host or --port") from None
