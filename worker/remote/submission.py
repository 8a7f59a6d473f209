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

from schema.errors import Offline, Refused, SolverError, Unavailable, Uncertain
from schema.states import LIVE_RUNS, ProblemState, RunState
from worker.process import shutdown
from worker.process.meter import Step
from worker.records import leases, problems, runs
from worker.records.batches import Sampled
from worker.records.problems import ProblemTerms
from worker.remote import duplicates
from worker.remote.collecting import store, wait_for_events
from worker.remote.prepare import prepare
from worker.remote.recovery import recover
from worker.remote.sending import send
from worker.remote.state import SubmissionState

if TYPE_CHECKING:
    from worker.compute.linear_terms import LinearTerms
    from worker.context import Context
    from worker.network.trained import TrainedNetwork
    from worker.records.batches import BatchInput

log = structlog.get_logger()

_WAIT_S = 1.0
_CHECK_S = 0.5  # how often the run's own state is read
_ROOM_S = 5.0  # how long a batch with nothing in flight waits for room before another batch gets its turn
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
    with context.meter.timed(Step.PREPARE):
        setup = prepare(context, batch_input.solver, batch_input.parameters, network)
    terms = ProblemTerms(
        embedding_id=setup.embedding.id,
        graph_id=setup.qpu.graph.graph_id,
        scale=setup.program.scale,
        chain_strength=setup.program.chain_strength,
        estimate_us=cache(lambda count: setup.estimate_us(batch_input.parameters, count)),
    )
    state = SubmissionState(context, lease, batch_input, setup.qpu, setup.program, terms, linear_terms)
    started = time.monotonic()
    try:
        with context.meter.timed(Step.WAIT):
            BatchSubmission(state).run()
    except Refused as error:
        context.solvers.disconnect(batch_input.solver, batch_input.parameters)
        graph_id = context.solvers.connect(batch_input.solver, batch_input.parameters).graph.graph_id
        if graph_id != terms.graph_id:
            raise Unavailable(
                f"the solver's graph changed from {terms.graph_id} to {graph_id}: {error}"
            ) from None
        raise
    sampling_us = round((time.monotonic() - started) * 1e6)
    duplicates.resolve(context, lease, batch_input.batch, setup.qpu)
    return Sampled(setup.embedding.id, setup.embedding.searched_s, sampling_us)


class BatchSubmission:
    """The loop of one submission, and what ends it early. Used once."""

    def __init__(self, state: SubmissionState) -> None:
        """Take the fresh ``state`` of a batch."""
        self.state = state
        self._checked_at = float("-inf")
        self._stopped_at = float("inf")

    def run(self) -> None:
        """Return once every image of the batch is in an answered problem.

        Raises:
            Refused: the solver refused a problem; the others were collected.
            Unavailable: it does not answer, or takes no more for now: submit the batch again later.
            Uncertain: a problem may have arrived: submit the batch again when its quarantine has passed.
            Deferred: the run was paused, cancelled or has spent its budget, or the worker stops.
        """
        state = self.state
        self._check_halt()
        recover(state)
        last_news = time.monotonic()
        while state.to_send or state.in_flight:
            self._check_halt()
            send(state)
            if self._can_exit():
                break
            events = wait_for_events(state, _WAIT_S)
            if events:
                last_news = time.monotonic()
                store(state, events)
            else:
                self._check_silence(time.monotonic() - last_news)
        self._raise_if_incomplete()

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
        """Defer a batch that waits for room; raise Unavailable if the solver answers nothing for too long."""
        state, settings = self.state, self.state.context.settings
        if not state.in_flight:
            if state.to_send and silence_s > _ROOM_S:
                limit, solver = settings.solver_in_flight, state.batch_input.solver
                state.defer(f"{limit} problems are in flight at {solver}: it takes no more", _WAIT_S)
        elif silence_s > settings.collect_s:
            raise Unavailable(
                f"{state.qpu.name} has not answered for {settings.collect_s:.0f} s: "
                f"{len(state.in_flight)} problems stay submitted, and will be collected later"
            )

    def _raise_if_incomplete(self) -> None:
        """Raise the reason if an image of the batch is not in an answered problem."""
        state = self.state
        if state.deferred is None and not state.errors:
            return
        with state.context.database.reading() as session:
            entries = problems.entries(session, state.batch_input.batch)
            run_state = runs.state_of(session, state.batch_input.run)
        answered = [entry for entry in entries if entry.state is ProblemState.ANSWERED]
        if not problems.missing_spans(answered, state.batch_input.shape[0], state.program.tiles):
            return
        if run_state is RunState.CANCELLED:
            reserved = [entry.id for entry in entries if entry.state is ProblemState.RESERVED]
            with state.transaction() as (session, now):
                problems.cancel_reserved(session, reserved, now=now)
        if state.deferred is not None:
            raise state.deferred
        error = _most_severe(state.errors)
        error.progressed = state.progressed
        raise error


def _most_severe(errors: Sequence[SolverError]) -> SolverError:
    """Return a refusal if there is one, else an uncertain submission, else a temporary failure."""
    for kind in (Refused, Uncertain, Offline, Unavailable):
        for error in errors:
            if isinstance(error, kind):
                return error
    return errors[0]
