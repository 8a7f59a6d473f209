"""Estimates what a run would need and cost: a dry run, which submits nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from schema.tables.costs import charge_ratio
from worker.records import embeddings
from worker.records.dry_runs import DryRunPlan, DryRunRequest
from worker.remote.prepare import prepare

if TYPE_CHECKING:
    from worker.context import Context
    from worker.network.trained import TrainedNetwork


def estimate_dry_run(
    context: Context, request: DryRunRequest, network: TrainedNetwork, report: embeddings.Report
) -> DryRunPlan:
    """Return what the run of ``request`` with ``network`` would need and cost; ``report`` as in `prepare`.

    Raises:
        Refused, Unavailable: as `prepare` says.
    """
    setup = prepare(
        context,
        request.solver,
        request.parameters,
        network,
        time_limit_s=request.time_limit_s,
        report=report,
    )
    program, tiling = setup.program, setup.embedding.tiling
    counts = setup.count_problems(request.images, request.batch_size)
    estimated_us = sum(
        number * setup.estimate_us(request.parameters, count) for count, number in counts.items()
    )
    with context.database.reading() as session:
        qpu_us = round(charge_ratio(session, setup.qpu.graph.graph_id) * estimated_us)
    return DryRunPlan(
        solver=setup.qpu.name,
        graph_id=setup.qpu.graph.graph_id,
        embedding_id=setup.embedding.id,
        tiles=tiling.tiles,
        qubits=len(tiling.qubits),
        longest_chain=tiling.longest_chain,
        found=setup.embedding.hit,
        search_s=setup.embedding.seconds,
        chain_strength=program.chain_strength,
        scale=program.scale,
        images=request.images,
        problems=sum(counts.values()),
        qpu_us=qpu_us,
        qpu_us_per_image=qpu_us / request.images if request.images else None,
    )
