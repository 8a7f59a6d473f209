"""`annealq networks curves`: loss and accuracy of a training, epoch by epoch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def curves(
    name: Annotated[str, typer.Argument(help="NAME or NAME@VERSION.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="File to write, .csv, .json or .parquet; default: CSV on standard output."
        ),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", help="Draw them to this file: .png, .pdf or .svg.")
    ] = None,
) -> None:
    """Write the loss and the accuracy of every epoch of a network's training, as a table or a figure.

    A training that continues has the epochs that have ended.

    Example: `annealq networks curves digits --plot curves.png`.
    """
    from producer.context import database
    from producer.exports.epochs import COLUMNS, epoch_rows
    from producer.figures import saving, training_curves
    from producer.networks.choose import find_network
    from producer.reports.export import guess_format, write

    form = "csv" if output is None else guess_format(output)
    if plot is not None:
        saving.check_format(plot)
    with database() as opened:
        network = find_network(opened, name)
    rows = epoch_rows(network)
    if plot is not None:
        best = (network.metrics or {}).get("best_epoch")
        training_curves.draw(plot, rows, f"{network.pinned}: loss and accuracy of its training", best)
        typer.echo(f"drawn to {plot}", err=True)
    if output is not None or plot is None:
        write(
            rows,
            COLUMNS,
            output,
            form,
            {"network": network.pinned, "best_epoch": (network.metrics or {}).get("best_epoch")},
        )
