"""Third step of a submission: stores ids, answers and failures of problems in flight."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import structlog
from isal import isal_zlib

from schema.codecs import samples
from schema.database.crash_points import CrashPoint, reach
from schema.errors import Offline, QueueFull, Unavailable, Uncertain
from schema.states import ProblemState
from worker.embedding.model.gauges import reverse_back
from worker.process.meter import ProblemOutcome, Step
from worker.records import embeddings, measurements, problems
from worker.records.problems import LedgerEntry
from worker.remote.measuring import measure
from worker.remote.state import SubmissionState
from worker.sapi.charges import charge_us
from worker.sapi.errors import NOT_FOUND
from worker.sapi.events import Accepted, Answered, Event, Failed
from worker.scheduling import circuit_breaker

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from sqlalchemy.orm import Session

    from schema.codecs.tiling import Tiling

log = structlog.get_logger()

# how long a batch with nothing in flight waits for room before another batch gets its turn
ROOM_S = 5.0
_GATHER_S = 0.1  # answers that arrive within this time are stored in one transaction
_FEW = 4  # with this many problems in flight or fewer, each answer is stored at once


def wait_for_events(state: SubmissionState, timeout_s: float) -> list[Event]:
    """Return what happened to problems of ``state``: wait ``timeout_s`` for the first event, take those that
    follow.

    An id is returned at once, and so is an answer that makes room for another problem or is one of the last
    few. Other answers could be fetched again after a crash, and wait for those that follow them closely.
    """
    event = state.qpu.next_event(timeout_s)
    events: list[Event] = []
    until = time.monotonic() + _GATHER_S
    many = not state.to_send and len(state.in_flight) > _FEW
    while event is not None:
        events.append(event)
        gathers = many and isinstance(event, Answered) and len(events) < len(state.in_flight)
        event = state.qpu.next_event(max(until - time.monotonic(), 0.0) if gathers else 0.0)
    return events


def store(state: SubmissionState, events: list[Event]) -> None:
    """Store ``events`` of problems in flight in one transaction; others belong to an earlier batch."""
    events = [event for event in events if event.key in state.in_flight]
    accepted = [event for event in events if isinstance(event, Accepted)]
    answered = [event for event in events if isinstance(event, Answered)]
    failed = [event for event in events if isinstance(event, Failed)]
    reads = [_reads(state, event) for event in answered if _fits(state, event)]
    _reach(accepted, CrashPoint.ACCEPTED, answered, CrashPoint.ANSWERED)
    ended = [event.key for event in events if not isinstance(event, Accepted)]
    answering = [state.in_flight[read.problem] for read in reads]
    with state.transaction(ended) as (session, now):
        _store_ids(state, session, accepted, now)
        _store_answers(state, session, answered, reads, now)
        for event in failed:
            _store_failure(state, session, event, now)
        if any(entry.graph_id == state.terms.graph_id for entry in answering):
            _close_circuit(state, session, now)
            if state.coupling_bias is None:
                state.coupling_bias = measurements.coupling_bias(session, state.terms.graph_id)
    _log(accepted, answered, failed)
    stored = CrashPoint.HALF_KEPT if state.in_flight else CrashPoint.ANSWER_KEPT
    _reach(accepted, CrashPoint.ID_KEPT, answered, stored)


def _store_ids(state: SubmissionState, session: Session, events: list[Accepted], now: datetime) -> None:
    problems.mark_sent(session, {event.key: event.sapi_id for event in events}, now=now)
    for event in events:
        state.in_flight[event.key] = replace(state.in_flight[event.key], sapi_id=event.sapi_id)


def _store_answers(
    state: SubmissionState,
    session: Session,
    events: list[Answered],
    reads: list[problems.ProblemReads],
    now: datetime,
) -> None:
    stored = {answer.problem for answer in reads}
    for event in events:
        del state.in_flight[event.key]
        if event.key not in stored:
            text = f"problem {event.sapi_id} was answered with other qubits or fewer reads than requested"
            state.errors.append(Unavailable(text))
    state.progressed = state.progressed or bool(reads)
    problems.store_answers(session, reads, now=now)
    state.context.meter.problem(ProblemOutcome.ANSWERED, len(reads))


def _store_failure(state: SubmissionState, session: Session, event: Failed, now: datetime) -> None:
    entry = state.in_flight.pop(event.key)
    if event.ended and event.sapi_id in state.cancelled_ids and not event.timing_us:
        why = "its run moved to another QPU" if event.sapi_id in state.left_ids else "the run was cancelled"
        problems.mark_cancelled(session, event.key, why, now=now)
        return
    if isinstance(event.error, QueueFull):
        problems.requeue(session, event.key, str(event.error), now=now)
        state.resend_at = time.monotonic() + ROOM_S
        if state.deferred is None:
            state.to_send.appendleft(entry)
        return
    error = _not_yet_gone(state, entry, now) if event.gone == NOT_FOUND else None
    if error is None and event.ended and event.sapi_id and entry.graph_id != state.terms.graph_id:
        state.left_ids.add(event.sapi_id)  # it failed where the run no longer is: its images are sent here
    else:
        state.errors.append(error or event.error)
        if isinstance(event.error, Offline):
            state.to_send.clear()  # they stay reserved
    if error is not None or not (event.ended or event.gone):
        return  # its row stays as it is: sent, or being sent
    if event.sapi_id is None and isinstance(event.error, Unavailable):
        problems.requeue(session, event.key, str(event.error), now=now)
        return
    source = ProblemState.SENDING if event.sapi_id is None else ProblemState.SENT
    # The solver's outages must not count as failures of a problem.
    why = f"{problems.OFFLINE if isinstance(event.error, Offline) else ''}{event.error}"
    if event.gone:
        problems.write_off(session, event.key, source, why, now=now)
    else:
        timing, charged_us = event.timing_us, charge_us(event.timing_us, state.qpu.properties)
        problems.mark_failed(session, event.key, source, why, now=now, timing=timing, charged_us=charged_us)
    state.context.meter.problem(ProblemOutcome.FAILED)


def _not_yet_gone(state: SubmissionState, entry: LedgerEntry, now: datetime) -> Uncertain | None:
    """Return an error while an accepted problem that is not found may be too young to be seen everywhere."""
    quarantine = timedelta(seconds=state.context.settings.quarantine_s)
    if entry.sending_at is None or now >= (until := entry.sending_at + quarantine):
        return None
    text = f"problem {entry.sapi_id} is not found, although it was accepted; checking again later"
    return Uncertain(text, (until - now).total_seconds())


def _close_circuit(state: SubmissionState, session: Session, now: datetime) -> None:
    """Record, once for each submission, that the solver works."""
    state.probing = False
    if not state.circuit_closed:
        state.circuit_closed = True
        batch = state.batch_input.batch
        for key in state.batch_input.solver_keys:
            circuit_breaker.record_success(session, key, state.account, batch=batch, now=now)


def _fits(state: SubmissionState, event: Answered) -> bool:
    """Return True if the answer has the expected reads and, of a problem of this program, qubits."""
    entry = state.in_flight[event.key]
    if len(event.answer.packed) != state.batch_input.parameters.reads:
        return False
    if entry.embedding_id != state.terms.embedding_id:
        signs, qubits = state.signs(entry), len(event.answer.active)
        return signs is None or qubits == len(_tiling(state, entry).qubits)
    program = state.program.on_tiles(entry.first_tile, entry.count)
    return np.array_equal(event.answer.active, program.placement.active)


def _tiling(state: SubmissionState, entry: LedgerEntry) -> Tiling:
    """Return the tiles of a problem, which another chip may have."""
    if entry.embedding_id == state.terms.embedding_id:
        return state.program.on_tiles(entry.first_tile, entry.count).placement.tiling
    with state.context.database.reading() as session:
        tiling = embeddings.tiling_of(session, entry.embedding_id)
    return tiling.span(entry.first_tile, entry.count)


def _reads(state: SubmissionState, event: Answered) -> problems.ProblemReads:
    answer, entry = event.answer, state.in_flight[event.key]
    packed, signs = answer.packed, state.signs(entry)
    if signs is not None:
        packed = reverse_back(packed, _tiling(state, entry), signs)
    measured = _measure(state, entry, packed, signs)
    energies = answer.energies[np.newaxis].astype(np.float32)
    raw = samples.RawReads(packed[np.newaxis], len(answer.active), energies)
    data = samples.encode(raw, isal_zlib.compress)
    charged_us = charge_us(answer.timing_us, state.qpu.properties)
    return problems.ProblemReads(
        event.key, data, len(packed), len(answer.active), answer.timing_us, charged_us, measured
    )


def _measure(
    state: SubmissionState,
    entry: LedgerEntry,
    packed: NDArray[np.uint8],
    signs: NDArray[np.float64] | None,
) -> dict[str, float] | None:
    """Return what an answer says about the chip; None if its problem has another embedding."""
    if not state.context.settings.check_problems or entry.embedding_id != state.terms.embedding_id:
        return None
    linear = state.linear_terms.take(slice(entry.first_image, entry.first_image + entry.count))
    with state.context.meter.timed(Step.DECODE):
        program = state.program.on_tiles(entry.first_tile, entry.count)
        return measure(program, linear, entry.coupling_bias or 0.0, packed, signs)


def _log(accepted: list[Accepted], answered: list[Answered], failed: list[Failed]) -> None:
    """Log the solver's ids by problem, which is the id of its row."""
    if accepted:
        log.info("problems sent", problems={event.key: event.sapi_id for event in accepted})
    if answered:
        log.info("problems answered", problems={event.key: event.sapi_id for event in answered})
    for event in failed:
        log.warning("problem failed", problem=event.key, sapi_id=event.sapi_id, error=str(event.error))


def _reach(
    accepted: list[Accepted], at_ids: CrashPoint, answered: list[Answered], at_answers: CrashPoint
) -> None:
    if accepted:
        reach(at_ids)
    if answered:
        reach(at_answers)
