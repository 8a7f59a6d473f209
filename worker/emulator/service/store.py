"""Accepted problems, their answers and the ledger, in SQLite: in a file that outlives the process, or in
memory.

One process owns the file. Writes survive a killed process, not a power cut: no write waits for the disk.
"""

from __future__ import annotations

import json
import os
import secrets
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

from schema.errors import Corrupt, StorageError

_FORMAT = 3
_TABLES = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT;
CREATE TABLE solvers (name TEXT PRIMARY KEY, generation INTEGER NOT NULL, online INTEGER NOT NULL) STRICT;
CREATE TABLE payloads (number INTEGER PRIMARY KEY, data BLOB NOT NULL, params BLOB NOT NULL) STRICT;
CREATE TABLE answers (number INTEGER PRIMARY KEY, answer BLOB NOT NULL) STRICT;
"""
_TABLES_OF_FORMAT_2 = """
CREATE TABLE renames (old TEXT PRIMARY KEY, new TEXT NOT NULL) STRICT;
CREATE TABLE problems (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    member TEXT NOT NULL,
    solver TEXT NOT NULL,
    graph_id TEXT NOT NULL,
    type TEXT NOT NULL,
    label TEXT,
    status TEXT NOT NULL CHECK (status IN ('PENDING', 'COMPLETED', 'FAILED', 'CANCELLED')),
    submitted_on TEXT NOT NULL,
    solved_on TEXT CHECK ((solved_on IS NULL) = (status = 'PENDING')),
    error TEXT CHECK ((error IS NOT NULL) = (status = 'FAILED')),
    reads INTEGER NOT NULL,
    qubits INTEGER NOT NULL,
    access_us REAL NOT NULL,
    charged_us REAL NOT NULL CHECK (charged_us = 0 OR status IN ('COMPLETED', 'FAILED')),
    fault TEXT,
    fault_charged INTEGER NOT NULL,
    gone INTEGER NOT NULL
) STRICT;
CREATE INDEX problems_member ON problems (member, status);
"""
_TO_FORMAT_3 = "ALTER TABLE problems ADD COLUMN misprogrammed REAL NOT NULL DEFAULT 0;"
_BEFORE_UPGRADE = """
DROP INDEX problems_member;
ALTER TABLE problems RENAME TO problems_1;
"""
_AFTER_UPGRADE = """
INSERT INTO problems SELECT *, NULL, 0, 0 FROM problems_1;
DROP TABLE problems_1;
"""


class Status(StrEnum):
    """SAPI's status of a problem. One in progress is PENDING in the store: a new process starts it again."""

    PENDING = "PENDING"
    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"

    @property
    def terminal(self) -> bool:
        return self not in {Status.PENDING, Status.IN_PROGRESS}


@dataclass(frozen=True)
class AcceptedProblem:
    """One accepted problem: a row of the table, a line of the ledger. Times in us and in ISO 8601, UTC.

    Attributes:
        fault: the error with which the problem will fail when the QPU has taken its time, if it will.
        fault_charged: whether it is charged then.
        misprogrammed: standard deviation of the errors with which it is programmed, as a share of the ranges.
        gone: 404 or 410, with which requests for it are answered as if it were purged; 0 for none.
    """

    number: int
    id: str
    member: str
    solver: str
    graph_id: str
    type: str
    label: str | None
    status: Status
    submitted_on: str
    solved_on: str | None
    error: str | None
    reads: int
    qubits: int
    access_us: float
    charged_us: float
    fault: str | None = None
    fault_charged: bool = False
    gone: int = 0
    misprogrammed: float = 0.0


@dataclass(frozen=True)
class CheckedProblem:
    """A checked problem before it is stored; ``data`` and ``params`` as JSON."""

    id: str
    member: str
    solver: str
    graph_id: str
    type: str
    label: str | None
    reads: int
    qubits: int
    access_us: float
    data: bytes
    params: bytes
    fault: str | None = None
    fault_charged: bool = False
    misprogrammed: float = 0.0


