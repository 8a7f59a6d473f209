"""The classified images of a run, as JSON in pages, or as CSV or Parquet."""

from __future__ import annotations

import tempfile
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query
from fastapi.responses import FileResponse, JSONResponse, Response
from sqlalchemy.orm import Session
from starlette.background import BackgroundTask

from producer.api.core.run_permissions import SeenRun
from producer.api.core.service import Shared
from producer.api.load.routing import PooledRoute
from producer.api.models.runs import ResultPage
from producer.reports import export
from producer.runs import queries, results
from producer.runs.queries import RunSummary
from schema.errors import RequestRefused

router = APIRouter(route_class=PooledRoute, tags=["results"])

_MAX_PAGE = 10_000
_PAGE = 1_000
_JSON, _CSV, _PARQUET = "application/json", "text/csv", "application/vnd.apache.parquet"
_FORMATS: dict[str, export.Format] = {_CSV: "csv", _PARQUET: "parquet"}
_FILE = {"type": "string", "format": "binary"}


@router.get(
    "/v1/runs/{run}/results",
    summary="Read the classified images",
    response_model=ResultPage,
    responses={200: {"content": {kind: {"schema": _FILE} for kind in _FORMATS}}},
)
def read_results(
    run: SeenRun,
    service: Shared,
    cursor: Annotated[int, Query(ge=0, le=2**31 - 1, description="Index of the first image.")] = 0,
    limit: Annotated[int | None, Query(ge=1, le=_MAX_PAGE, description="JSON: 1,000 by default.")] = None,
    accept: Annotated[str, Header(include_in_schema=False)] = _JSON,
) -> Response:
    """Return the images of the run in order, up to the first whose result may still change.

    While the run continues, ask again with `next`: no image is repeated, and none is left out. `complete`
    says that there are no more. CSV and Parquet are one file with all images from `cursor`, or with `limit`
    images, if the `accept` header asks for them.
    """
    media_type = _choose_format(accept)
    with service.database.reading() as session:
        summary = queries.run(session, run)
        end = results.first_unsettled_image(session, run, summary.state)
        names = queries.classes(session, run)
        if media_type == _JSON:
            return JSONResponse(_page(session, summary, names, cursor, limit or _PAGE, end))
        return _file(session, summary, names, cursor, limit, end, media_type)


def _page(
    session: Session, run: RunSummary, names: tuple[str, ...], cursor: int, limit: int, end: int | None
) -> dict[str, Any]:
    rows = list(islice(results.rows(session, run.run_id, names, cursor, end), limit + 1))
    is_last = len(rows) <= limit
    complete = is_last and end is None
    following = rows[limit - 1]["image"] + 1 if not is_last else max(cursor, end or 0)
    return {
        "run_id": run.run_id,
        "state": run.state,
        "classes": names,
        "results": [_nested(row, names) for row in rows[:limit]],
        "complete": complete,
        "next": None if complete else f"/v1/runs/{run.run_id}/results?cursor={following}&limit={limit}",
    }


def _nested(row: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """Return ``row`` with its scores as one list, in the order of the classes."""
    scores = [row.pop(f"score_{name}") for name in names]
    return {**row, "scores": scores}


def _file(
    session: Session,
    run: RunSummary,
    names: tuple[str, ...],
    cursor: int,
    limit: int | None,
    end: int | None,
    media_type: str,
) -> FileResponse:
    if media_type == _PARQUET and find_spec("pyarrow") is None:
        raise RequestRefused(
            "Parquet needs pyarrow, which the server does not have",
            406,
            "ask for text/csv, or let the operator `pip install 'annealq[parquet]'`",
        )
    rows = islice(results.rows(session, run.run_id, names, cursor, end), limit)
    with tempfile.NamedTemporaryFile(prefix="annealq-results-", delete=False) as file:
        path = Path(file.name)
    try:
        export.write(rows, results.columns(names), path, _FORMATS[media_type])
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return FileResponse(
        path,
        media_type=media_type,
        filename=f"run-{run.run_id}.{_FORMATS[media_type]}",
        headers={"Annealq-Complete": str(end is None).lower()},
        background=BackgroundTask(path.unlink, missing_ok=True),
    )


def _choose_format(accept: str) -> str:
    """Return the first available format of an Accept header; raise RequestRefused (406) if there is none."""
    for entry in accept.lower().split(","):
        media_type = entry.partition(";")[0].strip()
        if media_type in ("*/*", "application/*", "", _JSON):
            return _JSON
        if media_type in ("text/*", _CSV):
            return _CSV
        if media_type == _PARQUET:
            return _PARQUET
    raise RequestRefused(
        f"no format of {accept!r:.200} is available", 406, f"ask for {_JSON}, {_CSV} or {_PARQUET}"
    )
