"""`annealq schedules`: classify again at given times."""

from __future__ import annotations

import functools
import inspect
from dataclasses import asdict
from typing import Annotated, Any

import typer

from producer.commands.classify import classify
from producer.commands.service.read import read_in_background
from producer.commands.shared import options as o
from producer.commands.shared.help import App
from producer.commands.shared.reading import print_notes
from producer.commands.shared.request import takes_request
from producer.runs.request import ClassificationRequest
from schema.errors import ParameterError
from schema.states import FiringState

app = App(
    help="Classify at given times: add, list, show, pause, resume, remove and run schedules.\n\n"
    'Start here: `annealq schedules add nightly --cron "0 22 * * mon-fri" --tz Europe/London -- classify '
    "DATA --solver dwave --window 22:00-06:00`. `annealq up` starts its runs; elsewhere `annealq "
    "schedules serve` does, on a machine that can read the data.",
    no_args_is_help=True,
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The schedule's name.")]

# Options that only make sense for a single run.
_NOT_SCHEDULED = {
    "--dry-run": "dry_run",
    "--embedded": "embedded",
    "--workers": "workers",
    "--detach": "detach",
    "--json": "json",
    "--idempotency-key": "key",
}


@app.command()
def add(
    name: Name,
    command: Annotated[
        list[str],
        typer.Argument(metavar="-- classify DATA ...", help="The command to run, as on the command line."),
    ],
    cron: Annotated[
        str,
        typer.Option(
            "--cron",
            help="When: minute, hour, day of month, month, day of week; `0 22 * * mon-fri` is 22:00 from "
            "Monday to Friday. When clocks change, a skipped time is due right after, and a repeated one "
            "is due once.",
        ),
    ],
    zone: Annotated[
        str | None,
        typer.Option(
            "--tz",
            help="Time zone of --cron, for example Europe/London; default: that of this machine, or UTC.",
        ),
    ] = None,
) -> None:
    """Add a schedule. Its data are read now, as a check, and again each time it is due.

    Due times that are missed while nothing runs are combined into one run.

    Example: `annealq schedules add nightly --cron "0 22 * * mon-fri" -- classify photos.npz --reads 200`.
    """
    from producer.context import database
    from producer.planning import schedules
    from schema.calendar.cron import Cron
    from schema.calendar.run_hours import format_time

    timed = Cron.parse(cron, o.zone_name(zone))
    request = _scheduled(command).in_zone(timed.zone_name).from_anywhere()
    with database() as opened:
        print_notes(schedules.add(opened, name, timed, request))
        with opened.reading() as session:
            next_at = schedules.get(session, name).next_at
    if next_at is not None:
        typer.echo(f"schedule {name} is due first {format_time(next_at, timed.zone)}")


@app.command("list")
def list_schedules(json: o.Json = False) -> None:
    """List schedules: when each is due, and the result of its latest firing.

    Example: `annealq schedules list`.
    """
    from producer.context import database
    from producer.planning import schedules
    from producer.reports import schedules as reports_schedules
    from producer.reports.terminal import page, print_json

    with database() as opened, opened.reading() as session:
        summaries = schedules.list_all(session)
    if json:
        print_json([asdict(summary) for summary in summaries])
    elif summaries:
        page().print(reports_schedules.schedules_table(summaries))
    else:
        typer.echo("no schedules yet: `annealq schedules add --help`")


@app.command()
def show(name: Name, json: o.Json = False) -> None:
    """Show a schedule: its command and its latest firings.

    Example: `annealq schedules show nightly`.
    """
    from producer.context import database
    from producer.planning import schedules
    from producer.reports import schedules as reports_schedules
    from producer.reports.terminal import page, print_json

    with database() as opened, opened.reading() as session:
        schedule = schedules.get(session, name)
        firings = schedules.firings(session, name)
    if json:
        print_json({**asdict(schedule), "firings": [asdict(firing) for firing in firings]})
    else:
        page().print(reports_schedules.schedule_text(schedule, firings))


@app.command()
def pause(name: Name) -> None:
    """Pause a schedule until `schedules resume`; its runs continue.

    Example: `annealq schedules pause nightly`.
    """
    from producer.context import database
    from producer.planning import schedules

    with database() as opened:
        schedules.pause(opened, name)
    typer.echo(f"schedule {name} is paused: `annealq schedules resume {name}`")


@app.command()
def resume(name: Name) -> None:
    """Resume a schedule; firings that fell due meanwhile are skipped.

    Example: `annealq schedules resume nightly`.
    """
    from producer.context import database
    from producer.planning import schedules
    from schema.calendar.run_hours import format_time
    from schema.calendar.windows import find_zone

    with database() as opened:
        due = schedules.resume(opened, name)
        with opened.reading() as session:
            zone = schedules.get(session, name).zone
    typer.echo(f"schedule {name} is resumed, and is due {format_time(due, find_zone(zone))}")


@app.command()
def remove(name: Name) -> None:
    """Remove a schedule; its runs stay.

    Example: `annealq schedules remove nightly`.
    """
    from producer.context import database
    from producer.planning import schedules

    with database() as opened:
        schedules.remove(opened, name)
    typer.echo(f"schedule {name} is removed")


@app.command()
def run(name: Name, json: o.Json = False) -> None:
    """Start an additional run of a schedule now.

    Example: `annealq schedules run nightly`.
    """
    from producer.context import AppContext, database
    from producer.planning import schedule_runner, schedules
    from producer.reports.terminal import print_json
    from schema.settings import load

    settings = load()
    with database(settings) as opened:
        app_context = AppContext(settings, opened)
        number = schedules.fire_now(opened, name)
        schedule_runner.enqueue_firing(app_context, number)
        with opened.reading() as session:
            firing = schedules.firing(session, number)
        if firing.run_id is not None:
            read_in_background(app_context, firing.run_id)
    if json:
        print_json(asdict(firing))
    elif firing.state is FiringState.FAILED:
        typer.echo(f"no run could be made: {firing.error}", err=True)
    else:
        typer.echo(f"run {firing.run_id} is queued: `annealq runs watch {firing.run_id}`")
    if firing.state is FiringState.FAILED:
        raise typer.Exit(1)


@app.command()
def serve() -> None:
    """Start runs of due schedules until Ctrl-C, as `annealq up` does; of several processes one works.

    Example: `annealq schedules serve`.
    """
    import signal
    import threading

    from producer.context import AppContext, database
    from producer.planning import schedule_runner
    from schema.settings import load

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    settings = load()
    with database(settings) as opened:
        schedule_runner.serve(AppContext(settings, opened), stop)


def _scheduled(command: list[str]) -> ClassificationRequest:
    """Return the request of a `classify` ``command`` line.

    Raises:
        ParameterError: it is another command, or has an option that only makes sense once.
    """
    if command[0] != "classify":
        raise ParameterError(f"{command[0]!r} cannot be scheduled: write `-- classify DATA ...`")

    @takes_request
    @functools.wraps(inspect.unwrap(classify))
    def collect(request: ClassificationRequest, **once: Any) -> ClassificationRequest:
        for option, name in _NOT_SCHEDULED.items():
            if once[name]:
                raise ParameterError(f"a schedule has no {option}: leave it out")
        return request

    parser = typer.Typer(add_completion=False, rich_markup_mode=None)
    parser.command()(collect)
    request: ClassificationRequest = typer.main.get_command(parser).main(
        command[1:], prog_name="annealq schedules add NAME -- classify", standalone_mode=False
    )
    return request
