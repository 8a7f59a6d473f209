"""What the pages of all runs and of the solvers show."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from schema.parameters import Solver
from schema.states import BatchState, ProblemState
from schema.tables import Batch, Breaker, Problem, Run
from schema.tables.costs import charged_us

_WAITING = (BatchState.PENDING, BatchState.SAMPLING, BatchState.SAMPLED)


@dataclass(frozen=True)
class QueueDepth:
    """Batches and images that are not at their end. oldest_due: of those that nobody holds."""

    batches: dict[BatchState, int]
    images: int
    oldest_due: datetime | None


@dataclass(frozen=True)
class SolverState:
    """A solver with qubits. failures: in a row, since it was last heard of; error: the last one."""

    name: str
    failures: int
    error: str | None
    retry_at: datetime | None
    problems: dict[ProblemState, int]
    charged_us: int
    today_us: int


def queue(session: Session) -> QueueDepth:
    """What waits, over all runs."""
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
    """Every solver with qubits that problems were sent to, or that has failed."""
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
        .where(Run.solver.in_([one for one in Solver if one.is_remote]))
        .group_by(Run.solver, Problem.state)
    ).all()
    broken = {row.solver: row for row in session.execute(select(Breaker)).scalars()}
    names = sorted({row[0] for row in rows} | set(broken))
    return [_solver(name, [row for row in rows if row[0] == name], broken.get(name)) for name in names]


def _solver(
    name: str, rows: list[tuple[str, ProblemState, int, int, int]], held: Breaker | None
) -> SolverState:
    return SolverState(
        name=name,
        failures=0 if held is None else held.failures,
        error=None if held is None else held.error,
        retry_at=None if held is None else held.retry_at,
        problems={state: count for _, state, count, _, _ in rows},
        charged_us=sum(int(us) for *_, us, _ in rows),
        today_us=sum(int(us) for *_, us in rows),
    )
