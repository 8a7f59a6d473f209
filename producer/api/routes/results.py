"""What became of a run's images: page by page as they come, as JSON, CSV or Parquet."""

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
from producer.reports import export
from producer.runs import queries, results
from producer.runs.queries import RunSummary
from schema.errors import RequestRefused

router = APIRouter()

_MAX_PAGE = 10_000
_PAGE = 1_000
_JSON, _CSV, _PARQUET = "application/json", "text/csv", "application/vnd.apache.parquet"
_FORMATS: dict[str, export.Format] = {_CSV: "csv", _PARQUET: "parquet"}


@router.get(
    "/v1/runs/{run}/results",
    summary="What became of the images",
    responses={406: {"description": "None of the formats that `Accept` names is there."}},
)
def read_results(
    run: SeenRun,
    at: Shared,
    cursor: Annotated[int, Query(ge=0, le=2**31 - 1, description="Index of the first image.")] = 0,
    limit: Annotated[int | None, Query(ge=1, le=_MAX_PAGE, description="JSON: 1,000 by default.")] = None,
    accept: Annotated[str, Header()] = _JSON,
) -> Response:
    """Images in order, as far as they are certain.

    While the run goes on, ask again with `next`: no image comes twice, and none is left out. `complete`:
    there are no more. CSV and Parquet are one file of all that there is from the cursor on, or of
    `limit` images.
    """
    kind = _choose(accept)
    with at.database.reading() as session:
        found = queries.run(session, run)
        end = results.settled(session, run, found.state)
        names = queries.classes(session, run)
        if kind == _JSON:
            return JSONResponse(_page(session, found, names, cursor, limit or _PAGE, end))
        return _file(session, found, names, cursor, limit, end, kind)


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
    """A row with its scores as one list, in the order of the classes."""
    scores = [row.pop(f"score_{name}") for name in names]
    return {**row, "scores": scores}


def _file(
    session: Session,
    run: RunSummary,
    names: tuple[str, ...],
    cursor: int,
    limit: int | None,
    end: int | None,
    kind: str,
) -> FileResponse:
    if kind == _PARQUET and find_spec("pyarrow") is None:
        raise RequestRefused(
            "Parquet needs pyarrow, which the server does not have",
            406,
            "ask for text/csv, or have the operator `pip install 'annealq[parquet]'`",
        )
    rows = islice(results.rows(session, run.run_id, names, cursor, end), limit)
    with tempfile.NamedTemporaryFile(prefix="annealq-results-", delete=False) as file:
        path = Path(file.name)
    try:
        export.write(rows, results.columns(names), path, _FORMATS[kind])
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return FileResponse(
        path,
        media_type=kind,
        filename=f"run-{run.run_id}.{_FORMATS[kind]}",
        headers={"Annealq-Complete": str(end is None).lower()},
        background=BackgroundTask(path.unlink, missing_ok=True),
    )


def _choose(accept: str) -> str:
    """The first format of an Accept header that there is; raises RequestRefused (406)."""
    for wanted in accept.lower().split(","):
        kind = wanted.partition(";")[0].strip()
        if kind in ("*/*", "application/*", "", _JSON):
            return _JSON
        if kind in ("text/*", _CSV):
            return _CSV
        if kind == _PARQUET:
            return _PARQUET
    raise RequestRefused(
        f"no format of {accept!r:.200} is there", 406, f"ask for {_JSON}, {_CSV} or {_PARQUET}"
    )
