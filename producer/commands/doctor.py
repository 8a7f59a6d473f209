"""`annealq doctor`: compares the database with itself, and with a solver's list of problems."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from producer.commands.shared import options as o
from schema.quantities import count_text

if TYPE_CHECKING:
    from producer.doctor.finding import Diagnosis

_SHOWN = 20  # findings of one check; --json has all of them

_HELP = """Check the database against itself: is every row there, undamaged and consistent?

It reads every row that holds bytes, one after another, and can run while workers are active. It checks

\b
    revision         tables and columns are those of this annealq
    run-counts       what runs count, against their batches
    batch-gaps       batches follow upon each other
    classifications  one for each image of a scored batch, none before
    run-states       a finished run has no unfinished batch
    times            states have the times, ids and charges that they need
    leases           work whose worker stopped renewing its lease long ago
    sending          problems whose arrival is unknown for longer than the quarantine
    orphans          rows that refer to missing rows
    coverage         every image of a sampled batch is in one answered problem
    sample-sets      answered problems have their raw reads
    spendings        QPU time of runs, against their problems
    checksums        images and labels, weights, graphs, tilings, reads, broken chains, scores, training sets

A note tells what the service has announced about a solver, such as its end.

With --solver it also compares the ledger with the solver's own list, by label: problems that one side does
not know, other states, other charges. Nothing is sent, and nothing is charged.

--repair does what is safe: it counts again, releases work whose lease has expired, removes rows that belong
to deleted rows, and lets batches of local solvers be sampled again. Each repair applies only if the row is
still as it was found, and is noted in the table `events`. Problems are never submitted, and readable sample
sets never removed. For the rest each finding says what to do.

Exit code 0: nothing was found, or all of it is repaired. 1: something is wrong. 2: usage.

Example: `annealq doctor --solver emulator`.
"""


def doctor(
    solver_name: Annotated[
        str | None,
        typer.Option("--solver", "-s", help="Also compare the ledger with this solver: emulator or dwave."),
    ] = None,
    repair: Annotated[bool, typer.Option("--repair", help="Repair what is safe to repair.")] = False,
    json: o.Json = False,
) -> None:
    from producer.doctor import examination
    from producer.doctor.solver_problems import require_remote
    from producer.reports.progress import StepBars
    from producer.reports.terminal import print_json, screen
    from schema.database import Database
    from schema.parameters import solver
    from schema.settings import load, load_worker

    chosen = None if solver_name is None else solver(solver_name)
    if chosen is not None:
        require_remote(chosen)
    settings, limits = load(), load_worker()
    opened = Database(settings.database_url)
    try:
        with StepBars(screen()) as steps:
            diagnosis = examination.examine(opened, settings, limits, steps.start_step, chosen)
        if repair:
            diagnosis = examination.repair(opened, diagnosis)
    finally:
        opened.dispose()
    if json:
        print_json(diagnosis.to_dict())
    else:
        _show(diagnosis)
    raise typer.Exit(0 if diagnosis.ok else 1)


doctor.__doc__ = _HELP


def _show(diagnosis: Diagnosis) -> None:
    shown: dict[str, int] = {}
    for finding in diagnosis.findings:
        shown[finding.check] = shown.get(finding.check, 0) + 1
        if shown[finding.check] > _SHOWN:
            continue
        row = "" if finding.row is None else f" {finding.row}"
        typer.echo(f"{finding.check}: {finding.table}{row}: {finding.what}")
        typer.echo(f"    {'repaired' if finding.repaired else finding.hint}")
    for check, found in shown.items():
        if found > _SHOWN:
            typer.echo(f"{check}: {found - _SHOWN:,} more; --json has all of them")
    for note in diagnosis.notes:
        typer.echo(f"note: {note}")
    left = sum(not finding.repaired for finding in diagnosis.findings)
    repaired = len(diagnosis.findings) - left
    looked = f"looked at {count_text(sum(diagnosis.checked.values()), 'row')}"
    if not diagnosis.findings:
        typer.echo(f"{looked}: all is well")
        return
    could = sum(one.repair is not None and not one.repaired for one in diagnosis.findings)
    hint = f", --repair can repair {could}" if could else ""
    findings = "1 finding" if left == 1 else f"{left} findings"
    typer.echo(f"{looked}: {findings} left, {repaired} repaired{hint}")
