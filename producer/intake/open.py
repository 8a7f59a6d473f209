"""Writes a run with the first of its batches, or finds the run of an idempotency key."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from sqlalchemy import insert
from sqlalchemy.orm import Session

from producer.enqueued import Enqueued
from producer.intake.groups import groups, grown_digest, rows_of
from producer.intake.references import shard_of
from producer.intake.source import LargeSource
from producer.networks.chosen import ChosenNetwork
from producer.networks.compatibility import match_images
from producer.runs.batch_size import batch_size
from producer.runs.enqueue import run_row, write_run
from producer.runs.request import RunOptions
from schema.codecs import arrays
from schema.database import Database, record_event
from schema.errors import ImageError
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
) -> Enqueued:
    """Commit a run of ``network`` with the first batches of ``source`` to ``database``, or nothing.

    The run may start at once; `producer.intake.read_on` adds the other batches.

    Args:
        solver, parameters, options, also: as for `producer.runs.enqueue.enqueue_run`.
        by_reference: batches name rows of the files instead of holding images.

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
    images = match_images(replace(group.images, origin=source.origin, notes=source.notes), network)
    matching = group._replace(images=images)
    shard = shard_of(source, group, matching) if by_reference else None
    batches = rows_of(matching, 0, 0, size, shard)
    what = {"network": network.id, "solver": str(solver), "parameters": parameters.to_dict()}
    content = grown_digest(arrays.digest(arrays.canonical(what)), batches)
    run = run_row(images, network, solver, parameters, options.columns(), content) | {"batches": len(batches)}

    def complete(session: Session, run_id: int) -> None:
        now = database.now(session)
        values: dict[str, Any] = {
            "id": run_id,
            "state": IntakeState.READING,
            "files": files,
            "batch_size": size,
            "by_reference": by_reference,
            "rows": int(group.rows[-1]) + 1,
            "total": source.count,
            "read_at": now,
        }
        session.execute(insert(Intake).values(values))
        record_event(session, "intakes", run_id, None, IntakeState.READING, now=now)
        if also is not None:
            also(session, run_id)

    return write_run(database, run, batches, options.tags, options.submission, complete, is_whole=False)
