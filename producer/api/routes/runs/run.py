"""One run: shown, changed and deleted."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import Response

from producer.api.core.run_permissions import OwnRun, SeenRun
from producer.api.core.service import Service, Shared
from producer.api.keys.authentication import Submitter
from producer.api.keys.keys import Scope
from producer.api.load.routing import PooledRoute
from producer.api.models.runs import ShownRun
from producer.api.routes.runs.changes import RunChanges
from producer.api.routes.runs.conflicts import conflicts
from producer.runs import control
from producer.runs.prune import delete_run as remove
from schema.errors import RequestRefused

router = APIRouter(route_class=PooledRoute, tags=["runs"])


@router.get("/v1/runs/{run}", summary="Show a run", response_model=ShownRun)
async def show_run(run: SeenRun, service: Shared) -> Response:
    """Return what `annealq runs show RUN --json` prints about the `run`."""
    return await _shown(service, run)


@router.patch("/v1/runs/{run}", summary="Change a run", response_model=ShownRun)
async def change_run(run: OwnRun, service: Shared, caller: Submitter, body: RunChanges) -> Response:
    """Change name, tags, priority, budget, window or deadline of the `run`, and return it.

    Of a finished run only name and tags can be changed. Its budget is changed by a `caller` of scope admin.
    """
    changes = body.made_by(caller)
    await service.pools.writes.run(control.change_run, service.database, run, changes)
    service.notifier.notify()
    return await _shown(service, run)


@router.delete("/v1/runs/{run}", summary="Delete a run", status_code=204)
def delete_run(
    run: OwnRun,
    service: Shared,
    caller: Submitter,
    with_charges: Annotated[
        bool, Query(description="Also a run that was charged QPU time, which budgets count; scope admin.")
    ] = False,
) -> Response:
    """Delete a finished `run` with its images, reads, scores and problems."""
    if with_charges and caller.scope is not Scope.ADMIN:
        raise RequestRefused(
            f"key {caller.name!r} has scope {caller.scope}; only scope admin may delete what was charged",
            403,
            "leave with_charges out, or use a key of scope admin",
        )
    with conflicts("; POST /v1/runs/RUN/cancel ends it; a charged run needs with_charges=true"):
        remove(service.database, run, with_charges=with_charges)
    return Response(status_code=204)


async def _shown(service: Service, run: int) -> Response:
    return Response(await service.snapshots.get(run), media_type="application/json")
