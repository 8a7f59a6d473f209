"""Liveness and readiness of the process, for supervisors. No key is needed."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from producer.api.core.problems import ProblemResponse
from producer.api.core.service import Shared
from producer.api.live.readiness import READY
from producer.api.load.routing import PooledRoute
from producer.api.models.service import Liveness, Readiness

router = APIRouter(route_class=PooledRoute, tags=["service"])


@router.get("/healthz", summary="Is the process alive?", response_model=Liveness)
async def is_alive() -> JSONResponse:
    """Answer without a look at database or broker."""
    return JSONResponse({"status": "alive"})


@router.get("/readyz", summary="Can it serve?", response_model=Readiness)
async def is_ready(service: Shared) -> JSONResponse:
    """Check that the database answers with the right revision, and that the broker answers.

    The answer is at most a second old.
    """
    parts = await service.readiness.parts()
    missing = {name: state for name, state in parts.items() if state != READY}
    if not missing:
        return JSONResponse({"status": READY, **parts})
    message = "; ".join(f"the {name} is {state}" for name, state in missing.items())
    hint = (
        "without a broker runs are still accepted, and start later; `annealq db upgrade` creates the tables"
    )
    return ProblemResponse(503, "not_ready", message, hint, headers={"Retry-After": "5"}, more=parts)
