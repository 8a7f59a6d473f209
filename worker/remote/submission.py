"""Samples a batch on a solver with qubits: reserve, send, collect. Fresh work and recovery are one path.

Whatever a worker finds in the ledger it goes on from: what is answered stays, what was sent is collected by
its id, what may have been sent is looked up by its label, and only what is not covered by any of it is sent.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import structlog
from isal import isal_zlib

from schema.codecs import samples
from schema.errors import Deferred, Offline, Refused, SolverError, Unavailable, Uncertain
from schema.states import LIVE_RUNS, PausedBy, ProblemState, RunState
from worker.process import shutdown
from worker.process.crash_points import CrashPoint, reach
from worker.process.meter import ProblemOutcome, Step
from worker.records import leases, runs, spending
from worker.records import problems as records_problems
from worker.scheduling import admission, circuit_breaker
from worker.scheduling.admission import HoldReason

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from worker.compute.linear_terms import LinearTerms
    from worker.context import Context
    from worker.records.batches import BatchInput
    from worker.sapi.program import ChipProgram
    from worker.sapi.qpu import Accepted, Answered, Event, Failed, SolverConnection

log = structlog.get_logger()

_PAUSES = {
    HoldReason.BUDGET: PausedBy.BUDGET,
    HoldReason.DAY: PausedBy.DAY,
    HoldReason.WINDOW: PausedBy.WINDOW,
    HoldReason.DEADLINE: PausedBy.DEADLINE,
}
_GROUP = 20  # problems that the client sends in one request, and that share its fate
_FIRST_GROUP = 2  # of a batch, later ones are larger: the solver may be idle, and small ones arrive sooner
_WAIT_S = 1.0
_GATHER_S = 0.1  # answers that come within so long are kept in one transaction
_FEW = 4  # problems in flight, whose answers are kept as they come
_HEED_S = 0.5  # how often the run's own state is looked at
_ROOM_S = 5.0  # how long a batch with nothing in flight waits for room before it makes way for another
_LEAVE_S = 3.0  # how long a worker that stops waits for the ids of what it has just sent


@dataclass(eq=False)
class BatchSubmission:
    """The problems of one batch, on their way. Used once, by one thread, under the batch's lease."""

    context: Context
    lease: leases.Lease
    work: BatchInput
    qpu: SolverConnection
    programme: ChipProgram
    terms: records_problems.ProblemTerms
    parts: LinearTerms
    _todo: deque[records_problems.LedgerEntry] = field(default_factory=deque)
    _flying: dict[int, records_problems.LedgerEntry] = field(default_factory=dict)
    _errors: list[SolverError] = field(default_factory=list)
    _parked: Deferred | None = None  # why nothing more is sent
    _withdrawn: set[str] = field(default_factory=set)
    _heard: bool = False  # the solver has taken or answered a problem
    _progressed: bool = False  # an answer was stored
    _heeded_at: float = float("-inf")
    _stopped_at: float = float("inf")

    def run(self) -> None:
        """Until every image of the batch is in an answered problem.

        Raises:
            Refused: the solver refused a problem; the others were collected.
            Unavailable: it does not answer, or takes no more for now: go on later from where this ended.
            Uncertain: a problem may have arrived: look again when its quarantine is over.
            Deferred: the run was paused, cancelled or has spent its budget, or the worker stops.
        """
        self._heed()
        self._take_stock()
        last_news = time.monotonic()
        while self._todo or self._flying:
            self._heed()
            self._send_some()
            if self._may_leave():
                break
            events = self._drain()
            if events:
                last_news = time.monotonic()
                self._keep(events)
            elif not self._flying:
                self._make_way(last_news)
            elif time.monotonic() - last_news > self.context.settings.collect_s:
                raise Unavailable(
                    f"{self.qpu.name} has not answered for {self.context.settings.collect_s:.0f} s: "
                    f"{len(self._flying)} problems are left with it, and will be collected later"
                )
        self._end()

    def _heed(self) -> None:
        """Send no more once the worker stops or the run is halted; withdraw what a cancelled run has left."""
        now = time.monotonic()
        if shutdown.requested() and self._parked is None:
            self._stopped_at = now
            self._park("the worker was stopped")
        if now - self._heeded_at < _HEED_S:
            return
        self._heeded_at = now
        with self.context.database.reading() as session:
            state = runs.state_of(session, self.work.run)
        if state not in LIVE_RUNS:
            self._park(f"run {self.work.run} was {state}")
        if state is RunState.CANCELLED:
            self._withdraw()

    def _park(self, why: str, seconds: float = 0.0) -> None:
        self._parked = self._parked or Deferred(why, seconds)
        self._todo.clear()

    def _withdraw(self) -> None:
        """Take back what still waits at the solver; what runs or is done will be answered, and kept."""
        ids = {entry.sapi_id for entry in self._flying.values() if entry.sapi_id} - self._withdrawn
        if not ids:
            return
        try:
            shutdown.run_interruptible(lambda: self.qpu.cancel(ids))
        except Unavailable as error:
            log.warning("not withdrawn yet", problems=len(ids), error=str(error))
            return
        self._withdrawn |= ids

    def _may_leave(self) -> bool:
        """Whether a worker that stops has written down the ids of all that it has sent, or cannot wait."""
        if not shutdown.requested():
            return False
        named = all(entry.sapi_id for entry in self._flying.values())
        return named or time.monotonic() - self._stopped_at > _LEAVE_S

    def _make_way(self, since: float) -> None:
        """With nothing in flight and no room for more, let the worker do something else meanwhile."""
        if self._todo and time.monotonic() - since > _ROOM_S:
            limit = self.context.settings.solver_in_flight
            self._park(f"{limit} problems are in flight with {self.work.solver}: it takes no more", _WAIT_S)

    def _end(self) -> None:
        """Say what kept the batch from being complete, if it is not."""
        if self._parked is None and not self._errors:
            return
        with self.context.database.reading() as session:
            known = records_problems.entries(session, self.work.batch)
            state = runs.state_of(session, self.work.run)
        answered = [entry for entry in known if entry.state is ProblemState.ANSWERED]
        if not records_problems.missing_spans(answered, self.work.shape[0], self.programme.tiles):
            return
        if state is RunState.CANCELLED:
            reserved = [entry.id for entry in known if entry.state is ProblemState.RESERVED]
            with self._writing() as (session, now):
                records_problems.cancel_reserved(session, reserved, now=now)
        if self._parked is not None:
            raise self._parked
        error = _gravest(self._errors)
        error.progressed = self._progressed
        raise error

    def _take_stock(self) -> None:
        """Settle what was left behind, and reserve what is missing."""
        database = self.context.database
        with database.reading() as session:
            known = records_problems.entries(session, self.work.batch)
            now = database.now(session)
        for entry in known:
            if entry.state is ProblemState.SENDING:
                self._settle_by_label(entry, now)
        reach(CrashPoint.RESERVING)
        with self._writing() as (session, now):
            known = records_problems.entries(session, self.work.batch)
            stale = [
                entry
                for entry in known
                if entry.state is ProblemState.RESERVED and entry.embedding_id != self.terms.embedding_id
            ]
            records_problems.cancel_reserved(session, [entry.id for entry in stale], now=now)
            valid = [entry for entry in known if entry not in stale]
            if self._parked is None:
                spans = records_problems.missing_spans(valid, self.work.shape[0], self.programme.tiles)
                records_problems.reserve(session, self.work.batch, spans, self.terms, now=now)
            known = records_problems.entries(session, self.work.batch)
        reach(CrashPoint.RESERVED)
        for entry in known:
            if entry.state is ProblemState.RESERVED and self._parked is None:
                self._todo.append(entry)
            elif entry.state is ProblemState.SENT and entry.sapi_id is not None:
                self._flying[entry.id] = entry
                self.qpu.resume(entry.id, entry.sapi_id)

    def _settle_by_label(self, entry: records_problems.LedgerEntry, now: datetime) -> None:
        """Find out what became of a problem that may have been sent."""
        found = shutdown.run_interruptible(lambda: self.qpu.find(entry.label))
        quarantine = timedelta(seconds=self.context.settings.quarantine_s)
        if not found:
            if self.qpu.is_leaving(entry.id):
                self._errors.append(Uncertain(f"problem {entry.label} is still on its way"))
                return
            if entry.sending_at is not None and now < (until := entry.sending_at + quarantine):
                text = f"problem {entry.label} may still arrive: it is looked for again after {quarantine}"
                self._errors.append(Uncertain(text, (until - now).total_seconds()))
                return
            with self._writing() as (session, now):
                records_problems.requeue(session, entry.id, "the solver does not know its label", now=now)
            return
        first, *others = found
        with self._writing() as (session, now):
            records_problems.mark_sent(session, entry.id, first.sapi_id, now=now, adopted=True)
            if others:
                records_problems.record_duplicates(session, entry.id, len(others), now=now)
        if others:
            log.warning(
                "duplicates", problem=entry.id, label=entry.label, ids=[one.sapi_id for one in others]
            )
            self.qpu.cancel(one.sapi_id for one in others)

    def _send_some(self) -> None:
        """Send as many as may be in flight, a request's worth at a time, each group written down before."""
        while self._todo and len(self._flying) < self.context.settings.in_flight:
            room = self.context.settings.in_flight - len(self._flying)
            most = min(_GROUP, _FIRST_GROUP + len(self._flying))
            group = [self._todo[index] for index in range(min(most, room, len(self._todo)))]
            with self.context.meter.timed(Step.BUILD):
                encoded = [self._encode(entry) for entry in group]
            with self._writing([entry.id for entry in group]) as (session, now):
                admitted = self._admit(session, group, now)
                group = [self._todo.popleft() for _ in range(admitted.problems)]
                records_problems.mark_sending(session, [entry.id for entry in group], now=now)
            if admitted.reason not in (None, HoldReason.ROOM):
                self._park(f"run {self.work.run} may send no more: {admitted.reason}")
            reach(CrashPoint.SENDING)
            for entry, (lin, quad) in zip(group, encoded[: len(group)], strict=True):
                self._flying[entry.id] = entry
                self.qpu.submit(entry.id, entry.label, lin, quad, self.work.parameters)
                reach(CrashPoint.HALF_POSTED)
            reach(CrashPoint.POSTED)
            if admitted.reason is not None:
                return

    def _admit(
        self, session: Session, group: list[records_problems.LedgerEntry], now: datetime
    ) -> admission.Admission:
        """How many of these may leave; a budget or a window too small for the next one pauses the run."""
        usage = admission.read_usage(session, self.work.run, self.context.settings, now=now)
        estimates_us = [self.terms.estimate_us(entry.count) for entry in group]
        admitted = admission.within_limits(usage, estimates_us)
        by = None if admitted.reason is None else _PAUSES.get(admitted.reason)
        if by is not None:
            next_us = estimates_us[admitted.problems]
            runs.pause(session, self.work.run, by, admission.pause_reason(usage, by, next_us), now=now)
        return admitted

    def _encode(self, entry: records_problems.LedgerEntry) -> tuple[str, str]:
        programme = self.programme.take(entry.count)
        images = slice(entry.first_image, entry.first_image + entry.count)
        return programme.lin(self.parts.take(images)), programme.quad

    def _drain(self) -> list[Event]:
        """What has happened since: waits for the first event, then takes what is there.

        An id is written down at once, and so is an answer that makes room for a problem or is one of the last
        few. Other answers can be fetched again, and wait for those that follow them closely.
        """
        from worker.sapi.qpu import Answered

        event = self.qpu.next_event(_WAIT_S)
        events: list[Event] = []
        until = time.monotonic() + _GATHER_S
        many = not self._todo and len(self._flying) > _FEW
        while event is not None:
            events.append(event)
            gathers = many and isinstance(event, Answered) and len(events) < len(self._flying)
            event = self.qpu.next_event(max(until - time.monotonic(), 0.0) if gathers else 0.0)
        return events

    def _keep(self, events: list[Event]) -> None:
        from worker.sapi.qpu import Accepted, Answered, Failed

        events = [event for event in events if event.key in self._flying]
        answers = [event for event in events if isinstance(event, Answered)]
        encoded = {event.key: self._encode_answer(event) for event in answers if self._fits(event)}
        _reach(events, CrashPoint.ACCEPTED, CrashPoint.ANSWERED)
        with self._writing([event.key for event in events if not isinstance(event, Accepted)]) as (
            session,
            now,
        ):
            self._keep_ids(session, [event for event in events if isinstance(event, Accepted)], now)
            self._keep_answers(session, answers, encoded, now)
            for event in events:
                if isinstance(event, Failed):
                    self._keep_failure(session, event, now)
            if not self._heard and any(not isinstance(event, Failed) for event in events):
                self._heard = True
                circuit_breaker.record_success(
                    session, circuit_breaker.solver_key(self.work.solver, self.work.parameters.to_dict())
                )
        _log(events)
        _reach(events, CrashPoint.ID_KEPT, CrashPoint.HALF_KEPT if self._flying else CrashPoint.ANSWER_KEPT)

    def _keep_ids(self, session: Session, events: list[Accepted], now: datetime) -> None:
        records_problems.mark_all_sent(session, {event.key: event.sapi_id for event in events}, now=now)
        for event in events:
            self._flying[event.key] = replace(self._flying[event.key], sapi_id=event.sapi_id)

    def _keep_answers(
        self, session: Session, events: list[Answered], encoded: dict[int, bytes], now: datetime
    ) -> None:
        kept = []
        for event in events:
            del self._flying[event.key]
            if event.key in encoded:
                reads, qubits = len(event.answer.packed), len(event.answer.active)
                timing = event.answer.timing_us
                kept.append(
                    records_problems.ProblemReads(event.key, encoded[event.key], reads, qubits, timing)
                )
                continue
            text = (
                f"problem {event.sapi_id} was answered with other qubits or fewer reads than were asked for"
            )
            self._errors.append(Unavailable(text))
        self._progressed = self._progressed or bool(kept)
        records_problems.store_answers(session, kept, now=now)
        self.context.meter.problem(ProblemOutcome.ANSWERED, len(kept))

    def _keep_failure(self, session: Session, event: Failed, now: datetime) -> None:
        del self._flying[event.key]
        if event.ended and event.sapi_id in self._withdrawn:
            records_problems.mark_cancelled(session, event.key, now=now)
            return
        self._errors.append(event.error)
        if not event.ended:
            return  # the ledger leaves it as it is: sent, or on its way
        source = ProblemState.SENDING if event.sapi_id is None else ProblemState.SENT
        if event.sapi_id is None and isinstance(event.error, Unavailable):
            records_problems.requeue(session, event.key, str(event.error), now=now)
        else:
            records_problems.mark_failed(
                session, event.key, source, str(event.error), now=now, spent=event.spent
            )
            self.context.meter.problem(ProblemOutcome.FAILED)

    def _fits(self, event: Answered) -> bool:
        entry = self._flying[event.key]
        expected = self.programme.take(entry.count).placement.active
        same = np.array_equal(event.answer.active, expected) or entry.embedding_id != self.terms.embedding_id
        return same and len(event.answer.packed) == self.work.parameters.reads

    def _encode_answer(self, event: Answered) -> bytes:
        answer = event.answer
        energies = answer.energies[np.newaxis].astype(np.float32)
        reads = samples.RawReads(answer.packed[np.newaxis], len(answer.active), energies)
        return samples.encode(reads, isal_zlib.compress)

    @contextmanager
    def _writing(self, problems: Sequence[int] | None = None) -> Iterator[tuple[Session, datetime]]:
        """A transaction of the lease's holder; what its problems cost is added to what the run has spent.

        problems: see `spending.booked`.
        """
        with self.context.database.transaction() as session:
            now = self.context.database.now(session)
            leases.renew(session, self.lease, now=now, lease_s=self.context.settings.lease_s)
            with spending.booked(session, self.work.batch, problems):
                yield session, now


def _log(events: list[Event]) -> None:
    """What was kept: ids of the solver by problem, which is its row; a line for each kind of news."""
    from worker.sapi.qpu import Accepted, Answered

    for kind, text in ((Accepted, "problems sent"), (Answered, "problems answered")):
        if ids := {event.key: event.sapi_id for event in events if isinstance(event, kind)}:
            log.info(text, problems=ids)
    for event in events:
        if not isinstance(event, Accepted | Answered):
            log.warning("problem failed", problem=event.key, sapi_id=event.sapi_id, error=str(event.error))


def _reach(events: list[Event], accepted: CrashPoint, answered: CrashPoint) -> None:
    """Say that the news of some problems has come so far."""
    from worker.sapi.qpu import Accepted, Answered

    for kind, point in ((Accepted, accepted), (Answered, answered)):
        if any(isinstance(event, kind) for event in events):
            reach(point)


def _gravest(errors: list[SolverError]) -> SolverError:
    """What decides about the batch: a refusal, then a problem that may be lost, then what time mends."""
    for kind in (Refused, Uncertain, Offline, Unavailable):
        for error in errors:
            if isinstance(error, kind):
                return error
    return errors[0]
