"""Who waits for a feature set: batches and networks, and so which set is computed next."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, func, or_, select, update
from sqlalchemy.orm import Session

from schema.states import LIVE_RUNS, BatchState, FeatureSetState, NetworkState, PausedBy, RunState
from schema.tables import Batch, BatchFeatures, FeatureSet, Network, NetworkFeatures, Run

# Pauses during which vectors are computed ahead: they end without a user, or wait for QPU time alone.
_AHEAD = (PausedBy.WINDOW, PausedBy.DAY, PausedBy.MONTH, PausedBy.BUDGET)
_UNFINISHED = (FeatureSetState.QUEUED, FeatureSetState.COMPUTING)
_HINTS = 32  # that wait in the broker


def is_wanted() -> ColumnElement[bool]:
    """Build the condition that a batch or a network waits for a feature set."""
    paused = and_(Run.state == RunState.PAUSED, Run.paused_by.in_(_AHEAD))
    batch = (
        select(Batch.id)
        .join(Run, Run.id == Batch.run_id)
        .join(BatchFeatures, BatchFeatures.batch_id == Batch.id)
        .where(
            BatchFeatures.feature_set_id == FeatureSet.id,
            Batch.state == BatchState.PENDING,
            or_(Run.state.in_(LIVE_RUNS), paused),
        )
    )
    network = (
        select(Network.id)
        .join(NetworkFeatures, NetworkFeatures.network_id == Network.id)
        .where(NetworkFeatures.feature_set_id == FeatureSet.id, Network.state == NetworkState.QUEUED)
    )
    return or_(batch.exists(), network.exists())


def choose(session: Session, feature_set: int) -> int:
    """Return the feature set to compute on a hint for ``feature_set``: of the most urgent run that waits.

    Those that networks wait for come first: somebody watches a training.
    """
    urgency = (
        select(func.max(Run.priority))
        .join(Batch, Batch.run_id == Run.id)
        .join(BatchFeatures, BatchFeatures.batch_id == Batch.id)
        .where(BatchFeatures.feature_set_id == FeatureSet.id, Batch.state == BatchState.PENDING)
        .scalar_subquery()
    )
    query = (
        select(FeatureSet.id)
        .where(FeatureSet.state == FeatureSetState.QUEUED, is_wanted())
        .order_by(urgency.is_not(None), urgency.desc(), FeatureSet.id)
        .limit(1)
        .with_for_update(skip_locked=True, of=FeatureSet)  # PostgreSQL; SQLite has only one writer
    )
    return session.execute(query).scalar() or feature_set


def is_unfinished(session: Session, batch: int) -> bool:
    """Return whether the vectors of ``batch`` are still to be computed."""
    query = (
        select(FeatureSet.id)
        .join(BatchFeatures, BatchFeatures.feature_set_id == FeatureSet.id)
        .where(BatchFeatures.batch_id == batch, FeatureSet.state.in_(_UNFINISHED))
    )
    return session.execute(query).first() is not None


def wake(session: Session, feature_set: int, *, now: datetime) -> None:
    """Make the batches that wait for ``feature_set``, which is finished, due ``now`` in ``session``.

    They are due also if they wait for another set: two workers that finish one each do not see each other's.
    """
    of_set = select(BatchFeatures.batch_id).where(BatchFeatures.feature_set_id == feature_set)
    waiting = (Batch.id.in_(of_set), Batch.state == BatchState.PENDING, Batch.due_at > now)
    session.execute(update(Batch).where(*waiting).values(due_at=now, dispatched_at=None))


def waiting_networks(session: Session, feature_set: int) -> list[int]:
    """Return the networks in ``session`` that are trained on ``feature_set`` and wait for it."""
    query = (
        select(Network.id)
        .join(NetworkFeatures, NetworkFeatures.network_id == Network.id)
        .where(NetworkFeatures.feature_set_id == feature_set, Network.state == NetworkState.QUEUED)
    )
    return list(session.execute(query).scalars())


def network_due() -> ColumnElement[bool]:
    """Build the condition that a network does not wait for vectors of its training set."""
    unfinished = (
        select(FeatureSet.id)
        .join(NetworkFeatures, NetworkFeatures.feature_set_id == FeatureSet.id)
        .where(NetworkFeatures.network_id == Network.id, FeatureSet.state.in_(_UNFINISHED))
    )
    return ~unfinished.exists()


def queued_runs(session: Session, feature_set: int) -> list[int]:
    """Return the runs in ``session`` that wait for ``feature_set`` and have not begun."""
    query = (
        select(Run.id)
        .join(Batch, Batch.run_id == Run.id)
        .join(BatchFeatures, BatchFeatures.batch_id == Batch.id)
        .where(BatchFeatures.feature_set_id == feature_set, Run.state == RunState.QUEUED)
    )
    return list(session.execute(query.distinct()).scalars())


def next_hints(session: Session, *, now: datetime, after_s: float) -> list[int]:
    """Mark the next feature sets in ``session`` that something waits for as hinted ``now``; return them.

    Only a few hints wait in the broker. One without effect for ``after_s`` seconds counts as lost.
    """
    lost = now - timedelta(seconds=after_s)
    is_queued = FeatureSet.state == FeatureSetState.QUEUED
    waiting = select(func.count()).where(is_queued, FeatureSet.dispatched_at > lost)
    room = _HINTS - session.execute(waiting).scalar_one()
    if room <= 0:
        return []
    unhinted = or_(FeatureSet.dispatched_at.is_(None), FeatureSet.dispatched_at <= lost)
    query = select(FeatureSet.id).where(is_queued, unhinted, is_wanted()).order_by(FeatureSet.id).limit(room)
    rows = list(session.execute(query).scalars())
    if rows:
        session.execute(update(FeatureSet).where(FeatureSet.id.in_(rows)).values(dispatched_at=now))
    return rows
