"""Receive what visitors upload: so much at once, so much a minute, so much in all."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from . import limits
from .files import Files, Full, full_disk_is_full
from .rates import Allowance, visitor_at

_SLACK = 2**16  # bytes of a request beside the file in it
_FULL = "The server is full; try later"


def upload_routes(files: Files, is_welcome: Callable[[Request], bool]) -> list[Route]:
    """Routes that take the place of Gradio's own.

    Args:
        files: where uploads are kept.
        is_welcome: whether a visitor has logged in, where that is needed.
    """
    allowance = Allowance(limits.VISITOR_BYTES, limits.VISITOR_BYTES / 60)
    taken: Counter[str] = Counter()  # places, by visitor

    async def upload(request: Request) -> Response:
        """Keep the file of a form, and answer with its path."""
        if not is_welcome(request):
            return _refused(401, "Log in first")
        length = request.headers.get("content-length", "")
        if not length.isdigit():
            return _refused(411, "Say how long the file is (Content-Length)")
        if int(length[:20]) > limits.UPLOAD_BYTES + _SLACK:
            return _refused(413, f"A file may take at most {limits.UPLOAD_BYTES // 2**20} MiB")
        visitor = visitor_at(request.client.host if request.client else "")
        if taken.total() >= limits.UPLOADS or taken[visitor] >= limits.VISITOR_UPLOADS:
            return _refused(503, "Too many uploads at once; try again", 5)
        if wait := allowance.take(visitor, max(int(length), limits.SMALLEST_CHARGE)):
            return _refused(429, f"At most {limits.VISITOR_BYTES // 2**20} MiB a minute; wait a little", wait)
        taken[visitor] += 1
        try:
            async with asyncio.timeout(limits.UPLOAD_SECONDS):
                return JSONResponse(await _kept(request, files))
        except TimeoutError:
            return _refused(408, f"The upload did not come within {limits.UPLOAD_SECONDS:g} s")
        except Full:
            return _refused(507, _FULL, limits.YOUNG_SECONDS)
        except ClientDisconnect:
            return _refused(400, "The upload broke off")
        except HTTPException as error:
            return _refused(400, str(error.detail))
        finally:
            taken[visitor] -= 1
            if not taken[visitor]:
                del taken[visitor]

    async def progress(request: Request) -> Response:
        """Gradio's page asks how far an upload is; it is shown as soon as it is here."""

        async def done() -> Any:
            yield 'data: {"msg": "done"}\n\n'

        return StreamingResponse(done(), media_type="text/event-stream")

    return [
        Route("/gradio_api/upload", upload, methods=["POST"]),
        Route("/gradio_api/upload_progress", progress, methods=["GET"]),
    ]


async def _kept(request: Request, files: Files) -> list[str]:
    with full_disk_is_full():  # large files lie there until they are here whole
        async with request.form(max_files=1, max_fields=8, max_part_size=_SLACK) as form:
            parts = [part for part in form.getlist("files") if isinstance(part, UploadFile)]
            return [await asyncio.to_thread(files.upload, await part.read(), part.filename or "") for part in parts]


def _refused(status: int, words: str, wait: limits.Number | None = None) -> Response:
    headers = {} if wait is None else {"Retry-After": str(int(wait) + 1)}
    return JSONResponse({"detail": words}, status, headers)
