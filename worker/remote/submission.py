"""Submits the problems of one batch and collects the answers: reserve, send, collect.

New work and crash recovery share the same path. A worker resumes from the ledger: answered problems are
stored, submitted ones are awaited by their id, those that may have been submitted are looked up by their
label, and only what is left is submitted.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

import structlog

from schema.database import record_event
from schema.errors import (
    Deferred,
    NoAccess,
    Offline,
    ProblemFailed,
    QueueFull,
    Refused,
    SolverError,
    Unavailable,
    Uncertain,
)
from schema.quantities import count_text
from schema.states import LIVE_RUNS, BatchState, ProblemState, RunState
from worker.process import shutdown
from worker.process.meter import Step
from worker.records import leases, measurements, problems, runs
from worker.records.batches import Sampled
from worker.records.problems import ProblemTerms
from worker.remote import duplicates
from worker.remote.checking import reject_misprogrammed, watch_chip
from worker.remote.collecting import ROOM_S, store, wait_for_events
from worker.remote.deprecations import note_deprecations
from worker.remote.prepare import connect, prepare
from worker.remote.recovery import recover
from worker.remote.sending import send
from worker.remote.state import SubmissionState
from worker.sapi.events import Failed
from worker.scheduling import circuit_breaker

if TYPE_CHECKING:
    from worker.compute.linear_terms import LinearTerms
    from worker.context import Context
    from worker.network.trained import TrainedNetwork
    from worker.records.batches import BatchInput

log = structlog.get_logger()

_WAIT_S = 1.0
_CHECK_S = 0.5  # how often the run's own state is read
_EXIT_S = 3.0  # how long a worker that stops waits for the ids of what it has just sent


def sample_batch(
    context: Context,
    lease: leases.Lease,
    batch_input: BatchInput,
    network: TrainedNetwork,
    linear_terms: LinearTerms,
) -> Sampled:
    """Sample the images of ``batch_input``, which have these ``linear_terms``, and store the answers.

    Each transaction renews ``lease``. The ``context`` caches embedding and program of ``network``.

    Raises:
        Refused, Unavailable, Uncertain, Deferred: as `BatchSubmission.run` and `prepare` say.
    """
    try:
        with context.meter.timed(Step.PREPARE):
            setup = prepare(
                context, batch_input.solver, batch_input.parameters, network, used=batch_input.qpu
            )
    except Refused as error:
        error.whole_run = True
        raise
    terms = ProblemTerms(
        embedding_id=setup.embedding.id,
        graph_id=setup.qpu.graph.graph_id,
        scale=setup.program.scale,
        chain_strength=setup.program.chain_strength,
        tiles=setup.program.tiles,
        estimate_us=cache(lambda count, tile: setup.estimate_us(batch_input.parameters, count, tile)),
    )
    state = SubmissionState(context, lease, batch_input, setup.qpu, setup.program, terms, linear_terms)
    if context.settings.check_problems:
        with context.database.reading() as session:
            state.coupling_bias = measurements.coupling_bias(session, terms.graph_id)
    started = time.monotonic()
    try:
        with context.meter.timed(Step.WAIT):
            BatchSubmission(state).run()
    except (Refused, ProblemFailed) as error:
        _check_graph(state, str(error))
        raise
    except Offline:
        # The next attempt reads the service's list of solvers before it sends anything.
        context.solvers.disconnect(batch_input.solver, batch_input.parameters)
        raise
    finally:
        note_deprecations(context, batch_input.solver, setup.qpu)
    if state.given_up:
        _check_graph(state, "problems failed")
    sampling_us = round((time.monotonic() - started) * 1e6)
    duplicates.resolve(context, lease, batch_input.batch, setup.qpu)
    return Sampled(setup.embedding.id, setup.embedding.searched_s, sampling_us)


def _check_graph(state: SubmissionState, why: str) -> None:
    """Raise Unavailable if the solver's graph has changed, which may be ``why`` problems failed."""
    solvers, batch_input, old = state.context.solvers, state.batch_input, state.terms.graph_id
    solvers.disconnect(batch_input.solver, batch_input.parameters)
    new = connect(state.context, batch_input.solver, batch_input.parameters, batch_input.qpu).graph.graph_id
    if new != old:
        error = Unavailable(f"the solver's graph changed from {old} to {new}: {why}")
        error.progressed = state.progressed
        raise error


