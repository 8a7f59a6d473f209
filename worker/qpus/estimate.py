"""Estimates what a run would need and cost: a dry run, which submits nothing."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from schema.errors import Refused
from schema.parameters import QpuChoice
from schema.tables.costs import charge_ratio
from worker.qpus.candidates import listed
from worker.qpus.comparison import compare
from worker.records import embeddings
from worker.records.dry_runs import DryRunPlan, DryRunRequest
from worker.remote.prepare import SolverSetup, prepare

if TYPE_CHECKING:
    from worker.context import Context
    from worker.network.trained import TrainedNetwork


def estimate_dry_run(
    context: Context, request: DryRunRequest, network: TrainedNetwork, report: embeddings.Report
) -> DryRunPlan:
    """Return what the run of ``request`` with ``network`` would need and cost; ``report`` as in `prepare`.

    If several QPUs share the run, tiles and embedding are those of the one that gets most of it.

    Raises:
        Refused: no QPU that it may use takes the run.
        Unavailable: the service does not answer, or none of them is online.
    """
    setups, refusals = _prepare_all(context, request, network, report)
    compared = compare(context, request, network, list(setups), refusals)
    shares = {each.qpu: each.images for each in compared if each.qpu in setups}
    if not any(shares.values()):  # only an embedding is wanted, or none takes problems at this moment
        shares = {next(iter(setups)): request.images}
    main = setups[max(shares, key=lambda name: shares[name])]
    counts = {
        name: setups[name].count_problems(images, request.batch_size) for name, images in shares.items()
    }
    qpu_us = sum(_qpu_us(context, setups[name], request, count) for name, count in counts.items())
    program, tiling = main.program, main.embedding.tiling
    return DryRunPlan(
        solver=main.qpu.name,
        graph_id=main.qpu.graph.graph_id,
        embedding_id=main.embedding.id,
        tiles=tiling.tiles,
        qubits=len(tiling.qubits),
        longest_chain=tiling.longest_chain,
        found=main.embedding.hit,
        search_s=main.embedding.seconds,
        chain_strength=program.chain_strength,
        scale=program.scale,
        images=request.images,
        problems=sum(sum(count.values()) for count in counts.values()),
        qpu_us=qpu_us,
        qpu_us_per_image=qpu_us / request.images if request.images else None,
        qpus=[asdict(each) for each in compared] if request.images else [],
        later_qpu_us=_later_us(context, main, request) if request.images else 0,
    )


def _later_us(context: Context, setup: SolverSetup, request: DryRunRequest) -> int:
    """Estimate what the later rounds of reads are charged at most, in full problems, microseconds."""
    total = 0
    for wanted in request.parameters.rounds or ():
        most = max(math.floor(wanted.share * request.images), 1)
        parameters = replace(request.parameters, reads=wanted.reads, rounds=None)
        total += -(-most // setup.program.tiles) * setup.estimate_us(parameters, setup.program.tiles)
    with context.database.reading() as session:
        return round(charge_ratio(session, setup.qpu.graph.graph_id) * total)


def _qpu_us(context: Context, setup: SolverSetup, request: DryRunRequest, counts: dict[int, int]) -> int:
    estimated_us = sum(
        number * setup.estimate_us(request.parameters, count) for count, number in counts.items()
    )
    with context.database.reading() as session:
        return round(charge_ratio(session, setup.qpu.graph.graph_id) * estimated_us)


def _prepare_all(
    context: Context, request: DryRunRequest, network: TrainedNetwork, report: embeddings.Report
) -> tuple[dict[str, SolverSetup], dict[str, str]]:
    """Find the embeddings on all QPUs that ``request`` may use and that are online.

    Returns:
        What problems need on each of them, by name, and why the others do not take the network.

    Raises:
        Refused: none of them takes it.
        Unavailable: the service does not answer, or none of them is online.
    """
    setups: dict[str, SolverSetup] = {}
    refusals: dict[str, str] = {}
    choice = QpuChoice.parse(request.parameters.qpu)
    names: list[str | None] = []
    if choice.has_several:  # without a name the configuration decides, or the size
        found = listed(context, request.solver, request.parameters)
        names = [str(each.solver.name) for each in found if each.solver.online]
    for name in names or [None]:
        try:
            setup = prepare(
                context,
                request.solver,
                request.parameters,
                network,
                used=name,
                time_limit_s=request.time_limit_s,
                report=report,
            )
        except Refused as error:
            if name is None or (len(refusals) == len(names) - 1):
                raise
            refusals[name] = str(error)
        else:
            setups[setup.qpu.name] = setup
    return setups, refusals
