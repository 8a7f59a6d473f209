"""One run: shown."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response

from producer.api.core.run_permissions import SeenRun
from producer.api.core.service import Shared
from producer.api.load.routing import PooledRoute
from producer.api.models.runs import ShownRun

router = APIRouter(route_class=PooledRoute, tags=["runs"])


@router.get("/v1/runs/{run}", summary="Show a run", response_model=ShownRun)
async def show_run(run: SeenRun, service: Shared) -> Response:
    """Return what `annealq runs show RUN --json` prints about the `run`."""
    return Response(await service.snapshots.get(run), media_type="application/json")