class BatchSubmission:
    """The loop of one submission, and what ends it early. Used once."""

    def __init__(self, state: SubmissionState) -> None:
        """Take the fresh ``state`` of a batch."""
        self.state = state
        self._checked_at = float("-inf")
        self._stopped_at = float("inf")

    def run(self) -> None:
        """Return once every image of the batch is in an answered problem, or was given up.

        Raises:
            Refused: all of its images were given up.
            Unavailable: the solver does not answer, or failed a problem: submit the batch again later.
            Uncertain: a problem may have arrived: submit the batch again when its quarantine has passed.
            Deferred: the run was paused, cancelled or has spent its budget, the worker stops, or the solver
                takes no more for now.
        """
        state = self.state
        self._check_circuit()
        self._check_halt()
        recover(state)
        probed = state.probing
        self._send_and_collect()
        more = (probed and not state.probing) or state.left_ids
        if more and not (state.errors or state.deferred):
            recover(state)  # the probe was answered, or problems were cancelled, so the rest follows
            self._send_and_collect()
        if not state.errors and reject_misprogrammed(state):
            recover(state)
            self._send_and_collect()
        if not self._ends_unpaid():
            self._raise_if_incomplete()
        if state.context.settings.check_problems:
            watch_chip(state)

    def _send_and_collect(self) -> None:
        """Send and collect until no problem is reserved or in flight, or the worker stops."""
        state = self.state
        last_news = time.monotonic()
        while state.to_send or state.in_flight:
            self._check_halt()
            send(state)
            if self._can_exit():
                break
            events = wait_for_events(state, _WAIT_S)
            if events:
                store(state, events)
            if not all(isinstance(event, Failed) and isinstance(event.error, QueueFull) for event in events):
                last_news = time.monotonic()
            else:
                self._check_silence(time.monotonic() - last_news)

    def _check_circuit(self) -> None:
        """Send nothing while the circuit breaker is open, and one problem if this batch probes the solver."""
        state, settings = self.state, self.state.context.settings
        with state.context.database.reading() as session:
            keys = state.batch_input.solver_keys
            found = [circuit_breaker.find(session, key, state.account) for key in keys]
            now = state.context.database.now(session)
        for broken in found:
            if broken is not None and circuit_breaker.is_open(broken, state.batch_input.batch, settings):
                state.defer(broken.error, max((broken.retry_at - now).total_seconds(), settings.probe_s))
        state.probing = any(broken is not None for broken in found)

    def _check_halt(self) -> None:
        """Stop sending once the worker stops or the run is halted; cancel the problems of a cancelled run."""
        now = time.monotonic()
        if shutdown.requested() and self.state.deferred is None:
            self._stopped_at = now
            self.state.defer("the worker was stopped")
        if now - self._checked_at < _CHECK_S:
            return
        self._checked_at = now
        run = self.state.batch_input.run
        with self.state.context.database.reading() as session:
            run_state = runs.state_of(session, run)
        if run_state not in LIVE_RUNS:
            self.state.defer(f"run {run} was {run_state}")
        if run_state is RunState.CANCELLED:
            self._cancel_submitted()

    def _cancel_submitted(self) -> None:
        """Cancel what still waits at the solver; problems that run or are done are answered, and stored."""
        state = self.state
        ids = {entry.sapi_id for entry in state.in_flight.values() if entry.sapi_id} - state.cancelled_ids
        if not ids:
            return
        try:
            shutdown.run_interruptible(lambda: state.qpu.cancel(ids))
        except Unavailable as error:
            log.warning("not cancelled yet", problems=len(ids), error=str(error))
            return
        state.cancelled_ids |= ids

    def _can_exit(self) -> bool:
        """Return True if a worker that stops has stored the ids of all that it has sent, or cannot wait."""
        if not shutdown.requested():
            return False
        have_ids = all(entry.sapi_id for entry in self.state.in_flight.values())
        return have_ids or time.monotonic() - self._stopped_at > _EXIT_S

    def _check_silence(self, silence_s: float) -> None:
        """Defer a batch that waits for room, or raise Deferred if its solver is silent for too long."""
        state, settings = self.state, self.state.context.settings
        if not state.in_flight:
            if state.to_send and silence_s > ROOM_S:
                limit, solver = settings.solver_in_flight, state.batch_input.solver
                why = (
                    f"{solver} gets no more problems for now: {limit} are in flight, or those in flight may "
                    "spend a budget"
                )
                if state.resend_at:
                    why = f"the queue of {state.qpu.name} is full: no more problems of this account are taken"
                state.defer(why, _WAIT_S)
        elif silence_s > settings.collect_s:
            # They are paid for when they are answered, however late that is.
            raise Deferred(
                f"{state.qpu.name} has not answered for {settings.collect_s:.0f} s: "
                f"{len(state.in_flight)} problems stay submitted, and will be collected later",
                settings.retry_base_s,
            )

    def _ends_unpaid(self) -> bool:
        """Cancel what a budget does not pay of a later round; return whether the batch ends without it."""
        state, batch = self.state, self.state.batch_input.batch
        if state.unpaid is None or state.deferred is not None or state.errors or state.given_up:
            return False
        with state.transaction() as (session, now):
            entries = problems.entries(session, batch)
            reserved = [entry for entry in entries if entry.state is ProblemState.RESERVED]
            problems.cancel_reserved(session, [entry.id for entry in reserved], now=now)
            left = state.batch_input.count - sum(
                entry.count for entry in entries if entry.state is ProblemState.ANSWERED
            )
            why = f"{count_text(left, 'image')} not read again: {state.unpaid}"
            sampling = BatchState.SAMPLING
            record_event(session, "batches", batch, sampling, sampling, now=now, why=why)
        return True

    def _raise_if_incomplete(self) -> None:
        """Raise the reason if an image of the batch is neither in an answered problem nor given up."""
        state = self.state
        if state.deferred is None and not state.errors and not state.given_up:
            return
        with state.context.database.reading() as session:
            entries = problems.entries(session, state.batch_input.batch)
            failures = problems.failures(session, state.batch_input.batch, state.terms.graph_id)
            run_state = runs.state_of(session, state.batch_input.run)
        state.given_up = failures.given_up
        answered = [entry for entry in entries if entry.state is ProblemState.ANSWERED]
        images, tiles = state.batch_input.count, state.program.tiles
        if not problems.missing_spans(answered, images, tiles, state.given_up):
            if not answered:
                first = state.batch_input.first_image
                span = f"{first}-{first + images - 1}"
                raise Refused(f"{runs.UNANSWERED} {span}: {next(iter(state.given_up.values()))}")
            return
        if run_state is RunState.CANCELLED:
            reserved = [entry.id for entry in entries if entry.state is ProblemState.RESERVED]
            with state.transaction() as (session, now):
                problems.cancel_reserved(session, reserved, now=now)
        if state.deferred is not None:
            raise state.deferred
        error = _most_severe(state.errors)
        error.progressed = state.progressed
        if isinstance(error, ProblemFailed):
            error.times = max(failures.times.values(), default=1)
        raise error


def _most_severe(errors: Sequence[SolverError]) -> SolverError:
    """Return the error that decides when the rest of the batch is submitted again.

    That is an uncertain submission if there is one, else an outage, else a temporary failure. A refusal
    concerns one problem, and its images are given up.
    """
    for kind in (Uncertain, NoAccess, Offline, ProblemFailed, Unavailable):
        for error in errors:
            if isinstance(error, kind):
                return error
    return errors[0]
