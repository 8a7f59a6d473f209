"""Reads what is stored of a run: its images and their network, its problems and what was sent with them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from schema.codecs import arrays, tiling
from schema.codecs.corruption import stored_in
from schema.errors import AnnealqError, NotFound, ParameterError
from schema.states import ProblemState
from schema.tables import Batch, Chip, Embedding, Network, Problem, Run
from worker.compute import scoring
from worker.compute.linear_terms import LinearTerms
from worker.embedding.model.gauges import draw_signs
from worker.embedding.model.graphs import SolverGraph
from worker.embedding.model.scale import Ranges
from worker.ocean.models import names_of
from worker.ocean.on_chip import SentQubits, chip_problem
from worker.ocean.sample_sets import SampledProblem
from worker.pipeline.features.inputs import with_inputs
from worker.records import batches
from worker.rounds import reads
from worker.rounds.located_reads import LocatedReads
from worker.sapi.program import encode_program

if TYPE_CHECKING:
    from worker.network.trained import TrainedNetwork
    from worker.qubo.energy_model import EnergyModel
    from worker.records.batches import BatchInput, StoredReads
    from worker.records.features.backbones import BackboneCache
    from worker.records.networks import Registry

_AGAIN = "classify the images again"
_CLOSE = 1e-9  # relative: a scale that is computed again has other last bits at most


@dataclass(frozen=True, eq=False)
class BatchModel:
    """A batch with its network, the energy model of its run, and the names of its units."""

    batch_input: BatchInput
    network: TrainedNetwork
    model: EnergyModel
    names: list[str]

    def terms(self, images: slice) -> LinearTerms:
        """Return the linear terms of a slice of the ``images``, computed for these alone."""
        return LinearTerms(self.network, self.model, scoring.inputs(self.batch_input)[images])


def load_batch(session: Session, batch: int, networks: Registry, backbones: BackboneCache) -> BatchModel:
    """Read the existing ``batch`` from ``session``.

    Args:
        networks, backbones: those that are loaded.

    Raises:
        Corrupt: what is stored is damaged.
    """
    batch_input = batches.load(session, batch)
    network = networks.get(session, batch_input.network).leaving_out(batch_input.parameters.without)
    batch_input = with_inputs(session, backbones, batch_input, network.architecture)
    model = network.model(batch_input.parameters.visible, batch_input.parameters.lam)
    kinds = [layer["kind"] for layer in network.architecture.summary()["units"]]
    return BatchModel(batch_input, network, model, names_of(model, kinds))


def find_image(session: Session, run: int, image: int) -> tuple[int, int]:
    """Return the batch of the first round with ``image`` of ``run``, and its place there; raise NotFound."""
    if session.execute(select(Run.id).where(Run.id == run)).first() is None:
        raise NotFound(f"no run {run}: `annealq runs list` shows all runs")
    here = (Batch.run_id == run, Batch.round == 1, Batch.first_image <= image)
    query = select(Batch.id, Batch.first_image, Batch.count).where(*here)
    row = session.execute(query.order_by(Batch.first_image.desc()).limit(1)).first()
    if row is None or image >= row.first_image + row.count:
        raise NotFound(f"run {run} has no image {image}; they are numbered from 0")
    return row.id, image - row.first_image


def find_reads(session: Session, batch_input: BatchInput, place: int) -> list[LocatedReads]:
    """Return where those reads of the image at ``place`` are that decide about its class, round by round."""
    if batch_input.parameters.rounds is not None:
        return reads.find_reads(session, batch_input, [place])
    own = np.array([place])
    return [
        LocatedReads(part.problem, 1, batch_input.parameters.reads, own, own - part.first_image)
        for part in batches.load_samples(session, batch_input.batch)
        if part.first_image <= place < part.first_image + part.count
    ]


@dataclass(frozen=True, eq=False)
class ProblemRow:
    """An answered problem, and what its h and J are computed from.

    Attributes:
        images: indices within the run.
        reads: as they are stored, with the tiling of its qubits; None: they were removed.
    """

    facts: SampledProblem
    run: int
    batch: int
    ordinal: int
    first_image: int
    count: int
    first_tile: int
    embedding: int | None
    coupling_bias: float
    images: list[int]
    reads: StoredReads | None


def find_problem(session: Session, run: int, problem: int) -> ProblemRow:
    """Read ``problem``, which belongs to ``run`` or to the run that this one scores again.

    Raises:
        NotFound: the run has no such problem.
        AnnealqError: it is not answered.
        Corrupt: which images are in it is damaged.
    """
    query = select(Problem, Batch, Run.rescored_from).join(Batch, Batch.id == Problem.batch_id)
    row = session.execute(query.join(Run, Run.id == run).where(Problem.id == problem)).first()
    if row is None or row.Batch.run_id not in (run, row.rescored_from):
        raise NotFound(f"run {run} has no problem {problem}: the sample set of an image names its problems")
    stored, batch = row.Problem, row.Batch
    if stored.state is not ProblemState.ANSWERED:
        raise AnnealqError(f"problem {problem} is {stored.state}: it has no reads")
    with stored_in(f"batch {batch.id} of run {batch.run_id}", _AGAIN):
        numbers = arrays.image_numbers(batch.first_image, batch.count, batch.members)
    names = ("sapi_id", "label", "qpu", "graph_id", "timing", "scale", "chain_strength")
    columns = {name: getattr(stored, name) for name in (*names, "sent_at", "answered_at")}
    facts = SampledProblem(problem=problem, round=batch.round, **columns)
    return ProblemRow(
        facts,
        batch.run_id,
        batch.id,
        stored.ordinal,
        stored.first_image,
        stored.count,
        stored.first_tile,
        stored.embedding_id,
        stored.coupling_bias or 0.0,
        list(numbers[stored.first_image : stored.first_image + stored.count]),
        next((part for part in batches.load_samples(session, batch.id) if part.problem == problem), None),
    )


def sent(session: Session, row: ProblemRow, loaded: BatchModel) -> SentQubits:
    """Return the problem in ``row``, of the batch ``loaded``, as it was sent to its chip.

    Raises:
        ParameterError: it was not sent to a chip.
        AnnealqError: it was scaled in another way than this version would do it.
        Corrupt: chip or tiling are damaged.
    """
    if row.embedding is None:
        raise ParameterError(
            f"run {loaded.batch_input.run} was sampled by solver {loaded.batch_input.solver}, which has no "
            "qubits: leave out `physical`",
            "physical",
        )
    query = select(Chip, Embedding.tiling).join(Embedding, Embedding.chip_id == Chip.id)
    chip, data = session.execute(query.where(Embedding.id == row.embedding)).one()
    with stored_in(f"graph of chip {chip.id}", "ask the solver again: `annealq embeddings find`"):
        counts = chip.qubits, chip.couplers
        graph = SolverGraph.from_stored(chip.name, chip.graph_id, chip.properties, chip.graph, counts)
    with stored_in(f"tiling of embedding {row.embedding}", _AGAIN):
        tiles = tiling.decode(data or b"")
    parameters, model = loaded.batch_input.parameters, loaded.model
    ranges = Ranges.from_properties(chip.properties)
    alpha = loaded.network.architecture.alpha
    program = encode_program(model, alpha, graph, tiles, ranges, parameters)
    _check_scale(row.facts, program.scale, program.chain_strength)
    key = (parameters.seed, loaded.batch_input.first_image, row.ordinal)
    signs = draw_signs(parameters.gauge, key, row.count, model.units)
    images = slice(row.first_image, row.first_image + row.count)
    linear = loaded.terms(slice(None)).take(images)
    return chip_problem(program.on_tiles(row.first_tile, row.count), linear, row.coupling_bias, signs)


def _check_scale(facts: SampledProblem, scale: float, chain_strength: float) -> None:
    """Raise AnnealqError unless this version scales the problem as it was scaled when it was sent."""
    pairs = ((facts.scale, scale), (facts.chain_strength, chain_strength))
    if any(stored is None or not math.isclose(stored, now, rel_tol=_CLOSE) for stored, now in pairs):
        raise AnnealqError(
            f"problem {facts.problem} was encoded by another version of annealq, with scale {facts.scale} "
            f"and chain strength {facts.chain_strength}, not {scale} and {chain_strength}: "
            "its h and J are not known; leave out `physical`"
        )


def network_name(session: Session, network: int) -> str:
    """Return the existing ``network`` in ``session`` as NAME@VERSION."""
    row: Any = session.execute(select(Network.name, Network.version).where(Network.id == network)).one()
    return f"{row.name}@{row.version}"
