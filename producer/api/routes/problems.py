"""GET /problems/CODE: what a kind of error means. The field `type` of each error leads here."""

from __future__ import annotations

from fastapi import APIRouter

from producer.api.core.problems import TITLES, TYPES
from producer.api.load.routing import PooledRoute
from producer.api.models.service import ProblemKind
from schema.errors import NotFound

router = APIRouter(route_class=PooledRoute, tags=["service"])


@router.get("/problems", summary="List the kinds of errors")
async def list_kinds() -> list[ProblemKind]:
    """Return every kind of error that the API answers with."""
    return [_kind(code) for code in TITLES]


@router.get("/problems/{code}", summary="Explain a kind of error")
async def explain(code: str) -> ProblemKind:
    """Return what errors with this `code` mean."""
    if code not in TITLES:
        raise NotFound(f"no kind of error is called {code!r:.100}; GET /problems lists all")
    return _kind(code)


def _kind(code: str) -> ProblemKind:
    return ProblemKind(type=f"{TYPES}{code}", code=code, title=TITLES[code])
