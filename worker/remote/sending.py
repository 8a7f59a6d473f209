"""Second step of a submission: sends reserved problems, within the limits of run, day and solver.

A group of problems is marked as being sent, and this is committed, before the first of them is sent: after a
crash each of them is looked up by its label, and none is paid twice.
"""

from __future__ import annotations

import time
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING

from schema.states import PausedBy
from worker.process.crash_points import CrashPoint, reach
from worker.process.meter import Step
from worker.records import problems, runs
from worker.records.problems import LedgerEntry
from worker.remote.state import SubmissionState
from worker.scheduling import admission
from worker.scheduling.admission import HoldReason

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

_PAUSES = {
    HoldReason.BUDGET: PausedBy.BUDGET,
    HoldReason.DAY: PausedBy.DAY,
    HoldReason.WINDOW: PausedBy.WINDOW,
    HoldReason.DEADLINE: PausedBy.DEADLINE,
}
_GROUP = 20  # problems that the client sends in one request, and that succeed or fail together
_FIRST_GROUP = 2  # of a batch, later ones are larger: the solver may be idle, and small ones arrive sooner


def send(state: SubmissionState) -> None:
    """Send problems of ``state``, a request's worth at a time, until a limit is reached."""
    if time.monotonic() < state.resend_at:
        return
    limit = 1 if state.probing else state.context.settings.in_flight
    sending = True
    while sending and state.to_send and len(state.in_flight) < limit:
        most = min(_GROUP, _FIRST_GROUP + len(state.in_flight), limit - len(state.in_flight))
        sending = _send_group(state, list(islice(state.to_send, most)))


def _send_group(state: SubmissionState, group: list[LedgerEntry]) -> bool:
    """Send as many of ``group`` as are admitted; return False if a limit was reached."""
    with state.context.meter.timed(Step.BUILD):
        encoded = [_encode(state, entry) for entry in group]
    with state.transaction([entry.id for entry in group]) as (session, now):
        _pin(state, session)
        admitted = _admit(state, session, group, now)
        group = [state.to_send.popleft() for _ in range(admitted.problems)]
        problems.mark_sending(session, [entry.id for entry in group], state.qpu.name, now=now)
    if admitted.reason not in (None, HoldReason.ROOM):
        state.defer(f"run {state.batch_input.run} may submit nothing more: {admitted.reason}")
    reach(CrashPoint.SENDING)
    for entry, (lin, quad) in zip(group, encoded[: len(group)], strict=True):
        state.in_flight[entry.id] = entry
        state.qpu.submit(entry.id, entry.label, lin, quad, state.batch_input.parameters)
        reach(CrashPoint.HALF_POSTED)
    reach(CrashPoint.POSTED)
    return admitted.reason is None


def _admit(
    state: SubmissionState, session: Session, group: list[LedgerEntry], now: datetime
) -> admission.Admission:
    """Return how many of ``group`` may be sent; pause the run if a budget or window is too small."""
    run = state.batch_input.run
    usage = admission.read_usage(session, run, state.context.settings, now=now)
    estimates_us = [state.terms.estimate_us(entry.count) for entry in group]
    admitted = admission.within_limits(usage, estimates_us)
    by = None if admitted.reason is None else _PAUSES.get(admitted.reason)
    if by is not None:
        next_us = estimates_us[admitted.problems]
        runs.pause(session, run, by, admission.pause_reason(usage, by, next_us), now=now)
    return admitted


def _pin(state: SubmissionState, session: Session) -> None:
    """Store the QPU of a run with its first problem."""
    if state.batch_input.qpu is None:
        runs.pin(session, state.batch_input.run, state.qpu.name, state.terms.graph_id)


def _encode(state: SubmissionState, entry: LedgerEntry) -> tuple[str, str]:
    program = state.program.first_tiles(entry.count)
    images = slice(entry.first_image, entry.first_image + entry.count)
    return program.encode_linear(state.linear_terms.take(images)), program.quad
