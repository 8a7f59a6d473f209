"""`annealq embeddings`: embeddings of networks on the qubits of solvers."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from producer.commands.ocean import embeddings as exchanged
from producer.commands.shared import options as o
from producer.commands.shared.help import App
from producer.commands.shared.request import Qpu, Tiles
from schema.errors import ParameterError
from schema.parameters import Parameters, Visible, solver
from schema.quantities import count_text

if TYPE_CHECKING:
    from producer.embeddings.queries import EmbeddingSummary, UnitLayers
    from schema.codecs.tiling import Tiling
    from schema.database import Database

_HELP = """Find, list, show, exchange and remove embeddings, and look at the chips that they are on.

An embedding says which qubits of a solver stand for each unit of a network: a chain of qubits for each
unit, in as many disjoint copies (tiles) as the chip holds. One problem carries one image for each tile. A
search may take a minute; it is done once for each network shape and each working graph of a solver, stored
in the database, and used by every later run. `classify` starts a search where nothing is stored.
"""

_CHIP_MAP_S = 600.0

app = App(help=_HELP, no_args_is_help=True)
app.command("export")(exchanged.export)
app.command("import")(exchanged.import_embedding)

Number = Annotated[
    int,
    typer.Argument(metavar="ID", max=o.MAX_NUMBER, help="The embedding's number, from `embeddings list`."),
]


@app.command("list")
def list_embeddings(json: o.Json = False) -> None:
    """List all embeddings, newest first: size, duration of the search, number of problems that used it.

    Example: `annealq embeddings list`.
    """
    from producer.context import database
    from producer.embeddings import queries
    from producer.reports import solver as reports_solver
    from producer.reports.terminal import page, print_json

    with database() as opened, opened.reading() as session:
        summaries = queries.summaries(session)
    if json:
        print_json([asdict(embedding) for embedding in summaries])
    elif summaries:
        page().print(reports_solver.embeddings_table(summaries))
    else:
        typer.echo("no embeddings yet: `annealq embeddings find NETWORK --solver emulator --embedded`")


@app.command()
def find(
    network: Annotated[str, typer.Argument(help="NAME or NAME@VERSION.")],
    solver_name: Annotated[str, typer.Option("--solver", "-s", help="emulator or dwave.")],
    qpu: Qpu = None,
    tiles: Tiles = None,
    visible: Annotated[
        Visible,
        typer.Option("--visible", help="Visible units: sampled, or folded into biases (fewer units)."),
    ] = Visible.FOLDED,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the search.")] = 0,
    time_limit: Annotated[
        float, typer.Option("--time-limit", help="Seconds that the search may take; the best found counts.")
    ] = 60.0,
    embedded: o.Embedded = False,
    workers: o.Workers = None,
    json: o.Json = False,
) -> None:
    """Find an embedding before the run that needs it, or show the stored one. Nothing is charged.

    It belongs to this network's shape, this graph of the solver, and this number of tiles: a run with the
    same --qpu, --tiles and --visible then uses it, whatever its other parameters.

    Example: `annealq embeddings find mnist --solver emulator --embedded`.
    """
    from producer.commands.shared.session import open_app
    from producer.jobs import submit_dry_run
    from producer.networks.choose import find_network
    from producer.reports.progress import watch_dry_run
    from producer.reports.terminal import screen
    from producer.runs.dry_runs import check_dry_run

    chosen = solver(solver_name)
    parameters = Parameters(seed=seed, visible=visible, qpu=qpu, tiles=tiles)
    check_dry_run(chosen, parameters, time_limit)
    with open_app(embedded=embedded, workers=workers, solver=chosen) as app_context:
        summary = find_network(app_context.database, network)
        preparation = submit_dry_run(
            app_context, summary.network_id, chosen, parameters, time_limit_s=time_limit
        )
        plan = watch_dry_run(app_context.database, preparation, screen(), app_context.check).plan
        _show(app_context.database, plan["embedding_id"], json=json, found_now=not plan["found"])


@app.command()
def show(
    number: Number,
    plot: Annotated[
        Path | None, typer.Option("--plot", help="Draw it on the chip, to this file: .png, .pdf or .svg.")
    ] = None,
    tile: Annotated[
        int | None, typer.Option("--tile", min=0, help="Draw only this tile, enlarged, with names of units.")
    ] = None,
    json: o.Json = False,
) -> None:
    """Show one embedding: its size, the lengths of its chains, and with --plot their places on the chip.

    The picture shows each working qubit as a faint point, dead ones as crosses, and the chains of each tile
    in a colour of its own, drawn along the couplers that connect them. Dark points are qubits of class
    units, where there are other units.

    Example: `annealq embeddings show 1 --plot chip.png`.
    """
    from producer.context import database
    from producer.figures import saving

    if tile is not None and plot is None:
        raise typer.BadParameter("--tile belongs to --plot FILE")
    if plot is not None:
        saving.check_format(plot)
    with database() as opened:
        if plot is not None:
            _draw(opened, number, plot, tile)
        _show(opened, number, json=json)


@app.command("chips")
def list_chips(json: o.Json = False) -> None:
    """List the chips of solvers: working graph, measured problems, and whether the newest are as usual.

    The reads of each problem are measured: temperature, broken chains, field errors. An alarm says what about
    the newest problems differs from the chip's past.

    Example: `annealq embeddings chips`.
    """
    from producer.context import database
    from producer.embeddings import chips
    from producer.reports import solver as reports_solver
    from producer.reports.terminal import page, print_json

    with database() as opened, opened.reading() as session:
        summaries = chips.summaries(session)
    if json:
        print_json([asdict(chip) for chip in summaries])
    elif summaries:
        page().print(reports_solver.chips_table(summaries))
    else:
        typer.echo("no chips yet: `annealq embeddings find NETWORK --solver emulator --embedded`")


@app.command("chip")
def show_chip(
    name: Annotated[str, typer.Argument(help="Its name or graph id, from `embeddings chips`.")],
    plot: Annotated[
        Path | None, typer.Option("--plot", help="Draw it to this file: .png, .pdf or .svg.")
    ] = None,
    problems: Annotated[
        int, typer.Option("--problems", min=1, max=10_000, help="Newest good problems to read.")
    ] = 100,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Only write its qubits, couplers and properties, as JSON for Ocean."
        ),
    ] = None,
    json: o.Json = False,
) -> None:
    """Show which qubits of a chip err, by the stored reads of its newest problems.

    The field error of a qubit is the field that its chain has in addition to what was sent, in units of h,
    divided by the qubits of the chain; it is nearer to 0 the less the reads say. Broken chains are counted
    relative to the mean of the same unit over all tiles. 100 problems take about 10 seconds.

    With --output, functions of D-Wave's Ocean know the chip without a service; see `docs/ocean.md`.

    Example: `annealq embeddings chip emulator-pegasus --plot chip.png`.
    """
    from producer.context import database
    from producer.embeddings import chip_map, chips
    from producer.figures import saving
    from producer.figures.chip_map import draw
    from producer.reports import solver as reports_solver
    from producer.reports.terminal import page, print_json
    from producer.stack import programs
    from producer.stack.programs import Program
    from schema.settings import load

    if plot is not None:
        saving.check_format(plot)
    with database() as opened, opened.reading() as session:
        chip = chips.find(session, name)
        if output is not None:
            exchanged.write_json(output, chips.solver_data(session, chip.chip_id))
            return
        graph = chips.read(session, chip.chip_id)
    arguments = [chip.graph_id, str(problems)]
    found = chip_map.parse(programs.run(Program.CHIP_MAP, arguments, load(), timeout_s=_CHIP_MAP_S))
    if plot is not None:
        draw(plot, graph, found)
        typer.echo(f"drawn to {plot}", err=True)
    if json:
        print_json({**asdict(chip), **found.to_dict()})
    else:
        page().print(reports_solver.chip_text(chip, found))


@app.command("twin")
def fit_twin(
    run: Annotated[int, typer.Argument(max=o.MAX_NUMBER, help="The number of a run, from `runs list`.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write, .npz.")],
    problems: Annotated[
        int, typer.Option("--problems", min=1, max=20_000, help="Latest good problems to read.")
    ] = 3_000,
    json: o.Json = False,
) -> None:
    """Fit a twin of the chip that a run was sampled on, for the emulator: a chip with the same errors.

    From the stored reads follow the field error of each chain, the errors of couplings, the temperature,
    the qubits that are read wrongly and the drift. Errors that reads do not show are drawn at random. Runs
    with `--gauge tile` or `unit` tell field errors from those of couplings. 400 problems of 100 reads take
    about half a minute.

    Then `annealq emulator --twin last-night.npz` is this chip.

    Example: `annealq embeddings twin 12 --output last-night.npz`.
    """
    from producer.commands.shared.watching import fit_and_show
    from producer.context import database
    from producer.reports import solver as reports_solver
    from producer.reports.terminal import page, print_json
    from schema.settings import load

    settings = load()
    if output.suffix != ".npz":
        raise ParameterError(f"{output}: a twin is written as an .npz file: use that suffix")
    with database(settings):
        found = fit_and_show(settings, run, output, problems)
    if json:
        print_json(found)
    else:
        page().print(reports_solver.twin_text(found, output))


@app.command()
def prune(
    older_than: Annotated[
        float | None,
        typer.Option("--older-than", metavar="DAYS", help="Also unused ones of at least this age."),
    ] = None,
    all_unused: Annotated[
        bool, typer.Option("--all-unused", help="All that no problem used, also for present graphs.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be removed; remove nothing.")
    ] = False,
    json: o.Json = False,
) -> None:
    """Remove embeddings that no problem used, for graphs that their solver no longer has.

    A QPU loses qubits over time, and gets another graph id: embeddings for earlier graphs are useful only as
    a start for new ones. An embedding that a problem used always stays, since the run's raw samples need it.

    Example: `annealq embeddings prune --dry-run`.
    """
    from producer.context import database
    from producer.embeddings.prune import Criteria
    from producer.embeddings.prune import prune as remove
    from producer.reports.terminal import print_json

    criteria = Criteria(older_than, all_unused)
    with database() as opened:
        removed = remove(opened, criteria, dry_run=dry_run)
    if json:
        print_json({"removed": [asdict(embedding) for embedding in removed], "dry_run": dry_run})
        return
    for embedding in removed:
        verb = "would remove" if dry_run else "removed"
        typer.echo(
            f"{verb} embedding {embedding.embedding_id}: {embedding.name} on {embedding.chip}, "
            f"graph {embedding.graph_id}"
        )
    if not removed:
        typer.echo("nothing to remove: every embedding is used, or is for the present graph of its solver")


def _show(database: Database, number: int, *, json: bool, found_now: bool | None = None) -> None:
    from producer.reports import solver as reports_solver
    from producer.reports.terminal import page, print_json

    embedding, tiling, layers = _read(database, number)
    if not json:
        page().print(reports_solver.embedding_text(embedding, tiling, layers, found_now=found_now))
        return
    values: dict[str, Any] = asdict(embedding)
    values["chain_lengths"] = None if tiling is None else reports_solver.chain_lengths(tiling)
    print_json(values if found_now is None else {**values, "found_now": found_now})


def _draw(database: Database, number: int, path: Path, tile: int | None) -> None:
    from producer.embeddings import chips, queries
    from producer.figures.embedding import draw

    embedding, _, layers = _read(database, number)
    with database.reading() as session:
        tiling = queries.read_tiling(session, number)
        chip = chips.read(session, embedding.chip_id)
    copies = count_text(tiling.tiles, "tile")
    title = (
        f"{embedding.name}: {copies} on {chip.name}, "
        f"{len(tiling.qubits):,} of {count_text(len(chip.qubits), 'qubit')}, longest chain "
        f"{tiling.longest_chain}"
    )
    draw(path, chip, tiling, title, layers, tile)
    typer.echo(f"drawn to {path}", err=True)


def _read(database: Database, number: int) -> tuple[EmbeddingSummary, Tiling | None, UnitLayers | None]:
    from producer.embeddings import queries
    from schema.states import EmbeddingState

    with database.reading() as session:
        embedding = queries.embedding(session, number)
        if embedding.state is not EmbeddingState.READY:
            return embedding, None, None
        tiling = queries.read_tiling(session, number)
        return embedding, tiling, queries.unit_layers(session, number, embedding.units)
