"""State of a submission, which its steps share: problems to send and in flight, and why sending stopped."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from schema.errors import Deferred, SolverError
from worker.embedding.model.gauges import draw_signs
from worker.records import leases, spending
from worker.records.problems import LedgerEntry, ProblemTerms

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from sqlalchemy.orm import Session

    from worker.compute.linear_terms import LinearTerms
    from worker.context import Context
    from worker.records.batches import BatchInput
    from worker.sapi.program import ChipProgram
    from worker.sapi.qpu import SolverConnection


@dataclass(eq=False)
class SubmissionState:
    """The problems of one batch. Used once, by one thread, under the batch's lease."""

    context: Context
    lease: leases.Lease  # each transaction renews it, and fails once it is lost
    batch_input: BatchInput  # its id, its run and its images
    qpu: SolverConnection
    program: ChipProgram  # the model, placed on the solver's chip and encoded
    terms: ProblemTerms  # what is stored with each problem
    linear_terms: LinearTerms  # of the batch's images
    # reserved problems, in the order of their images
    to_send: deque[LedgerEntry] = field(default_factory=deque)
    # problems sent and not answered, by the id of their row
    in_flight: dict[int, LedgerEntry] = field(default_factory=dict)
    # problems that were cancelled at the solver, by the solver's ids
    cancelled_ids: set[str] = field(default_factory=set)
    left_ids: set[str] = field(default_factory=set)  # of these, those at a QPU that the run has left
    # of problems; the most severe is raised in the end
    errors: list[SolverError] = field(default_factory=list)
    deferred: Deferred | None = None  # why nothing more is sent; None while sending continues
    progressed: bool = False  # an answer was stored
    circuit_closed: bool = False  # it was recorded that the solver works
    probing: bool = False  # the solver has failed: one problem is in flight at most until one is answered
    # field that couplers put on a qubit, for which h makes up; None: no answer of this chip has told it yet
    coupling_bias: float | None = 0.0
    resend_at: float = 0.0  # monotonic time; the service's queue is full, so nothing is sent before
    unpaid: str | None = None  # why a budget does not pay more problems of a later round of reads
    # images that no problem has answered, and that are not sent again; the last error of each
    given_up: Mapping[int, str] = field(default_factory=dict)

    @property
    def account(self) -> str:
        """Return the account by which this process uses the solver."""
        return self.context.solvers.account(self.batch_input.solver)

    def signs(self, entry: LedgerEntry) -> NDArray[np.float64] | None:
        """Return the signs of the chains of a problem, by the gauge of the run; see `draw_signs`."""
        batch_input = self.batch_input
        parameters = batch_input.parameters
        key = (parameters.seed, batch_input.first_image, entry.ordinal)
        return draw_signs(parameters.gauge, key, entry.count, self.program.model.units)

    def defer(self, why: str, seconds: float = 0.0) -> None:
        """Send nothing more, for ``seconds`` at least; the first reason ``why`` counts."""
        self.deferred = self.deferred or Deferred(why, seconds)
        self.to_send.clear()

    @contextmanager
    def transaction(self, problem_ids: Sequence[int] | None = None) -> Iterator[tuple[Session, datetime]]:
        """Open a transaction of the lease's holder; yield it and the database's time.

        The cost of ``problem_ids``, or of all problems of the batch, is added to what the run has spent.
        """
        database, lease_s = self.context.database, self.context.settings.lease_s
        with (
            leases.transaction(database, self.lease, lease_s) as (session, now),
            spending.booked(session, self.batch_input.batch, problem_ids),
        ):
            yield session, now
