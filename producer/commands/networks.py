"""`annealq networks`: the networks that classify images."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from producer.commands.exports.curves import curves
from producer.commands.exports.track import track_network
from producer.commands.shared import architectures, network_names, network_show
from producer.commands.shared.help import App
from producer.commands.shared.interrupting import explaining_interruption
from producer.commands.shared.options import Detach, Workers, microseconds
from producer.commands.shared.reading import ArrayKind, Fitted, Invert, Resize, SkipUnreadable, inputs_of
from producer.images.preprocessing import Fit, Preprocessing
from producer.networks.starter import Further
from producer.runs.request import ClassificationRequest
from schema.errors import ParameterError
from schema.parameters import TRANSFERS, Origin, Visible, solver
from schema.quantities import count_text

app = App(
    help="Design, train, track, import, calibrate, list, show, rename and remove networks; choose defaults.",
    no_args_is_help=True,
)
app.command("show")(network_show.show)
app.command("curves")(curves)
app.command("track")(track_network)
app.command("default")(network_names.default)
app.command("rename")(network_names.rename)
app.command("remove")(network_names.remove)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Labels = Annotated[Path | None, typer.Option("--labels", help="File of labels, where DATA has none.")]
Limit = Annotated[int | None, typer.Option("--limit", "-l", help="Only the first N images.")]
Embedded = Annotated[
    bool, typer.Option("--embedded", help="Run a private broker and workers for the length of this command.")
]


_Text = str | None
Test = Annotated[_Text, typer.Option("--test", help="Images to test with later: none may be among DATA.")]
Overlap = Annotated[bool, typer.Option("--allow-overlap", help="Accept images that are in both.")]
Lam = Annotated[
    _Text, typer.Option("--lam", help="One-hot penalties to compare: 1,2,4; default: multiples of its own.")
]
Sweeps = Annotated[_Text, typer.Option("--sweeps", help="Sweeps of the local annealer to compare: 20,40.")]
ChainStrength = Annotated[
    _Text,
    typer.Option("--chain-strength", help="QPU: chain strengths to compare, as for classify: 1,1.414."),
]
Scale = Annotated[_Text, typer.Option("--scale", help="QPU: scales to compare, as for classify: 1,2.")]
Qpu = Annotated[_Text, typer.Option("--qpu", help="QPU: a solver's name, or features as JSON.")]

Trained = Annotated[
    _Text,
    typer.Argument(
        help="A preset (digits, mnist), or give --architecture; default: layers for these images, as "
        "`networks new` writes them, for coloured ones with the backbone if exactly one was imported."
    ),
]
Layers = Annotated[
    Path | None,
    typer.Option("--architecture", "-a", help="A .toml or .json file that describes the layers."),
]
Validation = Annotated[str, typer.Option("--data", "-d", help="Labelled images; of 64 MiB, some are drawn.")]
SolverName = Annotated[
    str,
    typer.Option(
        "--solver",
        "-s",
        help="local (simulated annealing), exact (Boltzmann draws), emulator or dwave (a QPU, charged).",
    ),
]
MostReads = Annotated[
    int | None,
    typer.Option(
        "--reads", "-r", help="The most anneals for an image to consider; default: 1,000, QPU: 100."
    ),
]
Cross = Annotated[
    bool,
    typer.Option(
        "--cross",
        help="QPU: compare all combinations; default: the first value of each list, and each other value "
        "with the first ones of the others.",
    ),
]
VisibleUnits = Annotated[
    Visible | None,
    typer.Option(
        "--visible",
        help="Visible units: sampled, or folded into biases; default: sampled, and both on a QPU.",
    ),
]
Budget = Annotated[
    float | None,
    typer.Option(
        "--budget",
        help="QPU: seconds that all of it may be charged, 2 by default: QPU time is charged by the "
        "microsecond. The more, the more images are compared and the smaller the errors. It is estimated "
        "first, and no problem is sent that would exceed it.",
    ),
]
Seed = Annotated[int, typer.Option("--seed", help="The same seed gives the same reads.")]


@app.command("list")
def list_networks(json: Json = False) -> None:
    """List all networks, newest first, and those that come with annealq.

    Example: `annealq networks list`.
    """
    from producer.context import database
    from producer.networks import queries as networks_queries
    from producer.networks import shipped
    from producer.reports import network as reports_network
    from producer.reports.terminal import page, print_json

    with database() as opened, opened.reading() as session:
        networks = networks_queries.networks(session)
    if json:
        print_json([asdict(network) for network in networks])
        return
    if networks:
        page().print(reports_network.networks_table(networks))
    names = {network.name for network in networks}
    if not_installed := [name for name in shipped.names() if name not in names]:
        typer.echo(f"shipped, installed on first use: {', '.join(not_installed)}")
    elif not networks:
        typer.echo("no networks yet: `annealq networks train NAME --data DATA`")


@app.command("import")
def import_network(
    name: Annotated[str, typer.Argument(help="Its name here.")],
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
    """Import a network that was trained elsewhere. The same content again gives the existing network.

    Example: `annealq networks import mine --architecture mine.json --weights mine.safetensors`.
    """
    from producer.commands.shared.session import first_database
    from producer.networks import bundle, versions
    from producer.networks import queries as networks_queries
    from schema.settings import load

    joined = bundle.join(architectures.described(name, architecture, classes, transfer), weights)
    with first_database(load()) as opened:
        row = versions.install(opened, joined, Origin.IMPORTED)
        with opened.reading() as session:
            network = networks_queries.network(session, row.id)
    network_show.print_network(network, json=json)


@app.command("export")
def export_network(
    name: Annotated[str, typer.Argument(help="NAME or NAME@VERSION.")],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            help="NAME.safetensors; NAME.json is written next to it. With --bqm: NAME.bqm, .coo or .json.",
        ),
    ],
    bqm: Annotated[
        _Text, typer.Option("--bqm", help="Instead the energy function of this image: DATA:INDEX.")
    ] = None,
    visible: Annotated[
        Visible | None,
        typer.Option("--visible", help="With --bqm: visible units sampled (default), or folded into biases."),
    ] = None,
    lam: Annotated[
        float | None,
        typer.Option("--lam", min=0, help="With --bqm: one-hot penalty; default: the network's."),
    ] = None,
) -> None:
    """Write a network's weights, and its layers, classes and accuracy, as files that `import` reads.

    With --bqm DATA:INDEX, write the energy function of that image as a binary quadratic model of D-Wave's
    dimod: .bqm, .json (`to_serializable`), or .coo, whose variables are numbers. With it, --output is
    seven.bqm, say, and --visible and --lam are as the run has them that it is compared with.

    Example: `annealq networks export mine --output mine.safetensors`.
    """
    if bqm is None and (visible is not None or lam is not None):
        raise typer.BadParameter("--visible and --lam belong to --bqm DATA:INDEX")
    if bqm is not None:
        from producer.commands.ocean.models import export_model

        export_model(name, bqm, output, visible or Visible.SAMPLED, lam)
        return
    from producer.context import database
    from producer.networks import bundle
    from producer.networks import queries as networks_queries
    from producer.networks.choose import find_network

    with database() as opened:
        network = find_network(opened, name)
        with opened.reading() as session:
            complete = bundle.pack(
                network,
                networks_queries.weights(session, network.network_id),
                networks_queries.training_set(session, network.network_id),
            )
    description_path = bundle.save(complete, output)
    size = count_text(len(complete.data), "byte")
    typer.echo(f"{network.name}@{network.version}: {output} ({size}) and {description_path}", err=True)


@app.command()
def new(
    data: Annotated[str, typer.Option("--data", "-d", help="Labelled images, as for `classify`.")],
    name: Annotated[_Text, typer.Option("--name", help="Of the network; default: as the data.")] = None,
    output: Annotated[
        Path | None, typer.Option("--out", "-o", help="The file to write; default: standard output.")
    ] = None,
    labels: Labels = None,
    read_as: ArrayKind = None,
    backbone: Annotated[
        list[str] | None,
        typer.Option(
            "--backbone",
            help="The first layer: a backbone's name, from `backbones list`. Of several each is a source.",
        ),
    ] = None,
    source: Annotated[
        list[Further] | None,
        typer.Option("--source", help="A further source: pixels (convolutions), colours (a histogram)."),
    ] = None,
    resize: Resize = None,
    fit: Fitted = Fit.CROP,
    invert: Invert = False,
    skip_unreadable: SkipUnreadable = False,
) -> None:
    """Write a first architecture for images: a commented .toml file for `networks train --architecture`.

    With --backbone, only the few layers after it are trained: a few thousand pictures suffice.

    Example: `annealq networks new --data photos.npz --out photos.toml`.
    """
    from producer.files import replacing
    from producer.networks.starter import starter_text

    preprocessing = Preprocessing.parse(resize, fit, invert, skip_unreadable, read_as)
    if source and not backbone:
        raise typer.BadParameter("--source adds to a backbone: name one, --backbone NAME")
    firsts = architectures.backbones_named(list(dict.fromkeys(backbone or ())))
    images, resized = architectures.read_for_starter(data, labels, None, preprocessing, firsts)
    text = starter_text(images, name, resized, firsts, list(dict.fromkeys(source or ())))
    if output is None:
        typer.echo(text, nl=False)
        return
    if output.suffix != ".toml":
        raise ParameterError(f"{output}: an architecture is written as NAME.toml: use that suffix")
    with replacing(output) as file:
        file.write_text(text, encoding="utf-8")
    typer.echo(f"{output}: `annealq networks train --architecture {output} --data {data}`", err=True)


@app.command()
def train(
    name: Trained = None,
    data: Annotated[str, typer.Option("--data", "-d", help="Labelled images, as for `classify`.")] = "",
    architecture: Layers = None,
    labels: Labels = None,
    limit: Limit = None,
    read_as: ArrayKind = None,
    resize: Resize = None,
    fit: Fitted = Fit.CROP,
    invert: Invert = False,
    skip_unreadable: SkipUnreadable = False,
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
    """Train a network on a worker. The same data, layers and seed return the existing network.

    Example: `annealq networks train --data photos.npz --embedded`.
    """
    from producer.commands.shared.session import open_app
    from producer.jobs import submit_training
    from producer.networks import queries as networks_queries
    from producer.reports.progress import watch_training
    from producer.reports.terminal import screen

    if not data:
        raise typer.BadParameter("the training images are missing: --data DATA")
    if transfer not in TRANSFERS:
        raise ParameterError(f"unknown transfer {transfer!r}; choose one of: {', '.join(TRANSFERS)}")
    if detach and embedded:
        raise typer.BadParameter(
            "the embedded workers stop with this command; leave out --detach or --embedded"
        )
    layers = architectures.architecture(name, architecture)
    preprocessing = Preprocessing.parse(resize, fit, invert, skip_unreadable, read_as)
    images, layers = architectures.read_for_training(data, labels, limit, preprocessing, layers)
    with open_app(embedded=embedded) as app_context:
        queued = submit_training(app_context, layers, images, transfer=transfer, seed=seed, epochs=epochs)
        if not detach:
            with explaining_interruption("the training", "the same command watches it", ""):
                watch_training(app_context.database, queued.id, screen(), app_context.check)
        with app_context.database.reading() as session:
            network = networks_queries.network(session, queued.id)
    network_show.print_network(network, json=json)


@app.command()
def calibrate(
    name: Annotated[str, typer.Argument(help="NAME or NAME@VERSION.")],
    data: Validation,
    solver_name: SolverName = "local",
    labels: Labels = None,
    limit: Limit = None,
    read_as: ArrayKind = None,
    resize: Resize = None,
    fit: Fitted = Fit.CROP,
    invert: Invert = False,
    skip_unreadable: SkipUnreadable = False,
    test: Test = None,
    allow_overlap: Overlap = False,
    reads: MostReads = None,
    lam: Lam = None,
    sweeps: Sweeps = None,
    chain_strength: ChainStrength = None,
    scale: Scale = None,
    cross: Cross = False,
    qpu: Qpu = None,
    visible: VisibleUnits = None,
    budget: Budget = None,
    seed: Seed = 0,
    embedded: Embedded = False,
    workers: Workers = None,
    detach: Detach = False,
    json: Json = False,
) -> None:
    """Fit the one-hot penalty, the reads and the rule; on a QPU all that decides about accuracy and cost.

    On a QPU these are also the chain strength, the scale, the unembedding, and whether visible units are
    sampled or folded. All settings are compared on the same images, as many as the budget suffices for. The
    cheapest within one standard error of the best is chosen. `classify` then uses it for the same network and
    solver, and prints that it does.

    Example: `annealq networks calibrate digits --data digits --limit 300 --embedded`.
    """
    from producer.commands.shared.calibrating import (
        calibrate_and_print,
        grid_of,
        read_validation,
    )
    from producer.commands.shared.session import open_app

    if detach and embedded:
        raise typer.BadParameter(
            "the embedded workers stop with this command; leave out --detach or --embedded"
        )
    chosen, budget_us = solver(solver_name), microseconds(budget)
    lists = {"lam": lam, "sweeps": sweeps, "chain_strength": chain_strength, "scale": scale}
    grid = grid_of(chosen, lists, reads, visible=visible, seed=seed, qpu=qpu, crossed=cross)
    if budget_us is not None and not chosen.is_remote:
        raise ParameterError(f"solver {chosen} has no qubits, and charges nothing: omit --budget")
    prepared: dict[str, Any] = {"read_as": read_as, "resize": resize, "fit": fit, "invert": invert}
    prepared |= {"labels": labels and str(labels), "limit": limit, "skip_unreadable": skip_unreadable}
    request = ClassificationRequest(data=data, **prepared)
    images = read_validation(request, inputs_of(name), None if allow_overlap else test)
    with open_app(embedded=embedded, workers=workers, solver=chosen) as app_context:
        calibrate_and_print(app_context, images, name, chosen, grid, budget_us, detach=detach, json=json)
