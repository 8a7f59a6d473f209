"""From a network and a solver's name to all that its problems need: chip, embedding, programme, estimate."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from schema.parameters import Parameters, Solver
from worker.embedding.model.graphs import Interactions
from worker.embedding.search import find
from worker.process import shutdown
from worker.records import embeddings

if TYPE_CHECKING:
    from schema.codecs.tiling import Tiling
    from worker.context import Context
    from worker.network.trained import TrainedNetwork
    from worker.sapi.program import ChipProgram
    from worker.sapi.qpu import SolverConnection


@dataclass(frozen=True, eq=False)
class SolverSetup:
    """All that the problems of a run need."""

    qpu: SolverConnection
    embedding: embeddings.StoredEmbedding
    programme: ChipProgram

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
    report: embeddings.Report | None = None,
) -> SolverSetup:
    """Connect, find the embedding in the database or by a search, and encode what all problems share.

    Raises:
        Refused: no access, no such solver, or the network does not fit its chip.
        Unavailable: the solver does not answer.
    """
    from worker.sapi import program as programme

    qpu = context.solvers.connect(solver, parameters)
    # Before any search: reads that the solver does not take cost a second, not a minute.
    qpu.estimate_us(parameters, len(qpu.graph.qubits))
    model = network.model(parameters.visible, parameters.lam)
    kept = (qpu, model.graph_digest, parameters.tiles)
    stored = context.solvers.embeddings.get(kept)
    if stored is None or not embeddings.is_ready(context.database, stored.id):
        stored = _obtain(context, solver, parameters, network, qpu, time_limit_s, report)
        context.solvers.embeddings[kept] = replace(stored, searched_s=0.0)
    key = (model, stored.id, parameters.chain_strength, parameters.scale)
    made = context.solvers.programme(
        key,
        lambda: programme.encode_program(
            model, network.architecture.alpha, qpu.graph, stored.tiling, qpu.ranges, parameters
        ),
    )
    return SolverSetup(qpu, stored, made)


def _obtain(
    context: Context,
    solver: Solver,
    parameters: Parameters,
    network: TrainedNetwork,
    qpu: SolverConnection,
    time_limit_s: float | None,
    report: embeddings.Report | None,
) -> embeddings.StoredEmbedding:
    """The embedding from the database, or by a search; see `prepare`."""
    settings = context.settings
    model = network.model(parameters.visible, parameters.lam)
    interactions = Interactions.of(model)
    chip = embeddings.store_chip(context.database, solver, qpu.graph, qpu.properties)
    name = f"{network.architecture.name} {parameters.visible} ({' + '.join(map(str, model.sizes))} units)"
    wanted = embeddings.EmbeddingRequest(chip, interactions, parameters.tiles or 0, name)

    def look(tell: embeddings.Report, start: Tiling | None) -> find.FoundTiling:
        def both(step: str, fraction: float) -> None:
            shutdown.check()
            tell(step, fraction)
            if report is not None:
                report(step, fraction)

        limit_s = settings.embedding_s if time_limit_s is None else time_limit_s
        return find.find_embedding(
            interactions,
            qpu.graph,
            tiles=parameters.tiles,
            seed=parameters.seed,
            time_limit_s=limit_s,
            report=both,
            start=start,
        )

    return embeddings.obtain(context.database, wanted, look, lease_s=settings.lease_s)
