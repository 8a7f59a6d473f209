"""Migrations on SQLite and PostgreSQL: from nothing, complete, back, and never past the code's revision."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import insert, inspect, select, text, update
from sqlalchemy.orm import Session
from typer.testing import CliRunner

import migrations
from producer.cli import app
from producer.enqueued import Enqueued
from schema.database import Database
from schema.errors import DatabaseOutdated, DatabaseTooNew, StorageError
from schema.settings import load
from schema.states import ProblemState, RunState
from schema.tables import REVISION, Base, Batch, Problem, Run, Spending
from tests.conftest import ROOT
from tests.integration.conftest import START

Enqueue = Callable[..., Enqueued]


def test_upgrade_makes_what_the_tables_say(database_url: str) -> None:
    migrations.check(database_url)


def test_an_upgrade_of_a_database_at_the_head_imports_no_alembic(database_url: str) -> None:
    program = "import sys, migrations; migrations.upgrade(sys.argv[1]); print('alembic' in sys.modules)"
    command = [sys.executable, "-c", program, database_url]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_downgrade_leaves_nothing_and_upgrade_comes_back(database_url: str, database: Database) -> None:
    migrations.downgrade(database_url, "base")
    assert set(inspect(database.engine).get_table_names()) <= {"alembic_version"}
    with pytest.raises(DatabaseOutdated, match="annealq db upgrade"):
        database.require_current()
    migrations.upgrade(database_url)
    assert set(inspect(database.engine).get_table_names()) == {*Base.metadata.tables, "alembic_version"}


def test_one_step_down_and_up_keeps_runs_and_their_batches(timed: Database, enqueue: Enqueue) -> None:
    url, run = timed.url.render_as_string(hide_password=False), enqueue(30).id
    with timed.transaction() as session:
        session.execute(update(Run).values(state=RunState.FAILED, error="x", finished_at=START))
        again = insert_copy(session, run, rescored_from=run, state=RunState.DONE, statistics={})
        insert_copy(session, run, rescored_from=again, state=RunState.RUNNING, finished_at=None)
    before = stored(timed)
    migrations.downgrade(url, "0001")
    assert stored(timed) == [(run, 3), (again, 0)]  # one that is not finished could not be any more
    migrations.upgrade(url)
    migrations.check(url)
    assert stored(timed) == before[:2]


def insert_copy(session: Session, run: int, **changes: Any) -> int:
    row = session.execute(select(Run.__table__).where(Run.id == run)).one()._asdict()
    del row["id"]
    return session.execute(insert(Run).values({**row, **changes}).returning(Run.id)).scalar_one()


def stored(database: Database) -> list[tuple[int, int]]:
    """Return each run and its number of batches by SQL that every revision understands."""
    counts = "SELECT id, (SELECT count(*) FROM batches WHERE run_id = runs.id) FROM runs ORDER BY id"
    with database.reading() as session:
        return [(run, batches) for run, batches in session.execute(text(counts))]


def test_a_newer_database_is_refused_and_left_alone(database_url: str, database: Database) -> None:
    with database.transaction() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(DatabaseTooNew, match="9999"):
        database.require_current()
    with pytest.raises(DatabaseTooNew, match="upgrade annealq"):
        migrations.upgrade(database_url)
    assert database.revision() == "9999"


def test_a_new_file_is_the_users_alone_whatever_the_umask() -> None:
    home = Path(os.environ["ANNEALQ_HOME"])
    before = os.umask(0)
    try:
        assert CliRunner().invoke(app, ["db", "upgrade"]).exit_code == 0
        database = Database(load().database_url)
        with database.transaction() as session:
            session.execute(text("UPDATE alembic_version SET version_num = version_num"))
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (home, *home.iterdir())}
        database.dispose()
    finally:
        os.umask(before)
    assert modes.pop(home.name) == 0o700
    assert set(modes) >= {"annealq.db", "annealq.db-wal"}
    assert set(modes.values()) == {0o600}


def test_the_code_knows_its_newest_revision() -> None:
    config = Config()
    config.set_main_option("script_location", "migrations")
    assert ScriptDirectory.from_config(config).get_current_head() == REVISION


def test_what_was_spent_before_sums_were_kept_is_added_up(timed: Database, enqueue: Enqueue) -> None:
    url, run = timed.url.render_as_string(hide_password=False), enqueue(30).id
    sent = {"state": ProblemState.SENT, "estimated_us": 700, "sending_at": START}
    answered = {"state": ProblemState.ANSWERED, "charged_us": 600, "answered_at": START}
    rows = [
        {**sent, "sapi_id": "a", "wasted_us": 20},
        {**sent, **answered, "sapi_id": "b", "sending_at": START + timedelta(hours=23, minutes=59)},
        {**sent, **answered, "sapi_id": "c", "sending_at": START + timedelta(hours=24)},
        {"state": ProblemState.RESERVED, "estimated_us": 700},
    ]
    migrations.downgrade(url, "0004")
    with timed.transaction() as session:
        batch = session.execute(select(Batch.id).where(Batch.run_id == run).limit(1)).scalar_one()
        for ordinal, row in enumerate(rows):
            common = {"batch_id": batch, "ordinal": ordinal, "first_image": 0, "count": 1}
            common |= {"label": f"annealq:{ordinal}", "reserved_at": START}
            session.execute(insert(Problem).values(common | row))
    migrations.upgrade(url)
    with timed.reading() as session:
        kept = session.execute(
            select(Spending.run_id, Spending.day, Spending.spent_us).order_by(Spending.day)
        )
        days = [START.date(), START.date() + timedelta(days=1)]
        assert [tuple(one) for one in kept] == [(run, days[0], 1320), (run, days[1], 600)]


def test_a_connection_in_use_is_closed_when_it_is_returned_to_a_disposed_database(database: Database) -> None:
    with database.reading() as session:
        connection = session.connection().connection.dbapi_connection
        assert connection is not None
        database.dispose()
        session.execute(text("SELECT 1"))  # it still works
    with pytest.raises(Exception, match="closed"):
        connection.cursor().execute("SELECT 1")


@pytest.mark.parametrize("shape", [("8x8x3", "uint8"), ("64", "float32")])
def test_coloured_images_and_vectors_are_not_given_to_a_version_that_cannot_read_them(
    timed: Database, enqueue: Enqueue, shape: tuple[str, str]
) -> None:
    url, run = timed.url.render_as_string(hide_password=False), enqueue(30).id
    with timed.transaction() as session:
        session.execute(update(Batch).where(Batch.ordinal == 1).values(shape=shape[0], dtype=shape[1]))
    with pytest.raises(StorageError, match="1 rows of batches are of coloured images or vectors"):
        migrations.downgrade(url, "0016")
    with timed.transaction() as session:
        session.execute(update(Batch).values(shape="8x16", dtype="uint8"))
    migrations.downgrade(url, "0016")
    with timed.reading() as session:
        sizes = session.execute(text("SELECT DISTINCT height, width FROM batches")).all()
    assert [tuple(size) for size in sizes] == [(8, 16)]
    migrations.upgrade(url)
    migrations.check(url)
    with timed.reading() as session:
        found = session.execute(select(Batch.shape, Batch.dtype, Batch.run_id).distinct()).all()
    assert [tuple(row) for row in found] == [("8x16", "uint8", run)]
