"""Runs over HTTP: list, show, pause, resume and cancel them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.encoders import jsonable_encoder
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from producer.api.core.authentication import Reader, Submitter
from producer.api.core.run_permissions import OwnRun, SeenRun
from producer.api.core.service import Shared
from producer.api.keys.keys import Scope
from producer.runs import control, queries
from producer.runs.request import MAX_BUDGET_US
from schema.errors import ParameterError, RequestRefused
from schema.states import RunState

router = APIRouter()

_MAX_PAGE = 500


class Resumption(BaseModel):
    """The JSON body of .../resume, which is optional."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    budget_s: float | None = Field(
        default=None,
        gt=0,
        le=MAX_BUDGET_US / 1e6,
        description="A new budget of QPU seconds for the whole run.",
    )
    now: bool = Field(
        default=False,
        description="If the run waits for its window, open it now, until the next window closes.",
    )


@router.get("/v1/runs", summary="List runs")
def list_runs(
    service: Shared,
    caller: Reader,
    limit: Annotated[int, Query(ge=1, le=_MAX_PAGE)] = 20,
    before: Annotated[int | None, Query(ge=1, lt=2**63, description="Only runs older than this one.")] = None,
    state: RunState | None = None,
) -> JSONResponse:
    """Return the runs that the key sees, newest first; `next` is the path of the following page."""
    with service.database.reading() as session:
        runs = queries.runs(session, limit, before=before, state=state, key=caller.only)
    following = None
    if len(runs) == limit:
        condition = f"&state={state}" if state else ""
        following = f"/v1/runs?limit={limit}&before={runs[-1].run_id}{condition}"
    return JSONResponse({"runs": jsonable_encoder(runs), "next": following})


@router.get("/v1/runs/{run}", summary="Show a run")
async def show(run: SeenRun, service: Shared) -> Response:
    """Return what `annealq runs show RUN --json` prints."""
    return Response(await service.snapshots.get(run), media_type="application/json")


@router.post("/v1/runs/{run}/cancel", summary="Cancel a run")
def cancel(run: OwnRun, service: Shared) -> JSONResponse:
    """Cancel a run, and return its charges and the problems still in flight. Scored images stay stored."""
    try:
        spent = control.cancel(service.database, run)
    except ParameterError as error:
        raise _conflict(error) from None
    return JSONResponse({"run_id": run, "state": RunState.CANCELLED, **asdict(spent)})


@router.post("/v1/runs/{run}/pause", summary="Pause a run")
def pause(run: OwnRun, service: Shared) -> JSONResponse:
    """Pause a run. Problems already submitted are still collected and stored."""
    try:
        control.pause(service.database, run)
    except ParameterError as error:
        raise _conflict(error) from None
    return JSONResponse({"run_id": run, "state": RunState.PAUSED})


@router.post("/v1/runs/{run}/resume", summary="Resume a run")
def resume(run: OwnRun, service: Shared, caller: Submitter, body: Resumption | None = None) -> JSONResponse:
    """Resume a paused run, or repeat the failed batches of a failed one."""
    body = body or Resumption()
    budget_us = None if body.budget_s is None else max(round(body.budget_s * 1e6), 1)
    if budget_us is not None and caller.scope is not Scope.ADMIN:
        raise RequestRefused(
            f"key {caller.name!r} has scope {caller.scope}; only scope admin may change a budget",
            403,
            "resume without budget_s, or use a key of scope admin",
        )
    try:
        batches = control.resume(service.database, run, budget_us, at_once=body.now)
    except ParameterError as error:
        more = '; POST /v1/runs/RUN/resume takes {"budget_s": SECONDS} and {"now": true}'
        raise _conflict(error, more) from None
    service.notifier.notify()
    return JSONResponse({"run_id": run, "batches_left": batches})


def _conflict(error: ParameterError, more: str = "") -> RequestRefused:
    return RequestRefused(str(error), 409, f"GET /v1/runs/RUN shows its state{more}")
