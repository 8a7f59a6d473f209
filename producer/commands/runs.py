"""`annealq runs`: runs, their progress and their results."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from producer.commands.exports.export import export
from producer.commands.exports.track import track_run
from producer.commands.ocean.samples import samples
from producer.commands.service.read import read
from producer.commands.shared.help import App
from producer.commands.shared.options import MAX_NUMBER, Number
from producer.commands.shared.watching import _show, follow_and_print, print_enqueued
from producer.commands.verify import bundle
from producer.progress.reasons import outages_of
from schema.parameters import Parameters, Rule, Unembedding
from schema.quantities import count_text
from schema.states import RunState

app = App(
    help="List, show, watch, compare, report, export, track, prove, control, rescore, prune and delete runs.",
    no_args_is_help=True,
)
app.command()(bundle)
app.command()(export)
app.command("track")(track_run)
app.command()(samples)
app.command()(read)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_TIMES = ["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"]


@app.command("list")
def list_runs(
    limit: Annotated[
        int, typer.Option("--limit", "-l", min=1, max=MAX_NUMBER, help="How many, newest first.")
    ] = 20,
    state: Annotated[RunState | None, typer.Option("--state", help="Only runs in this state.")] = None,
    name: Annotated[str | None, typer.Option("--name", help="Only runs whose name contains this.")] = None,
    network: Annotated[
        str | None, typer.Option("--network", "-n", help="Only runs by NAME or NAME@VERSION.")
    ] = None,
    since: Annotated[
        datetime | None,
        typer.Option("--since", formats=_TIMES, help="Only runs enqueued from then on, in local time."),
    ] = None,
    tag: Annotated[str | None, typer.Option("--tag", help="Only runs that have this tag.")] = None,
    json: Json = False,
) -> None:
    """List the newest runs.

    Example: `annealq runs list --state failed --since 2026-11-01`.
    """
    from producer.context import database
    from producer.reports import run as reports_run
    from producer.reports.terminal import page, print_json
    from producer.runs import queries
    from producer.runs.filters import RunFilter
    from producer.runs.summary import outage_values

    with database() as opened, opened.reading() as session:
        from_then_on = None if since is None else since.astimezone(UTC)
        wanted = RunFilter(state=state, name=name, network=network, since=from_then_on, tag=tag)
        summaries = queries.runs(session, limit, **wanted)
        tags = queries.tags(session, [run.run_id for run in summaries])
        outages = outages_of(session, summaries)
        accuracies, owners = queries.accuracies(session, summaries), queries.owners(session, summaries)
    if json:
        print_json(
            [
                asdict(run)
                | {"provisional": run.is_provisional, "tags": tags.get(run.run_id, [])}
                | {"accuracy": accuracies.get(run.run_id), "owner": owners.get(run.run_id)}
                | outage_values(outages.get(run.run_id))
                for run in summaries
            ]
        )
    elif summaries:
        page().print(reports_run.runs_table(summaries, outages, accuracies, owners, tags))
    elif any(wanted.values()):
        typer.echo("no such runs: `annealq runs list` shows all")
    else:
        typer.echo("no runs yet: `annealq classify DATA`")


@app.command()
def show(
    run: Number,
    scores: Annotated[
        bool, typer.Option("--scores", help="Also the mean consensus scores by true class.")
    ] = False,
    json: Json = False,
) -> None:
    """Show one run: figures, accuracy, predicted against true classes.

    Example: `annealq runs show 1 --scores`.
    """
    from producer.context import database

    with database() as opened:
        _show(opened, run, scores=scores, json=json)


@app.command()
def watch(run: Number, json: Json = False) -> None:
    """Follow a run until it is finished, from any terminal; Ctrl-C stops the watching, not the run.

    Example: `annealq runs watch 1`.
    """
    from producer.context import AppContext, database
    from schema.settings import load

    settings = load()
    with database(settings) as opened:
        follow_and_print(AppContext(settings, opened, lambda: None), run, json=json)


@app.command()
def pause(run: Number) -> None:
    """Pause a run, in its window too. Problems already submitted are still collected.

    Example: `annealq runs pause 1`.
    """
    from producer.context import database
    from producer.runs import control

    with database() as opened:
        control.pause(opened, run)
    typer.echo(f"run {run} is paused: `annealq runs resume {run}`")


@app.command()
def resume(
    run: Number,
    budget: Annotated[
        float | None,
        typer.Option("--budget", help="A new budget of QPU seconds for the whole run."),
    ] = None,
    now: Annotated[
        bool,
        typer.Option("--now", help="Open its window at once; it closes again at the end of the next window."),
    ] = False,
    qpu: Annotated[
        str | None,
        typer.Option("--qpu", help="Move it to another QPU, also while it waits for its own: as `classify`."),
    ] = None,
) -> None:
    """Resume a paused run, within its window; of a failed run only the missing part is done again.

    With --qpu, a run that waits for its solver continues on another one. A run whose images were not read to
    the end reads on from its source.

    Example: `annealq runs resume 1 --budget 2.5`.
    """
    from producer.commands.shared.options import microseconds
    from producer.commands.shared.reading import resume_run
    from producer.context import AppContext, database
    from producer.runs import hints
    from schema.messages import Message, Task
    from schema.settings import load

    settings = load()
    with database(settings) as opened:
        text = resume_run(AppContext(settings, opened), run, microseconds(budget), at_once=now, qpu=qpu)
    hints.send(settings.broker_url, Message(Task.DISPATCH))
    typer.echo(text)


@app.command()
def cancel(run: Number, json: Json = False) -> None:
    """Cancel a run: scored images are stored, problems that wait at the solver are withdrawn.

    Example: `annealq runs cancel 1`.
    """
    from producer.context import database
    from producer.reports.terminal import print_json
    from producer.runs import control

    with database() as opened:
        spent = control.cancel(opened, run)
    if json:
        print_json({"run_id": run, **asdict(spent)})
        return
    typer.echo(f"run {run} is cancelled; {spent.charged_us / 1e6:,.3f} s of QPU time were charged so far")
    if spent.in_flight:
        typer.echo(
            f"{count_text(spent.in_flight, 'problem')} ({spent.in_flight_us / 1e6:,.3f} s) are submitted: "
            f"those that still wait are withdrawn, the others are charged: `annealq runs show {run}`"
        )


@app.command()
def rescore(
    run: Number,
    rule: Annotated[Rule | None, typer.Option("--rule", help="How reads become class scores.")] = None,
    fraction: Annotated[
        float | None, typer.Option("--fraction", help="Share of lowest-energy reads that count.")
    ] = None,
    beta: Annotated[float | None, typer.Option("--beta", help="Inverse temperature of `boltzmann`.")] = None,
    reads: Annotated[int | None, typer.Option("--reads", "-r", help="An image's first N reads only.")] = None,
    unembedding: Annotated[
        Unembedding | None, typer.Option("--unembedding", help="With qubits: how a chain becomes one value.")
    ] = None,
    confidence: Annotated[
        float | None,
        typer.Option("--confidence", help="Of the set of classes of an image, that it holds the right one."),
    ] = None,
    by_class: Annotated[
        bool | None,
        typer.Option("--by-class/--not-by-class", help="Whether images of each class have the confidence."),
    ] = None,
    embedded: Annotated[
        bool,
        typer.Option("--embedded", help="Run a private broker and workers for the length of this command."),
    ] = False,
    detach: Annotated[
        bool, typer.Option("--detach", help="Enqueue, print the run's number and return.")
    ] = False,
    json: Json = False,
) -> None:
    """Score the stored raw samples of a run in another way, as a new run. No image is sampled again.

    Example: `annealq runs rescore 1 --rule boltzmann`.
    """
    from producer.commands.shared.session import open_app
    from producer.jobs import check_rescoring, submit_rescoring

    if detach and embedded:
        raise typer.BadParameter(
            "the embedded workers stop with this command; leave out --detach or --embedded"
        )
    wanted = {"rule": rule, "fraction": fraction, "beta": beta, "reads": reads, "unembedding": unembedding}
    wanted |= {"confidence": confidence, "by_class": by_class}
    changes = {name: value for name, value in wanted.items() if value is not None}
    Parameters.from_dict({name: value for name, value in changes.items() if name != "by_class"})
    with open_app(embedded=embedded, check=partial(check_rescoring, run=run, changes=changes)) as app:
        rescored = submit_rescoring(app, run, changes)
        if detach:
            print_enqueued(rescored, json=json)
            return
        follow_and_print(app, rescored.id, json=json)


@app.command("report")
def write_report(
    run: Number,
    html: Annotated[
        Path | None, typer.Option("--html", help="One page that needs no other file, for a browser.")
    ] = None,
    md: Annotated[
        bool, typer.Option("--md", help="Markdown on standard output; the default without --html.")
    ] = False,
) -> None:
    """Write a report of a run: figures, charts, the least certain images, and the commands that repeat it.

    Example: `annealq runs report 1 --html run-1.html`.
    """
    from producer.context import database
    from producer.dashboard.report import run_report
    from producer.files import replacing

    with database() as opened, opened.reading() as session:
        if html is not None:
            with replacing(html) as part:
                part.write_text(run_report.html(session, run), encoding="utf-8")
            typer.echo(f"written to {html}", err=True)
        if md or html is None:
            typer.echo(run_report.markdown(session, run))


@app.command()
def compare(
    first: Annotated[int, typer.Argument(max=MAX_NUMBER, help="The number of a run.")],
    second: Annotated[
        int, typer.Argument(max=MAX_NUMBER, help="The number of another run of the same images.")
    ],
    json: Json = False,
) -> None:
    """Compare two runs of the same images: agreement, McNemar's test, where they differ, QPU time.

    Example: `annealq runs compare 1 2`.
    """
    from producer.context import database
    from producer.reports.comparison import compare_runs, comparison_text
    from producer.reports.terminal import page, print_json

    with database() as opened, opened.reading() as session:
        comparison = compare_runs(session, first, second)
    if json:
        print_json(asdict(comparison))
    else:
        page().print(comparison_text(comparison))


@app.command()
def delete(
    runs: Annotated[list[int], typer.Argument(metavar="RUN...", max=MAX_NUMBER, help="Numbers of runs.")],
    with_charges: Annotated[
        bool, typer.Option("--with-charges", help="Also runs that were charged QPU time.")
    ] = False,
) -> None:
    """Delete finished runs: images, reads, scores and problems.

    A run that was charged is in the ledger, from which budgets are computed: it is deleted only with
    --with-charges. To free space and keep the results, use `annealq runs prune`.

    Example: `annealq runs delete 1 2`.
    """
    from producer.context import database
    from producer.runs.prune import delete_run

    with database() as opened:
        for run in runs:
            delete_run(opened, run, with_charges=with_charges)
            typer.echo(f"run {run} is deleted")


@app.command()
def prune(
    run: Annotated[
        int | None, typer.Argument(metavar="[RUN]", max=MAX_NUMBER, help="The run's number.")
    ] = None,
    older_than: Annotated[
        float | None, typer.Option("--older-than", help="All runs that ended at least this many days ago.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be removed; remove nothing.")
    ] = False,
    json: Json = False,
) -> None:
    """Remove the raw reads of finished runs, which take most of the space; scores and the ledger stay.

    Such a run cannot be scored again. A SQLite file does not shrink, but reuses the space.

    Example: `annealq runs prune --older-than 30 --dry-run`.
    """
    from producer.context import database
    from producer.images.limits import format_bytes
    from producer.reports.progress import StepBars
    from producer.reports.terminal import print_json, screen
    from producer.runs import prune as runs_prune

    with database() as opened, StepBars(screen()) as steps:
        removed = runs_prune.prune(
            opened, run=run, older_than_days=older_than, dry_run=dry_run, start_step=steps.start_step
        )
    if json:
        print_json({"removed": [asdict(pruned) for pruned in removed], "dry_run": dry_run})
        return
    verb = "would remove" if dry_run else "removed"
    for pruned in removed:
        typer.echo(
            f"{verb} reads of run {pruned.run_id}: {count_text(pruned.problems, 'problem')}, "
            f"{format_bytes(pruned.bytes)}"
        )
    if not removed:
        typer.echo("nothing to remove: no finished run has reads that can be removed")
