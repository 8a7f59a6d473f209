"""Guarded transitions: each moves rows from one state to another and records the move in `events`.

Nothing else writes a `state` column of an existing row (`tests/unit/test_rules.py` checks this). A transition
updates only rows that are still in the source state, so of several processes one succeeds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Insert, Table, Update, bindparam, insert, true, update
from sqlalchemy.orm import Session

from schema.database.actors import acting
from schema.errors import StaleState
from schema.states import State, is_legal
from schema.tables import Base, Event

_EVENT: Insert = insert(Event.__table__)  # type: ignore[arg-type]

# The table of each kind of state, by the type of its `state` column.
_TABLE_OF: dict[type, Any] = {
    mapper.columns["state"].type.enum_class: mapper.class_  # type: ignore[attr-defined]
    for mapper in Base.registry.mappers
    if "state" in mapper.columns
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
    """Move ``row`` from ``source`` to ``target`` and record ``why`` in `events`.

    Args:
        now: time of the event.
        values: further columns to set, atomically with the state.

    Raises:
        StaleState: the row is no longer in ``source``, or does not exist.
        ValueError: the move is not in the table of legal moves.
    """
    table = _legal_table(source, target)
    columns = (table.id,)
    if (
        transition_if(session, row, source, target, true(), returning=columns, now=now, why=why, **values)
        is None
    ):
        raise StaleState(f"{table.__tablename__} {row} is no longer {source}")


def transition_if(
    session: Session,
    row: int,
    source: State,
    target: State,
    condition: ColumnElement[bool],
    *,
    returning: Sequence[Any],
    now: datetime,
    why: str | None = None,
    **values: Any,
) -> Any | None:
    """Move ``row`` from ``source`` to ``target`` if ``condition`` also holds: how a worker claims a row.

    Args:
        returning: columns to return, with the values that they have after the move.
        now: time of the event, which records ``why``.
        values: further columns to set, atomically with the state.

    Returns:
        The columns in ``returning``, or None if the row was not moved.

    Raises:
        ValueError: the move is not in the table of legal moves.
    """
    table = _legal_table(source, target)
    statement = update(table).where(table.id == row, table.state == source, condition)
    moved = session.execute(statement.values(state=target, **values).returning(*returning)).first()
    if moved is not None:
        record_event(session, table.__tablename__, row, source, target, now=now, why=why)
    return moved


def transition_all(
    session: Session,
    rows: Sequence[int] | ColumnElement[bool],
    source: State,
    target: State,
    *,
    now: datetime,
    why: str | None = None,
    **values: Any,
) -> list[int]:
    """Move those of ``rows`` that are still in ``source`` to ``target`` and return their ids, ascending.

    Args:
        rows: ids, or a condition on the rows.
        now: time of the events, which record ``why``.
        values: further columns to set in each row, atomically with the state.

    Raises:
        ValueError: the move is not in the table of legal moves.
    """
    table = _legal_table(source, target)
    where = rows if isinstance(rows, ColumnElement) else table.id.in_(rows)
    statement = update(table).where(where, table.state == source).values(state=target, **values)
    moved = sorted(session.execute(statement.returning(table.id)).scalars())
    _record_events(session, table, moved, source, target, now, why)
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
    """Move all ``rows`` from ``source`` to ``target``, or none of them, and record ``why`` at ``now``.

    Args:
        rows: further columns to set by row id; every row sets the same columns.

    Raises:
        StaleState: one of the rows is no longer in ``source``.
        ValueError: the move is not in the table of legal moves.
    """
    table = _legal_table(source, target)
    if not rows:
        return
    names = tuple(sorted(next(iter(rows.values()))))
    states = {"source_": source, "target_": target}
    moves = [{**states, "row_": row, **{f"{n}_": values[n] for n in names}} for row, values in rows.items()]
    moved = session.execute(_guarded_move(table.__table__, names), moves).rowcount  # type: ignore[attr-defined]
    if moved != len(rows):
        raise StaleState(f"{moved} of {len(rows)} {table.__tablename__} were {source}: {sorted(rows)}")
    _record_events(session, table, rows, source, target, now, why)


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
    """Append to `events` that ``row`` of table ``subject`` moved from ``source`` to ``target`` at ``now``.

    ``source`` is None for a new row. ``why`` is shown to users. The actor is that of the context.
    """
    values = {"at": now, "subject": subject, "row": row, "source": source, "target": target, "why": why}
    session.execute(_EVENT, values | asdict(acting()))


def record_action(
    session: Session, subject: str, row: int, action: str, *, now: datetime, why: str | None = None
) -> None:
    """Append to `events` that somebody did ``action`` to ``row`` of ``subject``, which has no states.

    ``action`` has at most 16 letters; ``why`` is shown to users. The actor is that of the context.
    """
    values = {"at": now, "subject": subject, "row": row, "source": None, "target": action, "why": why}
    session.execute(_EVENT, values | asdict(acting()))


def _legal_table(source: State, target: State) -> Any:
    """Return the table whose rows have these states; raise ValueError if the move is not legal."""
    if not is_legal(source, target):
        raise ValueError(f"{type(source).__name__} must not move from {source} to {target}")
    return _TABLE_OF[type(source)]


def _record_events(
    session: Session,
    table: Any,
    rows: Iterable[int],
    source: State,
    target: State,
    now: datetime,
    why: str | None,
) -> None:
    common = {"subject": table.__tablename__, "source": source, "target": target, "at": now, "why": why}
    common |= asdict(acting())
    events = [{"row": row, **common} for row in rows]
    if events:
        session.execute(_EVENT, events)


@cache
def _guarded_move(table: Table, names: tuple[str, ...]) -> Update:
    """Build a statement once: building it costs ten times as much as running it."""
    guard = (table.c.id == bindparam("row_"), table.c.state == bindparam("source_"))
    return (
        update(table)
        .where(*guard)
        .values(state=bindparam("target_"), **{n: bindparam(f"{n}_") for n in names})
    )
