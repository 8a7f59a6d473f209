"""What runs count, against the rows that are counted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import and_, case, func, or_, select
from sqlalchemy.orm import Session

from producer.doctor.finding import BACKUP, Finding
from producer.doctor.repairs import Recount, RemoveClassifications
from schema.states import BatchState
from schema.tables import Batch, Classification, Run

RUN_COUNTS = "run-counts"
BATCH_GAPS = "batch-gaps"
CLASSIFICATIONS = "classifications"


def run_counts(session: Session) -> Iterator[Finding]:
    """Images and batches, scored and failed ones, against the rows of `batches`."""
    scored = func.count().filter(Batch.state == BatchState.SCORED)
    failed = func.count().filter(Batch.state == BatchState.FAILED)
    rows = session.execute(
        select(
            Run.id,
            Run.images,
            Run.batches,
            Run.batches_scored,
            Run.batches_failed,
            func.coalesce(func.sum(Batch.count), 0).label("held_images"),
            func.count(Batch.id).label("held_batches"),
            scored.label("held_scored"),
            failed.label("held_failed"),
        )
        .outerjoin(Batch, Batch.run_id == Run.id)
        .group_by(Run.id)
        .having(
            or_(
                Run.images != func.coalesce(func.sum(Batch.count), 0),
                Run.batches != func.count(Batch.id),
                Run.batches_scored != scored,
                Run.batches_failed != failed,
            )
        )
        .order_by(Run.id)
    )
    return (_miscounted(row) for row in rows.all())


def _miscounted(row: Any) -> Finding:
    pairs = {
        "images": (row.images, row.held_images),
        "batches": (row.batches, row.held_batches),
        "batches_scored": (row.batches_scored, row.held_scored),
        "batches_failed": (row.batches_failed, row.held_failed),
    }
    wrong = {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
    what = "; ".join(f"{name} is {said}, its batches say {held}" for name, (said, held) in wrong.items())
    # When both the images and the batches are fewer, rows are gone, and a counter that fits would hide it.
    lost = {"images", "batches"} <= wrong.keys() or row.held_batches == 0
    if lost:
        return Finding(RUN_COUNTS, "runs", row.id, what, f"batches are missing: {BACKUP}, or classify again")
    seen = tuple((name, said) for name, (said, _) in wrong.items())
    return Finding(RUN_COUNTS, "runs", row.id, what, "recount: --repair", Recount(row.id, seen))


def batch_gaps(session: Session) -> Iterator[Finding]:
    """Batches that do not follow upon each other. A run that scores another one again may have gaps."""
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
    """A scored batch has one for each image, any other has none."""
    held = (
        select(func.count())
        .where(
            Classification.run_id == Batch.run_id,
            Classification.image >= Batch.first_image,
            Classification.image < Batch.first_image + Batch.count,
        )
        .correlate(Batch)
        .scalar_subquery()
    )
    expected = case((Batch.state == BatchState.SCORED, Batch.count), else_=0)
    seen = select(
        Batch.id, Batch.run_id, Batch.state, expected.label("expected"), held.label("held")
    ).subquery()
    rows = session.execute(select(seen).where(and_(seen.c.held != seen.c.expected)).order_by(seen.c.id))
    return (_misscored(row) for row in rows.all())


def _misscored(row: Any) -> Finding:
    what = f"it is {row.state} and has {row.held} classifications where {row.expected} belong"
    if row.state is BatchState.SCORED:
        hint = f"score its raw samples again: `annealq runs rescore {row.run_id}`"
        return Finding(CLASSIFICATIONS, "batches", row.id, what, hint)
    repair = RemoveClassifications(row.run_id, row.id, f"batch {row.id} is {row.state}")
    return Finding(
        CLASSIFICATIONS, "batches", row.id, what, "remove them, they will be made: --repair", repair
    )
