"""The command line: parse, call, print. Heavy imports wait inside the commands, so that --help is quick."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from producer.commands import db, networks, runs
from producer.commands.reproduce import reproduce
from schema.errors import AnnealqError
from schema.parameters import MAX_READS, Parameters, Rule, Visible, solver

app = typer.Typer(
    name="annealq",
    help="Classify images on a quantum annealer, as an asynchronous queue of batches.\n\n"
    "Start here: `annealq demo`, or `annealq classify digits --embedded`.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(runs.app, name="runs")
app.add_typer(networks.app, name="networks")
app.add_typer(db.app, name="db")
app.command()(reproduce)

Workers = Annotated[
    int | None, typer.Option("--workers", min=1, help="Batches at a time; default: one per processor.")
]
Embedded = Annotated[
    bool, typer.Option("--embedded", help="Run a private broker and workers for the length of this command.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")]


@app.command()
def classify(
    data: Annotated[
        str,
        typer.Argument(
            help="`digits`, an IDX file (.gz too), .npz (FILE:SPLIT chooses one of several), .npy, .csv, "
            "or a folder of images, flat or by class."
        ),
    ],
    network: Annotated[
        str | None,
        typer.Option(
            "--network", "-n", help="NAME or NAME@VERSION; default: the newest for this image size."
        ),
    ] = None,
    solver_name: Annotated[
        str, typer.Option("--solver", "-s", help="local (simulated annealing) or exact (Boltzmann draws).")
    ] = "local",
    reads: Annotated[
        int | None,
        typer.Option("--reads", "-r", help=f"Anneals for each image, 1 to {MAX_READS:,}; default: 100."),
    ] = None,
    labels: Annotated[
        Path | None, typer.Option("--labels", help="File of labels, where DATA has none.")
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", "-l", help="Only the first so many images.")] = None,
    classes: Annotated[
        str | None, typer.Option("--classes", help="Only images with these labels: 0,1,7 or names.")
    ] = None,
    visible: Annotated[
        Visible | None,
        typer.Option("--visible", help="Visible units: sampled (default), or folded into biases."),
    ] = None,
    rule: Annotated[
        Rule | None,
        typer.Option("--rule", help="How reads become class scores; default: lowest_energy_mean."),
    ] = None,
    fraction: Annotated[
        float | None, typer.Option("--fraction", help="Share of lowest-energy reads kept; default: 0.1.")
    ] = None,
    beta: Annotated[
        float | None, typer.Option("--beta", help="Inverse temperature of `boltzmann`; default: 1.")
    ] = None,
    sweeps: Annotated[
        int | None, typer.Option("--sweeps", help="Sweeps of the local annealer for each read.")
    ] = None,
    lam: Annotated[
        float | None, typer.Option("--lam", help="One-hot penalty; default: the network's.")
    ] = None,
    no_calibration: Annotated[
        bool,
        typer.Option("--no-calibration", help="Do not take what is not given here from a calibration."),
    ] = False,
    noise: Annotated[
        float, typer.Option("--noise", help="Errors on h and J, as a fraction of their ranges: 0.02, say.")
    ] = 0.0,
    seed: Annotated[int, typer.Option("--seed", help="The same seed gives the same reads.")] = 0,
    batch_size: Annotated[
        int, typer.Option("--batch-size", help="Images that one worker takes at a time.")
    ] = 100,
    priority: Annotated[int, typer.Option("--priority", help="Runs of higher priority go first.")] = 0,
    key: Annotated[
        str | None,
        typer.Option("--idempotency-key", help="Send again without fear: the same key is the same run."),
    ] = None,
    embedded: Embedded = False,
    workers: Workers = None,
    detach: Annotated[
        bool, typer.Option("--detach", help="Enqueue, print the run's number and return.")
    ] = False,
    json: Json = False,
) -> None:
    """Classify a data set: enqueue it as a run, watch it, print what came out."""
    from producer import images as reader
    from producer.enqueue import RunOptions
    from producer.jobs import submit, submit_calibrated
    from producer.session import work

    if detach and embedded:
        raise typer.BadParameter(
            "the embedded workers stop with this command; leave out --detach or --embedded"
        )
    given = {
        "reads": reads,
        "seed": seed,
        "visible": visible,
        "rule": rule,
        "fraction": fraction,
        "beta": beta,
        "sweeps": sweeps,
        "lam": lam,
        "noise": noise,
    }
    asked = {name: value for name, value in given.items() if value is not None}
    parameters = Parameters.from_dict(asked)
    chosen = solver(solver_name)
    options = RunOptions(batch_size=batch_size, priority=priority, key=key)
    images = reader.read(data, labels)
    if classes is not None:
        images = images.only(classes.split(","))
    if limit is not None:
        images = images.limit(limit)
    with work(embedded=embedded, workers=workers) as at:
        if no_calibration:
            run = submit(at, images, network, chosen, parameters, options)
        else:
            run, fitted = submit_calibrated(at, images, network, chosen, asked, options)
            runs.tell_calibration(fitted, images, asked)
        if detach:
            runs.show_enqueued(run, json=json)
            return
        runs.watch_and_show(at, run.id, json=json)


@app.command()
def up(workers: Workers = None) -> None:
    """Run the embedded stack until Ctrl-C: private broker, workers and reconciler of this home folder."""
    from producer.embedded import Interrupted, Stack
    from producer.session import screen
    from schema.settings import load

    settings, console = load(), screen()
    try:
        with Stack(
            settings, workers=workers, on_event=lambda line: console.print(line, style="dim")
        ) as stack:
            console.print(
                f"annealq is up in {settings.home}; logs in {settings.home / 'logs'}; stop with Ctrl-C"
            )
            number = stack.wait()
    except Interrupted as interruption:
        number = interruption.signal
    raise typer.Exit(0 if number.name == "SIGINT" else 128 + number)


@app.command()
def worker(
    concurrency: Annotated[
        int | None,
        typer.Option("--concurrency", "-c", min=1, help="Batches at a time; default: one per processor."),
    ] = None,
    queues: Annotated[
        str | None, typer.Option("--queues", "-Q", help="Comma-separated; default: all of them.")
    ] = None,
) -> None:
    """Run a worker in the foreground. Each database also needs one reconciler."""
    import os

    from producer.embedded import environment, processors, worker_command
    from schema.messages import Queue
    from schema.settings import load

    names = [q.value for q in Queue]
    wanted = names if queues is None else [f"annealq.{q.removeprefix('annealq.')}" for q in queues.split(",")]
    if unknown := set(wanted) - set(names):
        raise typer.BadParameter(f"unknown queue {min(unknown)}; there are: {', '.join(names)}")
    command = worker_command(concurrency or processors(), wanted)
    os.execvpe(command[0], command, {**os.environ, **environment(load(), os.environ)})  # noqa: S606


@app.command()
def reconciler() -> None:
    """Run the reconciler in the foreground; several may run, one of them leads."""
    import os

    from producer.embedded import environment
    from schema.settings import load

    command = [sys.executable, "-m", "worker.reconcile"]
    os.execvpe(command[0], command, {**os.environ, **environment(load(), os.environ)})  # noqa: S606


@app.command()
def demo(
    reads: Annotated[int, typer.Option("--reads", "-r", help="Anneals for each image.")] = 100,
    mnist_train: Annotated[
        Path | None, typer.Option("--mnist-train", help="Also train on MNIST: idx, npz ...")
    ] = None,
    mnist_test: Annotated[
        Path | None, typer.Option("--mnist-test", help="... and classify its test images.")
    ] = None,
    workers: Workers = None,
    json: Json = False,
) -> None:
    """Train a small network on handwritten digits and classify all of them, on a private stack."""
    from producer.demo import show_digits, show_mnist
    from producer.session import work

    if (mnist_train is None) != (mnist_test is None):
        raise typer.BadParameter("--mnist-train and --mnist-test belong together")
    with work(embedded=True, workers=workers) as at:
        show_digits(at, Parameters(reads=reads), json=json)
        if mnist_train and mnist_test:
            show_mnist(at, mnist_train, mnist_test, Parameters(reads=reads), json=json)


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
    """Entry point: errors raised on purpose become one line and an exit code, 1 failed or 2 usage."""
    try:
        app()
    except AnnealqError as error:
        typer.secho(f"error: {error}", err=True, fg="red")
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
