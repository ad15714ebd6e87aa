"""What other sites show of a link to the page: a title, a description, and a picture that this server makes."""

from __future__ import annotations

import gzip
import re
from collections import OrderedDict
from collections.abc import Callable
from html import escape
from typing import Any

from jaxtyping import Float
from PIL import Image, ImageDraw, ImageFont
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from torch import Tensor

from spikevae.data.images import pil, to_uint8

from .pictures import png_file

TITLE = "spikevae: images from spikes"
DESCRIPTION = (
    "A network that computes with on-off pulses, as nerve cells do, draws pictures, redraws yours and names them."
)
PATH = "/preview.png"
_SIZE = (1200, 630)  # as the sites that show previews want it
_ROWS, _COLUMNS, _TILE, _GAP = 3, 8, 130, 14
_GROUND, _INK = (19, 19, 22), (244, 244, 245)
_PACKING = 5  # level of gzip: an eighth of the bytes in 6 ms
_KEPT = 16  # finished pages, by what they depend on
_BODY = re.compile(r"<body[^>]*>")
_CALLS = re.compile(r"(?<=window\.gradio_api_info = ).*?(?=;</script>)", re.DOTALL)
_OTHERS = re.compile(r'<meta\s+(?:property="og:|name="twitter:|name="description")[^>]*>')


def preview_png(images: Float[Tensor, "N C H W"]) -> bytes:
    """The title above rows of pictures, as a PNG."""
    sheet = Image.new("RGB", _SIZE, _GROUND)
    pen = ImageDraw.Draw(sheet)
    width = _COLUMNS * _TILE + (_COLUMNS - 1) * _GAP
    left, top = (_SIZE[0] - width) // 2, 150
    pen.text((left, 42), "Images from spikes", fill=_INK, font=ImageFont.load_default(64))
    for number, pixels in enumerate(to_uint8(images[: _ROWS * _COLUMNS])):
        tile = pil(pixels).convert("RGB")
        row, column = divmod(number, _COLUMNS)
        place = (left + column * (_TILE + _GAP), top + row * (_TILE + _GAP))
        sheet.paste(tile.resize((_TILE, _TILE), Image.Resampling.NEAREST), place)
    return png_file(sheet)


def preview_route(images: Float[Tensor, "N C H W"], is_welcome: Callable[[Request], bool]) -> Route:
    """Where the picture is fetched.

    Args:
        images: what it shows.
        is_welcome: whether a visitor has logged in, where that is needed.
    """
    content = preview_png(images)

    async def preview(request: Request) -> Response:
        return Response(content, media_type="image/png") if is_welcome(request) else Response(status_code=401)

    return Route(PATH, preview, methods=["GET"])


def described(page: str, address: str) -> str:
    """The page's HTML with tags about this page in the place of Gradio's about itself.

    Args:
        page: the HTML.
        address: of the page, without a slash at its end.
    """
    told = {
        "og:title": TITLE,
        "og:description": DESCRIPTION,
        "og:type": "website",
        "og:url": f"{address}/",
        "og:image": f"{address}{PATH}",
        "og:image:width": str(_SIZE[0]),
        "og:image:height": str(_SIZE[1]),
        "og:image:alt": "Rows of pictures that the network drew",
    }
    tags = [f"<title>{escape(TITLE)}</title>"]
    tags += [f'<meta property="{name}" content="{escape(value)}" />' for name, value in told.items()]
    tags += [
        f'<meta name="description" content="{escape(DESCRIPTION)}" />',
        '<meta name="twitter:card" content="summary_large_image" />',
    ]
    return _OTHERS.sub("", page).replace("<head>", "<head>" + "".join(tags), 1)


class Described:
    """ASGI middleware that puts :func:`described` into the page, and its first pictures; and packs it.

    The page takes a tenth of a second to make, so a finished one is kept for all who are shown the same.

    Args:
        app: the server.
        root_path: path, or whole address, under which a reverse proxy serves the page.
        paint: HTML that a visitor's page begins with.
        is_welcome: whether a visitor has logged in, where that is needed. Strangers are not told what can be called.
    """

    def __init__(
        self,
        app: Any,
        root_path: str = "",
        paint: Callable[[Request], str] = lambda request: "",
        is_welcome: Callable[[Request], bool] = lambda request: True,
    ) -> None:
        self._app, self._root, self._paint, self._is_welcome = app, root_path.rstrip("/"), paint, is_welcome
        self._kept: OrderedDict[object, tuple[dict[str, Any], bytes]] = OrderedDict()  # the latest last

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass everything on; the page itself as a whole."""
        if scope["type"] != "http" or scope["path"] != "/":
            await self._app(scope, receive, send)
            return
        start: dict[str, Any] = {}
        body = bytearray()
        shown = self._shown(scope)

        async def gathered(message: Any) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
                return
            body.extend(message.get("body", b""))
            if not message.get("more_body", False):
                page = self._finished(scope, start, bytes(body))
                # Who logs in or out meanwhile may be given either page.
                if start["status"] == 200 and not scope["query_string"] and shown == self._shown(scope):
                    self._kept[shown] = page
                    if len(self._kept) > _KEPT:
                        self._kept.popitem(last=False)
                await _send(scope, *page, send)

        if shown in self._kept and not scope["query_string"]:
            self._kept.move_to_end(shown)
            await _send(scope, *self._kept[shown], send)
        else:
            await self._app(scope, receive, gathered)

    def _shown(self, scope: Any) -> object:
        """All that the page depends on, if its address asks for nothing."""
        request = Request(scope)
        names = ("host", "x-forwarded-host", "x-forwarded-proto")
        address = [tuple(request.headers.getlist(name)) for name in names]
        return scope["scheme"], *address, self._is_welcome(request), _unpacks(request)

    def _finished(self, scope: Any, start: dict[str, Any], body: bytes) -> tuple[dict[str, Any], bytes]:
        request, headers = Request(scope), Headers(raw=start["headers"])
        more: list[tuple[bytes, bytes]] = []
        if headers.get("content-type", "").startswith("text/html") and "content-encoding" not in headers:
            page = described(body.decode(), self._address(scope))
            if not self._is_welcome(request):
                page = _CALLS.sub("null", page)
            body = _BODY.sub(lambda found: found[0] + self._paint(request), page, count=1).encode()
            if _unpacks(request):
                body = gzip.compress(body, _PACKING, mtime=0)
                more = [(b"content-encoding", b"gzip"), (b"vary", b"accept-encoding")]
        more.append((b"content-length", str(len(body)).encode()))
        kept = [header for header in start["headers"] if header[0].lower() != b"content-length"]
        return {**start, "headers": [*kept, *more]}, body

    def _address(self, scope: Any) -> str:
        """As visitors know it. The guard has checked the host, and let through only a proxy's own words."""
        if "://" in self._root:
            return self._root
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get("x-forwarded-host", headers.get("host", "")).split(",")[0].strip()
        scheme = headers.get("x-forwarded-proto", scope["scheme"]).split(",")[0].strip()
        return f"{scheme}://{host}{self._root}"


def _unpacks(request: Request) -> bool:
    return "gzip" in request.headers.get("accept-encoding", "")


async def _send(scope: Any, start: dict[str, Any], body: bytes, send: Any) -> None:
    await send(start)
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
