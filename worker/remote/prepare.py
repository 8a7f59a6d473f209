"""From a network and a solver's name to all that its problems need: chip, embedding, programme, estimate."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

from schema.errors import Refused, Unavailable
from schema.parameters import Parameters, Solver
from worker import audit, leases, stopping
from worker.batches import Sampled
from worker.embedding import search, store
from worker.embedding.graph import Interactions
from worker.ledger import Terms
from worker.meter import Step
from worker.preparations import Plan, Request
from worker.submission import Submission

if TYPE_CHECKING:
    from schema.tiling import Tiling
    from worker.annealers.dwave import Qpu
    from worker.annealers.programme import Programme
    from worker.batches import Work
    from worker.context import Context
    from worker.linear import LinearParts
    from worker.network.registry import TrainedNetwork


@dataclass(frozen=True, eq=False)
class Prepared:
    """All that the problems of a run need."""

    qpu: Qpu
    embedding: store.Stored
    programme: Programme

    def estimate_us(self, parameters: Parameters, images: int) -> int:
        """QPU access time of a problem with so many images, microseconds; Refused where out of range."""
        return self.qpu.estimate_us(parameters, len(self.programme.take(images).placement.active))

    def problems(self, images: int, batch_size: int) -> dict[int, int]:
        """How many problems there will be of each number of images."""
        counts: dict[int, int] = {}
        batches, rest = divmod(images, batch_size)
        for size, times in ((batch_size, batches), (rest, 1)):
            full, last = divmod(size, self.programme.tiles)
            for count, number in ((self.programme.tiles, full), (last, 1)):
                if count and number * times:
                    counts[count] = counts.get(count, 0) + number * times
        return counts


def prepare(
    context: Context,
    solver: Solver,
    parameters: Parameters,
    network: TrainedNetwork,
    *,
    time_limit_s: float | None = None,
    report: store.Report | None = None,
) -> Prepared:
    """Connect, find the embedding in the database or by a search, and encode what all problems share.

    Raises:
        Refused: no access, no such solver, or the network does not fit its chip.
        Unavailable: the solver does not answer.
    """
    from worker.annealers import programme

    qpu = context.solvers.connect(solver, parameters)
    # Before any search: reads that the solver does not take cost a second, not a minute.
    qpu.estimate_us(parameters, len(qpu.graph.qubits))
    model = network.model(parameters.visible, parameters.lam)
    kept = (qpu, model.graph_digest, parameters.tiles)
    stored = context.solvers.embeddings.get(kept)
    if stored is None or not store.is_ready(context.database, stored.id):
        stored = _obtain(context, solver, parameters, network, qpu, time_limit_s, report)
        context.solvers.embeddings[kept] = replace(stored, searched_s=0.0)
    key = (model, stored.id, parameters.chain_strength, parameters.scale)
    made = context.solvers.programme(
        key,
        lambda: programme.prepare(
            model, network.architecture.alpha, qpu.graph, stored.tiling, qpu.ranges, parameters
        ),
    )
    return Prepared(qpu, stored, made)


def _obtain(
    context: Context,
    solver: Solver,
    parameters: Parameters,
    network: TrainedNetwork,
    qpu: Qpu,
    time_limit_s: float | None,
    report: store.Report | None,
) -> store.Stored:
    """The embedding from the database, or by a search; see `prepare`."""
    settings = context.settings
    model = network.model(parameters.visible, parameters.lam)
    interactions = Interactions.of(model)
    chip = store.keep_chip(context.database, solver, qpu.graph, qpu.properties)
    name = f"{network.architecture.name} {parameters.visible} ({' + '.join(map(str, model.sizes))} units)"
    wanted = store.Wanted(chip, interactions, parameters.tiles or 0, name)

    def look(tell: store.Report, start: Tiling | None) -> search.Found:
        def both(step: str, fraction: float) -> None:
            stopping.check()
            tell(step, fraction)
            if report is not None:
                report(step, fraction)

        limit_s = settings.embedding_s if time_limit_s is None else time_limit_s
        return search.find(
            interactions,
            qpu.graph,
            tiles=parameters.tiles,
            seed=parameters.seed,
            time_limit_s=limit_s,
            report=both,
            start=start,
        )

    return store.obtain(context.database, wanted, look, lease_s=settings.lease_s)


def plan(context: Context, request: Request, network: TrainedNetwork, report: store.Report) -> Plan:
    """What a run would need and cost; nothing is sent.

    Raises:
        Refused, Unavailable: as `prepare` says.
    """
    prepared = prepare(
        context,
        request.solver,
        request.parameters,
        network,
        time_limit_s=request.time_limit_s,
        report=report,
    )
    programme, tiling = prepared.programme, prepared.embedding.tiling
    counts = prepared.problems(request.images, request.batch_size)
    qpu_us = sum(number * prepared.estimate_us(request.parameters, count) for count, number in counts.items())
    return Plan(
        solver=prepared.qpu.name,
        graph_id=prepared.qpu.graph.graph_id,
        embedding_id=prepared.embedding.id,
        tiles=tiling.tiles,
        qubits=len(tiling.qubits),
        longest_chain=tiling.longest_chain,
        found=prepared.embedding.hit,
        search_s=prepared.embedding.seconds,
        chain_strength=programme.chain_strength,
        scale=programme.scale,
        images=request.images,
        problems=sum(counts.values()),
        qpu_us=qpu_us,
        qpu_us_per_image=qpu_us / request.images if request.images else None,
    )


def sample(
    context: Context,
    lease: leases.Lease,
    work: Work,
    network: TrainedNetwork,
    parts: LinearParts,
) -> Sampled:
    """Have every image of a batch answered by the solver; the answers are in the database.

    Raises:
        Refused, Unavailable, Uncertain: as `Submission.run` and `prepare` say.
    """
    with context.meter.timed(Step.PREPARE):
        prepared = prepare(context, work.solver, work.parameters, network)
    programme = prepared.programme
    terms = Terms(
        embedding_id=prepared.embedding.id,
        graph_id=prepared.qpu.graph.graph_id,
        scale=programme.scale,
        chain_strength=programme.chain_strength,
        estimate_us=cache(lambda count: prepared.estimate_us(work.parameters, count)),
    )
    started = time.monotonic()
    try:
        with context.meter.timed(Step.WAIT):
            Submission(context, lease, work, prepared.qpu, programme, terms, parts).run()
    except Refused as error:
        context.solvers.leave(work.solver, work.parameters)
        now = context.solvers.connect(work.solver, work.parameters).graph.graph_id
        if now != terms.graph_id:
            raise Unavailable(f"the solver's graph changed from {terms.graph_id} to {now}: {error}") from None
        raise
    sampling_us = round((time.monotonic() - started) * 1e6)
    audit.settle(context, lease, work.batch, prepared.qpu)
    return Sampled(prepared.embedding.id, prepared.embedding.searched_s, sampling_us)
