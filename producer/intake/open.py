"""Writes a run with the first of its batches, or finds the run of an idempotency key."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import insert
from sqlalchemy.orm import Session

from producer.enqueued import Enqueued
from producer.images.origin import DataOrigin
from producer.intake.groups import groups, grown_digest, rows_of
from producer.intake.references import shard_of
from producer.intake.source import LargeSource, Part
from producer.intake.waiting import LEASE, origin_of
from producer.networks.chosen import ChosenNetwork
from producer.networks.compatibility import match_images
from producer.runs.batch_size import batch_size
from producer.runs.enqueue import run_row, write_run
from producer.runs.request import RunOptions
from schema.codecs import arrays
from schema.database import Database, record_event
from schema.database.leader_lease import process_name
from schema.errors import IdempotencyConflict, ImageError
from schema.parameters import Parameters, Solver
from schema.states import IntakeState
from schema.tables import Intake


def open_intake(
    database: Database,
    source: LargeSource,
    network: ChosenNetwork,
    solver: Solver,
    parameters: Parameters,
    options: RunOptions,
    also: Callable[[Session, int], None] | None = None,
    *,
    by_reference: bool = False,
    background: bool = False,
) -> Enqueued:
    """Commit a run of ``network`` with the first batches of ``source`` to ``database``, or nothing.

    The run may start at once; `producer.intake.read_on` adds the other batches.

    Args:
        solver, parameters, options, also: as for `producer.runs.enqueue.enqueue_run`.
        by_reference: batches name rows of the files instead of holding images.
        background: processes of the service read on, nobody else. A run of the same key must then have been
            read from the same files.

    Raises:
        ImageError, ParameterError, IdempotencyConflict: as `enqueue_run` says; of the images, the first only
            are looked at.
        ShardError: workers could not read the rows.
    """
    parameters.check_for(solver)
    network.refuse_without(parameters.without)
    with database.reading() as session:
        size = batch_size(
            session, network.id, solver, parameters, network.shape.nbytes, wanted=options.batch_size
        )
    files = [file.to_dict() for file in source.files]
    group = next(groups(source.read(), size), None)
    if group is None:
        raise ImageError(f"{source.name} holds no images: give another source")
    images = match_images(replace(group.images, origin=_shown_origin(source), notes=source.notes), network)
    matching = group._replace(images=images)
    shard = shard_of(source, group, matching) if by_reference else None
    batches = rows_of(matching, 0, 0, size, shard)
    what = {"network": network.id, "solver": str(solver), "parameters": parameters.to_dict()}
    content = grown_digest(arrays.digest(arrays.canonical(what)), batches)
    run = run_row(images, network, solver, parameters, options.columns(), content) | {"batches": len(batches)}

    intake = _intake(source, files, group, size) | {"by_reference": by_reference, "background": background}

    def complete(session: Session, run_id: int) -> None:
        _insert(session, run_id, intake, database.now(session))
        if also is not None:
            also(session, run_id)

    enqueued = write_run(database, run, batches, options.tags, options.submission, complete, is_whole=False)
    if background and not enqueued.created:
        with database.reading() as session:
            _refuse_other_files(session, enqueued.id, source, files, options.key)
    return enqueued


def _intake(source: LargeSource, files: list[dict[str, Any]], group: Part, size: int) -> dict[str, Any]:
    """Return the columns of the intake of ``source``, whose first ``group`` is in batches of ``size``."""
    return {
        "state": IntakeState.READING,
        "files": files,
        "batch_size": size,
        "source": None if source.sent_as is None else source.origin.to_dict(),
        "reader": process_name(),
        "rows": int(group.rows[-1]) + 1,
        "total": source.count,
    }


def _insert(session: Session, run: int, intake: Mapping[str, Any], now: datetime) -> None:
    """Write the ``intake`` of ``run``; one of the background may be read on at once."""
    leased_until = now if intake["background"] else now + LEASE
    session.execute(
        insert(Intake).values({**intake, "id": run, "read_at": now, "leased_until": leased_until})
    )
    record_event(session, "intakes", run, None, IntakeState.READING, now=now)


def _shown_origin(source: LargeSource) -> DataOrigin:
    """Return where ``source`` comes from, for display: of uploaded files only their name."""
    if source.sent_as is None:
        return source.origin
    return DataOrigin(source.name, source.name, uploaded=True)


def _refuse_other_files(
    session: Session, run: int, source: LargeSource, files: Sequence[Mapping[str, Any]], key: str | None
) -> None:
    """Raise IdempotencyConflict if ``run``, which has the ``key`` of a request, reads other ``files``.

    Uploaded ones are recognised by their digests.
    """
    intake = session.get_one(Intake, run)
    before, now = origin_of(session, run), source.origin
    options = ("classes", "limit", "read_as", "invert", "skip_unreadable", "scale_pixels")
    same = [getattr(before, name) == getattr(now, name) for name in options]
    if source.sent_as is None:
        same.append(intake.source is None and list(intake.files) == list(files))
    else:
        same += [before.sha256 == now.sha256, before.labels_sha256 == now.labels_sha256]
    if not all(same):
        raise IdempotencyConflict(
            f"idempotency key {key!r} belongs to run {run}, a request with other values of images: use "
            "another key, or submit exactly the same",
            ["images"],
        )
