"""The images of a run with their results, as data sets of other tools."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import FileResponse

from producer.api.core.run_permissions import SeenRun
from producer.api.core.service import Service, Shared
from producer.api.load.routing import PooledRoute
from producer.api.routes.runs.choices import ResultChoice, complete_header
from producer.dashboard.web.transfers import DATASET_TYPES, send_dataset
from producer.exports.exported_run import read_run
from producer.exports.formats import DatasetFormat
from producer.runs import queries, results

router = APIRouter(route_class=PooledRoute, tags=["results"])

_FILE = {"schema": {"type": "string", "format": "binary"}}


class DatasetQuery(ResultChoice):
    """Which images are wanted, and in which format."""

    format: Annotated[
        DatasetFormat,
        Query(
            description="fiftyone: a .zip of a FiftyOneDataset; labelstudio: a .zip with tasks.json and the "
            "labelling interface tasks.xml; huggingface: a Parquet file."
        ),
    ]


@router.get(
    "/v1/runs/{run}/dataset",
    summary="Download the images with their results",
    response_class=FileResponse,
    responses={200: {"content": dict.fromkeys(DATASET_TYPES.values(), _FILE)}},
)
async def read_dataset(
    run: SeenRun, service: Shared, query: Annotated[DatasetQuery, Query()]
) -> FileResponse:
    """Return the images of the `run` that the `query` wants, with pixels and results, as one file.

    It has those up to the first whose result may still change, all with `provisional=true`; the header
    `Annealq-Complete` says whether that is all of the run. The file is written to the server's folder of
    temporary files before it is sent, which takes some seconds for 100,000 images.
    """
    return await service.pools.programs.run(_write, service, run, query)


def _write(service: Service, run: int, query: DatasetQuery) -> FileResponse:
    with service.database.reading() as session:
        summary = queries.run(session, run)
        end = results.first_unsettled_image(session, summary, provisional=query.provisional)
        found = read_run(session, run, query.wanted(), end=end)
        return send_dataset(found, query.format, headers=complete_header(end))
