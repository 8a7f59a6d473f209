"""Pauses, resumes, cancels and changes runs by a user's command. Workers react within a second."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, tzinfo
from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from producer.runs import queries
from producer.runs.filters import put_tags
from producer.runs.request import RunOptions
from schema.calendar.run_hours import RunHours, format_time
from schema.calendar.windows import Windows
from schema.database import Database, record_event, transition, transition_all
from schema.database.feature_requests import ask_again
from schema.errors import ParameterError, StaleState
from schema.parameters import Parameters, Solver
from schema.states import FINISHED_RUNS, LIVE_RUNS, RESUMED, BatchState, PausedBy, ProblemState, RunState
from schema.tables import Batch, Problem, Run, RunTag

_HOURS = (Run.window, Run.opened_until, Run.deadline_at)
_CHANGED_LATE = ("name", "tags")  # of finished runs, too
_TRIES = 5  # a worker may change the state between our read and our update


def pause(database: Database, run: int, reason: str = "by hand", *, again: bool = False) -> None:
    """Pause ``run`` in ``database`` for ``reason``. Problems in flight are still collected and stored.

    A run that its window or the budget of a day or month has paused no longer resumes automatically. With
    ``again`` it may be paused already.

    Raises:
        NotFound: the run does not exist. ParameterError: it is not queued or running.
    """
    values: dict[str, Any] = {"paused_by": PausedBy.HAND, "pause_reason": reason}
    with database.transaction() as session:
        resumes = Run.paused_by.in_([PausedBy.WINDOW, PausedBy.DAY, PausedBy.MONTH])
        statement = update(Run).where(Run.id == run, Run.state == RunState.PAUSED, resumes)
        if session.execute(statement.values(**values).returning(Run.id)).first() is not None:
            now = database.now(session)
            record_event(
                session, "runs", run, RunState.PAUSED, RunState.PAUSED, now=now, why="paused by hand"
            )
            return
    _move(database, run, RunState.PAUSED, LIVE_RUNS, "paused", again=again, **values)


def cancel(database: Database, run: int, *, again: bool = False) -> queries.RunSpending:
    """Cancel ``run`` in ``database`` for good; scored images stay. Workers cancel its problems in flight.

    With ``again`` it may be cancelled already.

    Returns:
        What was charged already, and what is still in flight.

    Raises:
        NotFound: the run does not exist. ParameterError: it has finished already.
    """
    sources = (*LIVE_RUNS, RunState.PAUSED)
    _move(database, run, RunState.CANCELLED, sources, "cancelled", again=again, **RESUMED)
    with database.reading() as session:
        return queries.spending_of_run(session, run)


def resume(
    database: Database,
    run: int,
    budget_us: int | None = None,
    *,
    at_once: bool = False,
    qpu: str | None = None,
    again: bool = False,
) -> int:
    """Resume ``run`` if it is paused, or reopen its failed batches; return the number of pending batches.

    Args:
        database: where the run is stored.
        budget_us: new total budget of QPU time, microseconds.
        qpu: the QPUs that it may use from now on, as the parameter `qpu` names them; a run that waits for its
            solver moves, too.
        at_once: open the window of the run now, until its next window closes; otherwise the run resumes in
            its next window.
        again: the run may be resumed already; nothing is changed then.

    Raises:
        NotFound: the run does not exist. ParameterError: it is neither paused nor failed, its budget is
            spent, its deadline has passed, or it waits for its window and ``at_once`` is false.
    """
    with database.transaction() as session:
        if qpu is not None:
            _move_to(session, run, qpu, database.now(session))
        columns = (Run.state, Run.started_at, Run.paused_by, Run.budget_us, *_HOURS)
        row = session.execute(select(*columns).where(Run.id == run)).first()
        if row is None:
            queries.run(session, run)  # raises NotFound
            raise AssertionError("unreachable")
        is_continuing = row.state in LIVE_RUNS and budget_us is None
        if is_continuing and (again or (qpu is not None and not at_once)):
            return _count_pending(session, run)
        if row.state not in (RunState.PAUSED, RunState.FAILED):
            raise ParameterError(f"run {run} is {row.state}: only paused and failed runs can be resumed")
        now = database.now(session)
        hours = RunHours.of(row.window, row.opened_until, row.deadline_at)
        _refuse_late(run, row, hours, now, at_once=at_once)
        _refuse_spent(session, run, row, budget_us)
        values: dict[str, Any] = dict(RESUMED)
        if at_once and (row.paused_by is PausedBy.WINDOW or not hours.is_open(now)):
            values["opened_until"] = hours.opening_after(now)
        if budget_us is not None:
            values["budget_us"] = budget_us
        if row.state is RunState.FAILED:
            reopened = _requeue_failed(session, run, now)
            values |= {"finished_at": None, "error": None, "batches_failed": Run.batches_failed - reopened}
        was_running = row.state is RunState.PAUSED and row.started_at is not None
        target = RunState.RUNNING if was_running else RunState.QUEUED
        transition(session, run, row.state, target, now=now, why="resumed", **values)
        if not (at_once or hours.is_open(now)):
            why = hours.explain(now)
            closed = {"paused_by": PausedBy.WINDOW, "pause_reason": why, "paused_at": now}
            transition(session, run, target, RunState.PAUSED, now=now, why=why, **closed)
        return _count_pending(session, run)


def _count_pending(session: Session, run: int) -> int:
    pending = select(func.count()).where(Batch.run_id == run, Batch.state == BatchState.PENDING)
    return session.execute(pending).scalar_one()


def _move_to(session: Session, run: int, qpu: str, now: datetime) -> None:
    """Store another choice of QPUs with an unfinished run; its batches do not wait for the earlier one."""
    row = session.execute(select(Run.solver, Run.state, Run.parameters).where(Run.id == run)).first()
    if row is None or row.state in (RunState.DONE, RunState.CANCELLED, RunState.AGGREGATING):
        return  # the caller says why it cannot be resumed
    parameters = replace(Parameters.from_dict(row.parameters), qpu=qpu)
    parameters.check_for(Solver(row.solver))
    values = {"parameters": parameters.to_dict(), "qpu": None, "graph_id": None}
    session.execute(update(Run).where(Run.id == run).values(**values))
    waiting = (Batch.run_id == run, Batch.state == BatchState.PENDING, Batch.due_at > now)
    session.execute(update(Batch).where(*waiting).values(due_at=now, dispatched_at=None))
    why = f"moved by a user to QPU {qpu}"
    record_event(session, "runs", run, row.state, row.state, now=now, why=why)


def change_run(database: Database, run: int, changes: Mapping[str, Any]) -> None:
    """Change ``run`` in ``database``; either all of ``changes`` are made or none.

    A run that is outside of its new hours is paused by the workers, and one that waited for its old hours is
    resumed by them.

    Args:
        changes: any of name, tags, priority, budget_us, window (texts), tz, deadline (text); None removes a
            budget, a window or a deadline.

    Raises:
        NotFound: there is no such run.
        ParameterError: a value cannot be used: out of range, a budget below what is spent, a past deadline.
        StaleState: the run is finished, so that only its name and tags can be changed.
    """
    with database.transaction() as session:
        row = queries.run(session, run)
        if row.state in FINISHED_RUNS and (late := sorted(changes.keys() - set(_CHANGED_LATE))):
            raise StaleState(f"run {run} is {row.state}: its {late[0]} can no longer be changed")
        now = database.now(session)
        values = _new_values(session, row, changes, now)
        if values:
            session.execute(update(Run).where(Run.id == run).values(**values))
        if "window" in values and row.paused_by is PausedBy.WINDOW:
            _resume_in_window(session, run, row, values["window"], now)
        if "tags" in changes:
            session.execute(delete(RunTag).where(RunTag.run_id == run))
            put_tags(session, run, changes["tags"])
        why = f"changed {', '.join(sorted(changes))}"
        record_event(session, "runs", run, row.state, row.state, now=now, why=why)


def _resume_in_window(
    session: Session, run: int, row: queries.RunSummary, window: Mapping[str, Any] | None, now: datetime
) -> None:
    """Resume a run that waited for its window, if the new ``window`` is open."""
    if RunHours.of(window, None, None).is_open(now):
        target = RunState.QUEUED if row.started_at is None else RunState.RUNNING
        transition(session, run, RunState.PAUSED, target, now=now, why="its window is open", **RESUMED)


def _new_values(
    session: Session, run: queries.RunSummary, changes: Mapping[str, Any], now: datetime
) -> dict[str, Any]:
    """Return the columns of ``run`` that ``changes`` set; raise ParameterError if one cannot be."""
    RunOptions(**{name: changes[name] for name in ("priority", "tags") if name in changes})  # checks them
    values = {name: changes[name] for name in ("name", "priority") if name in changes}
    if "budget_us" in changes:
        values["budget_us"] = _new_budget(session, run.run_id, changes["budget_us"])
    if {"window", "deadline", "tz"} & changes.keys():
        values |= _new_hours(run, changes, now)
    return values


def _new_budget(session: Session, run: int, budget_us: int | None) -> int | None:
    spending = queries.spending_of_run(session, run)
    spent_us = spending.charged_us + spending.in_flight_us
    if budget_us is not None and budget_us < spent_us:
        raise ParameterError(
            f"run {run} has spent {spent_us / 1e6:g} s, more than a budget of {budget_us / 1e6:g} s: "
            "give a higher budget, or cancel the run",
            "budget_s",
        )
    return budget_us


def _new_hours(run: queries.RunSummary, changes: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """Return window and deadline; what is not changed stays, in the zone that it has."""
    before = RunHours.of(run.window, run.opened_until, run.deadline_at)
    stored = before.windows
    zone = changes.get("tz") or ("UTC" if stored is None else stored.zone_name)
    texts = () if stored is None else tuple(span.text for span in stored.spans)
    texts = tuple(changes.get("window", texts) or ())
    windows = Windows.parse(texts, zone) if texts else None
    deadline_at = run.deadline_at
    if "deadline" in changes:
        deadline_at = None
        if changes["deadline"] is not None:
            deadline_at = RunHours.parse((), zone, changes["deadline"], now).deadline_at
    if deadline_at is not None and deadline_at <= now:
        raise ParameterError(
            f"the deadline {format_time(deadline_at)} has passed: it is {format_time(now)}", "deadline"
        )
    return {"window": None if windows is None else windows.to_dict(), "deadline_at": deadline_at}


def _move(
    database: Database,
    run: int,
    target: RunState,
    sources: tuple[RunState, ...],
    word: str,
    *,
    again: bool,
    **values: Any,
) -> None:
    for _ in range(_TRIES):
        with database.transaction() as session:
            state = queries.run(session, run).state
            if again and state is target:
                return
            if state not in sources:
                raise ParameterError(f"run {run} is {state}: it can no longer be {word}")
            now = database.now(session)
            stamp = "paused_at" if target is RunState.PAUSED else "finished_at"
            try:
                transition(session, run, state, target, now=now, why=word, **{**values, stamp: now})
            except StaleState:
                continue
            if target is RunState.CANCELLED:
                _cancel_reserved(session, run, now)
            return
    raise StaleState(f"run {run} keeps changing its state: try again")


def _cancel_reserved(session: Session, run: int, now: datetime) -> None:
    """Cancel reserved problems of batches that no worker holds; workers cancel those of theirs."""
    unheld = select(Batch.id).where(Batch.run_id == run, Batch.state != BatchState.SAMPLING)
    reserved, cancelled = ProblemState.RESERVED, ProblemState.CANCELLED
    why = "the run was cancelled"
    transition_all(session, Problem.batch_id.in_(unheld), reserved, cancelled, now=now, why=why)


def _requeue_failed(session: Session, run: int, now: datetime) -> int:
    """Make the failed batches of ``run`` due again, with all attempts, and return how many there were."""
    values = {"attempts": 0, "error": None, "dispatched_at": None}
    failed, pending = BatchState.FAILED, BatchState.PENDING
    ask_again(session, run, now=now)
    return len(
        transition_all(session, Batch.run_id == run, failed, pending, now=now, why="resumed", **values)
    )


def _refuse_late(run: int, row: Any, hours: RunHours, now: datetime, *, at_once: bool) -> None:
    """Reject runs past their deadline, and runs that will resume with their next window."""
    if row.paused_by is PausedBy.DEADLINE or hours.has_expired(now):
        raise ParameterError(
            f"run {run} is past its deadline and cannot be resumed; scored images stay: start another run "
            "with `annealq classify`"
        )
    if row.state is RunState.PAUSED and row.paused_by is PausedBy.WINDOW and not at_once:
        opens = hours.next_open(now) if not hours.is_open(now) else None
        when = "" if opens is None else f", which opens {format_time(opens, _zone(hours))}"
        raise ParameterError(
            f"run {run} resumes automatically in its next window{when}; use --now to resume it immediately"
        )


def _zone(hours: RunHours) -> tzinfo:
    return UTC if hours.windows is None else hours.windows.zone


def _refuse_spent(session: Session, run: int, row: Any, budget_us: int | None) -> None:
    """Reject a budget that is spent: it would pause the run again immediately."""
    budget = row.budget_us if budget_us is None else budget_us
    if budget is None:
        return
    spending = queries.spending_of_run(session, run)
    total_us = spending.charged_us + spending.in_flight_us
    unchanged = budget_us is None or budget_us <= (row.budget_us or 0)
    if total_us >= budget or (row.paused_by is PausedBy.BUDGET and unchanged):
        raise ParameterError(
            f"run {run} has spent {total_us / 1e6:g} s of its budget of {budget / 1e6:g} s, which is not "
            "enough for another problem: give a higher budget with --budget SECONDS"
        )
