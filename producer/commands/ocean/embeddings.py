"""`annealq embeddings export | import`: embeddings as Ocean writes them."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from producer.commands.shared import options as o
from schema.parameters import Visible

_PATIENCE_S = 600.0  # another worker may search for the same embedding meanwhile


def export(
    number: Annotated[
        int, typer.Argument(metavar="ID", max=o.MAX_NUMBER, help="Its number, from `embeddings list`.")
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write; default: standard output.")
    ] = None,
    tile: Annotated[
        int | None,
        typer.Option("--tile", min=0, help="Only this tile, as nothing but a list of qubits for each unit."),
    ] = None,
) -> None:
    """Write an embedding as D-Wave's Ocean has it: JSON with a list of qubits for each unit, tile by tile.

    Units are named as in `runs samples` and `networks export --bqm`. With --tile the file is what
    `dwave.system.FixedEmbeddingComposite` takes, and without it `embeddings import` reads it.

    Example: `annealq embeddings export 1 --output embedding.json`.
    """
    from producer.context import database
    from producer.embeddings import exchange

    with database() as opened, opened.reading() as session:
        found = exchange.exported(session, number, tile)
    write_json(output, found)


def import_embedding(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="JSON: a list of qubits for each unit.")],
    network: Annotated[str, typer.Option("--network", "-n", help="NAME or NAME@VERSION.")],
    solver_name: Annotated[
        str | None, typer.Option("--solver", "-s", help="emulator or dwave: its chip that was used last.")
    ] = None,
    graph: Annotated[
        str | None,
        typer.Option("--graph", "-g", help="Instead: a chip's graph id or name, from `embeddings chips`."),
    ] = None,
    visible: Annotated[
        Visible, typer.Option("--visible", help="Visible units: folded into biases, or sampled.")
    ] = Visible.FOLDED,
    tiles: Annotated[
        int | None,
        typer.Option("--tiles", min=1, help="For runs with this --tiles; default: for runs without it."),
    ] = None,
    json: o.Json = False,
) -> None:
    """Import an embedding that Ocean's tools found, for runs of a network on one chip, once it is checked.

    The file has one object with a list of qubits for each unit, or a list of such objects, one a tile; a file
    of `embeddings export` also names its graph. Units have the names of `networks export --bqm`, or their
    numbers from 0. Each qubit must work and be in one chain, chains must be connected, and each pair of units
    that interact must be joined by a coupler; otherwise nothing is stored.

    Example: `annealq embeddings import embedding.json --network mnist --solver emulator`.
    """
    from producer.context import database
    from producer.embeddings import exchange, queries
    from producer.networks.choose import find_network
    from producer.reports import solver as reports_solver
    from producer.reports.terminal import page, print_json
    from producer.stack import programs
    from producer.stack.programs import Program
    from schema.settings import load

    settings = load()
    with database(settings) as opened:
        with opened.reading() as session:
            chip = exchange.chip_for(session, path, solver_name, graph)
        chosen = find_network(opened, network)
        arguments = [str(chosen.network_id), str(chip.chip_id), str(path.absolute())]
        arguments += ["--visible", visible.value, "--tiles", str(tiles or 0)]
        row = int(programs.run(Program.OCEAN_EMBEDDING, arguments, settings, timeout_s=_PATIENCE_S))
        with opened.reading() as session:
            embedding, tiling = queries.embedding(session, row), queries.read_tiling(session, row)
    if json:
        print_json({**asdict(embedding), "chain_lengths": reports_solver.chain_lengths(tiling)})
    else:
        page().print(reports_solver.embedding_text(embedding, tiling, None))


def write_json(output: Path | None, found: Any) -> None:
    """Write ``found`` to ``output`` as JSON, or to standard output."""
    from json import dumps

    from producer.files import replacing

    text = f"{dumps(found)}\n"
    if output is None:
        typer.echo(text, nl=False)
        return
    with replacing(output) as part:
        part.write_text(text, encoding="utf-8")
    typer.echo(f"written to {output}", err=True)
