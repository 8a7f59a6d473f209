"""State of a submission, which its steps share: what is to send, what is in flight, why sending stopped."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from schema.errors import Deferred, SolverError
from worker.records import leases, spending
from worker.records.problems import LedgerEntry, ProblemTerms

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from worker.compute.linear_terms import LinearTerms
    from worker.context import Context
    from worker.records.batches import BatchInput
    from worker.sapi.program import ChipProgram
    from worker.sapi.qpu import SolverConnection


@dataclass(eq=False)
class SubmissionState:
    """The problems of one batch. Used once, by one thread, under the batch's lease.

    Attributes:
        lease: each transaction renews it, and fails once it is lost.
        batch: its id, its run and its images.
        program: the model, placed on the solver's chip and encoded.
        terms: what is stored with each problem.
        linear_terms: of the batch's images.
        to_send: reserved problems, in the order of their images.
        in_flight: problems sent and not answered, by the id of their row.
        cancelled_ids: problems that were cancelled at the solver, because their run was; the solver's ids.
        errors: of problems; the most severe is raised in the end.
        deferred: why nothing more is sent; None while sending continues.
        progressed: an answer was stored.
        circuit_closed: it was recorded that the solver works.
    """

    context: Context
    lease: leases.Lease
    batch: BatchInput
    qpu: SolverConnection
    program: ChipProgram
    terms: ProblemTerms
    linear_terms: LinearTerms
    to_send: deque[LedgerEntry] = field(default_factory=deque)
    in_flight: dict[int, LedgerEntry] = field(default_factory=dict)
    cancelled_ids: set[str] = field(default_factory=set)
    errors: list[SolverError] = field(default_factory=list)
    deferred: Deferred | None = None
    progressed: bool = False
    circuit_closed: bool = False

    def defer(self, why: str, seconds: float = 0.0) -> None:
        """Send nothing more, for ``seconds`` at least; the first reason ``why`` counts."""
        self.deferred = self.deferred or Deferred(why, seconds)
        self.to_send.clear()

    @contextmanager
    def transaction(self, problem_ids: Sequence[int] | None = None) -> Iterator[tuple[Session, datetime]]:
        """Open a transaction of the lease's holder; yield it and the database's time.

        The cost of ``problem_ids``, or of all problems of the batch, is added to what the run has spent.
        """
        with self.context.database.transaction() as session:
            now = self.context.database.now(session)
            leases.renew(session, self.lease, now=now, lease_s=self.context.settings.lease_s)
            with spending.booked(session, self.batch.batch, problem_ids):
                yield session, now
