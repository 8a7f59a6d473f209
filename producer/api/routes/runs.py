"""Runs over HTTP: list, show, pause, resume, cancel."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from producer.api.core.authentication import Reader, Submitter
from producer.api.core.run_permissions import OwnRun, SeenRun
from producer.api.core.service import Shared
from producer.api.keys.keys import Scope
from producer.runs import control, queries
from producer.runs.enqueue import MAX_BUDGET_US
from schema.errors import ParameterError, RequestRefused
from schema.states import RunState

router = APIRouter()

_MAX_PAGE = 500


class Resumption(BaseModel):
    """The JSON body of .../resume, which may be left out."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    budget_s: float | None = Field(
        default=None,
        gt=0,
        le=MAX_BUDGET_US / 1e6,
        description="A new budget of QPU seconds for the whole run.",
    )
    now: bool = Field(
        default=False, description="Where its window is closed, open it at once, until the next closes."
    )


@router.get("/v1/runs", summary="List runs")
def list_runs(
    at: Shared,
    caller: Reader,
    limit: Annotated[int, Query(ge=1, le=_MAX_PAGE)] = 20,
    before: Annotated[int | None, Query(ge=1, lt=2**63, description="Only runs older than this one.")] = None,
    state: RunState | None = None,
) -> JSONResponse:
    """The newest runs that the key may see, newest first; `next` is the path of the page after this one."""
    with at.database.reading() as session:
        found = queries.runs(session, limit, before=before, state=state, key=caller.only)
    following = None
    if len(found) == limit:
        chosen = f"&state={state}" if state else ""
        following = f"/v1/runs?limit={limit}&before={found[-1].run_id}{chosen}"
    return JSONResponse({"runs": [plain(asdict(run)) for run in found], "next": following})


@router.get("/v1/runs/{run}", summary="Show a run")
async def show(run: SeenRun, at: Shared) -> Response:
    """What `annealq runs show RUN --json` prints."""
    return Response(await at.snapshots.get(run), media_type="application/json")


@router.post("/v1/runs/{run}/cancel", summary="End a run")
def cancel(run: OwnRun, at: Shared) -> JSONResponse:
    """What was scored is kept; answers what it was charged, and what is still with its solver."""
    try:
        spent = control.cancel(at.database, run)
    except ParameterError as error:
        raise _conflict(error) from None
    return JSONResponse({"run_id": run, "state": RunState.CANCELLED, **asdict(spent)})


@router.post("/v1/runs/{run}/pause", summary="Let a run send no more")
def pause(run: OwnRun, at: Shared) -> JSONResponse:
    """What is with its solver is collected and kept."""
    try:
        control.pause(at.database, run)
    except ParameterError as error:
        raise _conflict(error) from None
    return JSONResponse({"run_id": run, "state": RunState.PAUSED})


@router.post("/v1/runs/{run}/resume", summary="Let a run go on")
def resume(run: OwnRun, at: Shared, caller: Submitter, body: Resumption | None = None) -> JSONResponse:
    """Go on with a paused run; of a failed one only what is missing is done again."""
    body = body or Resumption()
    budget_us = None if body.budget_s is None else max(round(body.budget_s * 1e6), 1)
    if budget_us is not None and caller.scope is not Scope.ADMIN:
        raise RequestRefused(
            f"key {caller.name!r} has scope {caller.scope}, and only admin may change a budget",
            403,
            "resume without budget_s, or use a key of scope admin",
        )
    try:
        left = control.resume(at.database, run, budget_us, at_once=body.now)
    except ParameterError as error:
        raise _conflict(
            error, 'POST /v1/runs/RUN/resume takes {"budget_s": SECONDS} and {"now": true}'
        ) from None
    at.doorbell.ring()
    return JSONResponse({"run_id": run, "batches_left": left})


def plain(values: dict[str, Any]) -> dict[str, Any]:
    """Times as ISO 8601 text."""
    return {k: v.isoformat() if hasattr(v, "isoformat") else v for k, v in values.items()}


def _conflict(error: ParameterError, more: str = "") -> RequestRefused:
    """The run is not in a state for that."""
    way_out = "GET /v1/runs/RUN shows its state"
    return RequestRefused(str(error), 409, f"{way_out}; {more}" if more else way_out)
