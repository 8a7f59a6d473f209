"""Buttons of runs: pause, resume with a budget, cancel and delete; a page asks before the last two."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from starlette.responses import Response

from producer.dashboard.web.visit import Visit
from producer.runs import queries
from schema.errors import AnnealqError, NotFound, ParameterError
from schema.parameters import Solver
from schema.quantities import count_text
from schema.states import FINISHED_RUNS, LIVE_RUNS, RunState

_DONE = {"pause": "paused", "resume": "resumed", "cancel": "cancelled", "delete": "deleted"}
_MAX_CHOSEN = 1_000  # runs at once


def ask(visit: Visit) -> Response:
    """Ask whether the run of ``visit`` is to be changed, and how."""
    number, action = visit.number("run"), visit.request.path_params["act"]
    if action not in _DONE:
        raise NotFound(f"there is no page /runs/{number}/{action}")
    with visit.database.reading() as session:
        run = queries.run(session, number)
        spending = queries.spending_of_run(session, number) if Solver(run.solver).is_remote else None
    return visit.render(
        "ask.html.j2",
        title=f"{action.capitalize()} run {number}?",
        action=action,
        run=run,
        spending=spending,
        here=f"{visit.root}/runs/{number}",
        error=None,
    )


def act(visit: Visit) -> Response:
    """Pause, resume, cancel or delete the run of ``visit`` if its visitor may, then show it."""
    number, action = visit.number("run"), visit.request.path_params["act"]
    if action not in _DONE:
        raise NotFound(f"there is no page /runs/{number}/{action}")
    visit.check_may_act()
    visit.visitor.change(number, action, **_options(visit, action))
    said = f"run {number} is {_DONE[action]}"
    return visit.go("/", said) if action == "delete" else visit.go(f"/runs/{number}", said)


def choose(visit: Visit) -> Response:
    """Ask whether the chosen runs of ``visit`` are to be paused, resumed or cancelled; then do it."""
    action = str(visit.form.get("act", ""))
    if action not in _DONE or action == "delete":
        raise NotFound("there is no such action")
    visit.check_may_act()
    chosen = _chosen(visit.form.getlist("run"))
    if not chosen:
        return visit.go(_back(visit), "no runs were chosen: tick the boxes of some first")
    if visit.form.get("sure") == "yes":
        return visit.go(_back(visit), _change_all(visit, chosen, action))
    with visit.database.reading() as session:
        runs = []
        for number in chosen:
            visit.visitor.check(number)
            runs.append(queries.run(session, number))
    return visit.render(
        "ask_runs.html.j2",
        title=f"{action.capitalize()} {count_text(len(runs), 'run')}?",
        action=action,
        runs=[(run, _fits(run.state, action)) for run in runs],
        back=_back(visit),
    )


def _fits(state: RunState, action: str) -> bool:
    if action == "resume":
        return state in (RunState.PAUSED, RunState.FAILED)
    return state in LIVE_RUNS if action == "pause" else state not in FINISHED_RUNS


def _change_all(visit: Visit, chosen: Sequence[int], action: str) -> str:
    """Change each of the ``chosen`` runs, and return what became of them for display."""
    done, errors = 0, []
    for number in chosen:
        try:
            visit.visitor.change(number, action)
            done += 1
        except AnnealqError as error:
            errors.append(str(error))
    return "; ".join([f"{count_text(done, 'run')} {_DONE[action]}", *errors[:5]])


def _chosen(values: Sequence[Any]) -> list[int]:
    numbers = [int(text) for value in values if (text := str(value)).isascii() and text.isdecimal()]
    return sorted({number for number in numbers if number < 2**63})[:_MAX_CHOSEN]


def _back(visit: Visit) -> str:
    """Return the address of the list with its filters; others are not followed."""
    back = str(visit.form.get("back", "/"))
    return back if back == "/" or back.startswith("/?") else "/"


def _options(visit: Visit, action: str) -> dict[str, Any]:
    if action != "resume":
        return {}
    text = str(visit.form.get("budget_s", "")).strip()
    try:
        budget_s = float(text) if text else None
    except ValueError:
        budget_s = -1.0
    if budget_s is not None and not 0 < budget_s < 1e9:
        raise ParameterError(f"the budget {text!r:.50} is not a number of seconds above 0: correct it")
    return {"budget_s": budget_s, "at_once": visit.form.get("at_once") == "yes"}
