"""Whether problems may leave for their solver now: how many are in flight, what is spent, what a person said.

Checked in the very transaction that writes them down as sent, one at a time for all workers, so that no
limit is overshot: what is in flight counts with its estimate, which is what the solver will charge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import accumulate

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from schema.states import LIVE_RUNS, PausedBy, RunState
from schema.tables import Batch, Problem, Run
from worker import spending
from worker.settings import WorkerSettings
from worker.spending import IN_FLIGHT

_LOCK = 0x616E6E71  # any number that nothing else in the database locks


class Hold(StrEnum):
    """Why a problem may not leave."""

    RUN = "run"  # its run was paused or cancelled
    ROOM = "room"  # as many as may be are in flight
    BUDGET = "budget"  # its run's budget does not suffice
    DAY = "day"  # the solver's budget of today does not suffice


@dataclass(frozen=True)
class Standing:
    """What counts against the limits. Budgets in microseconds of QPU time, None: without limit.

    in_flight: problems with the solver, of all runs and workers. room: how many may be.
    """

    run: RunState
    in_flight: int
    room: int
    run_spent_us: int
    run_budget_us: int | None
    day_spent_us: int
    day_budget_us: int | None


@dataclass(frozen=True)
class Admission:
    """How many of the problems that want to leave may, and what holds the next one back."""

    problems: int
    hold: Hold | None = None


def decide(standing: Standing, estimates_us: Sequence[int]) -> Admission:
    """How many of the problems with these estimates may leave, the first ones first."""
    if standing.run not in LIVE_RUNS:
        return Admission(0, Hold.RUN)
    sums = list(accumulate(estimates_us))
    room = max(standing.room - standing.in_flight, 0)
    limits = {
        Hold.ROOM: min(room, len(sums)),
        Hold.BUDGET: _affordable(sums, standing.run_spent_us, standing.run_budget_us),
        Hold.DAY: _affordable(sums, standing.day_spent_us, standing.day_budget_us),
    }
    # Of two limits the lasting one is named: who waits for room must know that the money is spent.
    hold = min((Hold.BUDGET, Hold.DAY, Hold.ROOM), key=lambda one: limits[one])
    admitted = limits[hold]
    return Admission(admitted, hold if admitted < len(sums) else None)


def stand(session: Session, run: int, settings: WorkerSettings, *, now: datetime) -> Standing:
    """Read what counts for a run's problems, and keep every other worker from sending until the commit."""
    if session.get_bind().dialect.name == "postgresql":  # SQLite has one writer anyway
        session.execute(select(func.pg_advisory_xact_lock(_LOCK)))
    row = session.execute(select(Run.state, Run.solver, Run.budget_us).where(Run.id == run)).one()
    day_budget_us = settings.day_budget_us
    return Standing(
        run=row.state,
        in_flight=_count_in_flight(session, row.solver),
        room=settings.solver_in_flight,
        run_spent_us=0 if row.budget_us is None else spending.of_run(session, run),
        run_budget_us=row.budget_us,
        day_spent_us=0 if day_budget_us is None else spending.of_day(session, row.solver, now.date()),
        day_budget_us=day_budget_us,
    )


def explain(standing: Standing, by: PausedBy, next_us: int) -> str:
    """Why a run was paused, for people."""
    if by is PausedBy.DAY:
        spent, budget = standing.day_spent_us, standing.day_budget_us or 0
        return (
            f"the next problem takes {next_us / 1e6:g} s of QPU time, and of today's budget of "
            f"{budget / 1e6:g} s {spent / 1e6:g} s are spent: it goes on tomorrow (UTC), or with a higher "
            "ANNEALQ_WORKER_DAY_BUDGET_S and `annealq runs resume`"
        )
    spent, budget = standing.run_spent_us, standing.run_budget_us or 0
    return (
        f"the next problem takes {next_us / 1e6:g} s of QPU time, and of the run's budget of "
        f"{budget / 1e6:g} s {spent / 1e6:g} s are spent: `annealq runs resume RUN --budget SECONDS` raises "
        "it"
    )


def _count_in_flight(session: Session, solver: str) -> int:
    # For each problem in flight, of which there are few: PostgreSQL would join all batches that there are.
    theirs = select(Run.solver).join(Batch).where(Batch.id == Problem.batch_id).scalar_subquery()
    query = select(func.count()).where(Problem.state.in_(IN_FLIGHT), theirs == solver)
    return session.execute(query).scalar_one()


def _affordable(sums: Sequence[int], spent_us: int, budget_us: int | None) -> int:
    if budget_us is None:
        return len(sums)
    return sum(spent_us + total <= budget_us for total in sums)
