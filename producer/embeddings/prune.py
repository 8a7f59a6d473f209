"""Removes embeddings that nothing needs. One that a problem used stays: the raw samples are read by it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import ColumnElement, delete, exists, or_, select, update
from sqlalchemy.orm import Session

from producer.embeddings import queries
from producer.embeddings.queries import EmbeddingSummary
from schema.database import Database
from schema.errors import ParameterError
from schema.states import EmbeddingState
from schema.tables import Batch, Embedding, Preparation, Problem

MAX_DAYS = 36_500


@dataclass(frozen=True)
class Criteria:
    """Which unused embeddings are to go; by default those for graphs that their solver has no longer.

    older_than_days: also those for the present graph that are as old. all_unused: whatever no problem used.
    """

    older_than_days: float | None = None
    all_unused: bool = False

    def __post_init__(self) -> None:
        """Raises ParameterError naming the value and its limits."""
        days = self.older_than_days
        if days is not None and not 0 <= days <= MAX_DAYS:
            raise ParameterError(f"older than {days:g} days: 0 to {MAX_DAYS:,} days")


def prune(database: Database, criteria: Criteria, *, dry_run: bool = False) -> list[EmbeddingSummary]:
    """Remove what the criteria name, in one transaction; returns what went, or would go.

    A search that is under way stays. What referred to a removed one, as its origin or as what was found for
    a preparation, keeps its other columns.
    """
    if dry_run:
        with database.reading() as session:
            return _chosen(session, criteria, database)
    with database.transaction() as session:
        chosen = _chosen(session, criteria, database)
        _remove(session, [embedding.embedding_id for embedding in chosen])
    return chosen


def _chosen(session: Session, criteria: Criteria, database: Database) -> list[EmbeddingSummary]:
    now = database.now(session)
    days = criteria.older_than_days
    before = None if days is None else now - timedelta(days=days)
    unused = set(session.execute(select(Embedding.id).where(~_needed())).scalars())
    return [
        held
        for held in queries.summaries(session)
        if held.embedding_id in unused
        and held.state is not EmbeddingState.SEARCHING
        and (
            criteria.all_unused
            or not held.current
            or (before is not None and (held.finished_at or held.created_at) <= before)
        )
    ]


def _remove(session: Session, ids: list[int]) -> None:
    session.execute(update(Embedding).where(Embedding.repaired_from.in_(ids)).values(repaired_from=None))
    session.execute(update(Preparation).where(Preparation.embedding_id.in_(ids)).values(embedding_id=None))
    session.execute(delete(Embedding).where(Embedding.id.in_(ids), ~_needed()))


def _needed() -> ColumnElement[bool]:
    """Whether a problem, with its samples, or a batch refers to an embedding."""
    return or_(
        exists().where(Problem.embedding_id == Embedding.id),
        exists().where(Batch.embedding_id == Embedding.id),
    )
