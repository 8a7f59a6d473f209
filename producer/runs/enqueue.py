"""Writes a run and all of its batches in one transaction. The same idempotency key gives the same run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from producer.enqueued import Enqueued
from producer.images.imageset import ImageSet
from producer.networks.chip_limits import refuse_unfit
from producer.networks.chosen import ChosenNetwork
from producer.networks.compatibility import match_images
from producer.runs.batch_size import batch_size
from producer.runs.filters import put_tags
from producer.runs.request import RunOptions
from schema.codecs.batches import BatchRow, batch_count, encode_batches, run_digest
from schema.database import Database
from schema.database.feature_requests import feature_requests
from schema.database.new_runs import insert_run
from schema.errors import IdempotencyConflict
from schema.parameters import Parameters, Solver, Visible
from schema.tables import Intake, Run, RunSubmission


def enqueue_run(
    database: Database,
    images: ImageSet,
    network: ChosenNetwork,
    solver: Solver,
    parameters: Parameters,
    options: RunOptions | None = None,
    also: Callable[[Session, int], None] | None = None,
) -> Enqueued:
    """Commit a run of ``images`` and ``network`` with all of its batches to ``database``, or nothing.

    Args:
        solver, parameters: how images are sampled and scored.
        options: how the run is worked on; nothing there changes a result.
        also: writes more about a new run, given its id, in the same transaction; an error undoes all.

    Raises:
        ImageError: the images do not suit the network (size, values, labels, class names).
        ParameterError: ``solver`` does not have one of the parameters, the network cannot do without a
            source, the known chips of the solver cannot take the run, or the deadline has passed.
        IdempotencyConflict: the key was used before, for another request.
    """
    parameters.check_for(solver)
    network.refuse_without(parameters.without)
    options = options or RunOptions()
    images = match_images(images, network)
    with database.reading() as session:
        size = batch_size(
            session, network.id, solver, parameters, images.shape.nbytes, wanted=options.batch_size
        )
    count = batch_count(len(images.images), size)
    content = run_digest(network.id, solver, parameters.to_dict(), images.images, images.labels)
    run = run_row(images, network, solver, parameters, options.columns(), content) | {"batches": count}
    batches = encode_batches(images.images, images.labels, images.sources, size)
    return write_run(database, run, batches, options.tags, options.submission, also)


def check_run(
    database: Database,
    images: ImageSet,
    network: ChosenNetwork,
    solver: Solver,
    parameters: Parameters,
    options: RunOptions,
    *,
    is_whole: bool = True,
) -> None:
    """Refuse what `enqueue_run` would refuse, and write nothing to ``database``.

    Args:
        images, network, solver, parameters, options: those of the run.
        is_whole: as for `write_run`.

    Raises:
        AnnealqError: as `enqueue_run` says.
    """
    parameters.check_for(solver)
    network.refuse_without(parameters.without)
    matching = match_images(images, network)
    content = run_digest(network.id, solver, parameters.to_dict(), matching.images, matching.labels)
    run = run_row(matching, network, solver, parameters, options.columns(), content)
    with database.reading() as session:
        feature_requests(session, network.id)  # raises if a backbone is not here
        _find(session, run, options.submission, is_whole=is_whole)


def visible_of(session: Session, key: str | None) -> Visible | None:
    """Return how the run under idempotency ``key`` treats visible units, read by ``session``, if it exists.

    So the same command and key are the same run, although an earlier version had another default.
    """
    if key is None:
        return None
    parameters = session.execute(select(Run.parameters).where(Run.idempotency_key == key)).scalar()
    return None if parameters is None else Visible(parameters["visible"])


def write_run(
    database: Database,
    run: dict[str, Any],
    batches: Iterable[BatchRow],
    tags: Sequence[str] = (),
    submission: Mapping[str, Any] | None = None,
    also: Callable[[Session, int], None] | None = None,
    *,
    is_whole: bool = True,
) -> Enqueued:
    """Commit the row ``run`` with ``batches`` to ``database``, or find the run that has its key.

    Args:
        tags, submission: as `producer.runs.request.RunOptions` has them.
        also: writes more about a new run, given its id, in the same transaction; an error undoes all.
        is_whole: ``batches`` are all of the run; if not, the content of a run that is found is compared
            without its images, and it must have an intake.

    Raises:
        ParameterError: the known chips cannot take the run, or its deadline has passed.
        IdempotencyConflict: the key was used before, for another request.
    """
    try:
        with database.transaction() as session:
            now = database.now(session)
            enqueued = _find_or_insert(session, run, batches, submission, now=now, is_whole=is_whole)
            if enqueued.created:
                put_tags(session, enqueued.id, tags)
                if also is not None:
                    also(session, enqueued.id)
            return enqueued
    except IntegrityError:
        # Another producer committed the same key between our read and our insert.
        with database.reading() as session:
            return _same_run(session, run, submission, is_whole=is_whole)


def run_row(
    images: ImageSet,
    network: ChosenNetwork,
    solver: Solver,
    parameters: Parameters,
    columns: Mapping[str, Any],
    content_sha256: str,
) -> dict[str, Any]:
    """Return the row of a run over ``images`` that match ``network``, without its number of batches.

    Args:
        solver, parameters: how images are sampled and scored.
        columns: how the run is worked on, as `RunOptions.columns` returns it.
        content_sha256: of everything that decides about its results.
    """
    return {
        **columns,
        "name": images.name,
        "data": images.stored_origin,
        "network_id": network.id,
        "network_reason": network.reason or None,
        "solver": solver,
        "parameters": parameters.to_dict(),
        "content_sha256": content_sha256,
        "images": len(images.images),
        "labelled": images.labels is not None,
    }


def _find_or_insert(
    session: Session,
    run: dict[str, Any],
    batches: Iterable[BatchRow],
    submission: Mapping[str, Any] | None,
    *,
    now: datetime,
    is_whole: bool,
) -> Enqueued:
    if (found := _find(session, run, submission, is_whole=is_whole)) is not None:
        return found
    inserted = insert_run(session, run, batches, now=now)
    if submission is not None:
        session.execute(insert(RunSubmission).values({**submission, "run_id": inserted, "created_at": now}))
    return Enqueued(inserted, created=True)


def _find(
    session: Session, run: dict[str, Any], submission: Mapping[str, Any] | None, *, is_whole: bool
) -> Enqueued | None:
    """Return the run that has the key of ``run``; None if it is a new one, which the known chips can take."""
    key = run["idempotency_key"]
    if key is not None and session.execute(select(Run.id).where(Run.idempotency_key == key)).first():
        return _same_run(session, run, submission, is_whole=is_whole)
    refuse_unfit(session, run["network_id"], run["solver"], Parameters.from_dict(run["parameters"]))
    return None


def _same_run(
    session: Session, run: dict[str, Any], submission: Mapping[str, Any] | None, *, is_whole: bool
) -> Enqueued:
    """Return the run that has the key of ``run``; raise IdempotencyConflict if another request made it."""
    key = run["idempotency_key"]
    query = select(Run, RunSubmission.request).outerjoin(RunSubmission, RunSubmission.run_id == Run.id)
    earlier, request = session.execute(query.where(Run.idempotency_key == key)).one()
    other = []
    if is_whole and earlier.content_sha256 != run["content_sha256"]:
        other = _differing_fields(earlier, run) or ["images"]
    elif not is_whole:  # whoever reads on compares the images
        read_at_once = session.get(Intake, earlier.id) is None
        other = _differing_fields(earlier, run) or ["images"] * read_at_once
    if (earlier.reads_reason is None) != (run["reads_reason"] is None):  # auto, and a number
        other = sorted({*other, "reads"} - {"images"} if other == ["images"] else {*other, "reads"})
    if request is not None and submission is not None:  # an earlier version stored no request
        again = json.loads(json.dumps(submission["request"]))
        other += sorted(name for name in {*request, *again} if request.get(name) != again.get(name))
    if other:
        raise IdempotencyConflict(
            f"idempotency key {key!r} belongs to run {earlier.id}, a request with other values of "
            f"{', '.join(other)}: use another key, or submit exactly the same",
            other,
        )
    return Enqueued(earlier.id, created=False)


def _differing_fields(earlier: Run, run: dict[str, Any]) -> list[str]:
    """Return the fields besides the images that ``run`` and the ``earlier`` run have different."""
    fields = [] if earlier.network_id == run["network_id"] else ["network"]
    fields += [] if earlier.solver == run["solver"] else ["solver"]
    before, after = earlier.parameters, json.loads(json.dumps(run["parameters"]))
    fields += sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
    return fields
