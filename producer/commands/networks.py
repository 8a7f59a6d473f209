"""`annealq networks`: what images are classified with."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from schema.errors import NetworkError, ParameterError
from schema.parameters import TRANSFERS, Origin, Solver, Visible, solver

if TYPE_CHECKING:
    from producer.calibration.enqueue import ParameterGrid
    from producer.networks.description import Description
    from producer.networks.queries import NetworkSummary
    from schema.database import Database
    from schema.network.architecture import Architecture
    from schema.parameters import Solver

app = typer.Typer(help="Train, import, calibrate, list and show networks.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Labels = Annotated[Path | None, typer.Option("--labels", help="File of labels, where DATA has none.")]
Limit = Annotated[int | None, typer.Option("--limit", "-l", help="Only the first so many images.")]
Embedded = Annotated[
    bool, typer.Option("--embedded", help="Run a private broker and workers for the length of this command.")
]


@app.command("list")
def list_networks(json: Json = False) -> None:
    """All networks, newest first, and those that come with annealq."""
    from producer.context import database
    from producer.networks import queries as networks_queries
    from producer.networks import shipped
    from producer.reports import network as reports_network
    from producer.reports.terminal import page, print_json

    with database() as opened, opened.reading() as session:
        found = networks_queries.networks(session)
    if json:
        print_json([asdict(network) for network in found])
        return
    if found:
        page().print(reports_network.networks_table(found))
    here = {network.name for network in found}
    if waiting := [name for name in shipped.names() if name not in here]:
        typer.echo(f"shipped, installed on first use: {', '.join(waiting)}")
    elif not found:
        typer.echo("no networks yet: `annealq networks train NAME --data DATA`")


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="NAME or NAME@VERSION.")],
    plot: Annotated[
        Path | None, typer.Option("--plot", help="Draw its Q matrix to this file: .png, .pdf or .svg.")
    ] = None,
    image: Annotated[
        str | None,
        typer.Option(
            "--image", help="DATA or DATA:INDEX, the image whose Q is drawn; default: all features 0."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """One network: its layers, the size of its Q matrix, how its training went."""
    from producer.calibration import queries as calibration_queries
    from producer.context import database
    from producer.figures import saving
    from producer.networks.provide import find_network
    from producer.reports import network as reports_network
    from producer.reports.terminal import page, print_json
    from schema.network.architecture import Architecture

    if image is not None and plot is None:
        raise typer.BadParameter("--image belongs to --plot FILE")
    if plot is not None:
        saving.check_format(plot)
    with database() as opened:
        found = find_network(opened, name)
        with opened.reading() as session:
            fitted = calibration_queries.of_network(session, found.network_id)
        if plot is not None:
            _draw(opened, found, plot, image)
    if json:
        summary = Architecture.from_dict(found.architecture).summary()
        held = [asdict(calibration) for calibration in fitted]
        print_json({**asdict(found), "summary": summary, "calibrations": held})
    else:
        page().print(reports_network.network_text(found, fitted))


@app.command("import")
def import_network(
    name: Annotated[str, typer.Argument(help="What to call it.")],
    architecture: Annotated[
        str,
        typer.Option(
            "--architecture",
            "-a",
            help="A preset, a .toml or .json file of layers, or the .json file of an exported network.",
        ),
    ],
    weights: Annotated[
        Path, typer.Option("--weights", "-w", help="A .safetensors file, its arrays named as in torch.")
    ],
    classes: Annotated[
        str | None, typer.Option("--classes", help="Names of the classes: a,b,c; default: their numbers.")
    ] = None,
    transfer: Annotated[
        str | None, typer.Option("--transfer", help="energy (default) or paper: what it was trained for.")
    ] = None,
    json: Json = False,
) -> None:
    """Bring a network that was trained elsewhere. The same content again is the network that is there."""
    from producer.context import database
    from producer.networks import bundle
    from producer.networks import queries as networks_queries
    from producer.reports import network as reports_network
    from producer.reports.terminal import page, print_json

    described = _described(name, architecture, classes, transfer)
    joined = bundle.join(described, weights)
    with database() as opened:
        network = bundle.install(opened, joined, Origin.IMPORTED)
        with opened.reading() as session:
            found = networks_queries.network(session, network.id)
    if json:
        print_json(asdict(found))
    else:
        page().print(reports_network.network_text(found))


@app.command("export")
def export_network(
    name: Annotated[str, typer.Argument(help="NAME or NAME@VERSION.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="NAME.safetensors; NAME.json is written beside it.")
    ],
) -> None:
    """Write a network's weights, and its layers, classes and accuracy. `import` reads both."""
    from producer.context import database
    from producer.networks import bundle
    from producer.networks import queries as networks_queries
    from producer.networks.provide import find_network

    with database() as opened:
        found = find_network(opened, name)
        with opened.reading() as session:
            complete = bundle.pack(
                found,
                networks_queries.weights(session, found.network_id),
                networks_queries.training_set(session, found.network_id),
            )
    beside = bundle.save(complete, output)
    typer.echo(
        f"{found.name}@{found.version}: {output} ({len(complete.data):,} bytes) and {beside}", err=True
    )


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
    labels: Labels = None,
    limit: Limit = None,
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
    embedded: Embedded = False,
    detach: Annotated[bool, typer.Option("--detach", help="Enqueue and return.")] = False,
    json: Json = False,
) -> None:
    """Train a network on a worker. The same data, layers and seed again: nothing is redone."""
    from producer.commands.shared.session import open_app
    from producer.images.source import read_images
    from producer.jobs import submit_training
    from producer.networks import queries as networks_queries
    from producer.reports import network as reports_network
    from producer.reports.progress import watch_training
    from producer.reports.terminal import page, print_json, screen

    if not data:
        raise typer.BadParameter("what to train on is missing: --data DATA")
    if transfer not in TRANSFERS:
        raise ParameterError(f"unknown transfer {transfer!r}; choose one of: {', '.join(TRANSFERS)}")
    if detach and embedded:
        raise typer.BadParameter(
            "the embedded workers stop with this command; leave out --detach or --embedded"
        )
    layers = _architecture(name, architecture)
    images = read_images(data, labels)
    if limit is not None:
        images = images.limit(limit)
    with open_app(embedded=embedded) as at:
        queued = submit_training(at, layers, images, transfer=transfer, seed=seed, epochs=epochs)
        if not detach:
            watch_training(at.database, queued.id, screen(), at.check)
        with at.database.reading() as session:
            found = networks_queries.network(session, queued.id)
    if json:
        print_json(asdict(found))
    else:
        page().print(reports_network.network_text(found))


