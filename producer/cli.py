"""The command line: parse, call, print. Heavy imports are inside the commands, so that --help is quick."""

from __future__ import annotations

import sys
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

from producer.commands.shared.exits import refuse_empty, run
from producer.commands.shared.help import App, HelpGroup
from producer.commands.shared.options import Json, Workers

# Commands that are modules of `producer.commands`, each with its line of `annealq --help`.
SUMMARIES = {
    "classify": "Classify a data set: enqueue it as a run, watch it, print the results.",
    "plan": "Forecast how much pending work fits into the next windows.",
    "reproduce": "Reproduce an experiment of the paper: its table next to the published one.",
    "emulator": "Run a solver on this machine that speaks SAPI, D-Wave's protocol.",
    "doctor": "Check the database against itself: is everything there, undamaged, and in a state that fits?",
    "verify": "Verify a bundle of a run: compute its results again, without a database.",
    "serve": "Serve the HTTP API and the dashboard in the foreground.",
    "runs": "List, show, watch, compare, report, export, prove, control, score again, prune and delete runs.",
    "schedules": "Classify at given times: add, list, show, pause, resume, remove and run schedules.",
    "networks": "Train, import, calibrate, list, show, rename and remove networks; choose defaults.",
    "backbones": "Import, list, show and delete pretrained networks whose features are classified.",
    "embeddings": "Find, list, show and remove embeddings, and look at chips.",
    "keys": "Add, list, rotate, expire and revoke keys of the HTTP API.",
    "webhooks": "List, show, send again and test messages to webhooks.",
    "db": "Migrate the database and look at its revision.",
}
_ROOMS = {name: f"service.{name}" for name in ("serve", "keys", "webhooks")}


