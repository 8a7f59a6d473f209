"""Scores a sampled batch: classifies its images from the raw sample sets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import structlog

from schema.database.crash_points import CrashPoint, reach
from schema.errors import AnnealqError, Corrupt, StaleState, StorageError, reason
from schema.messages import Message, Task
from schema.states import BatchState
from schema.tables import Batch
from worker.compute import scoring
from worker.context import Context
from worker.pipeline.attempt import load_network
from worker.pipeline.features.inputs import with_inputs
from worker.process import activity
from worker.process.meter import BatchOutcome, Step, Wait
from worker.records import batches
from worker.records.attempts import finish_attempt
from worker.records.retries import Discard
from worker.rounds import reads, several_rounds

log = structlog.get_logger()


def score_batch(context: Context, batch: int) -> None:
    """Classify the images of ``batch`` in ``context``, if it is sampled; the last one starts `finish_run`."""
    database = context.database
    with database.reading() as session:
        if batches.state_of(session, batch) is not BatchState.SAMPLED:
            return
        batch_input = batches.load(session, batch)
        stored = batches.load_samples(session, batch)
        unanswered = batches.unanswered(session, batch_input, stored)
    activity.concern(run=batch_input.run)
    try:
        network = load_network(context, batch_input.network, batch_input.parameters)
        with database.reading() as session:
            batch_input = with_inputs(session, context.backbones, batch_input, network.architecture)
        with context.meter.timed(Step.DECODE):
            gaps = unanswered is not None or batch_input.round > 1
            scored, chain_breaks = scoring.score(
                network, batch_input, stored, context.linear_terms, gaps=gaps
            )
            rows = dict(zip(_images(stored), scored, strict=True))
            with database.reading() as session:
                located = reads.find_reads(session, batch_input)
            rows |= several_rounds.score(network, batch_input, located, reads.loader(database))
    except Exception as error:
        if isinstance(error, StorageError) and not isinstance(error, Corrupt):
            raise  # the network could not be read now; the reconciler sends the hint again
        # Scoring is a pure function of stored bytes: what failed once always fails.
        _discard(context, batch, error)
        if isinstance(error, AnnealqError):
            return
        raise
    reach(CrashPoint.SCORING)
    try:
        with database.transaction() as session:
            now = database.now(session)
            if unanswered is None:
                is_last = batches.store_scores(session, batch_input, rows, chain_breaks, now=now)
            else:
                # It failed for these images only: when its run is resumed, they are submitted again.
                decision = Discard(unanswered)
                source = BatchState.SAMPLED
                run = finish_attempt(session, Batch, batch, decision, now=now, source=source)
                is_last = run is not None
                batches.store_classifications(session, batch_input, rows, chain_breaks)
    except StaleState:
        return
    context.meter.waited(Wait.LATENCY, (now - batch_input.created_at).total_seconds())
    _count_scored(context, list(rows.values()))
    reach(CrashPoint.SCORED)
    if is_last:
        context.hints.send([Message(Task.AGGREGATE_RUN, batch_input.run)])


def _images(stored: Sequence[batches.StoredReads]) -> Iterator[int]:
    """Yield the images of the sample sets ``stored``, as indices within their batch."""
    return (image for part in stored for image in range(part.first_image, part.first_image + part.count))


def _count_scored(context: Context, rows: Sequence[batches.Scored]) -> None:
    log.info("batch scored", images=len(rows))
    context.meter.batch(BatchOutcome.SCORED)
    broken = [row.chain_break_fraction for row in rows if row.chain_break_fraction is not None]
    if broken:
        context.meter.chain_breaks(sum(broken) / len(broken))


def _discard(context: Context, batch: int, error: Exception) -> None:
    decision = Discard(reason(error))
    log.warning("batch cannot be scored", row=batch, error=decision.error)
    with context.database.transaction() as session:
        now = context.database.now(session)
        run = finish_attempt(session, Batch, batch, decision, now=now, source=BatchState.SAMPLED)
    context.meter.batch(BatchOutcome.FAILED)
    if run is not None:
        context.hints.send([Message(Task.AGGREGATE_RUN, run)])
