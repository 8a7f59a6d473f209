"""What the pages of all runs and of the solvers show."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from producer.progress import backlog, intake
from producer.progress.reasons import Outage
from producer.runs import queries
from schema.quantities import count_text, duration_text, time_text
from schema.states import BatchState, ProblemState, RunState
from schema.tables import Batch, Breaker, Problem, Run
from schema.tables.costs import charged_by_solver

_WAITING = (BatchState.PENDING, BatchState.SAMPLING, BatchState.SAMPLED)
_OPEN_PROBLEMS = (ProblemState.RESERVED, ProblemState.SENDING, ProblemState.SENT)
_COLOURS = {RunState.DONE: "right", RunState.FAILED: "wrong"}


def queue_tiles(session: Session, now: datetime) -> list[tuple[str, str, str]]:
    """Return name, value and note of each figure on the unfinished work in ``session`` at ``now``."""
    counts = backlog.count_unfinished(session)
    waiting = {state: counts[state] for state in _WAITING if counts[state].batches}
    batches = ", ".join(f"{count.batches:,} {state}" for state, count in waiting.items())
    images = sum(count.images for count in waiting.values())
    tiles = [("images waiting", f"{images:,}", f"batches: {batches}" if batches else "nothing to do")]
    if (paused := counts[RunState.PAUSED]).batches:
        tiles.append(("images paused", f"{paused.images:,}", "with their runs"))
    if (unread := intake.count_to_come(session)).runs:
        number = f"{unread.images:,}" if unread.images or not unread.unknown else "unknown"
        note = f"not read yet, of {count_text(unread.runs, 'source')}"
        if unread.unknown:
            note += f", {unread.unknown:,} of unknown length"
        tiles.append(("images to read", number, note))
    if (due := backlog.due(session, now)).batches:
        tiles.append(("oldest due batch", duration_text(due.age_s(now)), "since it became due"))
    return tiles


def solver_rows(session: Session, now: datetime) -> list[dict[str, Any]]:
    """Return the template's values for every solver with qubits in ``session`` that was used or has failed.

    Their charges of today and of this month are those since midnight, and since the first, before ``now``.
    """
    today = now.astimezone(UTC).date()
    begins = {"charged_us": None, "today_us": today, "month_us": today.replace(day=1)}
    open_problems = session.execute(
        select(Run.solver, Problem.state, func.count())
        .join(Batch, Batch.run_id == Run.id)
        .join(Problem, Problem.batch_id == Batch.id)
        .where(Problem.state.in_(_OPEN_PROBLEMS))
        .group_by(Run.solver, Problem.state)
    ).all()
    rows: dict[str, dict[str, Any]] = {}
    for breaker in session.execute(select(Breaker).order_by(Breaker.account)).scalars():
        row = rows.setdefault(breaker.solver, _solver_row(breaker.solver, []))
        row |= _solver_row(breaker.solver, [*row["failures"], _failure_text(breaker)])
    used = {name: charged_by_solver(session, since) for name, since in begins.items()}
    for solver in used["charged_us"]:
        rows.setdefault(solver, _solver_row(solver, []))
    for solver, state, count in open_problems:
        rows.setdefault(solver, _solver_row(solver, []))[state.value] = count
    for name, charged in used.items():
        for solver, us in charged.items():
            rows[solver][name] = us
    return [row for _, row in sorted(rows.items())]


def _failure_text(breaker: Breaker) -> str:
    account = f" with account {breaker.account}" if breaker.account else ""
    return (
        f"{breaker.failures:,} consecutive failures{account} since {time_text(breaker.since)}: "
        f"{breaker.error}; it is asked again at {time_text(breaker.retry_at)}"
    )


def _solver_row(name: str, failures: list[str]) -> dict[str, Any]:
    return {
        "name": name,
        "failures": failures,
        "state": "; ".join(failures) or "answers",
        "colour": "wrong" if failures else "right",
        **{problems.value: 0 for problems in _OPEN_PROBLEMS},
        "charged_us": 0,
        "today_us": 0,
        "month_us": 0,
    }


def run_row(run: queries.RunSummary, outage: Outage | None) -> dict[str, Any]:
    """Return the template's values for ``run`` in the list of runs; it may wait for an ``outage`` to end."""
    figures = run.statistics or {}
    charged = figures.get("qpu_access_time_us") or 0
    rate = figures.get("images_per_second")
    return {
        "number": run.run_id,
        "name": run.name,
        "network": run.network,
        "solver": run.solver,
        "state": run.state,
        "colour": _COLOURS.get(run.state, ""),
        "reason": run.pause_reason if run.state is RunState.PAUSED else outage and outage.text,
        "images": run.images_text,
        "percent": int(100 * run.scored_share),
        "rate": "" if rate is None else f"{rate:,.1f}",
        "qpu": f"{charged / 1e6:,.3f} s" if charged else "",
        "created": run.created_at,
    }
