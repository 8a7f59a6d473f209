"""Schedules over HTTP. Their runs belong to nobody, so that only keys of scope admin see them."""

from __future__ import annotations

from dataclasses import asdict

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from sqlalchemy.orm import Session

from producer.api.core.service import Service, Shared
from producer.api.keys.authentication import Admin
from producer.api.load.routing import PooledRoute
from producer.api.models.answers import answer
from producer.api.models.catalogue import ScheduleList, ShownSchedule
from producer.planning import schedules
from producer.planning.schedules import FiringSummary

router = APIRouter(route_class=PooledRoute, tags=["schedules"])


@router.get("/v1/schedules", summary="List schedules", response_model=ScheduleList)
def list_schedules(service: Shared, _caller: Admin) -> JSONResponse:
    """Return all schedules: when each is due, and the result of its latest firing."""
    with service.database.reading() as session:
        return answer({"schedules": schedules.list_all(session)})


@router.get("/v1/schedules/{name}", summary="Show a schedule", response_model=ShownSchedule)
def show_schedule(name: str, service: Shared, _caller: Admin) -> JSONResponse:
    """Return the schedule and its latest firings."""
    with service.database.reading() as session:
        return answer(_shown(session, name))


@router.delete("/v1/schedules/{name}", summary="Remove a schedule", status_code=204)
def remove_schedule(name: str, service: Shared, _caller: Admin) -> Response:
    """Remove the schedule; its runs stay."""
    schedules.remove(service.database, name)
    return Response(status_code=204)


@router.post("/v1/schedules/{name}/pause", summary="Pause a schedule", response_model=ShownSchedule)
def pause_schedule(name: str, service: Shared, _caller: Admin) -> JSONResponse:
    """Pause the schedule, if it is not paused; its runs continue."""
    schedules.pause(service.database, name, again=True)
    return _show(service, name)


@router.post("/v1/schedules/{name}/resume", summary="Resume a schedule", response_model=ShownSchedule)
def resume_schedule(name: str, service: Shared, _caller: Admin) -> JSONResponse:
    """Resume the schedule, if it is paused; firings that fell due meanwhile are skipped."""
    schedules.resume(service.database, name, again=True)
    return _show(service, name)


@router.post(
    "/v1/schedules/{name}/run", summary="Run a schedule now", status_code=202, response_model=FiringSummary
)
def run_schedule(name: str, service: Shared, _caller: Admin) -> JSONResponse:
    """Ask for an additional run of the schedule, which `annealq up` or `schedules serve` starts.

    They run where the data can be read. The schedule's `firings` show the run, or why there is none.
    """
    number = schedules.fire_now(service.database, name)
    with service.database.reading() as session:
        return answer(schedules.firing(session, number), 202)


def _show(service: Service, name: str) -> JSONResponse:
    with service.database.reading() as session:
        return answer(_shown(session, name))


def _shown(session: Session, name: str) -> dict[str, object]:
    return {**asdict(schedules.get(session, name)), "firings": schedules.firings(session, name)}
