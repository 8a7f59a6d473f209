"""GET /v1/runs: lists runs."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.encoders import jsonable_encoder
from fastapi.responses import JSONResponse

from producer.api.core.service import Shared
from producer.api.keys.authentication import Reader
from producer.api.load.routing import PooledRoute
from producer.api.models.runs import RunPage
from producer.progress.reasons import outages_of
from producer.runs import queries
from producer.runs.summary import outage_values
from schema.states import RunState

router = APIRouter(route_class=PooledRoute, tags=["runs"])

_MAX_PAGE = 500


@router.get("/v1/runs", summary="List runs", response_model=RunPage)
def list_runs(
    service: Shared,
    caller: Reader,
    limit: Annotated[int, Query(ge=1, le=_MAX_PAGE)] = 20,
    before: Annotated[int | None, Query(ge=1, lt=2**63, description="Only runs older than this one.")] = None,
    state: RunState | None = None,
) -> JSONResponse:
    """Return up to `limit` runs that the `caller` sees, newest first: in a `state`, and `before` a run.

    `next` is the path of the following page.
    """
    with service.database.reading() as session:
        runs = queries.runs(session, limit, before=before, state=state, owned_by=caller.only)
        outages = outages_of(session, runs)
    following = None
    if len(runs) == limit:
        condition = f"&state={state}" if state else ""
        following = f"/v1/runs?limit={limit}&before={runs[-1].run_id}{condition}"
    shown = [asdict(run) | outage_values(outages.get(run.run_id)) for run in runs]
    return JSONResponse({"runs": jsonable_encoder(shown), "next": following})
