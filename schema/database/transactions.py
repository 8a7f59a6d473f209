"""The database: its transactions and its clock. Errors of the drivers are mapped here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Connection, Engine, event, func, inspect, select
from sqlalchemy.exc import DataError, DBAPIError, OperationalError
from sqlalchemy.orm import Session

from schema.database import engine
from schema.errors import (
    AnnealqError,
    Corrupt,
    DatabaseFull,
    DatabaseOutdated,
    DatabaseTooNew,
    DatabaseUnavailable,
    ParameterError,
    StorageError,
)
from schema.tables.columns import UtcDateTime
from schema.tables.runs import REVISION

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    return datetime.now(UTC)


class Database:
    """A database to open transactions in. Build one per process, after the fork.

    A ``clock`` replaces the time of leases and timestamps in tests. Without it PostgreSQL's own clock counts,
    because workers on several machines must agree.
    """

    def __init__(self, url: str, clock: Clock | None = None, *, connections: int = 15) -> None:
        """Parse ``url`` without connecting, or raise ParameterError; a ``clock`` is for tests.

        There are at most that many ``connections`` at a time; a transaction waits for one.
        """
        self.url = engine.parse(url)
        self._clock = clock
        self._writing = engine.create(self.url, connections)
        self._reading = self._writing.execution_options(annealq_reading=True)

    @property
    def name(self) -> str:
        """Return the URL for display, without its password."""
        return self.url.render_as_string(hide_password=True)

    @property
    def engine(self) -> Engine:
        return self._writing

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """Open a read-write transaction, committed at the end or rolled back on any error.

        Raises:
            DatabaseUnavailable, DatabaseFull, StorageError: mapped from the driver's errors.
        """
        with (
            mapping_driver_errors(self.name),
            Session(self._writing, autoflush=False) as session,
            session.begin(),
        ):
            yield session

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Open a read-only transaction; on SQLite it never waits for a writer."""
        with (
            mapping_driver_errors(self.name),
            Session(self._reading, autoflush=False) as session,
            session.begin(),
        ):
            yield session

    def now(self, session: Session) -> datetime:
        """Read the time for leases and timestamps from the database of ``session``, timezone-aware UTC."""
        if self._clock is not None:
            return self._clock()
        if self.url.get_backend_name() == "postgresql":
            return session.execute(select(func.clock_timestamp(type_=UtcDateTime()))).scalar_one()
        return utc_now()

    def revision(self) -> str | None:
        """Return the schema revision of the database, or None if it has no annealq tables."""
        if self.url.get_backend_name() == "sqlite" and not Path(self.url.database or "").exists():
            return None  # connecting would create the file
        with mapping_driver_errors(self.name), self._reading.connect() as connection:
            return read_revision(connection)

    def require_current(self) -> None:
        """Check that the database has the revision of this code.

        Raises:
            DatabaseOutdated: migrate with ``annealq db upgrade``.
            DatabaseTooNew: upgrade annealq.
        """
        revision = self.revision()
        if revision is None:
            raise DatabaseOutdated(
                f"nothing here yet ({self.name} is empty): start with `annealq demo` or `annealq classify "
                "DATA --embedded`; `annealq db upgrade` prepares a database that is shared"
            )
        if revision < REVISION:
            raise DatabaseOutdated(
                f"{self.name} is at revision {revision}, this annealq needs {REVISION}: run `annealq db "
                "upgrade` (automatic with `annealq up` and --embedded)"
            )
        refuse_newer(self.name, revision)

    def dispose(self) -> None:
        """Close all connections; one that another thread uses is closed when it is returned."""
        event.listen(self._writing.pool, "checkin", lambda connection, _record: connection.close())
        self._writing.dispose()


def read_revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()


def refuse_newer(name: str, revision: str | None) -> None:
    """Raise DatabaseTooNew if ``revision`` of the database ``name`` is newer than this code's."""
    if revision is not None and revision > REVISION:
        raise DatabaseTooNew(
            f"{name} is at revision {revision}, newer than this annealq, which knows {REVISION}: "
            "upgrade annealq, or point ANNEALQ_DATABASE_URL at another database"
        )


@contextmanager
def mapping_driver_errors(name: str) -> Iterator[None]:
    """Translate the errors of the drivers on the database ``name``, as it is displayed."""
    try:
        yield
    except AnnealqError:
        raise
    except OperationalError as error:
        raise _translate(name, error) from error
    except UnicodeEncodeError as error:
        raise ParameterError(
            f"{error.object[:100]!r} is not text: give a name of Unicode characters"
        ) from error
    except (DataError, OverflowError) as error:
        cause = _first_line(getattr(error, "orig", None) or error)
        raise ParameterError(
            f"a database stores no such number or text ({cause}): give smaller numbers, and names without "
            "control characters"
        ) from error
    except DBAPIError as error:
        if error.connection_invalidated or _is_damage(error):
            raise _translate(name, error) from error
        raise


def _is_damage(error: DBAPIError) -> bool:
    """Return whether SQLite cannot read its own file."""
    reason = str(error.orig)
    return "disk image is malformed" in reason or "file is not a database" in reason


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), "no reason given")


def _translate(name: str, error: DBAPIError) -> StorageError:
    reason = _first_line(error.orig or error)
    lowered = reason.lower()
    if _is_damage(error):
        return Corrupt(
            f"{name} is damaged as a file ({reason}): restore it from a backup, or save what is readable: "
            "`sqlite3 FILE .recover`"
        )
    if "disk is full" in lowered or "no space left" in lowered or "disk full" in lowered:
        return DatabaseFull(f"no space left for {name} ({reason}): free some and try again")
    if "no such table" in lowered or "no such column" in lowered:
        return DatabaseOutdated(f"{name} lacks a table ({reason}): run `annealq db upgrade`")
    return DatabaseUnavailable(f"{name} cannot be used: {reason}")
