"""Schedules over HTTP, and the plan of the coming windows.

The runs of schedules belong to nobody, so that only keys of scope admin see them.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from producer.api.core.service import Service, Shared
from producer.api.keys.authentication import Admin, Reader
from producer.api.load.routing import PooledRoute
from producer.api.models.answers import answer
from producer.api.models.catalogue import Plan, ScheduleList, ShownSchedule
from producer.api.routes.submissions import uploads
from producer.api.routes.submissions.options import ScheduledFields, ScheduledRun, Text
from producer.forecasts import workload
from producer.images.stream import printable
from producer.planning import schedules
from producer.planning.forecast import forecast
from producer.planning.schedules import FiringSummary
from producer.reports.forecast import Price, plan_object
from producer.runs.filters import has_sent
from producer.runs.request import ClassificationRequest
from schema.calendar.cron import Cron
from schema.errors import ParameterError

router = APIRouter(route_class=PooledRoute, tags=["schedules"])


class ScheduleBody(BaseModel):
    """A schedule, and the run that it starts."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Text = Field(description="Letters, digits, dots, dashes and underscores.")
    cron: Text = Field(description="Minute, hour, day of month, month, day of week: `0 22 * * mon-fri`.")
    tz: Text = Field("UTC", description="Time zone of `cron`, for example Europe/London.")
    run: ScheduledRun  # type: ignore[valid-type] # made from the fields of a request


@router.get("/v1/plan", summary="Forecast the coming windows", response_model=Plan)
def show_plan(
    service: Shared,
    caller: Reader,
    price_per_minute: Annotated[
        float | None, Query(ge=0, le=1e9, allow_inf_nan=False, description="Price of a minute of QPU time.")
    ] = None,
    currency: Annotated[str | None, Query(max_length=20, description="Currency of that price.")] = None,
) -> JSONResponse:
    """Forecast how much pending work fits into the next windows, its time and cost, and what remains.

    Runs of all owners compete for the time; those that the caller sees are returned.
    """
    if currency is not None and price_per_minute is None:
        raise ParameterError("currency is only valid with price_per_minute: give both")
    price = None if price_per_minute is None else Price(price_per_minute, currency or "")
    with service.database.reading() as session:
        plan = forecast(workload.waiting_runs(session), service.database.now(session))
        if (only := caller.only) is not None:
            seen = tuple(each for each in plan.runs if has_sent(session, only, each.run.run_id))
            plan = replace(plan, runs=seen)
        compared = workload.compared_qpus(session, [each.run for each in plan.runs])
    return answer(plan_object(plan, price, compared))


@router.get("/v1/schedules", summary="List schedules", response_model=ScheduleList)
def list_schedules(service: Shared, _caller: Admin) -> JSONResponse:
    """Return all schedules: when each is due, and the result of its latest firing."""
    with service.database.reading() as session:
        return answer({"schedules": schedules.list_all(session)})


@router.post("/v1/schedules", summary="Add a schedule", status_code=201, response_model=ShownSchedule)
def add_schedule(service: Shared, _caller: Admin, body: ScheduleBody) -> JSONResponse:
    """Add a schedule of `run`, whose data are read now, as a check, and again each time it is due.

    Of a large set, the first images are read now; when it is due, the run is enqueued with these, and the
    process that starts it reads on.

    `annealq up` or `schedules serve` starts its runs, on a machine that can read the data by the same path.
    """
    cron = Cron.parse(body.cron, body.tz)
    with service.decoded.account() as take:
        run: ScheduledFields = body.run
        path, part = uploads.find_uri(run.uri, run.part, service.api)
        asked: dict[str, Any] = vars(run.request())
        request = ClassificationRequest(**asked, data=_data(path, part), name=run.name)
        allowed = uploads.allowance(service.api, take)
        schedules.add(service.database, body.name, cron, request.in_zone(cron.zone_name), allowed)
    return _show(service, body.name, 201, {"Location": f"/v1/schedules/{body.name}"})


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


def _data(path: Path, part: str | None) -> str:
    """Return ``path`` and ``part`` as one text; raise ParameterError if it also names another file."""
    if part is None:
        return str(path)
    both = Path(f"{path}:{part}")
    if both.is_symlink() or both.exists():
        raise ParameterError(f"{printable(both)} is a part of a file and another file: rename one of them")
    return str(both)


def _show(
    service: Service, name: str, status: int = 200, headers: dict[str, str] | None = None
) -> JSONResponse:
    with service.database.reading() as session:
        return answer(_shown(session, name), status, headers)


def _shown(session: Session, name: str) -> dict[str, object]:
    return {**asdict(schedules.get(session, name)), "firings": schedules.firings(session, name)}
