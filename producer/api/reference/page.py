"""/docs: the description of the API for browsers, by Swagger UI 5.35.0, whose files are part of annealq.

Nothing is loaded from other sites. The button "Authorize" takes an API key.
"""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse, HTMLResponse

from producer.api.load.routing import PooledRoute
from schema.errors import NotFound

router = APIRouter(route_class=PooledRoute)

_STATIC = Path(__file__).parent / "static"
_FILES = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "start.js": "text/javascript",
}
_HEADERS = {
    # Swagger UI sets styles of elements, and has its icons in data: addresses.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@router.get("/docs", include_in_schema=False)
async def show_reference() -> HTMLResponse:
    """Return the page."""
    return HTMLResponse((_STATIC / "index.html").read_bytes(), headers=_HEADERS)


@router.get("/docs/{file}", include_in_schema=False)
async def read_file(file: str) -> FileResponse:
    """Return a ``file`` of the page."""
    if file not in _FILES:
        raise NotFound(f"/docs has no file {file!r:.100}")
    headers = {**_HEADERS, "Cache-Control": "max-age=3600"}
    return FileResponse(_STATIC / file, media_type=_FILES[file], headers=headers)
