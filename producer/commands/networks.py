"""`annealq networks`: what images are classified with."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from schema.errors import ParameterError

if TYPE_CHECKING:
    from schema.architecture import Architecture

app = typer.Typer(help="Train, list and show networks.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]

TRANSFERS = ("energy", "paper")


@app.command("list")
def list_networks(json: Json = False) -> None:
    """All networks, newest first."""
    from producer import queries, report
    from producer.session import database, page, print_json

    with database() as opened, opened.reading() as session:
        found = queries.networks(session)
    if json:
        print_json([asdict(network) for network in found])
    elif found:
        page().print(report.networks_table(found))
    else:
        typer.echo("no networks yet: `annealq networks train NAME --data DATA`")


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="NAME or NAME@VERSION.")],
    json: Json = False,
) -> None:
    """One network: its layers, the size of its Q matrix, how its training went."""
    from producer import queries, report
    from producer.session import database, page, print_json

    with database() as opened, opened.reading() as session:
        found = queries.network_by_name(session, name)
    if json:
        print_json(asdict(found))
    else:
        page().print(report.network_text(found))


@app.command()
def train(
    name: Annotated[
        str | None, typer.Argument(help="A preset (digits, mnist); or give --architecture.")
    ] = None,
    data: Annotated[str, typer.Option("--data", "-d", help="Labelled images, as for `classify`.")] = "",
    architecture: Annotated[
        Path | None,
        typer.Option("--architecture", "-a", help="A .toml or .json file that describes the layers."),
    ] = None,
    labels: Annotated[
        Path | None, typer.Option("--labels", help="File of labels, where DATA has none.")
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", "-l", help="Only the first so many images.")] = None,
    transfer: Annotated[
        str,
        typer.Option(
            "--transfer", help="energy: through the energy it is sampled from; paper: by softmax, copied."
        ),
    ] = "energy",
    epochs: Annotated[
        int | None, typer.Option("--epochs", min=1, help="Default: the architecture's.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="The same seed gives the same weights.")] = 0,
    embedded: Annotated[
        bool,
        typer.Option("--embedded", help="Run a private broker and workers for the length of this command."),
    ] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Enqueue and return.")] = False,
    json: Json = False,
) -> None:
    """Train a network on a worker. The same data, layers and seed again: nothing is redone."""
    from producer import images as reader
    from producer import queries, report
    from producer.jobs import submit_training
    from producer.progress import watch_training
    from producer.session import page, print_json, screen, work

    if not data:
        raise typer.BadParameter("what to train on is missing: --data DATA")
    if transfer not in TRANSFERS:
        raise ParameterError(f"unknown transfer {transfer!r}; choose one of: {', '.join(TRANSFERS)}")
    if detach and embedded:
        raise typer.BadParameter(
            "the embedded workers stop with this command; leave out --detach or --embedded"
        )
    layers = _architecture(name, architecture)
    images = reader.read(data, labels)
    if limit is not None:
        images = images.limit(limit)
    with work(embedded=embedded) as at:
        queued = submit_training(at, layers, images, transfer=transfer, seed=seed, epochs=epochs)
        if not detach:
            watch_training(at.database, queued.id, screen(), at.check)
        with at.database.reading() as session:
            found = queries.network(session, queued.id)
    if json:
        print_json(asdict(found))
    else:
        page().print(report.network_text(found))


def _architecture(name: str | None, file: Path | None) -> Architecture:
    from schema.architecture import PRESETS, load, preset

    if (name is None) == (file is None):
        raise typer.BadParameter(
            f"give a preset's NAME ({', '.join(PRESETS)}) or --architecture FILE, not both"
        )
    return load(file) if file is not None else preset(name or "")
