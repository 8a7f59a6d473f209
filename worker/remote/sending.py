"""Second step of a submission: sends reserved problems, within the limits of run, day and solver.

A group of problems is marked as being sent, and this is committed, before the first of them is sent: after a
crash each of them is looked up by its label, and none is paid twice.
"""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING

import structlog

from schema.database import record_event
from schema.database.crash_points import CrashPoint, reach
from schema.states import PausedBy
from worker.process.meter import Step
from worker.records import measurements, problems, runs
from worker.records.problems import LedgerEntry
from worker.remote.state import SubmissionState
from worker.sapi.wire import problem_digest
from worker.scheduling import admission
from worker.scheduling.admission import HoldReason

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

log = structlog.get_logger()

_PAUSES = {
    HoldReason.BUDGET: PausedBy.BUDGET,
    HoldReason.MONTH: PausedBy.MONTH,
    HoldReason.DAY: PausedBy.DAY,
    HoldReason.WINDOW: PausedBy.WINDOW,
    HoldReason.DEADLINE: PausedBy.DEADLINE,
}
_BUDGETS = (PausedBy.BUDGET, PausedBy.MONTH, PausedBy.DAY)
_GROUP = 20  # problems that the client sends in one request, and that succeed or fail together
_FIRST_GROUP = 2  # of a batch, later ones are larger: the solver may be idle, and small ones arrive sooner


def send(state: SubmissionState) -> None:
    """Send problems of ``state``, a request's worth at a time, until a limit is reached."""
    if time.monotonic() < state.resend_at:
        return
    limit = 1 if state.probing else state.context.settings.in_flight
    if state.coupling_bias is None:
        limit = min(limit, measurements.LEAST)  # the others make up for what these tell
    sending = True
    while sending and state.to_send and len(state.in_flight) < limit:
        most = min(_GROUP, _FIRST_GROUP + len(state.in_flight), limit - len(state.in_flight))
        sending = _send_group(state, list(islice(state.to_send, most)))


def _send_group(state: SubmissionState, group: list[LedgerEntry]) -> bool:
    """Send as many of ``group`` as are admitted; return False if a limit was reached."""
    with state.context.meter.timed(Step.BUILD):
        encoded = [_encode(state, entry) for entry in group]
    with state.transaction([entry.id for entry in group]) as (session, now):
        if not _pin(state, session, now):
            return False
        admitted = _admit(state, session, group, now)
        group = [state.to_send.popleft() for _ in range(admitted.problems)]
        bias = state.coupling_bias or 0.0
        digests = {entry.id: problem_digest(*wire) for entry, wire in zip(group, encoded, strict=False)}
        problems.mark_sending(session, digests, state.qpu.name, bias, now=now)
    if state.unpaid is not None:
        state.to_send.clear()
    elif admitted.reason not in (None, HoldReason.ROOM, HoldReason.CAUTION):
        state.defer(f"run {state.batch_input.run} may submit nothing more: {admitted.reason}")
    reach(CrashPoint.SENDING)
    for entry, (lin, quad) in zip(group, encoded[: len(group)], strict=True):
        state.in_flight[entry.id] = replace(entry, coupling_bias=bias)
        state.qpu.submit(entry.id, entry.label, lin, quad, state.batch_input.parameters)
        reach(CrashPoint.HALF_POSTED)
    reach(CrashPoint.POSTED)
    return admitted.reason is None


def _admit(
    state: SubmissionState, session: Session, group: list[LedgerEntry], now: datetime
) -> admission.Admission:
    """Return how many of ``group`` may be sent; pause the run if a budget or window is too small.

    In a later round of reads nothing more is sent if a budget is too small.
    """
    run = state.batch_input.run
    usage = admission.read_usage(
        session, run, state.qpu.name, state.terms.graph_id, state.context.settings, now=now
    )
    estimates_us = [state.terms.estimate_us(entry.count, entry.first_tile) for entry in group]
    admitted = admission.within_limits(usage, estimates_us)
    by = None if admitted.reason is None else _PAUSES.get(admitted.reason)
    if by is not None:
        why = admission.pause_reason(usage, by, estimates_us[admitted.problems])
        if state.batch_input.round > 1 and by in _BUDGETS:
            state.unpaid = why  # its images have results: the run does not wait for more reads
        else:
            runs.pause(session, run, by, why, now=now)
    return admitted


def _pin(state: SubmissionState, session: Session, now: datetime) -> bool:
    """Store the QPU of a run with its first problem; return False if the run has another QPU."""
    batch_input, qpu, pinned = state.batch_input, state.qpu, state.context.solvers.pinned
    run, before = batch_input.run, batch_input.qpu
    if (qpu.name == before and not batch_input.is_shared) or (qpu, run) in pinned:
        return True
    if batch_input.is_shared:  # the run has its first one for good
        before = None
    uses = runs.pin(session, run, before, qpu.name, state.terms.graph_id)
    if uses != qpu.name and not batch_input.is_shared:
        state.defer(f"run {run} is sent to another QPU than {qpu.name} by another worker")
        return False
    pinned.add((qpu, run))
    why = None
    if qpu.asked not in (None, qpu.name):
        why = f"solver {qpu.asked} is called {qpu.name} now: its graph is still {state.terms.graph_id}"
    if why is not None:
        log.warning("run has another QPU", run=run, qpu=qpu.name, why=why)
        live = runs.state_of(session, run)
        record_event(session, "runs", run, live, live, now=now, why=why)
    return True


def _encode(state: SubmissionState, entry: LedgerEntry) -> tuple[str, str]:
    images = slice(entry.first_image, entry.first_image + entry.count)
    linear, bias = state.linear_terms.take(images), state.coupling_bias or 0.0
    return state.program.encode_problem(entry.first_tile, linear, bias, state.signs(entry))
