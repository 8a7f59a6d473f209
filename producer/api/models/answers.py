"""JSON answers, and links from page to page (RFC 8288)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from fastapi.encoders import jsonable_encoder
from fastapi.responses import JSONResponse


def answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Return ``value``, made of models, rows and plain values, as JSON; times are in UTC with an offset."""
    return JSONResponse(jsonable_encoder(value), status, dict(headers or {}))


def page_path(path: str, query: Mapping[str, Any]) -> str:
    """Return ``path`` with the parameters of ``query`` that are not None; lists are repeated."""
    given = {name: value for name, value in query.items() if value not in (None, ())}
    return f"{path}?{urlencode(given, doseq=True)}" if given else path


def links_header(links: Mapping[str, str | None]) -> dict[str, str]:
    """Return the header that names the pages of ``links`` by their relation: next, prev, first."""
    found = [f'<{path}>; rel="{relation}"' for relation, path in links.items() if path is not None]
    return {"Link": ", ".join(found)} if found else {}
