"""The list of runs: found by name and filters, sorted, chosen to be changed together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.responses import Response

from producer.dashboard.views import overview
from producer.dashboard.web.parts import LivePage, render_part
from producer.dashboard.web.visit import Visit
from producer.progress.reasons import outages_of
from producer.runs import queries
from producer.runs.queries import RunOrder, RunSummary
from schema.errors import NetworkError
from schema.parameters import Solver
from schema.states import LIVE_RUNS, RunState
from schema.tables import Network, Run, RunTag
from schema.tables.api import Owner

_PAGE = 50  # runs
_EVERY_S, _IDLE_EVERY_S = 2, 10
_MAX_CHOICES = 200  # of a filter


@dataclass(frozen=True)
class RunSearch:
    """What a visitor looks for, as fields of the address; empty ones choose nothing."""

    name: str
    state: str
    network: str
    solver: str
    owner: str
    tag: str
    order: str

    @classmethod
    def of(cls, visit: Visit) -> RunSearch:
        """Return the filter in the address of ``visit``; values that do not exist are left out."""
        fields = {field: visit.asked(field)[:200] for field in cls.__annotations__}
        for field, known in (("state", RunState), ("solver", Solver), ("order", RunOrder)):
            if fields[field] not in list(known):
                fields[field] = ""
        return cls(**fields)

    @property
    def query(self) -> str:
        """Return the filter as the query of an address."""
        return urlencode({name: value for name, value in vars(self).items() if value})

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of `producer.runs.queries.runs`."""
        chosen: dict[str, Any] = {name: value or None for name, value in vars(self).items()}
        chosen["state"] = RunState(self.state) if self.state else None
        chosen["order"] = RunOrder(self.order or RunOrder.NEWEST)
        return chosen


def show(visit: Visit) -> Response:
    """Show the runs that the visitor of ``visit`` looks for."""
    wanted = RunSearch.of(visit)
    with visit.database.reading() as session:
        page = _page(session, visit, wanted)
        choices = _choices(session, visit)
    values = page.values(_parts(visit)) | {"wanted": wanted, "choices": choices}
    return visit.render("runs.html.j2", back=_address("/", wanted.query), **values)


def update(visit: Visit) -> Response:
    """Send the parts of the list that differ from those that the browser of ``visit`` shows."""
    with visit.database.reading() as session:
        return _page(session, visit, RunSearch.of(visit)).update(visit, _parts(visit))


def _page(session: Session, visit: Visit, wanted: RunSearch) -> LivePage:
    following, preceding = visit.asked_number("following"), visit.asked_number("preceding")
    try:
        found = queries.runs(
            session,
            _PAGE + 1,
            owned_by=visit.visitor.only,
            following=following,
            preceding=preceding,
            **wanted.arguments(),
        )
    except NetworkError:
        found = []  # the network's name cannot be one
    more = len(found) > _PAGE
    runs = (found[-_PAGE:] if preceding is not None else found[:_PAGE]) if more else found
    earlier = more if preceding is not None else following is not None
    later = more if preceding is None else True
    outages = outages_of(session, runs)
    values = {
        "root": visit.root,
        "may_act": visit.visitor.may_act,
        "is_filtered": bool(wanted.query),
        "runs": [overview.run_row(run, outages.get(run.run_id)) for run in runs],
        "tiles": overview.queue_tiles(session, visit.database.now(session)),
        "earlier": _step(wanted, "preceding", runs[0]) if earlier and runs else None,
        "later": _step(wanted, "following", runs[-1]) if later and runs else None,
    }
    parts = {name: render_part(f"runs/{name}.html.j2", values) for name in ("queue", "list")}
    live = [run for run in runs if run.state in LIVE_RUNS]
    title = f"{len(live)} running, runs" if live else "Runs"
    return LivePage(parts, title, "running" if live else "none", _EVERY_S if live else _IDLE_EVERY_S)


def _step(wanted: RunSearch, direction: str, run: RunSummary) -> str:
    return _address("/", "&".join(filter(None, (wanted.query, f"{direction}={run.run_id}"))))


def _address(path: str, query: str) -> str:
    return f"{path}?{query}" if query else path


def _parts(visit: Visit) -> str:
    """Return the address of updates of the list in ``visit``."""
    steps = (f"{name}={visit.asked_number(name) or ''}" for name in ("following", "preceding"))
    wanted = [RunSearch.of(visit).query, *(step for step in steps if not step.endswith("="))]
    return f"{visit.root}{_address('/runs/parts', '&'.join(filter(None, wanted)))}"


def _choices(session: Session, visit: Visit) -> dict[str, list[str]]:
    """Return the values that each filter offers; owners only to those who see the runs of all."""
    used = select(Network.name, Network.version).where(Network.id.in_(select(Run.network_id)))
    networks = session.execute(used.order_by(Network.name, Network.version.desc()).limit(_MAX_CHOICES)).all()
    choices = {
        "state": [state.value for state in RunState],
        "network": [f"{row.name}@{row.version}" for row in networks],
        "solver": [solver.value for solver in Solver],
        "owner": [],
        "tag": [],
        "order": [order.value for order in RunOrder],
    }
    if visit.visitor.only is None:
        owners = select(Owner.name).order_by(Owner.name).limit(_MAX_CHOICES)
        tags = select(RunTag.tag).distinct().order_by(RunTag.tag).limit(_MAX_CHOICES)
        choices["owner"] = list(session.execute(owners).scalars())
        choices["tag"] = list(session.execute(tags).scalars())
    return choices
