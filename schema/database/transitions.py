"""Guarded moves of rows from state to state, each noted in `events`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import (
    Insert,
    Table,
    Update,
    bindparam,
    insert,
    update,
)
from sqlalchemy.orm import Session

from schema.errors import (
    StaleState,
)
from schema.states import (
    BatchState,
    CalibrationState,
    DeliveryState,
    EmbeddingState,
    FiringState,
    NetworkState,
    PreparationState,
    ProblemState,
    RunState,
    ScheduleState,
    State,
    is_legal,
)
from schema.tables import (
    Batch,
    Calibration,
    Delivery,
    Embedding,
    Event,
    Firing,
    Network,
    Preparation,
    Problem,
    Run,
    Schedule,
)

_EVENT: Insert = insert(Event.__table__)  # type: ignore[arg-type]

_TABLE_OF: dict[type, Any] = {
    NetworkState: Network,
    CalibrationState: Calibration,
    EmbeddingState: Embedding,
    PreparationState: Preparation,
    RunState: Run,
    ScheduleState: Schedule,
    FiringState: Firing,
    BatchState: Batch,
    ProblemState: Problem,
    DeliveryState: Delivery,
}


def transition(
    session: Session,
    row: int,
    source: State,
    target: State,
    *,
    now: datetime,
    why: str | None = None,
    **values: Any,
) -> None:
    """Move a row from one state to another, if it is still in the first, and note it in `events`.

    ``values`` are further columns to set, atomically with the state.

    Raises:
        StaleState: the row is not in ``source`` any more (or does not exist).
        ValueError: the move is not in the table of legal moves.
    """
    if not is_legal(source, target):
        raise ValueError(f"{type(source).__name__} may not go from {source} to {target}")
    table = _TABLE_OF[type(source)]
    statement = update(table).where(table.id == row, table.state == source).values(state=target, **values)
    if session.execute(statement.returning(table.id)).first() is None:
        raise StaleState(f"{table.__tablename__} {row} is no longer {source}")
    record_event(session, table.__tablename__, row, source, target, now=now, why=why)


def transition_all(
    session: Session,
    rows: Sequence[int],
    source: State,
    target: State,
    *,
    now: datetime,
    why: str | None = None,
    **values: Any,
) -> list[int]:
    """The same for many rows at once: those that are still in ``source`` move. Returns them.

    Raises:
        ValueError: the move is not in the table of legal moves.
    """
    if not is_legal(source, target):
        raise ValueError(f"{type(source).__name__} may not go from {source} to {target}")
    table = _TABLE_OF[type(source)]
    statement = update(table).where(table.id.in_(rows), table.state == source)
    statement = statement.values(state=target, **values).returning(table.id)
    moved = sorted(session.execute(statement).scalars()) if rows else []
    common = {"subject": table.__tablename__, "source": source, "target": target, "at": now, "why": why}
    if moved:
        session.execute(insert(Event), [{"row": row, **common} for row in moved])
    return moved


def transition_each(
    session: Session,
    rows: Mapping[int, Mapping[str, Any]],
    source: State,
    target: State,
    *,
    now: datetime,
    why: str | None = None,
) -> None:
    """The same for many rows, each with further columns of its own; all have the same columns. All move, or
    none does.

    Raises:
        StaleState: one of the rows is not in ``source`` any more.
        ValueError: the move is not in the table of legal moves.
    """
    if not is_legal(source, target):
        raise ValueError(f"{type(source).__name__} may not go from {source} to {target}")
    if not rows:
        return
    table = _TABLE_OF[type(source)]
    names = tuple(sorted(next(iter(rows.values()))))
    states = {"row_": None, "source_": source, "target_": target}
    moves = [{**states, "row_": row, **{f"{n}_": values[n] for n in names}} for row, values in rows.items()]
    moved = session.execute(_guarded_move(table.__table__, names), moves).rowcount  # type: ignore[attr-defined]
    if moved != len(rows):
        raise StaleState(f"{moved} of {len(rows)} {table.__tablename__} were {source}: {sorted(rows)}")
    common = {"subject": table.__tablename__, "source": source, "target": target, "at": now, "why": why}
    session.execute(_EVENT, [{"row": row, **common} for row in rows])


@cache
def _guarded_move(table: Table, names: tuple[str, ...]) -> Update:
    """Built once: building a statement costs ten times what running it does."""
    guard = (table.c.id == bindparam("row_"), table.c.state == bindparam("source_"))
    return (
        update(table)
        .where(*guard)
        .values(state=bindparam("target_"), **{n: bindparam(f"{n}_") for n in names})
    )


def record_event(
    session: Session,
    subject: str,
    row: int,
    source: State | None,
    target: State,
    *,
    now: datetime,
    why: str | None = None,
) -> None:
    """Append to `events`."""
    values = {"at": now, "subject": subject, "row": row, "source": source, "target": target, "why": why}
    session.execute(_EVENT, values)
