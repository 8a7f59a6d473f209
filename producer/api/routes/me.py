"""GET /v1/me: who the caller is, and what is left of their limits."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from producer.api.core.service import Shared
from producer.api.keys import limits
from producer.api.keys.authentication import Reader
from producer.api.load.routing import PooledRoute
from producer.api.models.answers import answer
from producer.api.models.service import CallerLimits, ShownCaller

router = APIRouter(route_class=PooledRoute, tags=["keys"])


@router.get("/v1/me", summary="Show the caller", response_model=ShownCaller)
def show_caller(service: Shared, caller: Reader) -> JSONResponse:
    """Return the owner of the key, its scope, its limits, and what is left of them today."""
    with service.database.reading() as session:
        left = limits.left(session, caller, service.database.now(session))
    qpu_us = caller.limits.qpu_us_per_day
    return answer(
        ShownCaller(
            name=caller.name,
            scope=caller.scope,
            sees_all_runs=caller.only is None,
            limits=CallerLimits(
                requests_per_minute=caller.limits.requests_per_minute,
                images_per_day=caller.limits.images_per_day,
                qpu_s_per_day=None if qpu_us is None else qpu_us / 1e6,
            ),
            left=left,
        )
    )
