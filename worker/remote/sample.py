"""Has every image of a batch answered by the solver."""

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
from worker.remote.submission import BatchSubmission

if TYPE_CHECKING:
    from worker.compute.linear_terms import LinearTerms
    from worker.context import Context
    from worker.network.trained import TrainedNetwork
    from worker.records.batches import BatchInput
from worker.remote.prepare import prepare


def sample(
    context: Context,
    lease: leases.Lease,
    work: BatchInput,
    network: TrainedNetwork,
    parts: LinearTerms,
) -> Sampled:
    """Have every image of a batch answered by the solver; the answers are in the database.

    Raises:
        Refused, Unavailable, Uncertain: as `BatchSubmission.run` and `prepare` say.
    """
    with context.meter.timed(Step.PREPARE):
        prepared = prepare(context, work.solver, work.parameters, network)
    programme = prepared.programme
    terms = ProblemTerms(
        embedding_id=prepared.embedding.id,
        graph_id=prepared.qpu.graph.graph_id,
        scale=programme.scale,
        chain_strength=programme.chain_strength,
        estimate_us=cache(lambda count: prepared.estimate_us(work.parameters, count)),
    )
    started = time.monotonic()
    try:
        with context.meter.timed(Step.WAIT):
            BatchSubmission(context, lease, work, prepared.qpu, programme, terms, parts).run()
    except Refused as error:
        context.solvers.leave(work.solver, work.parameters)
        now = context.solvers.connect(work.solver, work.parameters).graph.graph_id
        if now != terms.graph_id:
            raise Unavailable(f"the solver's graph changed from {terms.graph_id} to {now}: {error}") from None
        raise
    sampling_us = round((time.monotonic() - started) * 1e6)
    duplicates.resolve(context, lease, work.batch, prepared.qpu)
    return Sampled(prepared.embedding.id, prepared.embedding.searched_s, sampling_us)
