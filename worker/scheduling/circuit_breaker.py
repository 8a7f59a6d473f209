"""A circuit breaker for each solver: while it does not answer, its batches wait, and one at a time probes it.

    closed --> `breaker_failures` in a row --> open: no requests before `retry_at`
      ^        or one refusal of the token       |
      |                                          |
      +---- a problem is answered <--------------+  then one batch, the probe, sends one problem; if it fails,
                                                    the next probe comes later

Only an answer closes it: a solver may accept problems and fail them all. Batches whose problems were accepted
before are collected meanwhile. It is stored in SQL, because a failure seen by one worker is valid for all
that use the same token. A solver without a row is healthy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import ColumnElement, and_, case, delete, false, func, not_, or_, select, update
from sqlalchemy.orm import Session

from schema.database.rows import insert_into
from schema.parameters import Solver
from schema.settings.worker import WorkerSettings
from schema.states import LIVE_RUNS, BatchState
from schema.tables import Batch, Breaker, Run

log = structlog.get_logger()

_GROWTH = 1.5  # of the wait from probe to probe
_COLUMNS = (Breaker.failures, Breaker.error, Breaker.retry_at, Breaker.probe)

# Returns the account by which this process uses a solver; see `SolverConnections.account`.
Accounts = Callable[[Solver], str]


@dataclass(frozen=True)
class BrokenSolver:
    """A solver that has failed; the batch ``probe`` may ask it again at ``retry_at``."""

    failures: int
    error: str
    retry_at: datetime
    probe: int | None


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


def find_all(session: Session, accounts: Accounts | None = None) -> dict[str, BrokenSolver]:
    """Read from ``session`` every solver that has failed, by its key.

    Args:
        accounts: only for these tokens; None: for any, the one with the most failures.
    """
    rows = session.execute(select(Breaker.solver, Breaker.account, *_COLUMNS).order_by(Breaker.failures))
    return {
        row.solver: BrokenSolver(*row[2:])
        for row in rows
        if accounts is None or accounts(Solver(row.solver.partition(":")[0])) == row.account
    }


def is_open(broken: BrokenSolver | None, batch: int, settings: WorkerSettings) -> bool:
    """Return whether ``broken`` is open for ``batch``: after the limit in ``settings``, only a probe asks."""
    return broken is not None and broken.failures >= settings.breaker_failures and broken.probe != batch


def find(session: Session, solver: str, account: str) -> BrokenSolver | None:
    """Read from ``session`` the failures of ``solver`` for ``account``; None if it is healthy."""
    row = session.execute(select(*_COLUMNS).where(*_key(solver, account))).first()
    return None if row is None else BrokenSolver(*row)


def start_probe(
    session: Session, solver: str, batch: int, failures: int, *, now: datetime, settings: WorkerSettings
) -> bool:
    """Make ``batch`` the probe of ``solver`` at ``now`` in ``session``, whichever token its worker has.

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
    account: str,
    error: str,
    *,
    batch: int,
    now: datetime,
    settings: WorkerSettings,
    retry_after_s: float | None = None,
    opens: bool = False,
) -> datetime:
    """Count a failure of ``solver`` for ``account`` with ``error`` at ``now`` in ``session``.

    While the breaker is open, only a failure of its probe counts: those of other batches say nothing new.

    Args:
        batch: the batch that failed.
        settings: limits and waits.
        retry_after_s: when the solver itself wants to be asked again.
        opens: the breaker opens at once, whatever the number of failures.

    Returns:
        When the solver may be asked again.
    """
    limit = settings.breaker_failures
    least = limit if opens else 1
    is_probe = func.coalesce(Breaker.probe == batch, false())
    says_nothing_new = and_(Breaker.failures >= limit, not_(is_probe), Breaker.retry_at > now)
    # One statement, so that of two workers that see the first failure, each counts.
    counts = case((Breaker.failures + 1 > least, Breaker.failures + 1), else_=least)
    counted = insert_into(session.get_bind().dialect, Breaker).values(
        solver=solver, account=account, since=now, failures=least, error=error, retry_at=now
    )
    failures = session.execute(
        counted.on_conflict_do_update(
            index_elements=[Breaker.solver, Breaker.account],
            set_={"failures": counts, "error": error, "probe": None},
            where=not_(says_nothing_new),
        ).returning(Breaker.failures)
    ).scalar()
    if failures is None:
        return session.execute(select(Breaker.retry_at).where(*_key(solver, account))).scalar_one()
    retry_at = now + timedelta(seconds=wait_s(failures, settings, retry_after_s))
    values: dict[str, Any] = {"retry_at": retry_at}
    if failures >= limit:
        values["opened_at"] = func.coalesce(Breaker.opened_at, now)
    session.execute(update(Breaker).where(*_key(solver, account)).values(**values))
    if failures == limit:
        log.warning(
            "solver fails: its batches wait", solver=solver, error=error, asked_again_at=retry_at.isoformat()
        )
    return retry_at


def record_success(session: Session, solver: str, account: str, *, batch: int, now: datetime) -> None:
    """Close the breaker of ``solver`` for ``account`` in ``session``: it has answered ``batch`` at ``now``.

    A breaker of another token is closed, too, if its turn to ask had come: the token may have been replaced.
    If it is still used, its next failure opens it again. Batches that wait for the next probe are due now.
    """
    replaced = or_(Breaker.probe == batch, Breaker.retry_at <= now)
    closed = session.execute(
        delete(Breaker)
        .where(Breaker.solver == solver, or_(Breaker.account == account, replaced))
        .returning(Breaker.failures)
    )
    if (failures := max(closed.scalars(), default=None)) is not None:
        log.info("solver answers again", solver=solver, failures=failures)
        runs = select(Run.id).where(Run.solver == solver.partition(":")[0], Run.state.in_(LIVE_RUNS))
        waiting = (Batch.run_id.in_(runs), Batch.state == BatchState.PENDING, Batch.due_at > now)
        session.execute(update(Batch).where(*waiting).values(due_at=now))


def _key(solver: str, account: str) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return Breaker.solver == solver, Breaker.account == account
