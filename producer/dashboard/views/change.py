"""A form that changes name, tags, priority, budget, window and deadline of a run."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from starlette.responses import Response

from producer.dashboard.web.forms import seen_texts
from producer.dashboard.web.visit import Visit
from producer.runs import queries
from schema.calendar.run_hours import RunHours
from schema.calendar.windows import parse_deadline
from schema.errors import InputError, RequestRefused, StaleState
from schema.parameters import Solver
from schema.states import FINISHED_RUNS

_HOURS = ("window", "tz", "deadline")  # one is read by the clock of another
_NAMES = ("name", "tags", "priority", "budget_s", *_HOURS)


def ask(visit: Visit) -> Response:
    """Show the form with what the run of ``visit`` has now."""
    return _form(visit, {}, None)


def send(visit: Visit) -> Response:
    """Change what was edited in the form of ``visit``, then show the run; or say what cannot be used."""
    visit.check_may_act()
    number = visit.number("run")
    values = {name: _clean(name, str(visit.form[name])) for name in _NAMES if name in visit.form}
    changes = _changes(seen_texts(visit, _NAMES) or _stored(visit)[1], values)
    try:
        visit.visitor.change(number, "change", changes=changes)
    except RequestRefused:
        raise
    except (InputError, StaleState) as error:
        return _form(visit, values, error)
    return visit.go(f"/runs/{number}", f"run {number} is changed" if changes else "nothing was changed")


def _clean(name: str, text: str) -> str:
    """Return ``text`` of the field ``name`` as it is compared: without spaces around it and its lines."""
    if name == "tags":
        return " ".join(sorted(set(text.replace(",", " ").split())))
    return (
        "\n".join(line.strip() for line in text.splitlines() if line.strip())
        if name == "window"
        else text.strip()
    )


def _changes(seen: dict[str, str], values: dict[str, str]) -> dict[str, Any]:
    """Return the edited ones of ``values``, by the names and with the types that PATCH takes."""
    edited = {name for name, text in values.items() if text != seen[name]}
    if edited & {"window", "deadline"} or ("tz" in edited and (seen["window"] or seen["deadline"])):
        edited |= set(_HOURS) & values.keys()
    else:
        edited.discard("tz")
    return {name: _typed(name, values[name]) for name in _NAMES if name in edited}


def _typed(name: str, text: str) -> Any:
    if name == "tags":
        return tuple(text.split())
    if name == "window":
        return text.split("\n") if text else None
    return text or None if name in ("budget_s", "tz", "deadline") else text


def _stored(visit: Visit) -> tuple[queries.RunSummary, dict[str, str], datetime]:
    """Return the run of ``visit``, the texts of its form, and the time."""
    number = visit.number("run")
    with visit.database.reading() as session:
        now = visit.database.now(session)
        run, tags = queries.run(session, number), queries.tags(session, [number]).get(number, [])
    windows = RunHours.of(run.window, None, None).windows
    zone = "UTC" if windows is None else windows.zone_name
    texts = {
        "name": run.name,
        "tags": " ".join(tags),
        "priority": str(run.priority),
        "budget_s": "" if run.budget_us is None else f"{run.budget_us / 1e6:.6f}".rstrip("0").rstrip("."),
        "window": "" if windows is None else "\n".join(span.text for span in windows.spans),
        "tz": zone,
        "deadline": "" if run.deadline_at is None else _deadline_text(run.deadline_at, zone),
    }
    return run, texts, now


def _deadline_text(deadline: datetime, zone_name: str) -> str:
    """Return ``deadline`` by the clock of the zone; with its offset where the clock shows it twice."""
    zone = ZoneInfo(zone_name)
    local = deadline.astimezone(zone)
    text = f"{local:%Y-%m-%dT%H:%M}" if not (local.second or local.microsecond) else local.isoformat()
    return text if parse_deadline(text, zone, deadline) == deadline else local.isoformat()


def _form(visit: Visit, values: dict[str, str], error: InputError | StaleState | None) -> Response:
    number = visit.number("run")
    run, stored, now = _stored(visit)
    hours = RunHours.of(run.window, run.opened_until, None)
    status = 409 if isinstance(error, StaleState) else 422
    return visit.render(
        "change.html.j2",
        200 if error is None else status,
        title=f"Change run {number}",
        here=f"{visit.root}/runs/{number}",
        values=stored | values,
        seen=json.dumps(seen_texts(visit, _NAMES) or stored),
        finished=run.state in FINISHED_RUNS,
        has_budget=visit.visitor.is_admin and Solver(run.solver).is_remote,
        now=now,
        deadline_at=run.deadline_at,
        opens_at=None if hours.is_open(now) else hours.next_open(now),
        closes_at=hours.closes(now),
        error=error,
    )
