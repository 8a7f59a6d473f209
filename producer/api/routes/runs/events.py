"""Server-sent events: the progress of one run, of several, or of all that the caller sees."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Collection
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import Response, StreamingResponse
from pydantic import TypeAdapter

from producer.api.core.run_permissions import SeenRun, check_seen
from producer.api.core.service import Service, Shared
from producer.api.keys.authentication import Reader
from producer.api.keys.keys import Caller
from producer.api.live.positions import parse_position, position_id
from producer.api.load.routing import PooledRoute
from producer.api.models.runs import ProgressEvent
from producer.runs import queries
from producer.runs.summary import plain
from schema.states import LIVE_RUNS, RunState

router = APIRouter(route_class=PooledRoute, tags=["events"])

_HEARTBEAT_S = 15.0  # shorter than proxies wait for a silent server
_RETRY_MS = 2_000
_CHECK_S = 1.0  # between two looks whether a key is still valid
_MAX_RUNS = 200  # of one stream
_STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Events `progress` and `end`; `data` of each is a `ProgressEvent` as JSON.",
        "content": {
            "text/event-stream": {
                "schema": {"type": "string"},
                "x-data": {"$ref": "#/components/schemas/ProgressEvent"},
            }
        },
    },
    204: {"description": "The event in `Last-Event-ID` was the last one."},
}

LastEventId = Annotated[
    str | None,
    Header(max_length=100, description="The id of the last event that was received, to continue after it."),
]


@router.get(
    "/v1/runs/{run}/events", summary="Follow a run", response_class=StreamingResponse, responses=_STREAM
)
async def follow_run(
    request: Request, run: SeenRun, service: Shared, last_event_id: LastEventId = None
) -> Response:
    """Send events `progress` of the `run` (images sampled, scored, failed), and finally an event `end`.

    With `last_event_id`, what the client has seen is not repeated; after the end the answer is 204. The
    stream also ends when the key of the `request` expires or is revoked.
    """
    await service.pools.reads.run(_check, service, run)
    return _answer(service, request, [run], last_event_id)


@router.get(
    "/v1/events",
    summary="Follow several runs",
    response_class=StreamingResponse,
    responses=_STREAM | {404: {"description": "One of the runs does not exist."}},
)
async def follow_runs(
    request: Request,
    service: Shared,
    caller: Reader,
    run: Annotated[
        list[Annotated[int, Query(ge=1, lt=2**63)]] | None,
        Query(
            max_length=_MAX_RUNS, description="The runs, as in `?run=1&run=2`; default: all unfinished ones."
        ),
    ] = None,
    last_event_id: LastEventId = None,
) -> Response:
    """Send events `progress` and `end` of several runs, in one stream.

    Without `run`, these are the unfinished runs that the `caller` sees, new ones included, and the stream
    does not end. Otherwise it ends with the last of them; in any case with the key of the `request`.
    """
    if run:
        runs = list(dict.fromkeys(run))
        await service.pools.reads.run(_check_all, service, caller, runs)
        return _answer(service, request, runs, last_event_id)
    unfinished = await service.pools.reads.run(_unfinished, service, caller)
    return _answer(service, request, unfinished, last_event_id, caller)


def event_schemas() -> dict[str, Any]:
    """Return the JSON schemas of the data of events by name, for /openapi.json."""
    adapter = TypeAdapter(ProgressEvent)
    described = adapter.json_schema(ref_template="#/components/schemas/{model}", mode="serialization")
    return {**described.pop("$defs", {}), "ProgressEvent": described}


def _check(service: Service, run: int) -> None:
    with service.database.reading() as session:
        queries.run(session, run)


def _check_all(service: Service, caller: Caller, runs: Collection[int]) -> None:
    for run in runs:
        check_seen(service.database, caller, run)


def _unfinished(service: Service, caller: Caller) -> list[int]:
    states = (*LIVE_RUNS, RunState.PAUSED)
    with service.database.reading() as session:
        found = [queries.runs(session, _MAX_RUNS, state=state, owned_by=caller.only) for state in states]
    return sorted((run.run_id for runs in found for run in runs), reverse=True)[:_MAX_RUNS]


def _answer(
    service: Service,
    request: Request,
    runs: Collection[int],
    last_event_id: str | None,
    follower: Caller | None = None,
) -> Response:
    """Return the stream of ``runs``, and of all others that ``follower`` sees, if it is given."""
    after, has_ended = parse_position(last_event_id)
    if has_ended and follower is None:
        return Response(status_code=204)
    return StreamingResponse(
        _while_valid(service, request, _stream(service, runs, after, follower)),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


async def _while_valid(
    service: Service, request: Request, stream: AsyncGenerator[str, None]
) -> AsyncIterator[str]:
    """Yield what ``stream`` yields for as long as the key of ``request`` is valid."""
    upcoming: asyncio.Task[str] | None = None
    try:
        while True:
            upcoming = upcoming or asyncio.ensure_future(anext(stream))
            done, _ = await asyncio.wait({upcoming}, timeout=_CHECK_S)
            if not await service.authenticator.is_still_valid(request):
                return
            if done:
                yield upcoming.result()
                upcoming = None
    except StopAsyncIteration:
        return
    finally:
        if upcoming is not None:
            upcoming.cancel()
            await asyncio.wait({upcoming})
        await stream.aclose()


async def _stream(
    service: Service, runs: Collection[int], after: int | None, follower: Caller | None
) -> AsyncGenerator[str, None]:
    yield f"retry: {_RETRY_MS}\n\n"
    left = {*runs}
    find = None if follower is None else lambda: _unfinished(service, follower)
    async for update in service.progress_feed.follow(runs, _HEARTBEAT_S, after, find):
        if update is None:
            yield ": nothing new\n\n"
            continue
        if update.is_end:
            left.discard(update.run)
        number = position_id(update.position, is_last=follower is None and not left)
        data = json.dumps({"run_id": update.run, **plain(asdict(update.progress))})
        yield f"id: {number}\nevent: {'end' if update.is_end else 'progress'}\ndata: {data}\n\n"
