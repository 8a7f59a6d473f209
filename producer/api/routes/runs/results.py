"""The classified images of a run, as JSON in pages, or as CSV or Parquet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query
from fastapi.responses import FileResponse, JSONResponse, Response
from sqlalchemy.orm import Session

from producer.api.core.run_permissions import SeenRun
from producer.api.core.service import Shared
from producer.api.load.routing import PooledRoute
from producer.api.models.answers import links_header, page_path
from producer.api.models.runs import ResultPage
from producer.api.routes.runs.choices import ResultChoice, complete_header
from producer.dashboard.web.transfers import MEDIA_TYPES, send_rows
from producer.reports import export
from producer.runs import queries, results
from producer.runs.queries import RunSummary
from schema.errors import RequestRefused

router = APIRouter(route_class=PooledRoute, tags=["results"])

_MAX_PAGE = 10_000
_PAGE = 1_000
_JSON, _CSV, _PARQUET = (MEDIA_TYPES[kind] for kind in ("json", "csv", "parquet"))
_FORMATS: dict[str, export.Format] = {_CSV: "csv", _PARQUET: "parquet"}
_FILE = {"type": "string", "format": "binary"}


class ResultQuery(ResultChoice):
    """Which images are wanted, and how many."""

    cursor: Annotated[int, Query(ge=0, le=2**31 - 1, description="Index of the first image.")] = 0
    limit: Annotated[int | None, Query(ge=1, le=_MAX_PAGE, description="JSON: 1,000 by default.")] = None


@dataclass(frozen=True)
class _Wanted:
    """What is wanted of a run: images before ``end``, whose results no longer change."""

    run: RunSummary
    names: tuple[str, ...]
    query: ResultQuery
    end: int | None

    def rows(self, session: Session) -> Iterator[dict[str, Any]]:
        first, wanted = self.query.cursor, self.query.wanted()
        return results.rows(session, self.run.run_id, self.names, first, self.end, wanted)


@router.get(
    "/v1/runs/{run}/results",
    summary="Read the classified images",
    response_model=ResultPage,
    responses={200: {"content": {kind: {"schema": _FILE} for kind in _FORMATS}}},
)
def read_results(
    run: SeenRun,
    service: Shared,
    query: Annotated[ResultQuery, Query()],
    accept: Annotated[str, Header(include_in_schema=False)] = _JSON,
) -> Response:
    """Return the images of the run that the `query` wants in order, up to the first that may still change.

    While the run continues, ask again with `next`: no image is repeated, and none is left out. `complete`
    says that there are no more. Before the last of several rounds of reads has ended, any image may still
    change: `provisional=true` asks for the results so far. CSV and Parquet are one file with all images from
    `cursor`, or with `limit` images, if the `accept` header asks for them.
    """
    media_type = _choose_format(accept)
    with service.database.reading() as session:
        summary = queries.run(session, run)
        end = results.first_unsettled_image(session, summary, provisional=query.provisional)
        wanted = _Wanted(summary, queries.classes(session, run), query, end)
        return _page(session, wanted) if media_type == _JSON else _file(session, wanted, media_type)


def _page(session: Session, wanted: _Wanted) -> JSONResponse:
    query, run = wanted.query, wanted.run
    limit = query.limit or _PAGE
    rows = list(islice(wanted.rows(session), limit + 1))
    is_last = len(rows) <= limit
    complete = is_last and wanted.end is None
    following = rows[limit - 1]["image"] + 1 if not is_last else max(query.cursor, wanted.end or 0)
    again = query.model_dump(mode="json", exclude_none=True) | {"cursor": following, "limit": limit}
    path = None if complete else page_path(f"/v1/runs/{run.run_id}/results", again)
    page = {
        "run_id": run.run_id,
        "state": run.state,
        "classes": wanted.names,
        "results": [results.nested(row, wanted.names) for row in rows[:limit]],
        "complete": complete,
        "provisional": run.is_provisional,
        "next": path,
    }
    return JSONResponse(page, headers=links_header({"next": path}))


def _file(session: Session, wanted: _Wanted, media_type: str) -> FileResponse:
    return send_rows(
        islice(wanted.rows(session), wanted.query.limit),
        results.columns(wanted.names),
        _FORMATS[media_type],
        f"run-{wanted.run.run_id}",
        about=results.about(session, wanted.run),
        headers=complete_header(wanted.end),
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
