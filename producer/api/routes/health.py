"""Whether the process is alive, and can do its work: for whoever supervises it. No key is needed."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from producer.api.core import errors
from producer.api.core.service import Service, Shared
from producer.stack import broker
from schema.errors import BrokerUnavailable, DatabaseOutdated, DatabaseTooNew, ParameterError, StorageError

router = APIRouter()

_READY = "ready"


@router.get("/healthz", summary="Is the process alive?")
async def alive() -> JSONResponse:
    """Asks nothing of anybody."""
    return JSONResponse({"status": "alive"})


@router.get("/readyz", summary="Can it work?", responses={503: {"description": "It says what is not ready."}})
def ready(at: Shared) -> JSONResponse:
    """The database answers and is at the right revision, and the broker answers."""
    parts = {"database": _database(at), "broker": _broker(at)}
    missing = {name: state for name, state in parts.items() if state != _READY}
    if not missing:
        return JSONResponse({"status": _READY, **parts})
    message = "; ".join(f"the {name} is {state}" for name, state in missing.items())
    way_out = "without a broker runs are still taken, and begin later; `annealq db upgrade` brings the tables"
    refusal = errors.shape("not_ready", message, way_out)
    return JSONResponse({**refusal, "status": "not ready", **parts}, 503, {"Retry-After": "5"})


def _database(at: Service) -> str:
    try:
        at.database.require_current()
    except DatabaseOutdated:
        return "older than this annealq"
    except DatabaseTooNew:
        return "newer than this annealq"
    except StorageError:
        return "away"
    return _READY


def _broker(at: Service) -> str:
    try:
        broker.check(at.settings.broker_url)
    except (BrokerUnavailable, ParameterError):
        return "away"
    return _READY
