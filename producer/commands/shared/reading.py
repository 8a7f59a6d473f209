"""Reads the images that a command names, at once or in pieces, and prints what was changed or left out."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from producer.commands.shared.interrupting import INTERRUPTED
from producer.commands.shared.request import declared
from producer.images.preprocessing import Fit, Preprocessing, ReadAs
from producer.runs.request import RunRequest
from schema.errors import StorageError
from schema.parameters import fields_of
from schema.quantities import count_text
from schema.states import PausedBy

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from producer.context import AppContext
    from producer.images.imageset import ImageSet
    from producer.intake.source import LargeSource
    from schema.network.layers import Input

_AUTOMATIC = (PausedBy.WINDOW, PausedBy.DAY, PausedBy.MONTH)
_FIELDS = fields_of(RunRequest)

ArrayKind = Annotated[ReadAs | None, declared("read_as", _FIELDS["read_as"])]
Resize = Annotated[str | None, declared("resize", _FIELDS["resize"])]
Fitted = Annotated[Fit, declared("fit", _FIELDS["fit"])]
Invert = Annotated[bool, declared("invert", _FIELDS["invert"])]
SkipUnreadable = Annotated[bool, declared("skip_unreadable", _FIELDS["skip_unreadable"])]


def read(
    data: str,
    labels: Path | None,
    limit: int | None,
    preprocessing: Preprocessing,
    takes: Callable[[bool], Input | None] | None = None,
) -> ImageSet:
    """Return the first ``limit`` images of ``data``, or all, prepared; print what was changed or left out.

    ``takes`` is that of `producer.images.source.read_images`.
    """
    from producer.images.source import read_images
    from producer.images.stores import readable

    with readable(data) as source:
        images = _found_at(read_images(source, labels, preprocessing, takes=takes), data)
    print_notes(images)
    return images if limit is None else images.limit(limit)


def inputs_of(name: str | None) -> Callable[[bool], Input | None]:
    """Return `producer.networks.choose.inputs` for the network ``name`` in the database of this process.

    It knows nothing while there is no database of this version: the command says so when it needs one.
    """
    from producer.context import database
    from producer.networks.choose import inputs

    def find(pictures_differ: bool) -> Input | None:
        try:
            with database() as opened:
                return inputs(opened, name)(pictures_differ)
        except StorageError:
            return None

    return find


def _found_at(images: ImageSet, data: str) -> ImageSet:
    """Return ``images`` with the address ``data`` as their origin, if it is one."""
    from producer.images.stores import is_stored

    if images.origin is None or not is_stored(data):
        return images
    return replace(images, origin=replace(images.origin, data=data))


def print_notes(images: ImageSet) -> None:
    """Print to standard error, in one line, what was changed or left out when ``images`` were read."""
    _print_notes(images.name, images.notes)


def _print_notes(name: str, notes: Sequence[str]) -> None:
    from producer.reports.terminal import screen

    if notes:
        screen().print(f"{name}: {'; '.join(notes)}", markup=False, soft_wrap=True)


def read_all(app: AppContext, run: int, source: LargeSource, key: str | None = None) -> None:
    """Add those images of ``source`` to ``run`` of ``app`` that it has not yet; workers sample the others.

    Args:
        key: idempotency key of the command; the same command reads on.

    Raises:
        ImageError, StaleState: as `read_on` says.
        KeyboardInterrupt: workers stop with this command, and its stack wants to know.
        typer.Exit: otherwise, after Ctrl-C.
    """
    from producer.intake.growth import GrowthHints
    from producer.intake.read_on import read_on
    from producer.reports.progress import StepBars
    from producer.reports.terminal import screen

    notifier, said = GrowthHints(app, run), source.notes
    images = 0
    with StepBars(screen()) as steps:
        advance = steps.start_step("reading", source.count)

        def report(now: int) -> None:
            nonlocal images
            app.check()
            advance(now - images)
            images = now

        try:
            read_on(app.database, run, source, report, notifier.grown)
        except KeyboardInterrupt as interruption:
            again = "the same command, or " if key is not None else ""
            text = (
                f"run {run} has {count_text(images, 'image')} so far: {again}`annealq runs resume {run}` "
                f"reads on from there; `annealq runs cancel {run}` ends it"
            )
            screen().print(text, markup=False, highlight=False)
            if hasattr(interruption, "exit_code"):
                raise
            raise typer.Exit(INTERRUPTED) from None
    notifier.ended()
    _print_notes(source.name, [note for note in source.notes if note not in said])


def resume_run(
    app: AppContext, run: int, budget_us: int | None = None, *, at_once: bool = False, qpu: str | None = None
) -> str:
    """Resume ``run`` of ``app``, and read the rest of its images; return what happens now, for display.

    Args:
        budget_us, at_once, qpu: as for `producer.runs.control.resume`.

    Raises:
        AnnealqError: as `control.resume` and `read_on` say.
    """
    from producer.intake.find import source_of
    from producer.intake.read_on import is_open
    from producer.intake.waiting import origin_of
    from producer.networks.choose import inputs
    from producer.runs import control, queries

    with app.database.reading() as session:
        before, reads_on = queries.run(session, run), is_open(session, run)
        origin = origin_of(session, run) if reads_on else None
    left = 0
    # Its images are read while it waits for its window, or for a budget.
    if not reads_on or at_once or budget_us is not None or before.paused_by not in _AUTOMATIC:
        left = control.resume(app.database, run, budget_us, at_once=at_once, qpu=qpu, again=reads_on)
    if origin is not None:
        read_all(app, run, source_of(origin, inputs(app.database, before.network)(False)))
    with app.database.reading() as session:
        now = queries.run(session, run)
    if now.paused_by is PausedBy.WINDOW:
        return f"run {run} waits: {now.pause_reason}; --now opens it at once"
    if reads_on:
        return f"run {run} has all of its {count_text(now.images, 'image')}: `annealq runs watch {run}`"
    return f"run {run} continues with {count_text(left, 'batch')} left: `annealq runs watch {run}`"
