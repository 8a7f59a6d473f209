"""GET /v1/runs/RUN/events: the progress of a run as server-sent events."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import asdict

from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from producer.api.core.run_permissions import SeenRun
from producer.api.core.service import Service, Shared
from producer.api.load.routing import PooledRoute
from producer.runs import queries
from producer.runs.summary import plain
from schema.states import FINISHED_RUNS

router = APIRouter(route_class=PooledRoute, tags=["events"])

_HEARTBEAT_S = 15.0  # shorter than proxies wait for a silent server
_RETRY_MS = 2_000


@router.get(
    "/v1/runs/{run}/events",
    summary="Follow a run",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
)
async def follow_run(run: SeenRun, service: Shared) -> StreamingResponse:
    """Send events `progress` of the `run` (images sampled, scored, failed), and finally an event `end`."""
    await service.pools.reads.run(_check, service, run)
    return StreamingResponse(
        _stream(service, run),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


def _check(service: Service, run: int) -> None:
    with service.database.reading() as session:
        queries.run(session, run)


async def _stream(service: Service, run: int) -> AsyncIterator[str]:
    yield f"retry: {_RETRY_MS}\n\n"
    number = 0
    async for progress in service.progress_feed.follow(run, _HEARTBEAT_S):
        if progress is None:
            yield ": nothing new\n\n"
            continue
        number += 1
        kind = "end" if progress.state in FINISHED_RUNS else "progress"
        data = json.dumps({"run_id": run, **plain(asdict(progress))})
        yield f"id: {number}\nevent: {kind}\ndata: {data}\n\n"
