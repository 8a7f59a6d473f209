"""`annealq networks show`, and the text of one network for other commands."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from schema.quantities import count_text

if TYPE_CHECKING:
    from producer.networks.queries import NetworkSummary
    from schema.database import Database

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


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
    """Show a network: its layers, the size of its Q matrix, how its training went.

    Example: `annealq networks show mnist --plot q.png`.
    """
    from producer.calibration import queries as calibration_queries
    from producer.context import database
    from producer.figures import saving
    from producer.networks import bundle
    from producer.networks import queries as networks_queries
    from producer.networks.choose import find_network
    from producer.reports import network as reports_network
    from producer.reports.terminal import page, print_json
    from schema.network.architecture import Architecture

    if image is not None and plot is None:
        raise typer.BadParameter("--image belongs to --plot FILE")
    if plot is not None:
        saving.check_format(plot)
    with database() as opened:
        network = find_network(opened, name)
        with opened.reading() as session:
            calibrations = calibration_queries.list_calibrations(session, network.network_id)
            made_by = bundle.made_by(network, networks_queries.training_set(session, network.network_id))
        if plot is not None:
            _draw(opened, network, plot, image)
    if json:
        summary = Architecture.from_dict(network.architecture).summary()
        fitted = [asdict(calibration) for calibration in calibrations]
        print_json({**_object(network), "summary": summary, "calibrations": fitted, "made_by": made_by})
    else:
        page().print(reports_network.network_text(network, calibrations))
        if made_by:
            typer.echo("\n    ".join(("made by:", *made_by)))


def print_network(network: NetworkSummary, *, json: bool) -> None:
    """Print ``network`` as a table, or as ``json``."""
    from producer.reports import network as reports_network
    from producer.reports.terminal import page, print_json

    if json:
        print_json(_object(network))
    else:
        page().print(reports_network.network_text(network))


def _object(network: NetworkSummary) -> dict[str, Any]:
    """Return ``network`` and what each of its sources adds, as JSON values."""
    sources = network.sources
    return {**asdict(network), "sources": None if sources is None else asdict(sources)}


def _draw(database: Database, network: NetworkSummary, path: Path, image: str | None) -> None:
    from producer.figures import q_matrix as figures_q_matrix
    from producer.networks import q_matrix as networks_q_matrix
    from producer.networks.choose import choose_network
    from schema.settings import load

    name = f"{network.name}@{network.version}"
    with database.reading() as session:
        chosen = choose_network(session, name, network.image_shape)
    pixels, subject = None, "all features 0"
    if image is not None:
        images, index = networks_q_matrix.read_image(image, chosen)
        pixels, subject = images.images[0], f"image {index} of {images.name}"
    q = networks_q_matrix.compute(load(), chosen.id, pixels)
    title = f"{name}, {count_text(len(q.values), 'unit')}, {subject}"
    figures_q_matrix.draw_q(path, q.values, q.sizes, q.kinds, network.classes, title, q.sources)
    typer.echo(f"drawn to {path}", err=True)