@app.command()
def calibrate(
    name: Annotated[str, typer.Argument(help="NAME or NAME@VERSION.")],
    data: Annotated[
        str, typer.Option("--data", "-d", help="Labelled images for validation, as for `classify`.")
    ],
    solver_name: Annotated[
        str, typer.Option("--solver", "-s", help="local (simulated annealing) or exact (Boltzmann draws).")
    ] = "local",
    labels: Labels = None,
    limit: Limit = None,
    test: Annotated[
        str | None, typer.Option("--test", help="Images to test with later: none may be among DATA.")
    ] = None,
    allow_overlap: Annotated[
        bool, typer.Option("--allow-overlap", help="Accept images that are in both.")
    ] = False,
    reads: Annotated[
        int | None,
        typer.Option(
            "--reads",
            "-r",
            help="The most anneals for an image that are considered; default: 1,000, QPU: 100.",
        ),
    ] = None,
    lam: Annotated[
        str | None,
        typer.Option("--lam", help="One-hot penalties to compare: 1,2,4; default: multiples of its own."),
    ] = None,
    sweeps: Annotated[
        str | None, typer.Option("--sweeps", help="Sweeps of the local annealer to compare: 20,40.")
    ] = None,
    chain_strength: Annotated[
        str | None,
        typer.Option("--chain-strength", help="QPU: chain strengths to compare, as for classify: 1,1.414."),
    ] = None,
    scale: Annotated[
        str | None, typer.Option("--scale", help="QPU: scales to compare, as for classify: 1,2.")
    ] = None,
    qpu: Annotated[
        str | None, typer.Option("--qpu", help="QPU: a solver's name, or features as JSON.")
    ] = None,
    visible: Annotated[
        Visible, typer.Option("--visible", help="Visible units: sampled, or folded into biases.")
    ] = Visible.SAMPLED,
    seed: Annotated[int, typer.Option("--seed", help="The same seed gives the same reads.")] = 0,
    embedded: Embedded = False,
    json: Json = False,
) -> None:
    """Fit the one-hot penalty, the reads, the consensus rule, and for a QPU the chain strength and the scale.

    `classify` then uses them for the same network and solver, and says so.
    """
    from producer.calibration.enqueue import refuse_shared_images
    from producer.commands.shared.session import open_app
    from producer.images.source import read_images
    from producer.jobs import submit_calibration
    from producer.reports import network as reports_network
    from producer.reports.progress import watch_calibration
    from producer.reports.terminal import page, print_json, screen

    chosen = solver(solver_name)
    lists = {"lam": lam, "sweeps": sweeps, "chain_strength": chain_strength, "scale": scale}
    grid = _grid(chosen, lists, reads, visible=visible, seed=seed, qpu=qpu)
    images = read_images(data, labels)
    if limit is not None:
        images = images.limit(limit)
    if test is not None and not allow_overlap:
        refuse_shared_images(images, read_images(test))
    with open_app(embedded=embedded, emulator=chosen is Solver.EMULATOR) as at:
        queued, known = submit_calibration(at, images, name, chosen, grid)
        if known:
            screen().print(
                f"{known:,} of the {len(images.images):,} images are among those the network was trained on"
            )
        done = watch_calibration(at.database, queued.id, screen(), at.check)
    if json:
        print_json(asdict(done))
    else:
        page().print(reports_network.calibration_text(done))


