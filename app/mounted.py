"""Gradio's page in a server of our own: the guard in front, bounds on connections, the tidying behind."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gradio as gr
import uvicorn
from gradio.routes import App
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Mount, Route
from torch import Tensor

from . import limits
from .access import Access
from .actions import Actions
from .calls import Calls
from .cleanup import tidying
from .connections import protocol_with, third_for_an_address
from .files import Files
from .first_paint import first_paint, painter
from .guard import Guard
from .interface import CSS, HEAD, TITLE_HTML, build_page
from .preview import Described, preview_route
from .receiving import upload_routes
from .theme import theme
from .traits import head

_START_SECONDS = 60.0


@contextmanager
def mounted(actions: Actions, models: Sequence[str], folder: Path, access: Access) -> Iterator[None]:
    """The page, served as long as the block lasts.

    Args:
        actions: what its buttons call.
        models: names or folders of the same models.
        folder: for its files.
        access: where it listens, and who may come in.

    Raises:
        OSError: if the server does not start.
    """
    files = Files(folder)
    page = build_page(actions, models, files)
    for function in page.fns.values():
        function.queue = function.fn is not None  # one queue for everything, so that its length bounds everything
    page.queue(max_size=limits.QUEUE_SIZE, api_open=False)
    page.state_session_capacity = limits.SESSIONS
    first = actions.sample(actions.names[0], 24, 0, limits.ANY, 1.0).images
    is_welcome = _welcome(page)
    app = _application(page, actions, files, access, first, is_welcome)
    files.keep_present()
    described = Described(app, access.root_path, painter(first_paint(TITLE_HTML, first), is_welcome), is_welcome)
    guard = Guard(described, access, Calls(page, files), files, third_for_an_address())
    server = uvicorn.Server(_config(guard, access))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        _wait_until_started(server, thread)
        page.is_running = True
        yield
    finally:
        page._queue.close()  # type: ignore[no-untyped-call]
        page.is_running = False
        page.app.stop_event.set()
        server.should_exit = True
        thread.join(timeout=5)


def _welcome(page: gr.Blocks) -> Callable[[Request], bool]:
    """Whether a visitor has logged in, where that is needed."""

    def is_welcome(request: Request) -> bool:
        app: App = page.server_app
        # As Gradio does it, whose page is then kept for others: the second cookie counts only without the first.
        first, second = (request.cookies.get(name) for name in _cookies(app))
        return app.auth is None or (first or second) in app.tokens

    return is_welcome


def _logout_route(page: gr.Blocks) -> Route:
    """Takes the place of Gradio's, which forgets all visitors, or only who sent the cookie for HTTPS."""

    async def logout(request: Request) -> Response:
        response = RedirectResponse("./", 302)
        for name in _cookies(page.server_app):
            page.server_app.tokens.pop(request.cookies.get(name), None)
            response.delete_cookie(name)
        return response

    return Route("/logout", logout, methods=["GET"])


def _cookies(app: App) -> tuple[str, str]:
    """Names of the two that Gradio gives who logs in: for HTTPS alone, and for HTTP too."""
    return f"access-token-{app.cookie_id}", f"access-token-unsecure-{app.cookie_id}"


def _application(
    page: gr.Blocks,
    actions: Actions,
    files: Files,
    access: Access,
    first: Tensor,
    is_welcome: Callable[[Request], bool],
) -> Starlette:
    """Gradio's application, inside one that receives uploads, previews the first pictures and answers other sites."""
    cors = Middleware(
        CORSMiddleware,
        allow_origins=list(access.allow_origin),
        allow_methods=["GET", "POST"],
        allow_headers=["content-type"],
    )
    routes = [*upload_routes(files, is_welcome), preview_route(first, is_welcome), _logout_route(page)]
    app = Starlette(routes=routes, middleware=[cors])
    gr.mount_gradio_app(
        app,  # a FastAPI is wanted, of which what a Starlette has is used
        page,
        "",
        server_name=access.host,
        server_port=access.port,
        auth=access.account,
        root_path=access.root_path or None,
        app_kwargs={"lifespan": tidying(page, files)},
        ssr_mode=False,
        enable_monitoring=False,
        run_history=False,
        show_error=False,
        max_file_size=limits.UPLOAD_BYTES,
        pwa=False,
        mcp_server=False,
        footer_links=["api"],
        theme=theme(),
        css=CSS,
        head=head(actions) + HEAD,
    )
    # The application that is served knows who has logged in; what the page had until now is another one.
    served = next(route.app for route in app.routes if isinstance(route, Mount))
    assert isinstance(served, App)
    page.app = page.server_app = served
    return app


def _config(app: Any, access: Access) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        host=access.host,
        port=access.port,
        http=protocol_with(third_for_an_address(frozenset(access.proxy))),
        ws="none",
        log_level="error",  # a warning for each spoilt request would fill the log
        access_log=False,
        server_header=False,
        proxy_headers=bool(access.proxy),
        forwarded_allow_ips=list(access.proxy),
        timeout_graceful_shutdown=2,
    )


def _wait_until_started(server: uvicorn.Server, thread: threading.Thread) -> None:
    end = time.monotonic() + _START_SECONDS
    while not server.started:
        if not thread.is_alive() or time.monotonic() > end:
            raise OSError("the server did not start; its log says why")
        time.sleep(0.005)