class Commands(HelpGroup):
    """Imports the module of a command when it is called, so that `annealq --help` stays fast."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        refuse_empty(args)
        return name, (load_command(name) if name in SUMMARIES else command), rest


app = App(
    name="annealq",
    cls=Commands,
    help="Classify images on a quantum annealer, as an asynchronous queue of batches.\n\n"
    "Start here: `annealq demo`, or `annealq classify digits --embedded`.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _name, _summary in SUMMARIES.items():
    app.command(_name, help=_summary)(lambda: None)  # `load_command` takes its place


@cache
def load_command(name: str) -> Any:
    """Return the command ``name``, or the group of commands, of the module of that name."""
    module = import_module(f"producer.commands.{_ROOMS.get(name, name)}")
    holder = App(add_completion=False)
    if hasattr(module, "app"):
        holder.add_typer(module.app, name=name)
    else:
        holder.command(name)(getattr(module, name))
    return typer.main.get_group(holder).commands[name]


@app.command()
def up(
    workers: Workers = None,
    emulator: Annotated[
        bool, typer.Option("--emulator", help="Also run an emulated QPU: `classify --solver emulator`.")
    ] = False,
) -> None:
    """Run the local stack until Ctrl-C: private broker, workers, reconciler and schedules of this home.

    Example: `annealq up --workers 4`.
    """
    from producer.reports.terminal import screen
    from producer.stack.stack import Interrupted, Stack, long_running_children
    from schema.settings import load

    settings, console = load(), screen()
    try:
        with Stack(
            settings,
            emulator=emulator,
            children=long_running_children(workers),
            on_event=lambda line: console.print(line, style="dim"),
        ) as stack:
            console.print(
                f"annealq is up in {settings.home}; logs in {settings.home / 'logs'}; stop with Ctrl-C"
            )
            number = stack.wait()
    except Interrupted as interruption:
        number = interruption.signal
    with suppress(OSError):  # of a terminal that is closed
        console.print("stopped; queued work continues with the next `annealq up`")
    raise typer.Exit(0 if number.name == "SIGINT" else 128 + number)


@app.command()
def worker(
    concurrency: Annotated[
        int | None,
        typer.Option(
            "--concurrency", "-c", min=1, help="Batches at a time; default: processors, 4 at least."
        ),
    ] = None,
    queues: Annotated[
        str | None, typer.Option("--queues", "-Q", help="Comma-separated; default: all of them.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Run none: exit with 0 if the one of this host answers, else 1.")
    ] = False,
) -> None:
    """Run a worker in the foreground. Each database also needs one reconciler.

    Example: `annealq worker --concurrency 4`.
    """
    import os

    from producer.stack.process import environment
    from producer.stack.stack import default_workers, worker_command
    from schema.messages import queue_names
    from schema.settings import load

    if check:
        from producer.stack.health import check_worker

        typer.echo(f"{check_worker(load().broker_url)} answers")
        return
    names = queue_names()
    wanted = names if queues is None else [f"annealq.{q.removeprefix('annealq.')}" for q in queues.split(",")]
    if unknown := set(wanted) - set(names):
        raise typer.BadParameter(f"unknown queue {min(unknown)}; choose from: {', '.join(names)}")
    command = worker_command(concurrency or default_workers(), wanted)
    os.execvpe(command[0], command, {**os.environ, **environment(load())})  # noqa: S606


@app.command()
def workers(json: Json = False) -> None:
    """List workers: which are alive, which have ended within an hour, and what they do.

    Example: `annealq workers`.
    """
    from producer.context import database
    from producer.progress.workers import list_workers
    from producer.reports.terminal import page, print_json
    from producer.reports.workers import NO_WORKER, workers_table

    with database() as opened, opened.reading() as session:
        now = opened.now(session)
        found = list_workers(session, now)
    if json:
        print_json([worker.to_dict() for worker in found])
        return
    if found:
        page().print(workers_table(found, now))
    if not any(worker.is_alive for worker in found):
        page().print(NO_WORKER, markup=False)


@app.command()
def reconciler(
    check: Annotated[
        bool, typer.Option("--check", help="Run none: exit with 0 if some reconciler leads, else 1.")
    ] = False,
) -> None:
    """Run the reconciler in the foreground; several may run, one of them leads.

    Example: `annealq reconciler`.
    """
    import os

    from producer.stack.process import environment
    from schema.settings import load

    if check:
        from producer.stack.health import check_reconciler

        typer.echo(f"{check_reconciler(load().database_url)} leads")
        return
    command = [sys.executable, "-m", "worker.reconcile"]
    os.execvpe(command[0], command, {**os.environ, **environment(load())})  # noqa: S606


@app.command()
def demo(
    reads: Annotated[int, typer.Option("--reads", "-r", help="Anneals for each image.")] = 100,
    mnist_train: Annotated[
        Path | None, typer.Option("--mnist-train", help="Also train on MNIST: idx, npz ...")
    ] = None,
    mnist_test: Annotated[
        Path | None, typer.Option("--mnist-test", help="... and classify its test images.")
    ] = None,
    photos: Annotated[
        Path | None,
        typer.Option("--photos", help="Instead: train on most pictures of a folder of class folders ..."),
    ] = None,
    backbone: Annotated[
        Path | None, typer.Option("--backbone", help="... on the features of this ONNX file ...")
    ] = None,
    scale: Annotated[str, typer.Option("--scale", help="... with this scale of its pixels.")] = "imagenet",
    workers: Workers = None,
    json: Json = False,
) -> None:
    """Train a small network on handwritten digits, classify all of them, and some on an emulated QPU.

    With --photos it trains on pictures of yours, and classifies those that it was not trained on.

    Example: `annealq demo`.
    """
    from producer.commands.demo import show_digits, show_mnist, show_photos, show_qubits
    from producer.commands.shared.session import open_app
    from producer.images.source import read_images
    from schema.parameters import Parameters, Solver

    if photos is None and backbone is not None:
        raise typer.BadParameter("--backbone belongs to --photos FOLDER")
    if (mnist_train is None) != (mnist_test is None):
        raise typer.BadParameter("--mnist-train and --mnist-test belong together")
    parameters = Parameters(reads=reads)
    for path in filter(None, (mnist_train, mnist_test)):
        read_images(str(path))  # a wrong file is refused before the digits are trained
    if photos is not None:
        with open_app(embedded=True, workers=workers) as app_context:
            show_photos(app_context, photos, backbone, scale, parameters, json=json)
        return
    with open_app(embedded=True, workers=workers, solver=Solver.EMULATOR) as app_context:
        network = show_digits(app_context, parameters, json=json)
        show_qubits(app_context, network, reads, json=json)
        if mnist_train and mnist_test:
            show_mnist(app_context, mnist_train, mnist_test, parameters, json=json)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"annealq {version('annealq')}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line: errors become one line and an exit code, 1 failed or 2 usage."""
    run(app)


if __name__ == "__main__":
    main()
