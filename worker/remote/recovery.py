"""First step of a submission: resolves what an earlier worker left, and reserves the problems that are
missing.

A fresh batch takes the same path: it has nothing to resolve, and all of its problems are missing.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import structlog

from schema.database.crash_points import CrashPoint, reach
from schema.errors import Unavailable, Uncertain
from schema.states import ProblemState
from worker.embedding.model.placement import choose_tile
from worker.process import shutdown
from worker.records import problems
from worker.records.problems import LedgerEntry
from worker.remote.horizon import MemoryHorizon
from worker.remote.state import SubmissionState
from worker.rounds.tiles import earlier_tiles
from worker.sapi.problems import ListedProblem
from worker.scheduling import rechecks

log = structlog.get_logger()


def recover(state: SubmissionState) -> None:
    """Fill ``to_send`` and ``in_flight`` of ``state`` from the ledger.

    Answered problems stay, problems known to be sent are awaited by their id, problems that may have been
    sent are looked up by their label, and only images that none of these cover get a new problem. A batch
    that probes its solver gets one at first.
    """
    with state.context.database.reading() as session:
        entries = problems.entries(session, state.batch_input.batch)
        now = state.context.database.now(session)
    _resolve_by_label(state, [entry for entry in entries if entry.state is ProblemState.SENDING], now)
    reach(CrashPoint.RESERVING)
    entries = _reserve_missing(state)
    reach(CrashPoint.RESERVED)
    for entry in entries:
        if entry.state is ProblemState.RESERVED and state.deferred is None:
            state.to_send.append(entry)
        elif entry.state is ProblemState.SENT and entry.sapi_id is not None:
            state.in_flight[entry.id] = entry
            state.qpu.resume(entry.id, entry.sapi_id)
    _leave(state)


def _leave(state: SubmissionState) -> None:
    """Cancel what still waits at a QPU that the run has left; problems that run there are answered."""
    here = (None, state.qpu.name, state.qpu.asked)
    ids = {
        entry.sapi_id
        for entry in state.in_flight.values()
        if entry.sapi_id and entry.qpu not in here and entry.graph_id != state.terms.graph_id
    }
    if not ids:
        return
    try:
        shutdown.run_interruptible(lambda: state.qpu.cancel(ids))
    except Unavailable as error:
        log.warning("problems at another QPU are not cancelled", problems=len(ids), error=str(error))
        return
    state.cancelled_ids |= ids
    state.left_ids |= ids


def _resolve_by_label(state: SubmissionState, entries: list[LedgerEntry], now: datetime) -> None:
    """Look up problems that may have been sent.

    One is sent again only once it can no longer arrive, and if the solver would still know it.
    """
    if not entries:
        return
    labels = [entry.label for entry in entries]
    # Before the look: a problem that arrives after it is in transit no longer, but nobody has seen it either.
    in_transit = {entry.id for entry in entries if state.qpu.is_in_transit(entry.id)}
    found = shutdown.run_interruptible(lambda: state.qpu.find(labels))
    horizon = MemoryHorizon(state.context.database, state.batch_input.solver, state.qpu)
    for entry in entries:
        if matches := found[entry.label]:
            _adopt(state, entry, matches)
        elif entry.id in in_transit:
            state.errors.append(Uncertain(f"problem {entry.label} is still being sent"))
        elif uncertain := _may_arrive(state, entry, now):
            state.errors.append(uncertain)
        else:
            is_known = horizon.reaches(entry.sending_at or now)
            with state.transaction() as (session, now):
                again_at = rechecks.first_look(now, state.context.settings.recheck_s)
                if is_known:
                    why = "the solver does not know its label"
                    problems.requeue(session, entry.id, why, now=now, recheck_at=again_at)
                else:
                    why = _purged(state, entry)
                    sending = ProblemState.SENDING
                    problems.write_off(session, entry.id, sending, why, now=now, recheck_at=again_at)
                    log.warning("problem may have been charged", problem=entry.id, label=entry.label)


def _purged(state: SubmissionState, entry: LedgerEntry) -> str:
    return (
        f"it may have been charged: {state.qpu.name} no longer lists problems as old as its submission at "
        f"{entry.sending_at:%Y-%m-%d %H:%M:%S} UTC, so that nobody can tell if it arrived. "
        f"`annealq runs resume {state.batch_input.run}` sends its images again"
    )


def _may_arrive(state: SubmissionState, entry: LedgerEntry, now: datetime) -> Uncertain | None:
    quarantine = timedelta(seconds=state.context.settings.quarantine_s)
    if entry.sending_at is None or now >= (until := entry.sending_at + quarantine):
        return None
    text = f"problem {entry.label} may still arrive; checking again {quarantine} after it was sent"
    return Uncertain(text, (until - now).total_seconds())


def _adopt(state: SubmissionState, entry: LedgerEntry, matches: list[ListedProblem]) -> None:
    """Take over the first problem with the label of ``entry``, and cancel its duplicates."""
    first, *duplicates = matches
    with state.transaction() as (session, now):
        problems.mark_sent(session, {entry.id: first.sapi_id}, now=now, adopted=True)
        if duplicates:
            problems.record_duplicates(session, entry.id, len(duplicates), now=now)
    if duplicates:
        ids = [duplicate.sapi_id for duplicate in duplicates]
        log.warning("duplicates", problem=entry.id, label=entry.label, ids=ids)
        state.qpu.cancel(ids)


def _reserve_missing(state: SubmissionState) -> list[LedgerEntry]:
    """Reserve problems for images without one; cancel reservations for another embedding."""
    batch, images, tiles = state.batch_input.batch, state.batch_input.count, state.program.tiles
    with state.transaction() as (session, now):
        entries = problems.entries(session, batch)
        stale = {
            entry.id
            for entry in entries
            if entry.state is ProblemState.RESERVED and entry.embedding_id != state.terms.embedding_id
        }
        problems.cancel_reserved(session, sorted(stale), now=now)
        if state.deferred is None:
            valid = [entry for entry in entries if entry.id not in stale]
            state.given_up = problems.failures(session, batch, state.terms.graph_id).given_up
            spans = problems.missing_spans(valid, images, tiles, state.given_up)
            if state.probing:  # rows for the others would wait for the solver, and for another graph
                has_problem = any(entry.state is not ProblemState.ANSWERED for entry in valid)
                spans = [] if has_problem else spans[:1]
            if spans:
                earlier = earlier_tiles(session, state.batch_input, state.terms.embedding_id, tiles)
                placed = [(first, count, choose_tile(first, count, earlier, tiles)) for first, count in spans]
                problems.reserve(session, batch, placed, state.terms, now=now)
        return problems.entries(session, batch)
