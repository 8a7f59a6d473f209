"""Copies of a database that is in use."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import func, insert, select, text

import migrations
from schema.database import Database
from schema.database.backups import back_up
from schema.errors import DatabaseOutdated, ParameterError
from schema.tables import Network
from tests.integration.conftest import Cli, network_row

_SIZE = 40 << 20  # ten parts


@pytest.fixture
def large(tmp_path: Path) -> Database:
    """A SQLite database of ten parts."""
    url = f"sqlite:///{tmp_path / 'annealq.db'}"
    migrations.upgrade(url)
    database = Database(url)
    with database.transaction() as session:
        session.execute(text("CREATE TABLE filler AS SELECT zeroblob(:size) AS data"), {"size": _SIZE})
    return database


def count_networks(database: Database) -> int:
    with database.reading() as session:
        assert session.execute(text("PRAGMA integrity_check")).scalar_one() == "ok"
        return session.execute(select(func.count()).select_from(Network)).scalar_one()


def test_a_copy_has_one_moment_while_others_write(large: Database, tmp_path: Path) -> None:
    other = Database(large.url.render_as_string(hide_password=False))  # as of another process
    parts: list[int] = []

    def start(size: int) -> Callable[[int], None]:
        assert size >= _SIZE >> 20

        def on_progress(part: int) -> None:
            parts.append(part)
            with other.transaction() as session:
                again = {"version": len(parts), "content_sha256": f"{len(parts):064}"}
                session.execute(insert(Network).values({**network_row(), **again}))

        return on_progress

    back_up(large, tmp_path / "copy.db", start)
    assert len(parts) >= 10
    assert min(parts) >= 0  # it never began again
    copy = Database(f"sqlite:///{tmp_path / 'copy.db'}")
    copy.require_current()
    assert (count_networks(copy), count_networks(large)) == (0, len(parts))
    for database in (copy, large, other):
        database.dispose()


def test_the_command_writes_a_file_of_its_owner_that_can_be_worked_with(
    database: Database, cli: Cli, tmp_path: Path
) -> None:
    with database.transaction() as session:
        session.execute(insert(Network).values(network_row()))
    output = tmp_path / "copy.db"
    output.write_text("an older copy, which is replaced")
    if database.url.get_backend_name() == "postgresql":
        with pytest.raises(ParameterError, match="pg_dump --format=custom"):
            cli("db", "backup", "--output", output)
        assert output.read_text() == "an older copy, which is replaced"
        return
    assert "was copied to" in cli("db", "backup", "-o", output)
    assert stat.S_IMODE(output.stat().st_mode) == 0o600
    copy = Database(f"sqlite:///{output}")
    assert count_networks(copy) == 1
    copy.dispose()


def test_nothing_is_written_where_there_is_nothing_to_copy_or_no_place(
    tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = tmp_path / "empty.db"
    monkeypatch.setenv("ANNEALQ_DATABASE_URL", f"sqlite:///{empty}")
    with pytest.raises(DatabaseOutdated, match="nothing to copy"):
        cli("db", "backup", "--output", tmp_path / "copy.db")
    assert not empty.exists()
    migrations.upgrade(f"sqlite:///{empty}")
    for ending in ("", "-wal", "-shm"):
        with pytest.raises(ParameterError, match="is a file of the database itself"):
            cli("db", "backup", "--output", f"{empty}{ending}")
    with pytest.raises(ParameterError, match=r"missing/copy\.db: cannot be written"):
        cli("db", "backup", "--output", tmp_path / "missing" / "copy.db")
    assert (
        sorted(path.name for path in tmp_path.iterdir() if "copy" in path.name or "part" in path.name) == []
    )
