"""GET /v1/runs: lists runs, filtered, ordered, page by page."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse
from pydantic import BaseModel, BeforeValidator, ConfigDict, WithJsonSchema
from sqlalchemy.orm import Session

from producer.api.core.service import Shared
from producer.api.keys.authentication import Reader
from producer.api.load.routing import PooledRoute
from producer.api.models.answers import links_header, page_path
from producer.api.models.runs import ListedRun, RunPage
from producer.progress.reasons import outages_of
from producer.runs import queries
from producer.runs.filters import RunFilter
from producer.runs.queries import RunOrder, RunSummary
from producer.runs.summary import outage_values, plain
from schema.errors import ParameterError
from schema.states import RunState

router = APIRouter(route_class=PooledRoute, tags=["runs"])

_PATH = "/v1/runs"
_MAX_PAGE = 500
_FIELDS = tuple(field.name for field in fields(ListedRun))
_LIST_OF_FIELDS = f"^({'|'.join(_FIELDS)})(,({'|'.join(_FIELDS)}))*$"

_TIME = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9:.]+(Z|[+-][0-9]{2}:?[0-9]{2})?)?$"


def _check_time(value: object) -> object:
    if not isinstance(value, str) or re.fullmatch(_TIME, value) is None:
        raise ValueError("write a time as 2026-12-01 or 2026-12-01T06:00:00+01:00")
    return value


_Time = Annotated[
    datetime, BeforeValidator(_check_time), WithJsonSchema({"type": "string", "pattern": _TIME})
]
_Text = Annotated[str | None, Query(min_length=1, max_length=200)]
_Number = Annotated[int | None, Query(ge=1, lt=2**63)]


class RunQuery(BaseModel):
    """Which runs are wanted, in which order, and how many."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    limit: Annotated[int, Query(ge=1, le=_MAX_PAGE, description="How many.")] = 20
    order: Annotated[RunOrder, Query(description="Runs that are equal come newest first.")] = RunOrder.NEWEST
    state: RunState | None = None
    name: Annotated[_Text, Query(description="The name contains it.")] = None
    network: Annotated[_Text, Query(description="NAME or NAME@VERSION.")] = None
    solver: _Text = None
    owner: Annotated[_Text, Query(description="The owner of the key that submitted it.")] = None
    tag: _Text = None
    since: Annotated[_Time | None, Query(description="Enqueued from then on; UTC without an offset.")] = None
    until: Annotated[_Time | None, Query(description="Enqueued before then.")] = None
    before: Annotated[_Number, Query(description="Only runs older than this one.")] = None
    following: Annotated[_Number, Query(description="Begin after this run in the order.")] = None
    preceding: Annotated[_Number, Query(description="End before this run in the order.")] = None
    fields: Annotated[
        str | None,
        Query(pattern=_LIST_OF_FIELDS, description="Only these, as in `state,name`, and `run_id`."),
    ] = None

    def wanted(self, owned_by: Collection[int] | None) -> RunFilter:
        """Return the conditions on runs, which are also ``owned_by`` these, if not None."""
        return RunFilter(
            state=self.state,
            name=self.name,
            network=self.network,
            solver=self.solver,
            owner=self.owner,
            tag=self.tag,
            before=self.before,
            since=None if self.since is None else _in_utc(self.since),
            until=None if self.until is None else _in_utc(self.until),
            owned_by=owned_by,
        )

    def shown(self) -> tuple[str, ...]:
        """Return the fields that are shown."""
        if self.fields is None:
            return _FIELDS
        chosen = self.fields.split(",")
        return tuple(name for name in _FIELDS if name in chosen or name == "run_id")

    def path(self, **cursor: int) -> str:
        """Return the path of the same list from ``cursor`` on."""
        query = self.model_dump(mode="json", exclude_defaults=True, exclude={"following", "preceding"})
        return page_path(_PATH, {**query, "limit": self.limit, **cursor})


@router.get(_PATH, summary="List runs", response_model=RunPage)
def list_runs(service: Shared, caller: Reader, query: Annotated[RunQuery, Query()]) -> JSONResponse:
    """Return the runs that the `caller` sees and the `query` wants, newest first.

    `next` is the path of the following page; the header `Link` has it too, and those of the page before and
    of the first one.
    """
    shown = query.shown()
    if query.following is not None and query.preceding is not None:
        raise ParameterError("give `following` or `preceding`, not both")
    with service.database.reading() as session:
        # One run more tells whether there is another page.
        found = queries.runs(
            session,
            query.limit + 1,
            order=query.order,
            following=query.following,
            preceding=query.preceding,
            **query.wanted(caller.only),
        )
        backwards, has_more = query.preceding is not None, len(found) > query.limit
        runs = (found[-query.limit :] if backwards else found[: query.limit]) if has_more else found
        rows = _rows(session, runs, shown)
    links = _links(query, runs, has_more=has_more)
    return JSONResponse({"runs": rows, "next": links["next"]}, headers=links_header(links))


def _rows(session: Session, runs: Sequence[RunSummary], shown: Sequence[str]) -> list[dict[str, Any]]:
    outages = outages_of(session, runs) if {"waits", "outage"} & {*shown} else {}
    owners = queries.owners(session, runs) if "owner" in shown else {}
    tags = queries.tags(session, [run.run_id for run in runs]) if "tags" in shown else {}
    rows = []
    for run in runs:
        others = outage_values(outages.get(run.run_id))
        others |= {"owner": owners.get(run.run_id), "tags": tags.get(run.run_id, [])}
        # Without copies of the JSON in rows, which would cost more than their query.
        values = {name: others[name] if name in others else getattr(run, name) for name in shown}
        rows.append(plain(values))
    return rows


def _links(query: RunQuery, runs: Sequence[RunSummary], *, has_more: bool) -> dict[str, str | None]:
    """Return the paths of the next, previous and first page, where there are such pages."""
    backwards = query.preceding is not None
    is_first = query.following is None and not (backwards and has_more)
    is_last = not has_more and not backwards
    return {
        "next": query.path(following=runs[-1].run_id) if runs and not is_last else None,
        "prev": query.path(preceding=runs[0].run_id) if runs and not is_first else None,
        "first": query.path(),
    }


def _in_utc(at: datetime) -> datetime:
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
