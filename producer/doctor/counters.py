"""Checks the counters of runs against the rows that they count."""

from __future__ import annotations

from collections.abc import Iterator
from operator import ne
from typing import Any

from sqlalchemy import and_, case, func, or_, select
from sqlalchemy.orm import Session

from producer.doctor.finding import BACKUP, Finding
from producer.doctor.repairs import COUNTERS, Recount, RemoveClassifications
from schema.states import BatchState
from schema.tables import Batch, Classification, Event, Problem, Run
from schema.tables.runs import is_answered

RUN_COUNTS = "run-counts"
BATCH_GAPS = "batch-gaps"
CLASSIFICATIONS = "classifications"


def run_counts(session: Session) -> Iterator[Finding]:
    """Check in ``session`` the counted images and batches, scored and failed ones, against `batches`."""
    counted = [getattr(Run, name) for name in COUNTERS]
    rows = session.execute(
        select(Run.id, *counted, *COUNTERS.values())
        .outerjoin(Batch, Batch.run_id == Run.id)
        .group_by(Run.id)
        .having(or_(*map(ne, counted, COUNTERS.values())))
        .order_by(Run.id)
    )
    for run, *values in rows.all():
        pairs = zip(values[: len(COUNTERS)], values[len(COUNTERS) :], strict=True)
        yield _miscounted(run, dict(zip(COUNTERS, pairs, strict=True)))


def _miscounted(run: int, pairs: dict[str, tuple[int, int]]) -> Finding:
    """Return the finding about the counters of ``run`` and the actual numbers."""
    wrong = {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
    what = "; ".join(f"{name} is {n}, its batches say {actual}" for name, (n, actual) in wrong.items())
    # If both images and batches differ, rows are missing, and a corrected counter would hide it.
    if {"images", "batches"} <= wrong.keys() or pairs["batches"][1] == 0:
        return Finding(RUN_COUNTS, "runs", run, what, f"batches are missing: {BACKUP}, or classify again")
    before = tuple((name, counted) for name, (counted, _) in wrong.items())
    return Finding(RUN_COUNTS, "runs", run, what, "recount: --repair", Recount(run, before))


def batch_gaps(session: Session) -> Iterator[Finding]:
    """Check in ``session`` that batches of a run are contiguous. A rescored run may have gaps."""
    order: dict[str, Any] = {"partition_by": Batch.run_id, "order_by": Batch.ordinal}
    placed = (
        select(
            Batch.run_id,
            Batch.ordinal,
            Batch.first_image,
            (func.row_number().over(**order) - 1).label("place"),
            (func.sum(Batch.count).over(**order) - Batch.count).label("start"),
        )
        .join(Run, Run.id == Batch.run_id)
        .where(Run.rescored_from.is_(None))
        .subquery()
    )
    wrong = or_(placed.c.ordinal != placed.c.place, placed.c.first_image != placed.c.start)
    rows = session.execute(
        select(placed.c.run_id, func.min(placed.c.ordinal))
        .where(wrong)
        .group_by(placed.c.run_id)
        .order_by(placed.c.run_id)
    )
    for run, ordinal in rows.all():
        what = f"a batch is missing before batch number {ordinal}, or it starts at the wrong image"
        yield Finding(BATCH_GAPS, "runs", run, what, f"{BACKUP}, or classify the images again")


def classifications(session: Session) -> Iterator[Finding]:
    """Check in ``session`` that scored batches have a classification for each image, others none.

    A batch that has failed may have one for each image in an answered problem. Those of later rounds of reads
    have images of the first.
    """
    actual = (
        select(func.count())
        .where(
            Classification.run_id == Batch.run_id,
            Classification.image >= Batch.first_image,
            Classification.image < Batch.first_image + Batch.count,
        )
        .correlate(Batch)
        .scalar_subquery()
    )
    answered = (
        select(func.coalesce(func.sum(Problem.count), 0))
        .where(Problem.batch_id == Batch.id, is_answered())
        .correlate(Batch)
        .scalar_subquery()
    )
    failure = and_(Event.subject == Batch.__tablename__, Event.row == Batch.id)
    has_failed = select(Event.id).where(failure, Event.target == BatchState.FAILED).exists()
    partly = and_(actual > 0, actual <= answered, has_failed)
    expected = case((Batch.state == BatchState.SCORED, Batch.count), (partly, actual), else_=0)
    every = select(Batch.id, Batch.run_id, Batch.state, expected.label("expected"), actual.label("actual"))
    batches = every.where(Batch.round == 1).subquery()
    rows = session.execute(
        select(batches).where(batches.c.actual != batches.c.expected).order_by(batches.c.id)
    )
    return (_misscored(row) for row in rows.all())


def _misscored(row: Any) -> Finding:
    what = f"it is {row.state} and has {row.actual} classifications, but needs {row.expected}"
    if row.state is BatchState.SCORED:
        hint = f"score its raw samples again: `annealq runs rescore {row.run_id}`"
        return Finding(CLASSIFICATIONS, "batches", row.id, what, hint)
    repair = RemoveClassifications(row.run_id, row.id, f"batch {row.id} is {row.state}")
    return Finding(
        CLASSIFICATIONS, "batches", row.id, what, "remove them, its scoring writes them: --repair", repair
    )
