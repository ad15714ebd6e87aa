"""Serve the page: where it listens, who may come in, and what is cleaned up behind it."""

from __future__ import annotations

import gc
import importlib.util
import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import spikevae
from spikevae.hub.checkpoints import model_folder, read_config, read_dataset_name

from .access import Access
from .actions import Actions
from .browser import is_desktop, open_page
from .decoder import Decoder
from .leftovers import private_folder
from .own_images import images_of

# No report to Gradio's makers; and none on the last 10,000 requests, made anew after each, which no page shows.
_NO_ANALYTICS = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "GRADIO_ANALYTICS_MAX_EVENTS": "1",
    "GRADIO_ANALYTICS_CACHE_FREQUENCY": str(10**9),
}

# Python's own: what a refused request leaves in cycles is found soon. The command line looks for them rarely.
_COLLECT = (700, 10, 10)


def serve(access: Access, models: Sequence[str] | None = None, *, browser: bool = False) -> None:
    """Serve the models until Ctrl-C or SIGTERM. Arguments and errors as for `app.launch`."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    gc.set_threshold(*_COLLECT)
    logging.getLogger("python_multipart").setLevel(logging.ERROR)  # it warns of every spoilt upload
    try:
        with running(models or bundled(), access) as address:
            print(f"the demo is on {address} (Ctrl-C stops it)", flush=True)
            if browser and is_desktop(access.host):
                open_page(address)
            threading.Event().wait()
    except KeyboardInterrupt:
        print("the demo is stopped", flush=True)


def bundled() -> list[str]:
    """The bundled models in the order of the page: first those whose test images it has, last those without classes."""
    configs = {name: read_config(model_folder(name)) for name in spikevae.released_models()}
    names = [name for name, config in configs.items() if config.network != "classifier"]
    return sorted(names, key=lambda name: (not images_of(read_dataset_name(name)), not configs[name].classes))


@contextmanager
def running(models: Sequence[str], access: Access) -> Iterator[str]:
    """A server in threads of its own, as long as the block lasts; gives its address.

    Args:
        models: bundled names or folders.
        access: where it listens, and who may come in.
    """
    if importlib.util.find_spec("gradio") is None:
        raise ValueError("the demo needs gradio: pip install 'spikevae[app]'")
    _check_address(access.host, access.port)
    with ExitStack() as stack:
        folder = stack.enter_context(private_folder())
        stack.enter_context(_environment(GRADIO_TEMP_DIR=str(folder), **_NO_ANALYTICS))
        decoder = stack.enter_context(Decoder()) if hasattr(os, "fork") else None
        # Gradio reads the environment when it is imported, a component is made, or the queue is.
        from .mounted import mounted

        decodes = (None, None) if decoder is None else (decoder.decode, decoder.decode_recording)
        actions = Actions(models, *decodes)
        stack.enter_context(mounted(actions, models, folder, access))
        if decoder is not None:
            decoder.start()  # not before: its imports would hold up the page
        host = f"[{access.host}]" if ":" in access.host else access.host
        yield f"http://{host}:{access.port}"


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _check_address(host: str, port: int) -> None:
    """Find out before a model is loaded; Gradio's own message says nothing of the address."""
    try:
        socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError as error:
        raise OSError(f"{host}:{port} cannot be listened on ({error}); choose another --host or --port") from None
