"""Liveness and readiness of the process, for supervisors. No key is needed."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from producer.api.core.problems import ProblemResponse
from producer.api.core.service import Service, Shared
from producer.api.models.service import Liveness, Readiness
from producer.stack import broker
from schema.errors import BrokerUnavailable, DatabaseOutdated, DatabaseTooNew, ParameterError, StorageError

router = APIRouter(tags=["service"])

_READY = "ready"


@router.get("/healthz", summary="Is the process alive?", response_model=Liveness)
async def is_alive() -> JSONResponse:
    """Answer without a look at database or broker."""
    return JSONResponse({"status": "alive"})


@router.get("/readyz", summary="Can it serve?", response_model=Readiness)
def is_ready(service: Shared) -> JSONResponse:
    """Check that the database answers with the right revision, and that the broker answers."""
    parts = {"database": _database(service), "broker": _broker(service)}
    missing = {name: state for name, state in parts.items() if state != _READY}
    if not missing:
        return JSONResponse({"status": _READY, **parts})
    message = "; ".join(f"the {name} is {state}" for name, state in missing.items())
    hint = (
        "without a broker runs are still accepted, and start later; `annealq db upgrade` creates the tables"
    )
    return ProblemResponse(503, "not_ready", message, hint, headers={"Retry-After": "5"}, more=parts)


def _database(service: Service) -> str:
    try:
        service.database.require_current()
    except DatabaseOutdated:
        return "older than this annealq"
    except DatabaseTooNew:
        return "newer than this annealq"
    except StorageError:
        return "away"
    return _READY


def _broker(service: Service) -> str:
    try:
        broker.check(service.settings.broker_url)
    except (BrokerUnavailable, ParameterError):
        return "away"
    return _READY
