"""Prepares a network for a solver: chip, embedding, encoded program, and estimates of QPU time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from schema.errors import NoAccess, Refused, UnknownSolver
from schema.parameters import Parameters, QpuChoice, Solver
from worker.embedding.model.found import FoundTiling, StoredEmbedding
from worker.embedding.model.graphs import Interactions
from worker.embedding.search import find
from worker.process import shutdown
from worker.records import embeddings, problems
from worker.sapi.program import encode_program

if TYPE_CHECKING:
    from worker.context import Context
    from worker.network.trained import TrainedNetwork
    from worker.sapi.program import ChipProgram
    from worker.sapi.qpu import SolverConnection


@dataclass(frozen=True, eq=False)
class SolverSetup:
    """All that the problems of a run need."""

    qpu: SolverConnection
    embedding: StoredEmbedding
    program: ChipProgram

    def estimate_us(self, parameters: Parameters, images: int, first_tile: int = 0) -> int:
        """Estimate the QPU access time of one problem with ``parameters``, microseconds.

        Its ``images`` lie on the tiles from ``first_tile`` on.

        Raises:
            Refused: reads or times are out of the solver's ranges.
        """
        tiling = self.program.placement.tiling
        qubits = int(tiling.lengths[tiling.numbers(first_tile, images)].sum())
        return self.qpu.estimate_us(parameters, qubits)

    def count_problems(self, images: int, batch_size: int) -> dict[int, int]:
        """Count the problems that ``images`` in batches of ``batch_size`` need, by their number of images."""
        counts: dict[int, int] = {}
        batches, rest = divmod(images, batch_size)
        for size, times in ((batch_size, batches), (rest, 1)):
            full, last = divmod(size, self.program.tiles)
            for count, number in ((self.program.tiles, full), (last, 1)):
                if count and number * times:
                    counts[count] = counts.get(count, 0) + number * times
        return counts


def connect(context: Context, solver: Solver, parameters: Parameters, used: str | None) -> SolverConnection:
    """Return the connection of ``context`` to the QPU of ``solver`` that ``parameters`` choose.

    A run that ``used`` one before stays there, also under another name; so does a batch that is given to it.

    Raises:
        Refused: no token, or a solver that this database has never used, and that the service does not list.
        Unavailable: the solver does not answer or give access, or is no longer listed.
    """

    def graphs_of(name: str) -> Sequence[str]:
        with context.database.reading() as session:
            return embeddings.graphs_of(session, solver, name)

    try:
        return context.solvers.connect(solver, parameters, used, graphs_of)
    except UnknownSolver as error:
        with context.database.reading() as session:
            known = used is not None or problems.were_sent_to(session, solver, parameters.qpu)
        if known or any(map(graphs_of, QpuChoice.parse(parameters.qpu).names)):
            raise NoAccess(str(error)) from None
        raise  # a wrong name


def prepare(
    context: Context,
    solver: Solver,
    parameters: Parameters,
    network: TrainedNetwork,
    *,
    used: str | None = None,
    time_limit_s: float | None = None,
    report: embeddings.Report | None = None,
) -> SolverSetup:
    """Connect to ``solver``, find the embedding of ``network``, and encode what problems with ``parameters``
    share.

    The ``context`` caches connections, embeddings and programs. ``used`` is the QPU that the run used before,
    as `connect` says. A search for the embedding takes
    ``time_limit_s`` at most, by default what the settings say, and calls ``report`` with its step and the
    fraction done.

    Raises:
        Refused, Unavailable: as `connect` says, or the network does not fit the chip.
    """
    solvers = context.solvers
    qpu = connect(context, solver, parameters, used)
    # Before any search: reads that the solver does not take cost a second, not a minute.
    try:
        qpu.estimate_us(parameters, len(qpu.graph.qubits))
    except Refused:
        # Producers refuse the next such run by the stored limits.
        embeddings.store_chip(context.database, solver, qpu.graph, qpu.properties)
        raise
    model = network.model(parameters.visible, parameters.lam)
    key = (qpu, model.graph_digest, parameters.tiles)
    embedding = solvers.embeddings.get(key)
    if embedding is None or not embeddings.is_ready(context.database, embedding.id):
        name = f"{network.architecture.name} {parameters.visible} ({' + '.join(map(str, model.sizes))} units)"
        chip = embeddings.store_chip(context.database, solver, qpu.graph, qpu.properties)
        request = embeddings.EmbeddingRequest(chip, Interactions.of(model), parameters.tiles or 0, name)
        limit_s = context.settings.embedding_s if time_limit_s is None else time_limit_s
        search = _search(request, qpu, parameters, limit_s, report)
        embedding = embeddings.obtain(context.database, request, search, lease_s=context.settings.lease_s)
        solvers.embeddings[key] = replace(embedding, searched_s=0.0)
    program_key = (model, embedding.id, parameters.chain_strength, parameters.scale, parameters.gauge)
    program = solvers.programs.get(program_key) or encode_program(
        model, network.architecture.alpha, qpu.graph, embedding.tiling, qpu.ranges, parameters
    )
    solvers.programs[program_key] = program
    return SolverSetup(qpu, embedding, program)


def _search(
    request: embeddings.EmbeddingRequest,
    qpu: SolverConnection,
    parameters: Parameters,
    time_limit_s: float,
    report: embeddings.Report | None,
) -> embeddings.Search:
    """Return the search that runs if the database has no embedding; a worker that stops interrupts it."""

    def search(job: embeddings.SearchJob) -> FoundTiling:
        def on_progress(step: str, fraction: float) -> None:
            shutdown.check()
            job.report(step, fraction, time_limit_s)
            if report is not None:
                report(step, fraction)

        return find.find_embedding(
            request.interactions,
            qpu.graph,
            tiles=parameters.tiles,
            seed=parameters.seed,
            time_limit_s=time_limit_s,
            report=on_progress,
            start=job.start,
            found=job.found,
            save=job.save,
        )

    return search
