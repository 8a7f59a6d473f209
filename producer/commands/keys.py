"""`annealq keys`: API keys of the HTTP API."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from producer.commands.shared.help import App
from producer.commands.shared.options import Json

app = App(help="Add, list and revoke keys of the HTTP API.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the key: letters, digits, dots, dashes.")]


@app.command()
def add(
    name: Name,
    scope: Annotated[
        str,
        typer.Option(
            "--scope",
            help="read: look at networks, metrics and the key's own runs. submit: also send runs, and "
            "control its own. admin: see and control all runs.",
        ),
    ] = "submit",
    all_runs: Annotated[
        bool,
        typer.Option("--all-runs", help="See the runs of other keys, too: for dashboards."),
    ] = False,
    requests_per_minute: Annotated[
        int | None, typer.Option("--requests-per-minute", help="Default: no limit.")
    ] = None,
    images_per_day: Annotated[
        int | None, typer.Option("--images-per-day", help="Days are UTC; default: no limit.")
    ] = None,
    qpu_s_per_day: Annotated[
        float | None, typer.Option("--qpu-s-per-day", help="QPU seconds; default: no limit.")
    ] = None,
    webhook: Annotated[
        str | None, typer.Option("--webhook", help="URL to which the end of each of its runs is posted.")
    ] = None,
    json: Json = False,
) -> None:
    """Add a key, and print it this once.

    Example: `annealq keys add camera`.
    """
    from producer.api.core.settings import load as load_api
    from producer.api.keys import keys
    from producer.commands.shared.options import microseconds
    from producer.context import database
    from producer.reports.terminal import print_json
    from producer.webhooks.addresses import check_url
    from schema.errors import ParameterError

    if scope not in list(keys.Scope):
        raise ParameterError(f"unknown scope {scope!r}; choose one of: {', '.join(keys.Scope)}")
    limits = keys.KeyLimits(requests_per_minute, images_per_day, microseconds(qpu_s_per_day))
    if webhook is not None:
        check_url(webhook, allow_private=load_api().webhook_private)
    with database() as opened:
        key = keys.add(opened, name, keys.Scope(scope), limits, webhook, all_runs=all_runs)
    if json:
        print_json(asdict(key))
        return
    typer.echo(f"key             {key.key}")
    typer.echo(f"webhook secret  {key.webhook_secret}")
    typer.secho("store both now: they are not shown again", err=True, dim=True)


@app.command("list")
def list_keys(json: Json = False) -> None:
    """List all keys with their names, prefixes and limits.

    Example: `annealq keys list`.
    """
    from producer.api.keys import keys
    from producer.context import database
    from producer.reports.terminal import new_table, page, print_json

    with database() as opened, opened.reading() as session:
        summaries = keys.summaries(session, opened.now(session))
    if json:
        print_json([asdict(key) for key in summaries])
        return
    if not summaries:
        typer.echo("no keys yet: `annealq keys add NAME`")
        return
    numbers = ("requests/min", "images/day", "today", "QPU s/day")
    columns = ("name", "key", "scope", "sees", *numbers, "added", "revoked")
    first_out = ("added", "requests/min", "QPU s/day", "images/day", "today", "sees", "key", "revoked")
    table = new_table(*columns, right=numbers, first_out=first_out)
    for key in summaries:
        limits = (key.requests_per_minute, key.images_per_day, key.images_today, key.qpu_s_per_day)
        shown = ["-" if value is None else f"{value:,}" for value in limits]
        sees = "all runs" if key.all_runs else "its runs"
        revoked = "" if key.revoked_at is None else f"{key.revoked_at:%Y-%m-%d}"
        row = (key.name, f"{key.prefix}_...", key.scope, sees, *shown, f"{key.created_at:%Y-%m-%d}", revoked)
        table.add_row(*row)
    page().print(table)


@app.command()
def revoke(name: Name) -> None:
    """Revoke a key at once; its runs continue.

    Example: `annealq keys revoke camera`.
    """
    from producer.api.keys import keys
    from producer.context import database

    with database() as opened:
        keys.revoke(opened, name)
    typer.echo(f"key {name!r} is revoked")
