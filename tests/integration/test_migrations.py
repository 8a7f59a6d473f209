"""Migrations on SQLite and PostgreSQL: from nothing, complete, back, and never past what the code knows."""

from __future__ import annotations

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

import migrations
from schema.database import Database
from schema.errors import DatabaseOutdated, DatabaseTooNew
from schema.tables import REVISION, Base


def test_upgrade_makes_what_the_tables_say(database_url: str) -> None:
    migrations.check(database_url)


def test_downgrade_leaves_nothing_and_upgrade_comes_back(database_url: str, database: Database) -> None:
    migrations.downgrade(database_url, "base")
    assert set(inspect(database.engine).get_table_names()) <= {"alembic_version"}
    with pytest.raises(DatabaseOutdated, match="annealq db upgrade"):
        database.require_current()
    migrations.upgrade(database_url)
    assert set(inspect(database.engine).get_table_names()) == {*Base.metadata.tables, "alembic_version"}


def test_a_newer_database_is_refused_and_left_alone(database_url: str, database: Database) -> None:
    with database.transaction() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(DatabaseTooNew, match="9999"):
        database.require_current()
    with pytest.raises(DatabaseTooNew, match="upgrade annealq"):
        migrations.upgrade(database_url)
    assert database.revision() == "9999"


def test_the_code_knows_its_newest_revision() -> None:
    config = Config()
    config.set_main_option("script_location", "migrations")
    assert ScriptDirectory.from_config(config).get_current_head() == REVISION
