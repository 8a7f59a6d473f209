"""`annealq keys`: owners of API keys, and their keys."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from producer.commands.shared.help import App
from producer.commands.shared.options import Json

if TYPE_CHECKING:
    from producer.api.keys.keys import NewKey
    from producer.api.keys.listing import KeySummary

app = App(help="Add, list, rotate, expire and revoke keys of the HTTP API.", no_args_is_help=True)

Name = Annotated[
    str, typer.Argument(metavar="NAME", help="Name of the key's owner: letters, digits, dots, dashes.")
]
Prefix = Annotated[
    str | None,
    typer.Option("--key", metavar="aq_...", help="Only this key, as `annealq keys list` shows it."),
]
ExpiresIn = Annotated[
    str | None,
    typer.Option("--expires-in", metavar="TIME", help="As in 90d or 12h; default: the key does not expire."),
]


ScopeName = Annotated[
    str,
    typer.Option(
        "--scope",
        help="read: look at networks, metrics and the owner's own runs. submit: also send runs, and "
        "control its own. admin: see and control all runs.",
    ),
]
AllRuns = Annotated[bool, typer.Option("--all-runs", help="See the runs of all owners: for dashboards.")]
Sees = Annotated[
    list[str] | None,
    typer.Option(
        "--sees", metavar="OWNER", help="See the runs of this owner, too; several times for several."
    ),
]

WebhookUrl = Annotated[
    str | None, typer.Option("--webhook", help="URL to which what happens to each of its runs is posted.")
]
WebhookEvents = Annotated[
    list[str] | None,
    typer.Option(
        "--webhook-event",
        metavar="KIND",
        help="ended, waiting, resumed, alarm, paused, budget or progress; several times for several. "
        "Default: all but progress.",
    ),
]


@app.command()
def add(
    name: Name,
    scope: ScopeName = "submit",
    all_runs: AllRuns = False,
    sees: Sees = None,
    expires_in: ExpiresIn = None,
    requests_per_minute: Annotated[
        int | None, typer.Option("--requests-per-minute", help="Default: no limit.")
    ] = None,
    images_per_day: Annotated[
        int | None, typer.Option("--images-per-day", help="Days are UTC; default: no limit.")
    ] = None,
    qpu_s_per_day: Annotated[
        float | None, typer.Option("--qpu-s-per-day", help="QPU seconds; default: no limit.")
    ] = None,
    webhook: WebhookUrl = None,
    webhook_event: WebhookEvents = None,
    json: Json = False,
) -> None:
    """Add an owner and its first key, and print the key this once.

    Runs, limits and webhooks belong to the owner, and stay when its key is replaced.

    Example: `annealq keys add camera`.
    """
    from producer.api.keys import keys
    from producer.commands.shared.options import microseconds
    from producer.context import database
    from producer.webhooks.addresses import check_url
    from producer.webhooks.kinds import check_kinds
    from schema.calendar.durations import parse_duration
    from schema.errors import ParameterError
    from schema.settings import load_api

    if scope not in list(keys.Scope):
        raise ParameterError(f"unknown scope {scope!r}; choose one of: {', '.join(keys.Scope)}")
    if sees and (all_runs or scope == keys.Scope.ADMIN):
        raise ParameterError("--sees names some owners, but this key sees all runs: omit one of the two")
    limits = keys.KeyLimits(requests_per_minute, images_per_day, microseconds(qpu_s_per_day))
    if webhook is not None:
        check_url(webhook, allow_private=load_api().webhook_private)
    events = None if webhook_event is None else check_kinds(webhook_event)
    lifetime = None if expires_in is None else parse_duration(expires_in)
    with database() as opened:
        key = keys.add(
            opened,
            name,
            keys.Scope(scope),
            limits,
            webhook,
            all_runs=all_runs,
            sees=sees or (),
            lifetime=lifetime,
            webhook_events=events,
        )
    _show_new(key, json=json)


@app.command()
def rotate(
    name: Name,
    grace: Annotated[
        str,
        typer.Option(
            "--grace", metavar="TIME", help="The earlier keys are valid for this long: 24h, 7d, 0s."
        ),
    ] = "24h",
    expires_in: ExpiresIn = None,
    json: Json = False,
) -> None:
    """Add a new key to an owner, and let its earlier keys expire after a time of grace.

    Runs, limits, idempotency keys and the webhook secret belong to the owner, and stay as they are.

    Example: `annealq keys rotate camera --grace 24h`.
    """
    from producer.api.keys import keys
    from producer.context import database
    from schema.calendar.durations import parse_duration
    from schema.quantities import duration_text

    length = parse_duration(grace)
    lifetime = None if expires_in is None else parse_duration(expires_in)
    with database() as opened:
        key = keys.rotate(opened, name, length, lifetime)
    _show_new(key, json=json)
    until = f"in {duration_text(length.total_seconds())}" if length else "now"
    typer.secho(f"earlier keys of {name!r} expire {until}, unless they expire before", err=True, dim=True)


@app.command("list")
def list_keys(json: Json = False) -> None:
    """List all keys with their owners, limits, expiry and last use.

    Example: `annealq keys list`.
    """
    from producer.api.keys import listing
    from producer.context import database
    from producer.reports.terminal import new_table, page, print_json

    with database() as opened, opened.reading() as session:
        now = opened.now(session)
        summaries = listing.summaries(session, now)
    if json:
        print_json([asdict(key) | {"state": key.state(now)} for key in summaries])
        return
    if not summaries:
        typer.echo("no keys yet: `annealq keys add NAME`")
        return
    numbers = ("requests/min", "images/day", "today", "QPU s/day")
    columns = ("name", "key", "scope", "sees", *numbers, "added", "last used", "state")
    first_out = ("added", "requests/min", "QPU s/day", "images/day", "today", "sees", "last used", "key")
    table = new_table(*columns, right=numbers, first_out=first_out)
    for key in summaries:
        limits = (key.requests_per_minute, key.images_per_day, key.images_today, key.qpu_s_per_day)
        shown = ["-" if value is None else f"{value:,}" for value in limits]
        sees = "all runs" if key.all_runs else ", ".join(("its runs", *key.sees))
        used = "never" if key.last_used_at is None else f"{key.last_used_at:%Y-%m-%d %H:%M}"
        head = (key.name, f"{key.prefix}_...", key.scope, sees)
        table.add_row(*head, *shown, f"{key.created_at:%Y-%m-%d}", used, _state(key, now))
    page().print(table)


@app.command()
def expire(
    name: Name,
    after: Annotated[str, typer.Option("--in", metavar="TIME", help="As in 24h or 7d.")],
    key: Prefix = None,
) -> None:
    """Let the keys of an owner expire after some time; its runs continue.

    Example: `annealq keys expire camera --in 7d`.
    """
    from producer.api.keys import keys
    from producer.context import database
    from schema.calendar.durations import parse_duration
    from schema.quantities import count_text, duration_text

    length = parse_duration(after)
    with database() as opened:
        count = keys.expire(opened, name, length, key)
    text = count_text(count, "key")
    when = duration_text(length.total_seconds())
    typer.echo(
        f"{text} of {name!r} will expire in {when}" if count else f"all keys of {name!r} expire earlier"
    )


@app.command()
def revoke(name: Name, key: Prefix = None) -> None:
    """Revoke the keys of an owner at once, or one of them; its runs continue.

    Example: `annealq keys revoke camera`.
    """
    from producer.api.keys import keys
    from producer.context import database

    with database() as opened:
        count = keys.revoke(opened, name, key)
    which = f"key {name!r} is" if count == 1 else f"{count} keys of {name!r} are"
    typer.echo(f"{which} revoked")


@app.command()
def token() -> None:
    """Print the token of this machine's user, a key of scope admin for the API on this machine.

    It is made when it is first asked for, or by `annealq serve`. To replace it, delete the file `api-token`
    in the home folder, and start `annealq serve` again.

    A shell stores it for programs by `export ANNEALQ_KEY=$(annealq keys token)`.

    Example: `annealq keys token`.
    """
    from producer.api.keys import local_token
    from schema.settings import load

    typer.echo(local_token.read_or_create(load().home))


def _show_new(key: NewKey, *, json: bool) -> None:
    from producer.reports.terminal import print_json
    from schema.quantities import time_text

    if json:
        print_json({name: value for name, value in asdict(key).items() if value is not None})
        return
    typer.echo(f"key             {key.key}")
    if key.webhook_secret is not None:
        typer.echo(f"webhook secret  {key.webhook_secret}")
    if key.expires_at is not None:
        typer.echo(f"expires         {time_text(key.expires_at)}")
    what = "it: it is" if key.webhook_secret is None else "both: they are"
    typer.secho(f"store {what} not shown again", err=True, dim=True)


def _state(key: KeySummary, now: datetime) -> str:
    """Return the state of a key, and since or until when."""
    when = key.revoked_at or key.expires_at
    word = key.state(now)
    if when is None:
        return word
    return f"expires {when:%Y-%m-%d %H:%M}" if word == "valid" else f"{word} {when:%Y-%m-%d}"
