"""The database: transactions, the clock and the guarded move of a row's state."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Connection,
    Engine,
    Insert,
    Table,
    Update,
    bindparam,
    func,
    insert,
    inspect,
    select,
    update,
)
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError
from sqlalchemy.orm import Session

from schema import engine
from schema.columns import UtcDateTime
from schema.errors import (
    AnnealqError,
    Corrupt,
    DatabaseFull,
    DatabaseOutdated,
    DatabaseTooNew,
    DatabaseUnavailable,
    StaleState,
    StorageError,
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
    REVISION,
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

Clock = Callable[[], datetime]

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


def utc_now() -> datetime:
    return datetime.now(UTC)


class Database:
    """A place to open transactions in. Build one per process, after the fork.

    ``clock`` replaces the time of leases and stamps in tests; without it PostgreSQL's own clock
    counts, because workers on several machines must agree.
    """

    def __init__(self, url: str, clock: Clock | None = None) -> None:
        """Raises ParameterError when the URL cannot be understood; connects to nothing yet."""
        self.url = engine.parse(url)
        self._clock = clock
        self._writing = engine.create(self.url)
        self._reading = self._writing.execution_options(annealq_reading=True)

    @property
    def name(self) -> str:
        """The URL for people: without its password."""
        return self.url.render_as_string(hide_password=True)

    @property
    def engine(self) -> Engine:
        return self._writing

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """A read-write transaction: committed at the end, rolled back on any error.

        Raises:
            DatabaseUnavailable, DatabaseFull, StorageError: mapped from the driver's errors.
        """
        with _mapped(self.name), Session(self._writing, autoflush=False) as session, session.begin():
            yield session

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A read-only transaction; on SQLite it never waits for a writer."""
        with _mapped(self.name), Session(self._reading, autoflush=False) as session, session.begin():
            yield session

    def now(self, session: Session) -> datetime:
        """The time that leases and stamps are made of, timezone-aware UTC."""
        if self._clock is not None:
            return self._clock()
        if self.url.get_backend_name() == "postgresql":
            return session.execute(select(func.clock_timestamp(type_=UtcDateTime()))).scalar_one()
        return utc_now()

    def revision(self) -> str | None:
        """The schema revision the database is at; None when it has no tables of ours."""
        if self.url.get_backend_name() == "sqlite" and not Path(self.url.database or "").exists():
            return None  # asking SQLite would make the file
        with _mapped(self.name), self._reading.connect() as connection:
            return read_revision(connection)

    def require_current(self) -> None:
        """Check that database and code belong together.

        Raises:
            DatabaseOutdated: migrate with ``annealq db upgrade``.
            DatabaseTooNew: upgrade annealq.
        """
        found = self.revision()
        if found is None or found < REVISION:
            raise DatabaseOutdated(
                f"{self.name} is {'empty' if found is None else f'at revision {found}'}, this annealq needs "
                f"{REVISION}: run `annealq db upgrade` (`annealq up` and --embedded do it by themselves)"
            )
        refuse_newer(self.name, found)

    def dispose(self) -> None:
        self._writing.dispose()


def read_revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()


def refuse_newer(name: str, found: str | None) -> None:
    """Raises DatabaseTooNew when ``found`` comes after the code's own revision."""
    if found is not None and found > REVISION:
        raise DatabaseTooNew(
            f"{name} is at revision {found}, newer than this annealq, which knows {REVISION}: "
            "upgrade annealq, or point ANNEALQ_DATABASE_URL at another database"
        )


def advance(
    session: Session,
    row: int,
    source: State,
    target: State,
    *,
    at: datetime,
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
    note(session, table.__tablename__, row, source, target, at=at, why=why)


def advance_all(
    session: Session,
    rows: Sequence[int],
    source: State,
    target: State,
    *,
    at: datetime,
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
    common = {"subject": table.__tablename__, "source": source, "target": target, "at": at, "why": why}
    if moved:
        session.execute(insert(Event), [{"row": row, **common} for row in moved])
    return moved


def advance_each(
    session: Session,
    rows: Mapping[int, Mapping[str, Any]],
    source: State,
    target: State,
    *,
    at: datetime,
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
    common = {"subject": table.__tablename__, "source": source, "target": target, "at": at, "why": why}
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


def note(
    session: Session,
    subject: str,
    row: int,
    source: State | None,
    target: State,
    *,
    at: datetime,
    why: str | None = None,
) -> None:
    """Append to `events`."""
    values = {"at": at, "subject": subject, "row": row, "source": source, "target": target, "why": why}
    session.execute(_EVENT, values)


@contextmanager
def _mapped(name: str) -> Iterator[None]:
    """Translate the driver's errors, once."""
    try:
        yield
    except AnnealqError:
        raise
    except OperationalError as error:
        raise _translate(name, error) from error
    except DBAPIError as error:
        if error.connection_invalidated or _is_damage(error):
            raise _translate(name, error) from error
        raise
    except SQLAlchemyError:
        raise


def _is_damage(error: DBAPIError) -> bool:
    """Whether SQLite cannot make sense of its own file."""
    reason = str(error.orig)
    return "disk image is malformed" in reason or "file is not a database" in reason


def _translate(name: str, error: DBAPIError) -> StorageError:
    reason = str(error.orig).strip().splitlines()[0] if error.orig else str(error)
    lowered = reason.lower()
    if _is_damage(error):
        return Corrupt(
            f"{name} is damaged as a file ({reason}): restore it from a backup, or save what is left of it: "
            "`sqlite3 FILE .recover`"
        )
    if "disk is full" in lowered or "no space left" in lowered or "disk full" in lowered:
        return DatabaseFull(f"no space left for {name} ({reason}): free some and try again")
    if "no such table" in lowered or "no such column" in lowered:
        return DatabaseOutdated(f"{name} lacks a table ({reason}): run `annealq db upgrade`")
    return DatabaseUnavailable(f"{name} cannot be used: {reason}")
