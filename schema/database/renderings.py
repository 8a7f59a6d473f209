"""Charts and reports of runs that are stored, and charts that workers are asked to compute."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import and_, delete, insert, or_, select, update
from sqlalchemy.orm import Session

from schema.database.rows import insert_into
from schema.messages import EXPIRES_S, Task
from schema.tables import Batch, Rendering, Run

JSON = "application/json"
# Media types of rows that have no content: a worker is asked for it, or could not compute it and says why.
_ASKED, _FAILED = "asked", "failed"
HISTOGRAM = "histogram/"  # beginnings of kinds: and the number of the image
SAMPLE_SET = "samples/"  # and a `SampleSetRequest` as text


@dataclass(frozen=True)
class StoredRendering:
    """What is stored of a rendering.

    Attributes:
        body: its content; None while it is asked for, or if it failed.
        error: why a worker could not compute it.
    """

    body: bytes | None
    error: str | None = None


def histogram_kind(image: int) -> str:
    """Return the kind of the energy histogram of ``image``."""
    return f"{HISTOGRAM}{image}"


def find(session: Session, run: int, kind: str, content_sha256: str) -> StoredRendering | None:
    """Return the rendering ``kind`` of ``run``, read by ``session``; None if its content is another one."""
    query = select(Rendering.media_type, Rendering.body).where(
        Rendering.run_id == run, Rendering.kind == kind, Rendering.content_sha256 == content_sha256
    )
    row = session.execute(query).first()
    if row is None:
        return None
    if row.media_type in (_ASKED, _FAILED):
        return StoredRendering(None, row.body.decode() if row.media_type == _FAILED else None)
    return StoredRendering(row.body)


def store(
    session: Session, run: int, kind: str, content_sha256: str, media_type: str, body: bytes, *, now: datetime
) -> None:
    """Store the rendering ``kind`` of ``run`` by ``session``, and replace an earlier one.

    Args:
        content_sha256: digest of everything that decides it.
        media_type, body: what browsers are sent.
        now: the time.
    """
    which = {"run_id": run, "kind": kind}
    values = {"content_sha256": content_sha256, "media_type": media_type, "body": body, "created_at": now}
    session.execute(delete(Rendering).filter_by(**which))
    session.execute(insert(Rendering).values(**which, **values))


def ask(session: Session, run: int, kind: str, content_sha256: str, task: Task, *, now: datetime) -> bool:
    """Ask workers for the rendering ``kind`` of ``run``; return False if that was done just now.

    What nobody has computed when its message expires is asked for again; so is what failed.

    Args:
        session: of a transaction; a message follows its commit.
        content_sha256: digest of everything that decides it.
        task: that computes it.
        now: the time.
    """
    values = {"content_sha256": content_sha256, "media_type": _ASKED, "body": b"", "created_at": now}
    statement = insert_into(session.get_bind().dialect, Rendering).values(run_id=run, kind=kind, **values)
    expired = Rendering.created_at < now - timedelta(seconds=EXPIRES_S[task])
    unfinished = Rendering.media_type.in_((_ASKED, _FAILED))
    statement = statement.on_conflict_do_update(
        index_elements=[Rendering.run_id, Rendering.kind],
        set_=values,
        where=or_(Rendering.content_sha256 != content_sha256, and_(unfinished, expired)),
    )
    return session.execute(statement.returning(Rendering.run_id)).first() is not None


def asked(session: Session, run: int, prefix: str, most: int) -> dict[str, str]:
    """Return up to ``most`` renderings of ``run`` that are asked for, oldest request first.

    Args:
        prefix: with which their kinds begin.

    Returns:
        The digest of the content that was asked for, by kind.
    """
    query = select(Rendering.kind, Rendering.content_sha256).where(
        Rendering.run_id == run, Rendering.media_type == _ASKED, Rendering.kind.startswith(prefix)
    )
    rows = session.execute(query.order_by(Rendering.created_at).limit(most))
    return {row.kind: row.content_sha256 for row in rows}


def answer(
    session: Session,
    run: int,
    asked_for: Mapping[str, str],
    bodies: Mapping[str, bytes],
    errors: Mapping[str, str],
) -> None:
    """Store the ``bodies`` of ``run`` that were ``asked_for``, or their ``errors``, by kind; each has one.

    What was asked for again since, with another content, is left.
    """
    for kind, content_sha256 in asked_for.items():
        body = bodies.get(kind)
        values = {"media_type": JSON, "body": body}
        if body is None:
            values = {"media_type": _FAILED, "body": errors[kind].encode()}
        session.execute(
            update(Rendering)
            .where(
                Rendering.run_id == run,
                Rendering.kind == kind,
                Rendering.content_sha256 == content_sha256,
                Rendering.media_type == _ASKED,
            )
            .values(values)
        )


def remove_sample_sets(session: Session, batch: int) -> None:
    """Remove the sample sets of the run of ``batch``, and of runs that score it again.

    They are copies of raw reads, which were pruned.
    """
    run = select(Batch.run_id).where(Batch.id == batch).scalar_subquery()
    runs = select(Run.id).where(or_(Run.id == run, Run.rescored_from == run))
    session.execute(
        delete(Rendering).where(Rendering.run_id.in_(runs), Rendering.kind.startswith(SAMPLE_SET))
    )
