"""Checks for rows whose parents are missing, and rows that lack the children that their state needs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import ForeignKey, and_, func, or_, select
from sqlalchemy.orm import Session

from producer.doctor.finding import BACKUP, Finding
from producer.doctor.repairs import DiscardSamples, Remove, RemoveClassifications, is_irreplaceable
from producer.runs.prune import is_pruned
from schema.parameters import Solver
from schema.quantities import count_text
from schema.states import FINISHED_RUNS, BatchState, FeatureSetState, ProblemState, RunState
from schema.tables import (
    Base,
    Batch,
    BatchImages,
    Classification,
    FeaturePart,
    FeatureSet,
    Problem,
    Run,
    SampleSet,
)
from schema.tables.runs import is_answered

ORPHANS = "orphans"
IMAGES = "images"
COVERAGE = "coverage"
ROUNDS = "rounds"
FEATURES = "features"
SAMPLE_SETS = "sample-sets"

_ENTITIES: dict[str, type[Base]] = {
    mapper.class_.__tablename__: mapper.class_ for mapper in Base.registry.mappers
}
_REMOTE = [solver.value for solver in Solver if solver.is_remote]
_FINAL = (RunState.DONE, RunState.CANCELLED)


def orphans(session: Session) -> Iterator[Finding]:
    """Check in ``session`` for rows that refer to a missing row; enforced foreign keys prevent them."""
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
    has_parent = select(parent).where(parent.c[key.column.name] == column).exists()
    row_id = next(iter(column.table.primary_key.columns))  # of the owner, for rows without an id
    query = select(row_id, column).where(column.is_not(None), ~has_parent).distinct().order_by(row_id)
    rows = session.execute(query).all()
    removable = set()
    if entity in (Batch, Problem) and key.ondelete == "CASCADE":
        replaceable = select(row_id).where(row_id.in_([row for row, _ in rows]), ~is_irreplaceable(entity))
        removable = set(session.execute(replaceable).scalars())
    for row, missing in rows:
        what = f"its {column.name} is {missing}, which is missing in {key.column.table.name}"
        if row in removable:
            hint, repair = (
                "it holds no reads and cost nothing: remove it, --repair",
                Remove(entity, row, what),
            )
            yield Finding(ORPHANS, name, row, what, hint, repair)
        else:
            yield Finding(ORPHANS, name, row, what, f"it cannot be replaced: {BACKUP}")


def _classifications(session: Session) -> Iterator[Finding]:
    has_run = select(Run.id).where(Run.id == Classification.run_id).exists()
    rows = session.execute(
        select(Classification.run_id, func.count())
        .where(~has_run)
        .group_by(Classification.run_id)
        .order_by(Classification.run_id)
    )
    for run, count in rows.all():
        what = f"{count} classifications belong to a missing run"
        repair = RemoveClassifications(run, None, what)
        yield Finding(ORPHANS, "classifications", run, what, "remove them: --repair", repair)


def images(session: Session) -> Iterator[Finding]:
    """Check in ``session`` that every batch has its images."""
    has_images = select(BatchImages.batch_id).where(BatchImages.batch_id == Batch.id).exists()
    for batch in session.execute(select(Batch.id).where(~has_images).order_by(Batch.id)).scalars().all():
        yield Finding(
            IMAGES, "batches", batch, "its images are missing", f"{BACKUP}, or classify the images again"
        )


def coverage(session: Session) -> Iterator[Finding]:
    """Check in ``session`` that each image of a sampled or scored batch is in one answered problem.

    Those of a batch that was given up are not, until it is marked failed, nor those of a later round of reads
    that a budget did not pay: their problems were cancelled.
    """
    covered = (
        select(func.coalesce(func.sum(Problem.count), 0))
        .where(Problem.batch_id == Batch.id, is_answered())
        .correlate(Batch)
        .scalar_subquery()
    )
    given_up = (
        select(Problem.id)
        .where(Problem.batch_id == Batch.id, Problem.state == ProblemState.FAILED)
        .correlate(Batch)
        .exists()
    )
    is_complete = and_(Batch.state == BatchState.SAMPLED, Batch.error.is_(None), ~given_up)
    cancelled = select(Problem.id).where(
        Problem.batch_id == Batch.id, Problem.state == ProblemState.CANCELLED, Batch.round > 1
    )
    batches = (
        select(Batch.id, Batch.run_id, Batch.state, Batch.count, covered.label("covered"))
        .join(Run, Run.id == Batch.run_id)
        .where(Run.rescored_from.is_(None), or_(Batch.state == BatchState.SCORED, is_complete))
        .where(~cancelled.correlate(Batch).exists())
        .subquery()
    )
    rows = session.execute(select(batches).where(batches.c.covered != batches.c.count).order_by(batches.c.id))
    for row in rows.all():
        what = f"it is {row.state}, but its answered problems contain {row.covered} of its {row.count} images"
        yield Finding(COVERAGE, "batches", row.id, what, f"{BACKUP}, or classify the images again")


def rounds(session: Session) -> Iterator[Finding]:
    """Check in ``session`` that batches of later rounds say which images they read, and how often."""
    is_first = Batch.round == 1
    lacks = or_(Batch.members.is_(None), Batch.reads.is_(None))
    wrong = or_(
        and_(is_first, Batch.members.is_not(None)), and_(~is_first, lacks), ~Batch.round.between(1, Run.round)
    )
    query = select(Batch.id, Batch.round, Run.round).join(Run, Run.id == Batch.run_id).where(wrong)
    for batch, number, latest in session.execute(query.order_by(Batch.id)):
        what = f"it is of round {number} of {latest}, and has other images or reads than such a batch"
        yield Finding(ROUNDS, "batches", batch, what, f"{BACKUP}, or classify the images again")


def feature_sets(session: Session) -> Iterator[Finding]:
    """Check in ``session`` that feature sets that are ready have the vectors of all of their pictures."""
    stored = func.coalesce(func.sum(FeaturePart.count), 0)
    rows = session.execute(
        select(FeatureSet.id, FeatureSet.count.label("count_"), stored.label("stored"))
        .outerjoin(FeaturePart, FeaturePart.feature_set_id == FeatureSet.id)
        .where(FeatureSet.state == FeatureSetState.READY)
        .group_by(FeatureSet.id, FeatureSet.count)
        .having(stored != FeatureSet.count)
        .order_by(FeatureSet.id)
    )
    for row in rows.all():
        what = f"it is ready, but has {row.stored:,} of {count_text(row.count_, 'feature vector')}"
        hint = "remove it, and it is computed again: `annealq backbones prune --all`"
        yield Finding(FEATURES, "feature_sets", row.id, what, hint)


def sample_sets(session: Session) -> Iterator[Finding]:
    """Check in ``session`` that answered problems have their reads, unless pruned, and others have none."""
    rows = session.execute(
        _with_owner(SampleSet.id)
        .outerjoin(SampleSet, SampleSet.problem_id == Problem.id)
        .where(
            or_(
                and_(is_answered(), SampleSet.id.is_(None), ~is_pruned()),
                and_(Problem.state != ProblemState.ANSWERED, SampleSet.id.is_not(None)),
            )
        )
        .order_by(Problem.id)
    )
    for row in rows.all():
        if row.state is ProblemState.ANSWERED:
            yield unreadable(
                row, SAMPLE_SETS, "problems", row.problem, "it is answered, but its reads are missing"
            )
        else:
            what = f"it is {row.state}, but has reads (sample set {row.sample_set})"
            yield Finding(SAMPLE_SETS, "problems", row.problem, what, f"they are not deleted; {BACKUP}")


def owner(session: Session, sample_set: int) -> Any:
    """Return the problem of ``sample_set`` in ``session`` as `unreadable` needs it; None if it is missing."""
    query = _with_owner(SampleSet.id).join(SampleSet, SampleSet.problem_id == Problem.id)
    return session.execute(query.where(SampleSet.id == sample_set)).first()


def unreadable(row: Any, check: str, table: str, number: int, what: str) -> Finding:
    """Return the finding that reads are lost: ``what``, about row ``number`` of ``table``, by ``check``.

    The hint depends on their origin and the state of their batch, which are in ``row``, as by `owner`.
    """
    hint = f"{BACKUP}, or classify the images again"
    is_free = row.solver not in _REMOTE and row.times_sent == 0
    repair = None
    if row.batch_state is BatchState.SCORED:
        hint = f"its classifications remain, but it cannot be rescored: {hint}"
    elif is_free and row.batch_state is BatchState.SAMPLED and row.run_state not in FINISHED_RUNS:
        hint = "sample them again: --repair"
        repair = DiscardSamples(row.batch, row.problem, row.batch_state, what)
    elif is_free and row.batch_state is BatchState.FAILED and row.run_state not in _FINAL:
        hint = f"discard them, --repair; then sample them again, `annealq runs resume {row.run}`"
        repair = DiscardSamples(row.batch, row.problem, row.batch_state, what)
    return Finding(check, table, number, what, hint, repair)


def _with_owner(sample_set: Any) -> Any:
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
