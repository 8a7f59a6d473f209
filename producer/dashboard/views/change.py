"""A form that changes name, tags and priority of a run."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from producer.dashboard.web.visit import Visit
from producer.runs import queries
from schema.errors import InputError, ParameterError, RequestRefused
from schema.states import FINISHED_RUNS

_LONGEST_NAME = 200  # characters


def ask(visit: Visit) -> Response:
    """Show the form with what the run of ``visit`` has now."""
    return _form(visit, {}, None)


def send(visit: Visit) -> Response:
    """Change what differs in the form of ``visit``, then show the run; or say what cannot be used."""
    visit.check_may_act()
    number = visit.number("run")
    values = {name: str(visit.form[name]) for name in ("name", "tags", "priority") if name in visit.form}
    try:
        changes = _changes(visit, values)
        visit.visitor.change(number, "change", changes=changes)
    except RequestRefused:
        raise
    except InputError as error:
        return _form(visit, values, error)
    return visit.go(f"/runs/{number}", f"run {number} is changed" if changes else "nothing was changed")


def _changes(visit: Visit, values: dict[str, str]) -> dict[str, Any]:
    """Return what the form's ``values`` change, by the names that PATCH takes."""
    asked: dict[str, Any] = {}
    if "name" in values:
        name = asked["name"] = values["name"].strip()
        if not 1 <= len(name) <= _LONGEST_NAME or not name.isprintable():
            raise ParameterError(f"name: use 1 to {_LONGEST_NAME} printable characters")
    if "tags" in values:
        asked["tags"] = tuple(sorted(set(values["tags"].replace(",", " ").split())))
    if "priority" in values:
        text = values["priority"].strip()
        try:
            asked["priority"] = int(text)
        except ValueError:
            raise ParameterError(f"priority: {text!r:.50} is not a whole number: correct it") from None
    now = _stored(visit)
    return {name: value for name, value in asked.items() if value != now[name]}


def _stored(visit: Visit) -> dict[str, Any]:
    number = visit.number("run")
    with visit.database.reading() as session:
        run, tags = queries.run(session, number), queries.tags(session, [number]).get(number, [])
    return {"name": run.name, "tags": tuple(tags), "priority": run.priority, "state": run.state}


def _form(visit: Visit, values: dict[str, str], error: InputError | None) -> Response:
    number, stored = visit.number("run"), _stored(visit)
    shown = {"name": stored["name"], "tags": " ".join(stored["tags"]), "priority": str(stored["priority"])}
    return visit.render(
        "change.html.j2",
        200 if error is None else 422,
        title=f"Change run {number}",
        here=f"{visit.root}/runs/{number}",
        values=shown | values,
        finished=stored["state"] in FINISHED_RUNS,
        error=error,
    )
