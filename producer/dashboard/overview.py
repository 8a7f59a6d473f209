"""What the pages of all runs and of the solvers show."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from producer.runs import queries
from schema.parameters import Solver
from schema.states import BatchState, ProblemState, RunState
from schema.tables import Batch, Breaker, Problem, Run
from schema.tables.costs import charged_us

_WAITING = (BatchState.PENDING, BatchState.SAMPLING, BatchState.SAMPLED)
_OPEN_PROBLEMS = (ProblemState.RESERVED, ProblemState.SENDING, ProblemState.SENT)
_COLOURS = {RunState.DONE: "right", RunState.FAILED: "wrong"}


def queue_tiles(session: Session, now: datetime) -> list[tuple[str, str, str]]:
    """Return name, value and note of each figure on the unfinished work in ``session`` at ``now``."""
    rows = session.execute(
        select(Batch.state, func.count(), func.sum(Batch.count))
        .where(Batch.state.in_(_WAITING))
        .group_by(Batch.state)
    ).all()
    images = sum(int(images) for *_, images in rows)
    batches = ", ".join(f"{count:,} {state}" for state, count, _ in rows)
    tiles = [("images waiting", f"{images:,}", batches or "nothing to do")]
    oldest = session.execute(select(func.min(Batch.due_at)).where(Batch.state == BatchState.PENDING)).scalar()
    if oldest is not None:
        tiles.append(("oldest due batch", _age((now - oldest).total_seconds()), "since it became due"))
    return tiles


def solver_rows(session: Session, now: datetime) -> list[dict[str, Any]]:
    """Return the template's values for every solver with qubits in ``session`` that was used or has failed.

    Their charges of today are those since midnight before ``now``.
    """
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    counts = session.execute(
        select(
            Run.solver,
            Problem.state,
            func.count(),
            func.sum(charged_us()),
            func.sum(case((Problem.sending_at >= midnight, charged_us()), else_=0)),
        )
        .join(Batch, Batch.run_id == Run.id)
        .join(Problem, Problem.batch_id == Batch.id)
        .where(Run.solver.in_([solver for solver in Solver if solver.is_remote]))
        .group_by(Run.solver, Problem.state)
    ).all()
    rows = {row.solver: _solver_row(row) for row in session.execute(select(Breaker)).scalars()}
    for solver, state, count, charged, today in counts:
        row = rows.setdefault(solver, _solver_row(Breaker(solver=solver, failures=0)))
        row[state.value] = count
        row["charged_us"] += int(charged)
        row["today_us"] += int(today)
    return [row for _, row in sorted(rows.items())]


def _solver_row(breaker: Breaker) -> dict[str, Any]:
    state = "answers"
    if breaker.failures:
        state = f"{breaker.failures:,} consecutive failures: {breaker.error}"
    return {
        "name": breaker.solver,
        "state": state,
        "colour": "wrong" if breaker.failures else "right",
        **{problems.value: 0 for problems in _OPEN_PROBLEMS},
        "charged_us": 0,
        "today_us": 0,
    }


def run_row(run: queries.RunSummary) -> dict[str, Any]:
    """Return the template's values for ``run`` in the list of runs."""
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
        "reason": run.pause_reason if run.state is RunState.PAUSED else None,
        "images": f"{run.images:,}",
        "percent": 100 * run.batches_scored // run.batches,
        "rate": "" if rate is None else f"{rate:,.1f}",
        "qpu": f"{charged / 1e6:,.3f} s" if charged else "",
        "created": f"{run.created_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC",
    }


def _age(seconds: float) -> str:
    seconds = max(seconds, 0.0)
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:,.0f} min" if seconds < 7200 else f"{seconds / 3600:,.1f} h"
