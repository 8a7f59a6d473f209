"""Removes feature vectors that nothing needs any more. They are computed again when something does."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, delete, func, or_, select
from sqlalchemy.orm import Session

from schema.database import Database, record_action
from schema.errors import ParameterError
from schema.states import FINISHED_RUNS, CalibrationState, FeatureSetState, NetworkState
from schema.tables import (
    Batch,
    BatchFeatures,
    Calibration,
    FeaturePart,
    FeatureSet,
    Network,
    NetworkFeatures,
    Run,
)

MAX_DAYS = 36_500
_AT_ONCE = 200  # sets removed in one transaction

_UNSETTLED = (CalibrationState.WAITING, CalibrationState.FITTING)
_UNTRAINED = (NetworkState.QUEUED, NetworkState.TRAINING)


@dataclass(frozen=True)
class PrunedFeatures:
    """What was removed, or would be: feature sets, vectors and bytes."""

    sets: int
    vectors: int
    bytes: int


def prune(database: Database, *, older_than_days: float = 0.0, dry_run: bool = False) -> PrunedFeatures:
    """Remove from ``database`` the vectors that no unfinished run, calibration or training needs.

    Args:
        older_than_days: only those that were computed, or asked for, at least this many days ago.
        dry_run: only return what would be removed.

    Raises:
        ParameterError: the days are out of range.
    """
    if not 0 <= older_than_days <= MAX_DAYS:
        raise ParameterError(f"--older-than is {older_than_days:g} days; it must be 0 to {MAX_DAYS:,} days")
    total = PrunedFeatures(0, 0, 0)
    with database.reading() as session:
        before = database.now(session) - timedelta(days=older_than_days)
        rows = list(session.execute(select(FeatureSet.id).where(_removable(before))).scalars())
        if dry_run:
            return _measure(session, rows)
    for first in range(0, len(rows), _AT_ONCE):
        with database.transaction() as session:
            few = FeatureSet.id.in_(rows[first : first + _AT_ONCE])
            still = list(session.execute(select(FeatureSet.id).where(few, _removable(before))).scalars())
            part = _measure(session, still)
            _remove(session, still, database.now(session))
        total = PrunedFeatures(total.sets + part.sets, total.vectors + part.vectors, total.bytes + part.bytes)
    return total


def _measure(session: Session, rows: list[int]) -> PrunedFeatures:
    figures = [
        func.coalesce(func.sum(FeaturePart.count), 0),
        func.coalesce(func.sum(func.length(FeaturePart.data)), 0),
    ]
    vectors, size = session.execute(select(*figures).where(FeaturePart.feature_set_id.in_(rows))).one()
    return PrunedFeatures(len(rows), int(vectors), int(size))


def _remove(session: Session, rows: list[int], now: datetime) -> None:
    session.execute(delete(FeatureSet).where(FeatureSet.id.in_(rows)))
    for row in rows:
        record_action(session, "feature_sets", row, "pruned", now=now)


def _removable(before: datetime) -> ColumnElement[bool]:
    """Build the condition that a feature set is not being computed, is old enough, and not needed."""
    run = (
        select(Batch.id)
        .join(Run, Run.id == Batch.run_id)
        .join(BatchFeatures, BatchFeatures.batch_id == Batch.id)
        .outerjoin(Calibration, Calibration.id == Run.calibrates)
        .where(
            BatchFeatures.feature_set_id == FeatureSet.id,
            or_(Run.state.not_in(FINISHED_RUNS), Calibration.state.in_(_UNSETTLED)),
        )
    )
    network = (
        select(Network.id)
        .join(NetworkFeatures, NetworkFeatures.network_id == Network.id)
        .where(NetworkFeatures.feature_set_id == FeatureSet.id, Network.state.in_(_UNTRAINED))
    )
    age = func.coalesce(FeatureSet.finished_at, FeatureSet.created_at) <= before
    return and_(FeatureSet.state != FeatureSetState.COMPUTING, age, ~run.exists(), ~network.exists())
