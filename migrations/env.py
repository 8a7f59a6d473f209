"""Alembic's environment: online only, one transaction for all revisions."""

from __future__ import annotations

from alembic import context

from schema import tables
from schema.database import Database
from schema.settings import load


def run() -> None:
    url = context.config.attributes.get("url") or load().database_url
    database = Database(url)
    try:
        with database.engine.connect() as connection:
            context.configure(
                connection=connection,
                target_metadata=tables.Run.metadata,
                render_as_batch=connection.dialect.name == "sqlite",
                compare_type=True,
            )
            with context.begin_transaction():
                context.run_migrations()
            connection.commit()
    finally:
        database.dispose()


run()
