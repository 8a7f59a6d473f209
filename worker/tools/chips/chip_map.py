"""Prints field errors and broken chains of each qubit of a chip, as one JSON object.

    python -m worker.tools.chips.chip_map GRAPH_ID PROBLEMS

They are computed from the stored reads of the newest good problems, of all networks and embeddings.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from schema.codecs.tiling import Tiling
from schema.database import Database
from schema.errors import InputError
from schema.settings import load
from schema.tables import Chip, Problem
from worker.compute.chip_map import ChainTotals
from worker.tools import entry
from worker.tools.chips.stored_problems import good_problems, read_problems


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
    totals: dict[int, tuple[Tiling, ChainTotals]] = {}
    for one in read_problems(session, chip, rows):
        chains = ChainTotals(one.tiles.tiles, one.tiles.units)
        _, chains = totals.setdefault(one.embedding, (one.tiles, chains))
        measured = (one.beta, one.coupling_bias)
        chains.add(one.numbers, one.units.bits, one.units.chain_breaks, one.sent, *measured, one.signs)
    return {"problems": len(rows), **_by_qubit(list(totals.values()))}


def _rows(session: Session, graph_id: str, count: int) -> list[Any]:
    """Return the newest good problems of a chip that have reads, those of a batch one after the other."""
    query = good_problems().where(Problem.graph_id == graph_id).order_by(Problem.id.desc()).limit(count)
    return sorted(session.execute(query), key=lambda row: (row.batch_id, row.first_image))


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
