"""`annealq runs track` and `annealq networks track`: runs and trainings in MLflow."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from producer.commands.shared.options import Number
from schema.errors import ParameterError

if TYPE_CHECKING:
    from producer.exports.tracked import Tracked

Uri = Annotated[
    str | None,
    typer.Option(
        "--uri",
        help="MLflow's store: http://HOST:5000 or sqlite:///mlflow.db; default: $MLFLOW_TRACKING_URI.",
    ),
]
Experiment = Annotated[str, typer.Option("--experiment", help="Made, if it does not exist.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def track_run(
    run: Number,
    uri: Uri = None,
    experiment: Experiment = "annealq",
    json: Json = False,
) -> None:
    """Log a run to MLflow: its parameters, metrics and report. Repeat it at will: nothing is logged twice.

    A run that continues is logged as it is; the same command completes it later.

    Example: `annealq runs track 1 --uri sqlite:///mlflow.db`.
    """
    from producer.context import database
    from producer.dashboard.report import run_report
    from producer.exports.tracked import tracked_run

    store = _store(uri)
    with database() as opened, opened.reading() as session:
        tracked = tracked_run(session, run, partial(run_report.html, session, run))
        _track(tracked, store, experiment, json=json)


def track_network(
    name: Annotated[str, typer.Argument(help="NAME or NAME@VERSION.")],
    uri: Uri = None,
    experiment: Experiment = "annealq",
    json: Json = False,
) -> None:
    """Log the training of a network to MLflow: its plan, the metrics of each epoch, and their curves.

    A training that continues is logged as far as it is; the same command completes it later.

    Example: `annealq networks track digits --uri sqlite:///mlflow.db`.
    """
    from producer.context import database
    from producer.exports.tracked import tracked_training
    from producer.networks.choose import find_network

    store = _store(uri)
    with database() as opened:
        network = find_network(opened, name)
    _track(tracked_training(network), store, experiment, json=json)


def _store(uri: str | None) -> str:
    """Return where to log to; raise ParameterError if nothing says so."""
    import os

    found = uri or os.environ.get("MLFLOW_TRACKING_URI")
    if not found:
        raise ParameterError(
            "MLflow's store is not known: give --uri, as http://HOST:5000 or sqlite:///mlflow.db, or set "
            "MLFLOW_TRACKING_URI"
        )
    return found


def _track(tracked: Tracked, uri: str, experiment: str, *, json: bool) -> None:
    from producer.exports.tracking import track
    from producer.reports.terminal import print_json

    logged = track(tracked, uri, experiment)
    if json:
        print_json({"mlflow_run_id": logged.run_id, "changed": logged.is_changed, "state": tracked.state})
        return
    said = "logged" if logged.is_changed else "was complete: nothing was logged"
    typer.echo(f"{tracked.name}: run {logged.run_id} of MLflow, experiment {experiment!r}: {said}")
