"""Has every image of a batch answered by a solver with qubits."""

from __future__ import annotations

import time
from functools import cache
from typing import TYPE_CHECKING

from schema.errors import Refused, Unavailable
from worker.process.meter import Step
from worker.records import leases
from worker.records.batches import Sampled
from worker.records.problems import ProblemTerms
from worker.remote import duplicates
from worker.remote.prepare import prepare
from worker.remote.state import SubmissionState
from worker.remote.submission import BatchSubmission

if TYPE_CHECKING:
    from worker.compute.linear_terms import LinearTerms
    from worker.context import Context
    from worker.network.trained import TrainedNetwork
    from worker.records.batches import BatchInput


def sample(
    context: Context,
    lease: leases.Lease,
    batch: BatchInput,
    network: TrainedNetwork,
    linear_terms: LinearTerms,
) -> Sampled:
    """Sample every image of ``batch``, which has these ``linear_terms``, under its ``lease``; store the
    answers.

    Raises:
        Refused, Unavailable, Uncertain, Deferred: as `BatchSubmission.run` and `prepare` say.
    """
    with context.meter.timed(Step.PREPARE):
        setup = prepare(context, batch.solver, batch.parameters, network)
    terms = ProblemTerms(
        embedding_id=setup.embedding.id,
        graph_id=setup.qpu.graph.graph_id,
        scale=setup.program.scale,
        chain_strength=setup.program.chain_strength,
        estimate_us=cache(lambda count: setup.estimate_us(batch.parameters, count)),
    )
    state = SubmissionState(context, lease, batch, setup.qpu, setup.program, terms, linear_terms)
    started = time.monotonic()
    try:
        with context.meter.timed(Step.WAIT):
            BatchSubmission(state).run()
    except Refused as error:
        context.solvers.disconnect(batch.solver, batch.parameters)
        graph_id = context.solvers.connect(batch.solver, batch.parameters).graph.graph_id
        if graph_id != terms.graph_id:
            raise Unavailable(
                f"the solver's graph changed from {terms.graph_id} to {graph_id}: {error}"
            ) from None
        raise
    sampling_us = round((time.monotonic() - started) * 1e6)
    duplicates.resolve(context, lease, batch.batch, setup.qpu)
    return Sampled(setup.embedding.id, setup.embedding.searched_s, sampling_us)
