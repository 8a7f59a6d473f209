"""A circuit breaker for each solver: while it does not answer, its batches wait, and one at a time probes it.

    closed --> `breaker_failures` in a row --> open: no requests before `retry_at`
      ^        or one refusal of the token       |
      |                                          |
      +---- a problem is answered <--------------+  then one batch, the probe, sends one problem; if it fails,
                                                    the next probe comes later

Only an answer closes it: a solver may accept problems and fail them all. Batches whose problems were accepted
before are collected meanwhile. It is stored in SQL, because a failure seen by one worker is valid for all. A
solver without a row is healthy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import delete, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from schema.tables import Breaker
from worker.process.settings import WorkerSettings

log = structlog.get_logger()

_GROWTH = 1.5  # of the wait from probe to probe
_COLUMNS = (Breaker.failures, Breaker.error, Breaker.retry_at, Breaker.probe)


@dataclass(frozen=True)
class BrokenSolver:
    """A solver that has failed; the batch ``probe`` may ask it again at ``retry_at``."""

    failures: int
    error: str
    retry_at: datetime
    probe: int | None


def solver_key(solver: str, parameters: Mapping[str, Any]) -> str:
    """Return the key of a ``solver``: its kind, with the QPU name or features in a run's ``parameters``."""
    chosen = parameters.get("qpu")
    return solver if chosen is None else f"{solver}:{chosen}"


def wait_s(failures: int, settings: WorkerSettings, retry_after_s: float | None = None) -> float:
    """Return the seconds until a solver is asked again after ``failures`` in a row, by ``settings``.

    The wait is at least ``retry_after_s``, which the solver asked for itself.
    """
    if failures < settings.breaker_failures:
        wait = min(settings.retry_base_s * 2.0 ** min(failures - 1, 30), settings.probe_s)
    else:
        wait = settings.probe_s * _GROWTH ** min(failures - settings.breaker_failures, 30)
        wait = min(wait, max(settings.retry_limit_s, settings.probe_s))
    return max(wait, min(retry_after_s or 0.0, settings.retry_limit_s))


def find_all(session: Session) -> dict[str, BrokenSolver]:
    """Read from ``session`` every solver that has failed, by its key."""
    rows = session.execute(select(Breaker.solver, *_COLUMNS))
    return {row.solver: BrokenSolver(*row[1:]) for row in rows}


def is_open(broken: BrokenSolver | None, batch: int, settings: WorkerSettings) -> bool:
    """Return whether ``broken`` is open for ``batch``: after the limit in ``settings``, only a probe asks."""
    return broken is not None and broken.failures >= settings.breaker_failures and broken.probe != batch


def find(session: Session, solver: str) -> BrokenSolver | None:
    """Read from ``session`` the failures of ``solver``; None if it is healthy."""
    row = session.execute(select(*_COLUMNS).where(Breaker.solver == solver)).first()
    return None if row is None else BrokenSolver(*row)


def start_probe(
    session: Session, solver: str, batch: int, failures: int, *, now: datetime, settings: WorkerSettings
) -> bool:
    """Make ``batch`` the probe of ``solver`` at ``now`` in ``session``.

    Return False if it is too early, or if another batch became the probe too short a time ago, by the
    ``failures`` in a row and ``settings``.
    """
    until = now + timedelta(seconds=wait_s(failures, settings))
    chosen = session.execute(
        update(Breaker)
        .where(Breaker.solver == solver, Breaker.retry_at <= now)
        .values(probe=batch, retry_at=until)
        .returning(Breaker.solver)
    )
    return chosen.first() is not None


def record_failure(
    session: Session,
    solver: str,
    error: str,
    *,
    batch: int,
    now: datetime,
    settings: WorkerSettings,
    retry_after_s: float | None = None,
    opens: bool = False,
) -> datetime:
    """Count a failure of ``solver`` with ``error`` at ``now`` in ``session``.

    While the breaker is open, only a failure of its probe counts: those of other batches say nothing new.

    Args:
        batch: the batch that failed.
        settings: limits and waits.
        retry_after_s: when the solver itself wants to be asked again.
        opens: the breaker opens at once, whatever the number of failures.

    Returns:
        When the solver may be asked again.
    """
    row = session.execute(select(*_COLUMNS).where(Breaker.solver == solver).with_for_update()).first()
    broken = None if row is None else BrokenSolver(*row)
    was_open = broken is not None and broken.failures >= settings.breaker_failures
    if broken is not None and was_open and broken.probe != batch and broken.retry_at > now:
        return broken.retry_at
    failures = 1 if broken is None else broken.failures + 1
    if opens:
        failures = max(failures, settings.breaker_failures)
    retry_at = now + timedelta(seconds=wait_s(failures, settings, retry_after_s))
    values = {"failures": failures, "error": error, "retry_at": retry_at, "probe": None}
    insert = sqlite.insert if session.get_bind().dialect.name == "sqlite" else postgresql.insert
    counted = insert(Breaker).values(solver=solver, account="", since=now, **values)
    session.execute(
        counted.on_conflict_do_update(index_elements=[Breaker.solver, Breaker.account], set_=values)
    )
    if failures >= settings.breaker_failures and not was_open:
        log.warning("solver fails: its batches wait", solver=solver, error=error)
    return retry_at


def record_success(session: Session, solver: str) -> None:
    """Close the breaker of ``solver`` in ``session``: it has answered."""
    closed = session.execute(delete(Breaker).where(Breaker.solver == solver).returning(Breaker.failures))
    if (failures := closed.scalar()) is not None:
        log.info("solver answers again", solver=solver, failures=failures)
