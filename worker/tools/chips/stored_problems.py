"""Reads stored problems of chips again, as they were sent: for programs that measure a chip by them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from schema.codecs import samples, tiling
from schema.codecs.corruption import stored_in
from schema.codecs.tiling import Tiling
from schema.states import ProblemState
from schema.tables import Chip, Embedding, Problem, SampleSet
from worker.compute import scoring
from worker.compute.problem_checks import SentProblem
from worker.embedding.model.gauges import draw_signs
from worker.embedding.model.graphs import SolverGraph
from worker.embedding.model.scale import Ranges
from worker.embedding.model.unembedding import Unembedded, unembed
from worker.pipeline.features.inputs import with_inputs
from worker.records import batches
from worker.records.features.backbones import BackboneCache
from worker.records.networks import Registry
from worker.remote.measuring import sent_problem
from worker.sapi.program import ChipProgram, encode_program

if TYPE_CHECKING:
    from worker.compute.linear_terms import LinearTerms
    from worker.records.batches import BatchInput

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ProblemOnChip:
    """A good problem with its reads.

    Attributes:
        embedding: its row.
        tiles: all tiles of the embedding.
        program: of all tiles.
        numbers: (i,) intp, the tile of each image.
        units: its reads, as if no spin had been reversed.
        sent: what was sent, in the same terms.
        beta, coupling_bias: as measured by this problem.
        signs: (i, 1) or (i, n), -1 where spins were reversed; None: nowhere.
    """

    embedding: int
    tiles: Tiling
    program: ChipProgram
    numbers: NDArray[np.intp]
    units: Unembedded
    sent: SentProblem
    beta: float
    coupling_bias: float
    signs: FloatArray | None


def good_problems() -> Select[Any]:
    """Return the query of all problems that were answered, measured, and have reads; filter and order it."""
    columns = (
        Problem.id,
        Problem.batch_id,
        Problem.ordinal,
        Problem.first_image,
        Problem.count,
        Problem.first_tile,
    )
    others = (Problem.embedding_id, Problem.coupling_bias, Problem.measured, SampleSet.data, Embedding.tiling)
    query = select(*columns, *others).join(SampleSet, SampleSet.problem_id == Problem.id)
    query = query.join(Embedding, Embedding.id == Problem.embedding_id)
    return query.where(Problem.state == ProblemState.ANSWERED, Problem.measured.is_not(None))


def read_problems(session: Session, chip: Chip, rows: Sequence[Any]) -> Iterator[ProblemOnChip]:
    """Yield the problems of ``rows``, in this order; those of a batch should follow each other.

    Args:
        session: of the database.
        chip: that all of them were solved on.
        rows: of `good_problems`.

    Raises:
        Corrupt: what is stored is damaged.
    """
    programs = _Programs(chip)
    return (programs.read(session, row) for row in rows)


def chip_graph(chip: Chip) -> SolverGraph:
    """Return the working graph of ``chip``, in the order of its solver; raise Corrupt if it is damaged."""
    with stored_in(f"graph of chip {chip.id}", "ask the solver again: `annealq embeddings find`"):
        counts = chip.qubits, chip.couplers
        return SolverGraph.from_stored(chip.name, chip.graph_id, chip.properties, chip.graph, counts)


class _Programs:
    """Reads problems; the programs of a chip are encoded once."""

    def __init__(self, chip: Chip) -> None:
        self._graph = chip_graph(chip)
        self._ranges = Ranges.from_properties(chip.properties)
        self._networks, self._backbones = Registry(), BackboneCache()
        self._programs: dict[tuple[int, int], ChipProgram] = {}
        self._batch: tuple[BatchInput, LinearTerms] | None = None

    def read(self, session: Session, row: Any) -> ProblemOnChip:
        """Return the problem in ``row``; raise Corrupt if its data are damaged."""
        whole, linear, batch_input = self._prepare(session, row)
        parameters = batch_input.parameters
        tiles = whole.placement.tiling
        program = whole.on_tiles(row.first_tile, row.count)
        with stored_in(f"sample set of problem {row.id}", "leave it out: ask for fewer problems"):
            packed = samples.decode(row.data).packed[0]
            units = unembed(packed, program.placement.tiling)
        key = (parameters.seed, batch_input.first_image, row.ordinal)
        signs = draw_signs(parameters.gauge, key, row.count, tiles.units)
        sent = sent_problem(program, linear, row.coupling_bias or 0.0, signs)
        measured = (float(row.measured["beta"]), float(row.measured["coupling_bias"]))
        numbers = tiles.numbers(row.first_tile, row.count)
        return ProblemOnChip(row.embedding_id, tiles, whole, numbers, units, sent, *measured, signs)

    def _prepare(self, session: Session, row: Any) -> tuple[ChipProgram, FloatArray, BatchInput]:
        """Return the program of all tiles, the linear terms of the problem's images, and its batch."""
        if self._batch is None or self._batch[0].batch != row.batch_id:
            batch_input = batches.load(session, row.batch_id)
            whole = self._networks.get(session, batch_input.network)
            network = whole.leaving_out(batch_input.parameters.without)
            batch_input = with_inputs(session, self._backbones, batch_input, network.architecture)
            self._batch = batch_input, scoring.linear_terms(network, batch_input)
            key = (batch_input.run, row.embedding_id)
            if key not in self._programs:
                with stored_in(f"tiling of embedding {row.embedding_id}", "ask for fewer problems"):
                    tiles = tiling.decode(row.tiling)
                self._programs[key] = encode_program(
                    self._batch[1].model,
                    network.architecture.alpha,
                    self._graph,
                    tiles,
                    self._ranges,
                    batch_input.parameters,
                )
        batch_input, terms = self._batch
        images = slice(row.first_image, row.first_image + row.count)
        return self._programs[batch_input.run, row.embedding_id], terms.take(images), batch_input
