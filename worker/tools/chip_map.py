"""Prints field errors and broken chains of each qubit of a chip, as one JSON object.

    python -m worker.tools.chip_map GRAPH_ID PROBLEMS

They are computed from the stored reads of the newest good problems, of all networks and embeddings.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session

from schema.codecs import samples, tiling
from schema.codecs.corruption import stored_in
from schema.codecs.tiling import Tiling
from schema.database import Database
from schema.errors import InputError
from schema.settings import load
from schema.states import ProblemState
from schema.tables import Chip, Embedding, Problem, SampleSet
from worker.compute import scoring
from worker.compute.chip_map import ChainTotals
from worker.embedding.model.gauges import draw_signs
from worker.embedding.model.graphs import SolverGraph
from worker.embedding.model.scale import Ranges
from worker.embedding.model.unembedding import unembed
from worker.pipeline.features.inputs import with_inputs
from worker.records import batches
from worker.records.features.backbones import BackboneCache
from worker.records.networks import Registry
from worker.remote.measuring import sent_problem
from worker.sapi.program import ChipProgram, encode_program
from worker.tools import entry

if TYPE_CHECKING:
    from worker.compute.linear_terms import LinearTerms
    from worker.records.batches import BatchInput

FloatArray = NDArray[np.float64]


def read_map(session: Session, graph_id: str, count: int) -> dict[str, Any]:
    """Return the map of the chip ``graph_id`` by the ``count`` newest good problems with reads.

    Returns:
        ``problems``: their number. ``qubits``: those of their chains, ascending; and for each of them
        ``field_errors`` (that of its chain, divided by the chain's qubits, in units of h), their
        ``field_spreads`` (standard errors) and ``broken`` (share of broken chains, relative to the mean of
        the unit over all tiles; None if none ever broke).

    Raises:
        InputError: there is no such chip, or no good problem with reads.
        Corrupt: what is stored is damaged.
    """
    chip = session.execute(select(Chip).where(Chip.graph_id == graph_id).limit(1)).scalar()
    if chip is None:
        raise InputError(f"chip with graph {graph_id} does not exist")
    rows = _rows(session, graph_id, count)
    if not rows:
        raise InputError(f"chip with graph {graph_id} has no good problem with reads: classify on it first")
    programs = _Programs(chip)
    for row in rows:
        programs.add(session, row)
    return {"problems": len(rows), **_by_qubit(list(programs.totals.values()))}


def _rows(session: Session, graph_id: str, count: int) -> list[Any]:
    """Return the newest good problems of a chip that have reads, those of a batch one after the other."""
    columns = (
        Problem.id,
        Problem.batch_id,
        Problem.ordinal,
        Problem.first_image,
        Problem.count,
        Problem.first_tile,
    )
    others = (Problem.embedding_id, Problem.coupling_bias, Problem.measured, SampleSet.data, Embedding.tiling)
    good = (Problem.state == ProblemState.ANSWERED, Problem.measured.is_not(None))
    query = select(*columns, *others).join(SampleSet, SampleSet.problem_id == Problem.id)
    query = query.join(Embedding, Embedding.id == Problem.embedding_id)
    query = query.where(Problem.graph_id == graph_id, *good).order_by(Problem.id.desc()).limit(count)
    return sorted(session.execute(query), key=lambda row: (row.batch_id, row.first_image))


class _Programs:
    """Adds problems to the totals of their embedding; the programs of a chip are encoded once."""

    def __init__(self, chip: Chip) -> None:
        self.totals: dict[int, tuple[Tiling, ChainTotals]] = {}
        counts = chip.qubits, chip.couplers
        with stored_in(f"graph of chip {chip.id}", "ask the solver again: `annealq embeddings find`"):
            self._graph = SolverGraph.from_stored(
                chip.name, chip.graph_id, chip.properties, chip.graph, counts
            )
        self._ranges = Ranges.from_properties(chip.properties)
        self._networks, self._backbones = Registry(), BackboneCache()
        self._programs: dict[tuple[int, int], ChipProgram] = {}
        self._batch: tuple[BatchInput, LinearTerms] | None = None

    def add(self, session: Session, row: Any) -> None:
        """Add the problem in ``row`` of `_rows`; raise Corrupt if its data are damaged."""
        whole, linear, batch_input = self._prepare(session, row)
        parameters = batch_input.parameters
        tiles = whole.placement.tiling
        if row.embedding_id not in self.totals:
            self.totals[row.embedding_id] = tiles, ChainTotals(tiles.tiles, tiles.units)
        program = whole.on_tiles(row.first_tile, row.count)
        with stored_in(f"sample set of problem {row.id}", "leave it out: ask for fewer problems"):
            packed = samples.decode(row.data).packed[0]
            units = unembed(packed, program.placement.tiling)
        key = (parameters.seed, batch_input.first_image, row.ordinal)
        signs = draw_signs(parameters.gauge, key, row.count, tiles.units)
        sent = sent_problem(program, linear, row.coupling_bias or 0.0, signs)
        measured = (float(row.measured["beta"]), float(row.measured["coupling_bias"]))
        numbers = tiles.numbers(row.first_tile, row.count)
        _, chains = self.totals[row.embedding_id]
        chains.add(numbers, units.bits, units.chain_breaks, sent, *measured, signs)

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


def _by_qubit(totals: Sequence[tuple[Tiling, ChainTotals]]) -> dict[str, list[Any]]:
    """Return the values of each qubit: the means over embeddings, weighted by their precision or reads."""
    size = 1 + max(int(tiles.qubits.max()) for tiles, _ in totals)
    sums = np.zeros((4, size))  # field error by precision, precision, ratio, number of ratios
    for tiles, chains in totals:
        lengths = tiles.lengths.ravel()
        errors, spreads = (values.ravel() / lengths for values in chains.field_errors())
        precision = np.where(np.isfinite(spreads), spreads, np.inf) ** -2.0
        ratio = chains.broken().ravel()
        values = (errors * precision, precision, np.nan_to_num(ratio), np.isfinite(ratio))
        for target, value in zip(sums, values, strict=True):
            np.add.at(target, tiles.qubits, np.repeat(value, lengths))
    qubits = np.flatnonzero(sums[1])
    slope, precision, ratios, counts = sums[:, qubits]
    broken = np.where(counts > 0, ratios / np.maximum(counts, 1), np.nan)
    return {
        "qubits": qubits.tolist(),
        "field_errors": np.round(slope / precision, 6).tolist(),
        "field_spreads": np.round(precision**-0.5, 6).tolist(),
        "broken": [None if np.isnan(value) else round(float(value), 4) for value in broken],
    }


def main() -> None:
    """Print the map of a chip, by a number of problems, both from the command line."""
    graph_id, problems = sys.argv[1:]
    database = Database(load().database_url)
    try:
        with database.reading() as session:
            sys.stdout.write(json.dumps(read_map(session, graph_id, int(problems))))
    finally:
        database.dispose()


if __name__ == "__main__":
    entry.run(main)
