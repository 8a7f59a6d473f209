"""Rows whose parents are gone, and rows that lack what their state promises."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import ForeignKey, and_, func, or_, select
from sqlalchemy.orm import Session

from producer.doctor.finding import BACKUP, Finding
from producer.doctor.repairs import DiscardSamples, Remove, RemoveClassifications, is_irreplaceable
from producer.runs.prune import is_pruned
from schema.parameters import Solver
from schema.states import FINISHED_RUNS, BatchState, ProblemState, RunState
from schema.tables import Base, Batch, BatchImages, Classification, Problem, Run, SampleSet

ORPHANS = "orphans"
IMAGES = "images"
COVERAGE = "coverage"
SAMPLE_SETS = "sample-sets"

_ENTITIES: dict[str, type[Base]] = {
    mapper.class_.__tablename__: mapper.class_ for mapper in Base.registry.mappers
}
_REMOTE = [solver.value for solver in Solver if solver.is_remote]


def orphans(session: Session) -> Iterator[Finding]:
    """Rows that refer to a row that is not there; with foreign keys at work there are none."""
    for name, entity in sorted(_ENTITIES.items()):
        for column in entity.__table__.columns:
            for key in column.foreign_keys:
                if entity is Classification:
                    yield from _classifications(session)
                else:
                    yield from _orphans(session, name, column, key)


def _orphans(session: Session, name: str, column: Any, key: ForeignKey) -> Iterator[Finding]:
    entity = _ENTITIES[name]
    parent = key.column.table.alias()
    there = select(parent).where(parent.c[key.column.name] == column).exists()
    row_id = next(iter(column.table.primary_key.columns))  # of rows without one, what they belong to
    query = select(row_id, column).where(column.is_not(None), ~there).distinct().order_by(row_id)
    rows = session.execute(query).all()
    removable = set()
    if entity in (Batch, Problem) and key.ondelete == "CASCADE":
        found = select(row_id).where(row_id.in_([row for row, _ in rows]), ~is_irreplaceable(entity))
        removable = set(session.execute(found).scalars())
    for row, missing in rows:
        what = f"its {column.name} is {missing}, and there is no such row in {key.column.table.name}"
        if row in removable:
            hint, repair = (
                "it holds no reads and cost nothing: remove it, --repair",
                Remove(entity, row, what),
            )
            yield Finding(ORPHANS, name, row, what, hint, repair)
        else:
            yield Finding(ORPHANS, name, row, what, f"it stays, for nothing can replace it: {BACKUP}")


def _classifications(session: Session) -> Iterator[Finding]:
    there = select(Run.id).where(Run.id == Classification.run_id).exists()
    rows = session.execute(
        select(Classification.run_id, func.count())
        .where(~there)
        .group_by(Classification.run_id)
        .order_by(Classification.run_id)
    )
    for run, count in rows.all():
        what = f"{count} classifications belong to a run that is not there"
        repair = RemoveClassifications(run, None, what)
        yield Finding(ORPHANS, "classifications", run, what, "remove them: --repair", repair)


def images(session: Session) -> Iterator[Finding]:
    """Every batch has its images."""
    there = select(BatchImages.batch_id).where(BatchImages.batch_id == Batch.id).exists()
    for batch in session.execute(select(Batch.id).where(~there).order_by(Batch.id)).scalars().all():
        what = "its images are gone"
        yield Finding(IMAGES, "batches", batch, what, f"{BACKUP}, or classify the images again")


def coverage(session: Session) -> Iterator[Finding]:
    """Every image of a sampled or scored batch is in exactly one answered problem."""
    covered = (
        select(func.coalesce(func.sum(Problem.count), 0))
        .where(Problem.batch_id == Batch.id, Problem.state == ProblemState.ANSWERED)
        .correlate(Batch)
        .scalar_subquery()
    )
    held = (
        select(Batch.id, Batch.run_id, Batch.state, Batch.count, covered.label("covered"))
        .join(Run, Run.id == Batch.run_id)
        .where(Run.rescored_from.is_(None), Batch.state.in_([BatchState.SAMPLED, BatchState.SCORED]))
        .subquery()
    )
    rows = session.execute(select(held).where(held.c.covered != held.c.count).order_by(held.c.id))
    for row in rows.all():
        what = f"it is {row.state}, and its answered problems carry {row.covered} of its {row.count} images"
        yield Finding(COVERAGE, "batches", row.id, what, f"{BACKUP}, or classify the images again")


def sample_sets(session: Session) -> Iterator[Finding]:
    """An answered problem has its raw reads, unless they were pruned, and no other has."""
    rows = session.execute(
        _with_owner(SampleSet.id)
        .outerjoin(SampleSet, SampleSet.problem_id == Problem.id)
        .where(
            or_(
                and_(Problem.state == ProblemState.ANSWERED, SampleSet.id.is_(None), ~is_pruned()),
                and_(Problem.state != ProblemState.ANSWERED, SampleSet.id.is_not(None)),
            )
        )
        .order_by(Problem.id)
    )
    for row in rows.all():
        if row.state is ProblemState.ANSWERED:
            yield unreadable(
                row, SAMPLE_SETS, "problems", row.problem, "it is answered, and its reads are gone"
            )
        else:
            what = f"it is {row.state}, and has reads (sample set {row.sample_set})"
            yield Finding(SAMPLE_SETS, "problems", row.problem, what, f"they stay; {BACKUP}")


def owner(session: Session, sample_set: int) -> Any:
    """What `unreadable` needs to know of a sample set's problem; None where that is gone."""
    query = _with_owner(SampleSet.id).join(SampleSet, SampleSet.problem_id == Problem.id)
    return session.execute(query.where(SampleSet.id == sample_set)).first()


def unreadable(row: Any, check: str, table: str, number: int, what: str) -> Finding:
    """Reads are lost: what helps depends on where they came from, and how far their batch is."""
    again = "classify the images again"
    if row.batch_state is BatchState.SCORED:
        hint = f"its classifications are kept, it cannot be rescored: {BACKUP}, or {again}"
        return Finding(check, table, number, what, hint)
    is_drawn_here = row.solver not in _REMOTE and row.times_sent == 0
    if not is_drawn_here or row.run_state in (RunState.DONE, RunState.CANCELLED):
        return Finding(check, table, number, what, f"{BACKUP}, or {again}")
    if row.batch_state is BatchState.SAMPLED and row.run_state not in FINISHED_RUNS:
        hint = "draw them again: --repair"
    elif row.batch_state is BatchState.FAILED:
        hint = f"forget them, --repair; then draw them again, `annealq runs resume {row.run}`"
    else:
        return Finding(check, table, number, what, f"{BACKUP}, or {again}")
    repair = DiscardSamples(row.batch, row.problem, row.batch_state, what)
    return Finding(check, table, number, what, hint, repair)


def _with_owner(sample_set: Any) -> Any:
    """Problems with what decides whether their reads can be drawn again."""
    return (
        select(
            Problem.id.label("problem"),
            Problem.state,
            Problem.times_sent,
            sample_set.label("sample_set"),
            Batch.id.label("batch"),
            Batch.state.label("batch_state"),
            Run.id.label("run"),
            Run.state.label("run_state"),
            Run.solver,
        )
        .select_from(Problem)
        .join(Batch, Batch.id == Problem.batch_id)
        .join(Run, Run.id == Batch.run_id)
    )
