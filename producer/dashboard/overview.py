"""What the pages of all runs and of the solvers show."""

from __future__ import annotations

from dataclasses import dataclass
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


@dataclass(frozen=True)
class QueueDepth:
    """Unfinished batches and their images. ``oldest_due`` is the earliest due time of a pending batch."""

    batches: dict[BatchState, int]
    images: int
    oldest_due: datetime | None


@dataclass(frozen=True)
class SolverState:
    """A solver with qubits. ``failures`` are consecutive; ``error`` is the last one."""

    name: str
    failures: int
    error: str | None
    retry_at: datetime | None
    problems: dict[ProblemState, int]
    charged_us: int
    today_us: int


def queue(session: Session) -> QueueDepth:
    """Return the unfinished work of all runs."""
    rows = session.execute(
        select(Batch.state, func.count(), func.sum(Batch.count))
        .where(Batch.state.in_(_WAITING))
        .group_by(Batch.state)
    ).all()
    due = select(func.min(Batch.due_at)).where(Batch.state == BatchState.PENDING)
    return QueueDepth(
        batches={state: count for state, count, _ in rows},
        images=sum(int(images) for *_, images in rows),
        oldest_due=session.execute(due).scalar(),
    )


def solvers(session: Session, now: datetime) -> list[SolverState]:
    """Return every solver with qubits that was used or has failed, with its charges on the day of ``now``."""
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    rows = session.execute(
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
    breakers = {row.solver: row for row in session.execute(select(Breaker)).scalars()}
    names = sorted({row[0] for row in rows} | set(breakers))
    return [_solver(name, [row for row in rows if row[0] == name], breakers.get(name)) for name in names]


def _solver(
    name: str, rows: list[tuple[str, ProblemState, int, int, int]], breaker: Breaker | None
) -> SolverState:
    return SolverState(
        name=name,
        failures=0 if breaker is None else breaker.failures,
        error=None if breaker is None else breaker.error,
        retry_at=None if breaker is None else breaker.retry_at,
        problems={state: count for _, state, count, _, _ in rows},
        charged_us=sum(int(us) for *_, us, _ in rows),
        today_us=sum(int(us) for *_, us in rows),
    )


def run_row(run: queries.RunSummary) -> dict[str, Any]:
    """Return the template's values for a row of the list of runs."""
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


def queue_tiles(depth: QueueDepth, now: datetime) -> list[tuple[str, str, str]]:
    """Return name, value and note of each figure on ``depth`` at ``now``."""
    batches = ", ".join(f"{count:,} {state}" for state, count in depth.batches.items())
    tiles = [("images waiting", f"{depth.images:,}", batches or "nothing to do")]
    if depth.oldest_due is not None:
        age = _age((now - depth.oldest_due).total_seconds())
        tiles.append(("oldest due batch", age, "since it became due"))
    return tiles


def solver_row(solver: SolverState) -> dict[str, Any]:
    """Return the template's values for a row of the list of solvers."""
    state = "answers"
    if solver.failures:
        state = f"{solver.failures:,} consecutive failures: {solver.error}"
    return {
        "name": solver.name,
        "state": state,
        "colour": "wrong" if solver.failures else "right",
        **{str(kind): f"{solver.problems.get(kind, 0):,}" for kind in _OPEN_PROBLEMS},
        "today": f"{solver.today_us / 1e6:,.3f} s",
        "charged": f"{solver.charged_us / 1e6:,.3f} s",
    }


def _age(seconds: float) -> str:
    seconds = max(seconds, 0.0)
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:,.0f} min" if seconds < 7200 else f"{seconds / 3600:,.1f} h"
