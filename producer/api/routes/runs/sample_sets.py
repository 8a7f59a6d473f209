"""The reads of an image or a problem as a sample set of D-Wave's Ocean, which a worker computes."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import Response

from producer.api.core.run_permissions import SeenRun
from producer.api.core.service import Shared
from producer.api.load.routing import PooledRoute
from producer.api.models.answers import answer
from producer.api.models.runs import AwaitedSampleSet
from producer.dashboard.report import content
from producer.dashboard.web.asked import AGAIN_S, find_or_ask
from producer.dashboard.web.drawing import digest
from schema.database import renderings
from schema.errors import RequestRefused
from schema.messages import Task
from schema.parameters import MAX_ROUNDS, SampleSetRequest

router = APIRouter(route_class=PooledRoute, tags=["results"])

_Number = Annotated[int | None, Query(ge=0, lt=2**31)]


@router.get(
    "/v1/runs/{run}/sample-set",
    summary="Export reads as a sample set of Ocean",
    responses={
        200: {
            "description": "The sample set, as `dimod.SampleSet.from_serializable` reads it.",
            "content": {"application/json": {"schema": {"type": "object"}}},
        },
        202: {"description": "A worker computes it: ask again.", "model": AwaitedSampleSet},
        409: {},
    },
)
def read_sample_set(
    run: SeenRun,
    service: Shared,
    image: Annotated[_Number, Query(description="Index of the image.")] = None,
    problem: Annotated[_Number, Query(description="Instead: number of a problem of the run.")] = None,
    physical: Annotated[
        bool, Query(description="Qubits, h and J as they were on the chip, instead of units.")
    ] = False,
    number: Annotated[
        int | None,
        Query(alias="round", ge=1, le=MAX_ROUNDS + 1, description="One round of the image's reads only."),
    ] = None,
) -> Response:
    """Return the stored reads of an `image` or a `problem` of the `run` for D-Wave's Ocean.

    A worker computes it when no batch waits for it; until then the answer is 202. It has the embedding, the
    timing, the ids of problem and graph, broken chains, warnings, and the binary quadratic model.
    """
    request = SampleSetRequest(image, problem, physical, number)
    with service.database.reading() as session:
        key = (
            run,
            f"{renderings.SAMPLE_SET}{request.text}",
            digest(content.of_sample_set(session, run, request)),
        )
    found = find_or_ask(service.database, key, Task.COMPUTE_SAMPLE_SETS, service.notifier.notify)
    if found.body is not None:
        return Response(found.body, media_type=renderings.JSON)
    if found.error is not None:
        raise RequestRefused(found.error, 409, f"GET /v1/runs/{run} shows the run and its solver")
    return answer(
        AwaitedSampleSet(run_id=run, has_worker=found.has_worker), 202, {"Retry-After": str(AGAIN_S)}
    )
