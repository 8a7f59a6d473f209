"""A circuit breaker for each solver: while one does not answer, its batches wait, and one at a time asks.

    closed --> so many failures in a row --> open: nobody asks before `retry_at`
      ^                                        |
      +------ a probe is answered <------------+  then one batch, the probe, may ask; it fails: open again

It lives in SQL, because what one worker has found out holds for all. A solver without a row is well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from schema.tables import Breaker
from worker.process.settings import WorkerSettings


@dataclass(frozen=True)
class BrokenSolver:
    """A solver that has failed, and when it may be asked again; ``probe``: the batch that does."""

    failures: int
    error: str
    retry_at: datetime
    probe: int | None


def solver_key(solver: str, parameters: Mapping[str, Any]) -> str:
    """What a run's solver goes by: its kind, and the name or features that the run chose."""
    chosen = parameters.get("qpu")
    return solver if chosen is None else f"{solver}:{chosen}"


def wait_s(failures: int, settings: WorkerSettings, retry_after_s: float | None = None) -> float:
    """Seconds until a solver is asked again after so many failures; no shorter than it asks for itself."""
    doubled = settings.retry_base_s * 2.0 ** min(failures - 1, 30)
    return max(min(doubled, settings.probe_s), min(retry_after_s or 0.0, settings.retry_limit_s))


def find_all(session: Session) -> dict[str, BrokenSolver]:
    """Every solver that has failed, by its key."""
    rows = session.execute(
        select(Breaker.solver, Breaker.failures, Breaker.error, Breaker.retry_at, Breaker.probe)
    )
    return {solver: BrokenSolver(failures, error, at, probe) for solver, failures, error, at, probe in rows}


def is_open(broken: BrokenSolver | None, batch: int, settings: WorkerSettings) -> bool:
    """Whether this batch may not ask its solver now."""
    return broken is not None and broken.failures >= settings.breaker_failures and broken.probe != batch


def find(session: Session, solver: str) -> BrokenSolver | None:
    """What is known against a solver."""
    columns = (Breaker.failures, Breaker.error, Breaker.retry_at, Breaker.probe)
    row = session.execute(select(*columns).where(Breaker.solver == solver)).first()
    return None if row is None else BrokenSolver(*row)


def start_probe(
    session: Session, solver: str, batch: int, *, now: datetime, settings: WorkerSettings
) -> bool:
    """Name the batch that asks next; False when it is too early, or another was named just now."""
    until = now + timedelta(seconds=settings.probe_s)
    named = session.execute(
        update(Breaker)
        .where(Breaker.solver == solver, Breaker.retry_at <= now)
        .values(probe=batch, retry_at=until)
        .returning(Breaker.solver)
    )
    return named.first() is not None


def record_failure(
    session: Session,
    solver: str,
    error: str,
    *,
    now: datetime,
    settings: WorkerSettings,
    retry_after_s: float | None = None,
) -> datetime:
    """Count a failure; returns when the solver may be asked again."""
    insert = sqlite.insert if session.get_bind().dialect.name == "sqlite" else postgresql.insert
    first = {"solver": solver, "failures": 1, "error": error, "since": now, "retry_at": now}
    counted = insert(Breaker).values(first)
    again = {"failures": Breaker.failures + 1, "error": error}
    failures = session.execute(
        counted.on_conflict_do_update(index_elements=[Breaker.solver], set_=again).returning(Breaker.failures)
    ).scalar_one()
    retry_at = now + timedelta(seconds=wait_s(failures, settings, retry_after_s))
    session.execute(update(Breaker).where(Breaker.solver == solver).values(retry_at=retry_at, probe=None))
    return retry_at


def record_success(session: Session, solver: str) -> None:
    """The solver has answered: all is forgotten."""
    session.execute(delete(Breaker).where(Breaker.solver == solver))
