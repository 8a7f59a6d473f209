"""`annealq webhooks`: messages to webhooks: listed, shown, sent again, tested."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from producer.commands.shared.help import App
from producer.commands.shared.options import MAX_NUMBER, Json

app = App(help="List, show, send again and test messages to webhooks.", no_args_is_help=True)

Number = Annotated[
    int, typer.Argument(metavar="ID", min=1, max=MAX_NUMBER, help="Number of a message, as `list` shows it.")
]


@app.command("list")
def list_messages(
    run: Annotated[
        int | None, typer.Option("--run", min=1, max=MAX_NUMBER, help="Only messages about this run.")
    ] = None,
    state: Annotated[
        str | None, typer.Option("--state", help="Only pending, sending, delivered or failed ones.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="The newest N.")] = 20,
    json: Json = False,
) -> None:
    """List messages to webhooks, newest first: to whom, what, and the latest answer or error.

    Example: `annealq webhooks list --state failed`.
    """
    from producer.context import database
    from producer.reports.terminal import new_table, page, print_json
    from producer.webhooks import listing
    from schema.errors import ParameterError
    from schema.states import DeliveryState

    if state is not None and state not in list(DeliveryState):
        raise ParameterError(f"unknown state {state!r}; choose one of: {', '.join(DeliveryState)}")
    wanted = None if state is None else DeliveryState(state)
    with database() as opened, opened.reading() as session:
        found = listing.summaries(session, limit, run=run, state=wanted)
    if json:
        print_json([asdict(message) for message in found])
        return
    if not found:
        typer.echo("no messages; `annealq webhooks test NAME` sends one to the webhook of a key")
        return
    columns = ("id", "run", "event", "receiver", "state", "attempts", "answer", "error")
    table = new_table(*columns, right=("id", "run", "attempts"), first_out=("attempts", "run", "error"))
    for message in found:
        latency = "" if message.latency_ms is None else f"{message.latency_ms:,} ms"
        answer = latency if message.response_status is None else f"{message.response_status}, {latency}"
        about = "" if message.run_id is None else str(message.run_id)
        head = (str(message.delivery_id), about, message.event, message.receiver, message.state)
        table.add_row(*head, str(message.attempts), answer, message.error or "")
    page().print(table)


@app.command()
def show(message: Number, json: Json = False) -> None:
    """Show one message: every attempt to send it, and its body.

    Example: `annealq webhooks show 7`.
    """
    from producer.context import database
    from producer.reports.terminal import new_grid, page, print_json
    from producer.webhooks import listing
    from schema.quantities import time_text

    with database() as opened, opened.reading() as session:
        found = listing.summary(session, message)
        attempts, body = listing.attempts(session, message), listing.body(session, message)
    if json:
        print_json({**asdict(found), "tries": [asdict(attempt) for attempt in attempts], "body": body})
        return
    table = new_grid()
    for name, value in asdict(found).items():
        if value is not None:
            table.add_row(name, time_text(value) if hasattr(value, "astimezone") else str(value))
    for attempt in attempts:
        table.add_row(time_text(attempt.at), attempt.error or "delivered")
    page().print(table)
    typer.echo(body)


@app.command()
def redeliver(message: Number) -> None:
    """Send a message again that was delivered or has failed, with the same webhook-id.

    Example: `annealq webhooks redeliver 7`.
    """
    from producer.context import database
    from producer.webhooks import deliveries

    with database() as opened:
        deliveries.redeliver(opened, message)
    typer.echo(f"message {message} is due again: `annealq serve` sends it")


@app.command("test")
def send_test(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of a key's owner.")],
    url: Annotated[str | None, typer.Option("--url", help="Instead of the owner's webhook.")] = None,
) -> None:
    """Send a test message to the webhook of a key's owner, signed with the owner's secret.

    Example: `annealq webhooks test camera`.
    """
    from producer.context import database
    from producer.webhooks import deliveries
    from producer.webhooks.addresses import check_url
    from schema.settings import load_api

    if url is not None:
        check_url(url, allow_private=load_api().webhook_private)
    with database() as opened:
        number = deliveries.send_test(opened, name, url)
    typer.echo(f"message {number} is due: `annealq serve` sends it; `annealq webhooks show {number}`")
