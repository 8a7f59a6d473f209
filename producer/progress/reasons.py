"""Says why a run does not continue, so that nobody watches it without knowing.

A pause says so itself; an outage of the solver is known from its circuit breaker. Otherwise the batches of a
run are due and nobody takes them: no worker is there, or all are busy with other runs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from sqlalchemy import Row, func, or_, select
from sqlalchemy.orm import Session

from producer.progress.searches import search_of, search_text
from producer.progress.workers import count_alive
from schema.database.disk import is_full_for
from schema.parameters.choices import Solver
from schema.parameters.qpu_choice import solver_key
from schema.states import LIVE_RUNS, BatchState, FeatureSetState, NetworkState, PausedBy, RunState
from schema.tables import Batch, BatchFeatures, Breaker, FeaturePart, FeatureSet, Network, Run

# Pauses that end without a user.
_AUTOMATIC = (PausedBy.WINDOW, PausedBy.DEADLINE, PausedBy.DAY, PausedBy.MONTH)
_PATIENCE = timedelta(seconds=1.5)  # that a batch may be due before somebody asks why
_FEATURES_WAIT = (FeatureSetState.QUEUED, FeatureSetState.COMPUTING)
_NAMED = 3  # runs in a message


@dataclass(frozen=True)
class Outage:
    """A solver whose circuit breaker has counted failures: runs wait for it.

    Attributes:
        solver: its kind, with the name or features of a QPU.
        account: digest of the token that it was used by.
        since: of the first failure in a row.
        opened_at: when batches began to wait; None: they are still tried.
        retry_at: when it is asked again.
        error: of the last failure.
    """

    solver: str
    account: str
    failures: int
    since: datetime
    opened_at: datetime | None
    retry_at: datetime
    error: str

    @property
    def text(self) -> str:
        """Return why a run waits, for display."""
        since, retry = (f"{at.astimezone(UTC):%H:%M:%S}" for at in (self.since, self.retry_at))
        return (
            f"solver {self.solver} has failed since {self.since.astimezone(UTC):%Y-%m-%d} {since} UTC: "
            f"{self.error}; it is asked again at {retry}, and the run continues automatically"
        )


def current_outages(session: Session) -> dict[str, Outage]:
    """Return the solvers in ``session`` that have failed more than once, or are not asked, by `solver_key`.

    Of several accounts with one solver, it is the one that failed first.
    """
    failing = or_(Breaker.failures > 1, Breaker.opened_at.is_not(None))
    columns = (getattr(Breaker, field.name) for field in fields(Outage))
    rows = session.execute(select(*columns).where(failing).order_by(Breaker.since.desc()))
    return {row.solver: Outage(*row) for row in rows}


class SolverUser(Protocol):
    """What is asked of a run here; `RunSummary` has it."""

    @property
    def run_id(self) -> int: ...
    @property
    def solver(self) -> str: ...
    @property
    def parameters(self) -> dict[str, Any]: ...
    @property
    def qpu(self) -> str | None: ...
    @property
    def state(self) -> RunState: ...
    @property
    def batches(self) -> int: ...
    @property
    def batches_scored(self) -> int: ...
    @property
    def batches_failed(self) -> int: ...


def outages_of(session: Session, runs: Iterable[SolverUser]) -> dict[int, Outage]:
    """Return what those of ``runs`` wait for that have batches left and a solver that fails, by run."""
    found = current_outages(session)
    return {
        run.run_id: outage
        for run in runs
        if (outage := found.get(solver_key(run.solver, run.parameters, run.qpu))) is not None
        and run.state in LIVE_RUNS
        and run.batches_scored + run.batches_failed < run.batches
    }


def why_waiting(session: Session, run: Row[Any], states: frozenset[BatchState], now: datetime) -> str | None:
    """Return why a run does not continue ``now``, if it will without a user; None: it does, or is over.

    Args:
        run: id, network_id, state, solver, parameters, qpu, priority, paused_by and pause_reason of the run.
        states: those of its batches.
    """
    if run.paused_by in _AUTOMATIC:
        return str(run.pause_reason)
    if run.state not in LIVE_RUNS or not states & {BatchState.PENDING, BatchState.SAMPLING}:
        return None
    url = session.get_bind().engine.url
    if is_full_for(url):
        return f"no space left for the database {url.database}: free some, and the run continues"
    outage = current_outages(session).get(solver_key(run.solver, run.parameters, run.qpu))
    if outage is not None:
        return outage.text
    if BatchState.SAMPLING not in states:
        return _why_untouched(session, run, now)
    search = search_of(session, run) if Solver(run.solver).is_remote else None
    return None if search is None else f"an embedding is searched, once for this chip: {search_text(search)}"


def _why_untouched(session: Session, run: Row[Any], now: datetime) -> str | None:
    """Return why no worker takes the pending batches of ``run``; None: they are not due."""
    due_at = select(func.min(Batch.due_at)).where(Batch.run_id == run.id, Batch.state == BatchState.PENDING)
    since = session.execute(due_at).scalar()
    if since is None or since > now - _PATIENCE:
        asked = _features_wait_since(session, run.id, now)
        return None if asked is None else _no_features(session, asked, now)
    is_held = (Batch.state == BatchState.SAMPLING, Batch.lease_until > now)
    others = session.execute(
        select(Run.id, Run.priority, func.sum(Batch.count))
        .join(Batch, Batch.run_id == Run.id)
        .where(Run.id != run.id, Run.state.in_(LIVE_RUNS), *is_held)
        .group_by(Run.id, Run.priority)
        .order_by(Run.priority.desc(), Run.id)
    ).all()
    if not others:
        if training := _training(session, now):
            return f"the workers train network {training}"
        return _no_worker(session, since, now)
    names = ", ".join(str(other.id) for other in others[:_NAMED]) + (", ..." if len(others) > _NAMED else "")
    one = len(others) == 1
    if others[0].priority > run.priority:
        return f"{'run' if one else 'runs'} {names} of higher priority {'goes' if one else 'go'} first"
    return f"the workers are busy with {'run' if one else 'runs'} {names}, with which it takes turns"


def _no_features(session: Session, since: datetime, now: datetime) -> str:
    """Return why vectors that were asked for ``since`` are not computed."""
    if count_alive(session, now):
        return "the feature vectors of its images wait for a worker: others are computed or trained on first"
    return _no_worker(session, since, now)


def _no_worker(session: Session, since: datetime, now: datetime) -> str:
    """Return why batches that were due ``since`` wait, where no other run keeps the workers busy."""
    untouched = f"no worker has taken its batches since {since.astimezone(UTC):%H:%M:%S} UTC"
    if count_alive(session, now):
        # Without their number: a watcher prints each reason that differs from the one before.
        return f"{untouched}, though workers are alive: see `annealq workers`"
    return (
        f"{untouched}, as none is alive: one that starts needs some seconds; if none does, run `annealq up`"
    )


def _training(session: Session, now: datetime) -> str | None:
    row = session.execute(
        select(Network.name, Network.version).where(
            Network.state == NetworkState.TRAINING, Network.lease_until > now
        )
    ).first()
    return None if row is None else f"{row.name}@{row.version}"


def featured_images(session: Session, run: int) -> int | None:
    """Return how many images of ``run`` in ``session`` have vectors, if others wait for theirs; else None."""
    if not (backbones := _backbones(session, run)):
        return None
    own = select(BatchFeatures.feature_set_id).join(Batch, Batch.id == BatchFeatures.batch_id)
    own = own.where(Batch.run_id == run)
    waiting = own.join(FeatureSet, FeatureSet.id == BatchFeatures.feature_set_id).where(
        FeatureSet.state.in_(_FEATURES_WAIT), Batch.state == BatchState.PENDING
    )
    if session.execute(waiting.limit(1)).first() is None:
        return None
    stored = select(func.coalesce(func.sum(FeaturePart.count), 0)).where(FeaturePart.feature_set_id.in_(own))
    return int(session.execute(stored).scalar_one()) // backbones


def _features_wait_since(session: Session, run: int, now: datetime) -> datetime | None:
    """Return since when no worker computes the vectors that ``run`` waits for ``now``; None: one does."""
    if not _backbones(session, run):
        return None
    rows = session.execute(
        select(FeatureSet.state, func.min(FeatureSet.created_at).label("asked_at"))
        .join(BatchFeatures, BatchFeatures.feature_set_id == FeatureSet.id)
        .join(Batch, Batch.id == BatchFeatures.batch_id)
        .where(Batch.run_id == run, Batch.state == BatchState.PENDING, FeatureSet.state.in_(_FEATURES_WAIT))
        .group_by(FeatureSet.state)
    ).all()
    since: dict[FeatureSetState, datetime] = {row.state: row.asked_at for row in rows}
    if FeatureSetState.COMPUTING in since or not since:
        return None
    asked = since[FeatureSetState.QUEUED]
    return asked if asked <= now - _PATIENCE else None


def _backbones(session: Session, run: int) -> int:
    """Return how many backbones the network of ``run`` has, by its first batch: most runs have none."""
    links = select(func.count()).select_from(BatchFeatures).join(Batch, Batch.id == BatchFeatures.batch_id)
    return session.execute(links.where(Batch.run_id == run, Batch.ordinal == 0)).scalar_one()
