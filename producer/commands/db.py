"""`annealq db`: the database's schema."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from producer.commands.shared.help import App
from schema.errors import ParameterError

app = App(help="Migrate the database and look at its revision.", no_args_is_help=True)


@app.command()
def upgrade() -> None:
    """Bring the database to this annealq's revision, from nothing or from any older one.

    Example: `annealq db upgrade`.
    """
    import migrations
    from schema.database import Database
    from schema.settings import load
    from schema.tables import REVISION

    url = load().database_url
    if url.startswith("sqlite:///"):
        from producer.stack.home import make_home

        make_home(load().home)
    migrations.upgrade(url)
    typer.echo(f"{Database(url).name} is at revision {REVISION}")


@app.command()
def downgrade(
    revision: Annotated[str, typer.Argument(help="`base` for no tables, or a revision such as 0001.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Take the database back to an older revision. Data in newer tables and columns are lost.

    Example: `annealq db downgrade 0011`.
    """
    import migrations
    from schema.database import Database
    from schema.settings import load

    url = load().database_url
    name = Database(url).name
    if not yes:
        _confirm(f"take {name} back to {revision}? Rows of dropped tables are lost")
    migrations.downgrade(url, revision)
    typer.echo(f"{name} is at revision {revision}")


def _confirm(question: str) -> None:
    try:
        typer.confirm(question, abort=True)
    except typer.Abort:
        raise ParameterError("nothing was changed: answer `y`, or give --yes") from None


@app.command()
def current() -> None:
    """Show the database's revision, and whether this annealq can work with it.

    Example: `annealq db current`.
    """
    from schema.database import Database
    from schema.settings import load
    from schema.tables import REVISION

    database = Database(load().database_url)
    try:
        typer.echo(f"{database.name}: {database.revision() or 'empty'}; this annealq needs {REVISION}")
        database.require_current()
    finally:
        database.dispose()


@app.command()
def backup(
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write, readable by you alone.")],
) -> None:
    """Copy the SQLite database to a file, as it is at one moment, while annealq works with it.

    To restore it, stop annealq, put the file in the place of the database, and delete the files next to it
    that end with -wal and -shm. PostgreSQL is copied by `pg_dump`.

    Example: `annealq db backup --output annealq-backup.db`.
    """
    from producer.files import replacing
    from producer.reports.progress import StepBars
    from producer.reports.terminal import screen
    from schema.database import Database
    from schema.database.backups import back_up
    from schema.settings import load

    database = Database(load().database_url)
    try:
        own = Path(database.url.database or "").resolve()
        if str(output.resolve()) in {f"{own}{ending}" for ending in ("", "-wal", "-shm")}:
            raise ParameterError(f"{output} is a file of the database itself: name another file")
        with StepBars(screen()) as steps, replacing(output) as unfinished:
            unfinished.chmod(0o600)
            back_up(database, unfinished, lambda size: steps.start_step("copy", size, "MiB"))
    finally:
        database.dispose()
    typer.echo(f"{database.name} was copied to {output}")
