"""The requests that the page and its programs make. The server answers no others."""

from __future__ import annotations

import re
from enum import Enum, auto

_ID = r"[A-Za-z0-9_-]{1,64}"


class Kind(Enum):
    """What a request is about, which decides how it is checked."""

    PAGE = auto()
    """What everybody is given: the page, its scripts, its description."""
    FILE = auto()
    """A picture, or an archive."""
    ANSWERS = auto()
    """A stream of what becomes of calls."""
    CALL = auto()
    """A call of a function, or its end."""
    UPLOAD = auto()
    LOGIN = auto()


_GET = (
    (r"/", Kind.PAGE),
    (r"/config/?", Kind.PAGE),
    (r"/(preview\.png|theme\.css|favicon\.ico|robots\.txt|manifest\.json|logout)", Kind.PAGE),
    (r"/(assets|static|svelte)/(?!.*\.\.)[\w./@+-]{1,200}", Kind.PAGE),
    (r"/gradio_api/(info|openapi\.json|app_id|login_check|user|queue/status|theme\.css)/?", Kind.PAGE),
    (r"/gradio_api/upload_progress", Kind.PAGE),
    (rf"/gradio_api/heartbeat/{_ID}", Kind.PAGE),
    (r"/gradio_api/file=(?s:.+)", Kind.FILE),
    (r"/gradio_api/queue/data", Kind.ANSWERS),
    (rf"/gradio_api/call/(v2/)?\w+/{_ID}", Kind.ANSWERS),
)
_POST = (
    (r"/gradio_api/queue/join", Kind.CALL),
    (r"/gradio_api/call/(v2/)?\w+/?", Kind.CALL),
    (r"/gradio_api/(cancel|reset)/?", Kind.CALL),
    (r"/gradio_api/upload", Kind.UPLOAD),
    (r"/login/?", Kind.LOGIN),
)


def _compiled(routes: tuple[tuple[str, Kind], ...]) -> list[tuple[re.Pattern[str], Kind]]:
    return [(re.compile(pattern, re.ASCII), kind) for pattern, kind in routes]


_BY_METHOD = {"GET": _compiled(_GET), "HEAD": _compiled(_GET), "POST": _compiled(_POST)}


def kind_of(method: str, path: str) -> Kind | None:
    """What a request is about; None if it is none of those that are answered."""
    for pattern, kind in _BY_METHOD.get(method, ()):
        if pattern.fullmatch(path):
            return kind
    return None
