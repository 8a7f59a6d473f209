"""What a run would need and cost; nothing is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.records import embeddings
from worker.records.dry_runs import DryRunPlan, DryRunRequest

if TYPE_CHECKING:
    from worker.context import Context
    from worker.network.trained import TrainedNetwork
from worker.remote.prepare import prepare


def estimate_dry_run(
    context: Context, request: DryRunRequest, network: TrainedNetwork, report: embeddings.Report
) -> DryRunPlan:
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
    return DryRunPlan(
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
