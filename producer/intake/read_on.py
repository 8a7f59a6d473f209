"""Adds the images of a source to its run, transaction by transaction, from where the run ends.

A new run and one whose reader was killed take the same road: each transaction adds whole batches and moves
the number of images of the run on, so that no image is lost or comes twice wherever it is killed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from producer.intake.groups import groups, grown_digest, rows_of
from producer.intake.references import shard_of
from producer.intake.source import LargeSource, Part, SourceFile, difference
from producer.intake.verify import require_same_images
from producer.intake.waiting import LEASE, origin_of, shown_origin
from producer.networks.choose import network_of_run
from producer.networks.chosen import ChosenNetwork
from producer.networks.compatibility import match_images
from producer.runs.queries import run as summary_of
from schema.database import Database, transition
from schema.database.crash_points import CrashPoint, reach
from schema.database.new_runs import append_batches
from schema.errors import ImageError, NotFound, ParameterError, ShardError, StaleState
from schema.quantities import count_text
from schema.states import FINISHED_RUNS, IntakeState, PausedBy
from schema.tables import Intake, Run

Report = Callable[[int], None]


@dataclass(frozen=True)
class _Position:
    """How far a run is read: its images, batches, and digest of content so far, and the next row to read.

    ``notes``: what was changed and left out.
    """

    images: int
    batches: int
    rows: int
    content_sha256: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Open:
    """An intake that is read on: its run, its network, the images of a batch, and where it is."""

    run: int
    network: ChosenNetwork
    batch_size: int
    by_reference: bool
    files: tuple[SourceFile, ...]
    position: _Position
    has_ended: bool

    def match(self, group: Part) -> Part:
        """Return ``group`` as the network takes it; raise ImageError if it cannot."""
        return group._replace(images=match_images(group.images, self.network, int(group.rows[0])))


def is_open(session: Session, run: int) -> bool:
    """Return whether ``run``, which is not finished, has images that are not read yet, or may have."""
    row = session.execute(
        select(Intake.state, Run.state.label("run_state"), Run.paused_by)
        .join(Run, Run.id == Intake.id)
        .where(Intake.id == run)
    ).first()
    if row is None or row.run_state in FINISHED_RUNS or row.paused_by is PausedBy.DEADLINE:
        return False
    return row.state is not IntakeState.ENDED


def read_on(
    database: Database,
    run: int,
    source: LargeSource,
    report: Report = lambda _images: None,
    notify: Callable[[], None] = lambda: None,
) -> None:
    """Add the images of ``source`` that ``run`` of ``database`` has not to it, and end its intake.

    Args:
        report: is called with the number of images of the run.
        notify: is called when batches were added.

    Raises:
        ImageError: the source has changed, or a row cannot be used: what was read before it stays, and the
            intake has stopped.
        StaleState: another process reads the same source, or the run was cancelled meanwhile.
        ParameterError: the run has finished.
    """
    opened = _take_up(database, run, source)
    if changed := difference(opened.files, source.files):
        require_same_images(database, run, source, opened.match, opened.batch_size, changed)
    position = first = opened.position
    report(first.images)
    if opened.has_ended:
        return
    try:
        with ThreadPoolExecutor(1, "annealq-read") as reader:
            for group in _ahead(reader, groups(source.read(first.rows), opened.batch_size)):
                position = _append(database, opened, position, source, group)
                report(position.images)
                notify()
        if position.rows < source.end and not source.origin.skip_unreadable:
            raise ImageError(f"{source.name} ends there and announces {source.end:,}: fetch it again")
    except (ImageError, ShardError) as error:
        why = f"reading stopped after {count_text(position.images, 'image')}: {error}"
        stop_reading(database, run, why)
        raise ImageError(
            f"run {run}: {why}; repair that, and read on by `annealq runs resume {run}`, or end the run by "
            f"`annealq runs cancel {run}`"
        ) from error
    _end(database, run, position, source.end)
    notify()


def _take_up(database: Database, run: int, source: LargeSource) -> _Open:
    """Return the intake of ``run``, which is read from now on unless it has ended.

    Raises:
        ImageError: ``source`` has another number of images, or is read in another way.
    """
    with database.transaction() as session:
        intake = session.get(Intake, run)
        if intake is None:
            summary_of(session, run)  # raises NotFound
            raise NotFound(f"run {run} was enqueued at once: there is nothing to read on")
        columns = (Run.images, Run.batches, Intake.rows, Run.content_sha256)
        row = session.execute(select(*columns).join(Intake, Intake.id == Run.id).where(Run.id == run)).one()
        summary = summary_of(session, run)
        has_ended = intake.state is IntakeState.ENDED
        if summary.state in FINISHED_RUNS and not has_ended:
            raise ParameterError(f"run {run} is {summary.state}: no images can be added to it any more")
        before, now = (replace(each, labels=None) for each in (origin_of(session, run), source.origin))
        if source.count != intake.total or before.options() != now.options():
            text = " ".join(now.options()) or "no options"
            raise ImageError(
                f"run {run} reads {count_text(intake.total or 0, 'image')}, and {source.name} has "
                f"{source.count:,} with {text}: restore the source and the options, or end the run by "
                f"`annealq runs cancel {run}` and start another"
            )
        if intake.state is IntakeState.STOPPED:
            stopped, reading = IntakeState.STOPPED, IntakeState.READING
            transition(session, run, stopped, reading, now=database.now(session), why="read on", error=None)
        return _Open(
            run=run,
            network=network_of_run(session, run),
            batch_size=intake.batch_size,
            by_reference=intake.by_reference,
            files=tuple(SourceFile.from_dict(file) for file in intake.files),
            position=_Position(*row, shown_origin(session, run).notes),
            has_ended=has_ended,
        )


def _ahead(reader: ThreadPoolExecutor, read: Iterator[Part]) -> Iterator[Part]:
    """Yield what ``read`` does, of which the next is read meanwhile."""
    following = reader.submit(next, read, None)
    while (group := following.result()) is not None:
        following = reader.submit(next, read, None)
        yield group


def _append(
    database: Database, opened: _Open, position: _Position, source: LargeSource, group: Part
) -> _Position:
    """Add ``group`` of ``source`` to the run in one transaction; return where it is then."""
    first = position.images
    matching = opened.match(group)
    shard = shard_of(source, group, matching) if opened.by_reference else None
    batches = rows_of(matching, first, position.batches, opened.batch_size, shard)
    grown = _Position(
        first + len(group.rows),
        position.batches + len(batches),
        int(group.rows[-1]) + 1,
        grown_digest(position.content_sha256, batches),
        tuple(dict.fromkeys((*position.notes, *source.notes, *matching.images.notes))),
    )
    try:
        with database.transaction() as session:
            now = database.now(session)
            what = (opened.run, batches, first, grown.rows, grown.content_sha256)
            append_batches(session, *what, now=now, leased_until=now + LEASE)
            if grown.notes != position.notes:
                origin = replace(shown_origin(session, opened.run), notes=grown.notes)
                session.execute(update(Run).where(Run.id == opened.run).values(data=origin.to_dict()))
            reach(CrashPoint.INTAKE_WRITTEN)
    except StaleState:
        with database.reading() as session:
            raise _ended_meanwhile(session, opened.run, first) from None
    reach(CrashPoint.INTAKE_GROWN)
    return grown


def _ended_meanwhile(session: Session, run: int, images: int) -> StaleState:
    """Return the error that says why no batch could be added to ``run``, which had that many ``images``."""
    row = summary_of(session, run)
    if row.state in FINISHED_RUNS or row.paused_by is PausedBy.DEADLINE:
        why = "its deadline has passed" if row.paused_by is PausedBy.DEADLINE else f"it is {row.state}"
        return StaleState(f"run {run}: {why}, so that no more images are read; {images:,} were")
    return StaleState(
        f"run {run}: another process reads its images, too, and goes on: `annealq runs watch {run}`"
    )


def stop_reading(database: Database, run: int, why: str) -> None:
    """Stop the intake of ``run``, which is being read, because of ``why``."""
    with database.transaction() as session:
        now = database.now(session)
        source, target = IntakeState.READING, IntakeState.STOPPED
        transition(session, run, source, target, now=now, why=why, error=why)


def _end(database: Database, run: int, position: _Position, rows: int) -> None:
    """End the intake of ``run``, all ``rows`` of its source, if the run still is at ``position``."""
    with database.transaction() as session:
        now = database.now(session)
        why = f"{count_text(position.images, 'image')}: all are read"
        source, target = IntakeState.READING, IntakeState.ENDED
        # Rows after the last image were left out.
        transition(session, run, source, target, now=now, why=why, finished_at=now, rows=rows)
        row = session.execute(select(Run.images, Run.state).where(Run.id == run)).one()
        if row.images != position.images:
            raise StaleState(f"run {run} has {row.images:,} by now: another process reads its images")
    reach(CrashPoint.INTAKE_ENDED)
