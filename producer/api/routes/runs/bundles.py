"""A finished run as a bundle, by which anybody can prove its results."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import FileResponse

from producer.api.core.run_permissions import SeenRun
from producer.api.core.service import Shared
from producer.api.load.routing import PooledRoute
from producer.dashboard.web.transfers import BUNDLE_TYPE, send_bundle

router = APIRouter(route_class=PooledRoute, tags=["results"])


@router.get(
    "/v1/runs/{run}/bundle",
    summary="Download a run as a bundle",
    response_class=FileResponse,
    responses={200: {"content": {BUNDLE_TYPE: {"schema": {"type": "string", "format": "binary"}}}}},
)
async def read_bundle(
    run: SeenRun,
    service: Shared,
    images: Annotated[bool, Query(description="Also the images, not only their SHA-256.")] = False,
) -> FileResponse:
    """Return a finished `run` as a zip file with all that its results rest on, for `annealq verify`.

    It is verified before it is sent, which takes seconds, and minutes for a million images.
    """
    return await service.pools.programs.run(
        send_bundle, service.settings, service.database, run, images=images
    )
