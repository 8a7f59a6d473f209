"""Removes unused embeddings. Those that a problem used remain: raw samples are decoded by them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, delete, exists, or_, select, update
from sqlalchemy.orm import Session

from producer.embeddings import queries
from producer.embeddings.queries import EmbeddingSummary
from schema.database import Database, record_action
from schema.errors import ParameterError
from schema.states import EmbeddingState
from schema.tables import Batch, Embedding, Preparation, Problem

MAX_DAYS = 36_500


@dataclass(frozen=True)
class Criteria:
    """Which unused embeddings to remove; by default those for former graphs of their solver.

    Attributes:
        older_than_days: also remove those for the current graph that are this old.
        all_unused: remove all that no problem used.
    """

    older_than_days: float | None = None
    all_unused: bool = False

    def __post_init__(self) -> None:
        """Raise ParameterError if the age is out of range."""
        days = self.older_than_days
        if days is not None and not 0 <= days <= MAX_DAYS:
            raise ParameterError(f"an age of {days:g} days is out of range: give 0 to {MAX_DAYS:,} days")


def prune(database: Database, criteria: Criteria, *, dry_run: bool = False) -> list[EmbeddingSummary]:
    """Remove embeddings from ``database`` by ``criteria`` in one transaction, and return them.

    With ``dry_run`` they are only returned. Embeddings that are being searched for remain. References to a
    removed one, as an origin or in a dry run, become NULL.
    """
    if dry_run:
        with database.reading() as session:
            return _chosen(session, criteria, database)
    with database.transaction() as session:
        chosen = _chosen(session, criteria, database)
        _remove(session, [embedding.embedding_id for embedding in chosen], database.now(session))
    return chosen


def _chosen(session: Session, criteria: Criteria, database: Database) -> list[EmbeddingSummary]:
    now = database.now(session)
    days = criteria.older_than_days
    before = None if days is None else now - timedelta(days=days)
    unused = set(session.execute(select(Embedding.id).where(~_needed())).scalars())
    return [
        embedding
        for embedding in queries.summaries(session)
        if embedding.embedding_id in unused
        and embedding.state is not EmbeddingState.SEARCHING
        and (
            criteria.all_unused
            or not embedding.current
            or (before is not None and (embedding.finished_at or embedding.created_at) <= before)
        )
    ]


def _remove(session: Session, ids: list[int], now: datetime) -> None:
    session.execute(update(Embedding).where(Embedding.repaired_from.in_(ids)).values(repaired_from=None))
    session.execute(update(Preparation).where(Preparation.embedding_id.in_(ids)).values(embedding_id=None))
    gone = delete(Embedding).where(Embedding.id.in_(ids), ~_needed()).returning(Embedding.id)
    for embedding in session.execute(gone).scalars().all():
        record_action(session, "embeddings", embedding, "removed", now=now)


def _needed() -> ColumnElement[bool]:
    # A problem, with its samples, or a batch refers to the embedding.
    return or_(
        exists().where(Problem.embedding_id == Embedding.id),
        exists().where(Batch.embedding_id == Embedding.id),
    )
