"""One image of a run: its result, its pixels, and the reads that decided about it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query
from fastapi.responses import JSONResponse

from producer.api.core.run_permissions import SeenRun
from producer.api.core.service import Shared
from producer.api.load.routing import PooledRoute
from producer.api.models.answers import answer
from producer.api.models.runs import ImageReads, ShownImage
from producer.runs import queries, results
from schema.errors import NotFound
from schema.parameters import MAX_ROUNDS

router = APIRouter(route_class=PooledRoute, tags=["results"])

_MAX_READS = 1_000
ImageIndex = Annotated[int, Path(ge=0, lt=2**31, description="Its index within the run, from 0.")]


@router.get("/v1/runs/{run}/images/{image}", summary="Show an image", response_model=ShownImage)
def show_image(run: SeenRun, image: ImageIndex, service: Shared) -> JSONResponse:
    """Return the pixels or values of an `image` of the `run`, and its result once there is one."""
    with service.database.reading() as session:
        pixels, label = results.image(session, run, image)
        names = queries.classes(session, run)
        found = next(results.rows(session, run, names, image, image + 1), None)
    result = None if found is None else results.nested(found, names)
    return answer(ShownImage.of(run, image, pixels, label, result))


@router.get(
    "/v1/runs/{run}/images/{image}/reads", summary="Show the reads of an image", response_model=ImageReads
)
def read_reads(
    run: SeenRun,
    image: ImageIndex,
    service: Shared,
    limit: Annotated[int, Query(ge=1, le=_MAX_READS, description="The first reads only.")] = 100,
    number: Annotated[
        int, Query(alias="round", ge=1, le=MAX_ROUNDS + 1, description="Round of reads that they are of.")
    ] = 1,
) -> JSONResponse:
    """Return the stored reads of an `image` of the `run`: the bits and the energy of each.

    An uncertain image may have been read again in a later round, `number`. On qubits, a problem carries
    several images, and its reads are those of the whole chip.
    """
    with service.database.reading() as session:
        found = results.reads_of(session, run, image, number)
    if found is None:
        again = "" if number == 1 else f" in round {number}"
        raise NotFound(
            f"run {run} has no stored reads of image {image}{again}: it is not sampled, or was pruned"
        )
    bits, energies, occurrences = found.bits[0], found.energies[0], found.occurrences
    return answer(
        ImageReads(
            run_id=run,
            image=image,
            reads=len(energies),
            variables=bits.shape[1],
            bits=["".join(map(str, read)) for read in bits[:limit].tolist()],
            energies=energies[:limit].tolist(),
            occurrences=None if occurrences is None else occurrences[0][:limit].tolist(),
        )
    )
