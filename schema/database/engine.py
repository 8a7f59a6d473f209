"""Engines: connections to SQLite and PostgreSQL, and how their transactions begin."""

from __future__ import annotations

import sqlite3
from types import ModuleType
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from schema.errors import ParameterError

BUSY_TIMEOUT_MS = 30_000  # how long a SQLite writer waits for another one
_IDLE = 5  # connections that stay open while they are not used
_SILENCE_MS = 30_000  # after which a silent host counts as disconnected


def parse(url: str) -> URL:
    """Parse a database ``url``.

    Raises:
        ParameterError: it is not the URL of a supported database.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise ParameterError(
            "ANNEALQ_DATABASE_URL is not a database URL; "
            "examples: sqlite:////home/me/annealq.db, postgresql+psycopg://me@localhost/annealq"
        ) from None
    if parsed.drivername == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername not in {"sqlite", "sqlite+pysqlite", "postgresql+psycopg"}:
        raise ParameterError(f"database {parsed.drivername!r} is not supported: use sqlite or postgresql")
    return parsed


def create(url: URL, connections: int) -> Engine:
    """Create an engine for ``url`` with at most that many ``connections``, which connects on first use.

    Raises:
        ParameterError: the driver is missing.
    """
    pool: dict[str, Any] = {"pool_size": min(connections, _IDLE), "max_overflow": max(connections - _IDLE, 0)}
    if url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:"):
        pool = {}  # it has one connection for each thread
    try:
        if url.get_backend_name() != "sqlite":
            # Without hstore a first connection need not ask the server for this type.
            pool |= {"pool_pre_ping": True, "use_native_hstore": False}
            return create_engine(url, connect_args=_postgresql(url), **pool)
        module = _sqlite_module()
        timeout = {"timeout": BUSY_TIMEOUT_MS / 1000}
        engine = create_engine(url, module=module, connect_args=timeout, **pool)
    except (NoSuchModuleError, ImportError) as error:
        raise ParameterError(f"the driver for {url.drivername} is missing: {error}") from None
    event.listen(engine, "connect", _configure_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _postgresql(url: URL) -> dict[str, Any]:
    """Return the connection arguments that the URL does not set: `?options=` for a pooler that accepts none.

    If a host disappears, client and server notice it after half a minute instead of the system's default of
    hours. Until then, the server holds the client's locks.
    """
    client = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 4}
    server = {f"tcp_{name}": value for name, value in client.items()}
    client["tcp_user_timeout"] = server["tcp_user_timeout"] = _SILENCE_MS
    options = " ".join(f"-c {name}={value}" for name, value in server.items())
    arguments = {"connect_timeout": 10, **client, "options": options}
    return {name: value for name, value in arguments.items() if name not in url.query}


def _sqlite_module() -> ModuleType:
    """Return a SQLite without the WAL-reset bug (sqlite.org/wal.html#walresetbug), if one is installed."""
    try:
        from pysqlite3 import dbapi2
    except ImportError:
        return sqlite3
    module: ModuleType = dbapi2
    return module


def _configure_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # transactions are begun by _begin_sqlite, not by the driver
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    # IMMEDIATE takes the write lock at once: a transaction that reads first cannot fail when it writes.
    reading = connection.get_execution_options().get("annealq_reading", False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")