def _grid(solver: Solver, lists: dict[str, str | None], reads: int | None, **others: Any) -> ParameterGrid:
    """What was asked for; raises ParameterError where a value is out of range, or the solver has no such."""
    from producer.calibration.enqueue import ParameterGrid

    kinds: dict[str, type[int] | type[float]] = {
        "lam": float,
        "sweeps": int,
        "chain_strength": float,
        "scale": float,
    }
    given: dict[str, Any] = {
        name if name == "sweeps" else f"{name}s": _numbers(name, text, kinds[name])
        for name, text in lists.items()
        if text is not None
    }
    if reads is not None:
        given["reads"] = reads
    if not solver.is_remote and (
        foreign := [name for name in _OF_CHAINS if name in given or others.get(name)]
    ):
        raise ParameterError(
            f"solver {solver} has no qubits: {foreign[0].replace('_', ' ')} belongs to a QPU"
        )
    grid = (ParameterGrid.embedded if solver.is_remote else ParameterGrid)(**given, **others)
    grid.parameters(own_lam=1.0)  # checks them
    return grid


_OF_CHAINS = ("chain_strengths", "scales", "qpu")
_Number = TypeVar("_Number", int, float)


def _numbers(name: str, text: str, kind: type[_Number]) -> tuple[_Number, ...]:
    """Numbers from a list with commas; raises ParameterError."""
    try:
        return tuple(kind(part) for part in text.split(","))
    except ValueError:
        raise ParameterError(f"{name} is {text!r}; numbers with commas between them are needed") from None


def _architecture(name: str | None, file: Path | None) -> Architecture:
    from schema.network.architecture import PRESETS, load, preset

    if (name is None) == (file is None):
        raise typer.BadParameter(
            f"give a preset's NAME ({', '.join(PRESETS)}) or --architecture FILE, not both"
        )
    return load(file) if file is not None else preset(name or "")


def _draw(database: Database, network: NetworkSummary, path: Path, image: str | None) -> None:
    from producer.figures import q_matrix as figures_q_matrix
    from producer.networks import q_matrix as networks_q_matrix
    from producer.networks.choose import choose
    from schema.settings import load

    name = f"{network.name}@{network.version}"
    with database.reading() as session:
        chosen = choose(session, name, network.height, network.width)
    pixels, shown = None, "all features 0"
    if image is not None:
        images, index = networks_q_matrix.read_image(image, chosen)
        pixels, shown = images.images[index], f"image {index} of {images.name}"
    q = networks_q_matrix.compute(load(), chosen.id, pixels)
    title = f"{name}, {len(q.values)} units, {shown}"
    figures_q_matrix.draw_q(path, q.values, q.sizes, q.kinds, network.classes, title)
    typer.echo(f"drawn to {path}", err=True)


def _described(name: str, architecture: str, classes: str | None, transfer: str | None) -> Description:
    from producer.networks import description
    from schema.network.architecture import PRESETS, preset

    if architecture in PRESETS:
        known = description.describe(preset(architecture))
    elif Path(architecture).suffix in (".toml", ".json"):
        known = description.read(Path(architecture))
    else:
        raise NetworkError(
            f"{architecture}: an architecture is a .toml or .json file, or a preset: {', '.join(PRESETS)}"
        )
    if transfer not in (None, known.transfer):
        known = known.replace(transfer=transfer, weights_sha256=None)  # its metrics are of the other one
    names = known.classes if classes is None else tuple(part.strip() for part in classes.split(","))
    return known.replace(architecture=known.architecture.replace(name=name), classes=names)
