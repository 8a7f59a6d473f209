"""`annealq db`: the database's schema."""

from __future__ import annotations

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
