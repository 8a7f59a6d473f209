"""Embeddings as D-Wave's Ocean has them: a list of qubits for each variable."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from producer.embeddings import chips, queries
from producer.embeddings.chips import ChipSummary
from schema.codecs.tiling import Tiling
from schema.errors import NotFound, ParameterError
from schema.network.units import unit_names
from schema.parameters import solver

_MAX_BYTES = 64_000_000


def exported(session: Session, number: int, tile: int | None = None) -> dict[str, Any]:
    """Return embedding ``number`` in ``session``, or only this ``tile``, a list of qubits for each unit.

    Units have their names if a network is known that used it, else their numbers from 0.

    Raises:
        NotFound: there is no such embedding.
        ParameterError: it has no such tile.
        AnnealqError: it is not found yet, or damaged.
    """
    summary = queries.embedding(session, number)
    tiling = queries.read_tiling(session, number)
    layers = queries.unit_layers(session, number, summary.units)
    names = [str(index) for index in range(summary.units)]
    if layers is not None:
        names = unit_names(layers.sizes, layers.kinds)
    if tile is not None:
        if tile >= tiling.tiles:
            raise ParameterError(f"embedding {number} has tiles 0 to {tiling.tiles - 1}, not {tile}")
        return _chains(tiling, tile, names)
    return {
        "name": summary.name,
        "solver": summary.solver,
        "chip": summary.chip,
        "graph_id": summary.graph_id,
        "embeddings": [_chains(tiling, each, names) for each in range(tiling.tiles)],
    }


def chip_for(session: Session, path: Path, solver_name: str | None, graph: str | None) -> ChipSummary:
    """Return the chip in ``session`` that an imported embedding is for.

    Args:
        path: the file, which may name its graph.
        solver_name: emulator or dwave; the chip of it that was used last.
        graph: graph id or name of a chip; at most one of both is given.

    Raises:
        ParameterError: the file cannot be read, or neither the file nor an option names a chip.
        NotFound: there is no such chip.
    """
    if solver_name is not None and graph is not None:
        raise ParameterError("--solver and --graph both choose the chip: give one")
    if solver_name is not None:
        chosen = solver(solver_name)
        found = [chip for chip in chips.summaries(session) if chip.solver == chosen.value]
        if not found:
            raise NotFound(
                f"no chip of solver {chosen} is known: `annealq embeddings find NETWORK --solver {chosen}`"
            )
        return found[0]
    named = _graph_of(path) if graph is None else graph
    if named is None:
        raise ParameterError(f"{path} names no graph: give --solver or --graph")
    return chips.find(session, named)


def _graph_of(path: Path) -> str | None:
    """Return the graph id that the file ``path`` names, if any; the worker's program checks the rest."""
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise ParameterError(
            f"{path}: cannot be read ({error.strerror or error}): name another file"
        ) from None
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        found = None
    named = found.get("graph_id") if isinstance(found, dict) else None
    return named if isinstance(named, str) else None


def _chains(tiling: Tiling, tile: int, names: list[str]) -> dict[str, list[int]]:
    return {name: tiling.chain(tile, unit).tolist() for unit, name in enumerate(names)}