class Store:
    """The store. Use it from one thread."""

    def __init__(self, path: Path | None) -> None:
        """Open ``path``, or a private store that ends with the process.

        Raises:
            StorageError: the file cannot be opened or written, or another process has it.
            Corrupt: it is not a store.
        """
        self._last = datetime.min.replace(tzinfo=UTC)
        try:
            if path is not None:
                os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            # An empty name is SQLite's private store on disk.
            self._db = sqlite3.connect(path or "", timeout=0.5, isolation_level=None)
            self._open()
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                message = f"{path} is in use by another emulator; stop it, or name another --state"
                raise StorageError(message) from error
            raise StorageError(f"cannot open the state file {path}: {error}") from error
        except sqlite3.DatabaseError as error:
            raise Corrupt(f"{path} is not an emulator's state file: {error}") from error
        except OSError as error:
            raise StorageError(f"cannot write the state file {path}: {error.strerror}") from error

    def close(self) -> None:
        self._db.close()

    @property
    def member_key(self) -> bytes:
        """Return the secret of this store by which tokens become member names."""
        return bytes(self._db.execute("SELECT value FROM meta WHERE name = 'member_key'").fetchone()[0])

    def accept(self, submissions: Sequence[CheckedProblem]) -> list[AcceptedProblem]:
        """Store the problems ``submissions``, all or none, as PENDING."""
        entries = []
        with _transaction(self._db):
            for new in submissions:
                row = self._db.execute(
                    "INSERT INTO problems VALUES (NULL, :id, :member, :solver, :graph_id, :type, :label,"
                    " 'PENDING', :now, NULL, NULL, :reads, :qubits, :access_us, 0, :fault, :fault_charged, 0,"
                    " :misprogrammed)"
                    " RETURNING *",
                    {**vars(new), "now": self._now()},
                ).fetchone()
                entries.append(_entry(row))
                self._db.execute("INSERT INTO payloads VALUES (?, ?, ?)", (row[0], new.data, new.params))
        return entries

    def complete(self, entry: AcceptedProblem, answer: bytes, charged_us: float) -> None:
        """Store the ``answer`` of ``entry`` and charge ``charged_us``, in one transaction; do nothing when it
        is not PENDING.
        """
        with _transaction(self._db):
            if self._finish(entry, Status.COMPLETED, charged_us=charged_us):
                self._db.execute("INSERT INTO answers VALUES (?, ?)", (entry.number, answer))

    def fail(self, entry: AcceptedProblem, error: str, charged_us: float = 0.0) -> None:
        """Mark ``entry`` failed with ``error``, charge ``charged_us``; do nothing when it is not PENDING."""
        self._finish(entry, Status.FAILED, charged_us=charged_us, error=error)

    def cancel(self, entry: AcceptedProblem) -> bool:
        """Mark ``entry`` cancelled, free of charge; return False when it is not PENDING."""
        return self._finish(entry, Status.CANCELLED)

    def entries(self, ids: Sequence[str], member: str) -> dict[str, AcceptedProblem]:
        """Return ``member``'s problems with these ``ids``, by id."""
        rows = self._db.execute(
            "SELECT * FROM problems WHERE id IN (SELECT value FROM json_each(?)) AND member = ?",
            (json.dumps(ids), member),
        )
        return {entry.id: entry for entry in map(_entry, rows)}

    def search(
        self, member: str, *, label: str = "", solver: str | None = None, statuses: Iterable[Status] = ()
    ) -> list[AcceptedProblem]:
        """Return ``member``'s problems, newest first, whose label contains ``label``; at most 2,000.

        ``solver`` and ``statuses`` restrict them further.
        """
        rows = self._db.execute(
            "SELECT * FROM problems WHERE member = :member AND gone = 0"
            " AND (:label = '' OR instr(label, :label) > 0) AND (:solver IS NULL OR solver = :solver)"
            " AND (:statuses = '[]' OR status IN (SELECT value FROM json_each(:statuses)))"
            " ORDER BY number DESC LIMIT 2000",
            {"member": member, "label": label, "solver": solver, "statuses": json.dumps(list(statuses))},
        )
        return [_entry(row) for row in rows]

    def ledger(self) -> list[AcceptedProblem]:
        """Return every problem that was ever accepted, in that order."""
        return [_entry(row) for row in self._db.execute("SELECT * FROM problems ORDER BY number")]

    def pending(self) -> list[AcceptedProblem]:
        """Return all unanswered problems in the order of their acceptance."""
        rows = self._db.execute("SELECT * FROM problems WHERE status = 'PENDING' ORDER BY number")
        return [_entry(row) for row in rows]

    def queued(self, member: str | None) -> int:
        """Return how many problems of ``member``, or of all members (None), are PENDING."""
        query = (
            "SELECT count(*) FROM problems WHERE status = 'PENDING' AND (:member IS NULL OR member = :member)"
        )
        return int(self._db.execute(query, {"member": member}).fetchone()[0])

    def oldest_of_newest(self, member: str, count: int) -> int:
        """Return the number of the oldest of ``member``'s ``count`` newest problems; 0 if there are fewer."""
        query = "SELECT number FROM problems WHERE member = ? ORDER BY number DESC LIMIT 1 OFFSET ?"
        row = self._db.execute(query, (member, count - 1)).fetchone()
        return int(row[0]) if row else 0

    def forget(self, entry: AcceptedProblem, status: int) -> None:
        """Answer requests for ``entry`` with ``status`` from now on; the ledger still has it."""
        self._db.execute("UPDATE problems SET gone = ? WHERE number = ?", (status, entry.number))

    def payload(self, entry: AcceptedProblem) -> tuple[bytes, bytes] | None:
        """Return ``data`` and ``params`` of ``entry`` as JSON; None when they were dropped."""
        query = "SELECT data, params FROM payloads WHERE number = ?"
        row: tuple[bytes, bytes] | None = self._db.execute(query, (entry.number,)).fetchone()
        return row

    def answer(self, entry: AcceptedProblem) -> bytes | None:
        """Return the answer of ``entry`` as JSON; None when there is none or it was dropped."""
        row = self._db.execute("SELECT answer FROM answers WHERE number = ?", (entry.number,)).fetchone()
        return row[0] if row else None

    def drop_answer(self, entry: AcceptedProblem) -> None:
        """Delete the answer of ``entry`` for good."""
        self._db.execute("DELETE FROM answers WHERE number = ?", (entry.number,))

    def trim(self, keep: int) -> None:
        """Drop answers and payloads of all but the ``keep`` youngest finished problems, not their entries."""
        query = "SELECT number FROM problems WHERE status != 'PENDING' ORDER BY number DESC LIMIT 1 OFFSET ?"
        row = self._db.execute(query, (keep,)).fetchone()
        if row is None:
            return
        with _transaction(self._db):
            self._db.execute("DELETE FROM answers WHERE number <= ?", row)
            self._db.execute(
                "DELETE FROM payloads WHERE number IN (SELECT p.number FROM payloads l JOIN problems p"
                " ON p.number = l.number WHERE p.number <= ? AND p.status != 'PENDING')",
                row,
            )

    def solver(self, name: str) -> tuple[int, bool]:
        """Return the generation of the graph of solver ``name``, and whether it is online; 0 and True at
        first.
        """
        row = self._db.execute("SELECT generation, online FROM solvers WHERE name = ?", (name,)).fetchone()
        return (row[0], bool(row[1])) if row else (0, True)

    def save_solver(self, name: str, generation: int, *, online: bool) -> None:
        self._db.execute("INSERT OR REPLACE INTO solvers VALUES (?, ?, ?)", (name, generation, online))

    def renames(self) -> dict[str, str]:
        """Return the newer names of solvers by their older ones."""
        return dict(self._db.execute("SELECT old, new FROM renames"))

    def save_rename(self, old: str, new: str) -> None:
        """Store that the solver ``old`` is called ``new`` now."""
        with _transaction(self._db):
            self._db.execute("DELETE FROM renames WHERE old = ?", (new,))
            self._db.execute("INSERT OR REPLACE INTO renames VALUES (?, ?)", (old, new))

    def _open(self) -> None:
        self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = OFF")
        with _transaction(self._db):
            (version,) = self._db.execute("PRAGMA user_version").fetchone()
            if version == 0:
                self._create()
            elif version == 1:
                self._run(_BEFORE_UPGRADE + _TABLES_OF_FORMAT_2 + _AFTER_UPGRADE + _TO_FORMAT_3)
            elif version == 2:
                self._run(_TO_FORMAT_3)
            elif version != _FORMAT:
                raise StorageError(
                    f"the state file has format {version}, this annealq needs {_FORMAT}; name another"
                )

    def _create(self) -> None:
        self._run(_TABLES + _TABLES_OF_FORMAT_2 + _TO_FORMAT_3)
        self._db.execute("INSERT INTO meta VALUES ('member_key', ?)", (secrets.token_bytes(32),))

    def _run(self, script: str) -> None:
        """Run the statements of ``script``, after which the file has the current format."""
        for statement in script.split(";"):
            self._db.execute(statement)
        self._db.execute(f"PRAGMA user_version = {_FORMAT}")

    def _finish(
        self, entry: AcceptedProblem, to: Status, *, charged_us: float = 0.0, error: str | None = None
    ) -> bool:
        """Move a problem out of PENDING; a problem in another state stays as it is."""
        cursor = self._db.execute(
            "UPDATE problems SET status = ?, solved_on = ?, charged_us = ?, error = ?"
            " WHERE number = ? AND status = 'PENDING'",
            (to.value, self._now(), charged_us, error, entry.number),
        )
        return cursor.rowcount == 1

    def _now(self) -> str:
        """Return a time that no earlier call has returned."""
        self._last = max(datetime.now(UTC), self._last + timedelta(microseconds=1))
        return self._last.isoformat(timespec="microseconds").replace("+00:00", "Z")


class _transaction:  # noqa: N801 - used as a context manager only
    """Begin, and commit or roll back."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._db.execute("COMMIT" if kind is None else "ROLLBACK")


def _entry(row: Sequence[Any]) -> AcceptedProblem:
    named: Mapping[str, Any] = dict(zip(AcceptedProblem.__dataclass_fields__, row, strict=True))
    typed = {"status": Status(named["status"]), "fault_charged": bool(named["fault_charged"])}
    return AcceptedProblem(**{**named, **typed})
