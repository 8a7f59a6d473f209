"""Tilings of ideal chips that took long to find: shipped, so that a first run need not search.

A plan is for one interaction graph and one lattice; on a real chip its tiles that hold are kept, the others
mended or searched anew. The denser ones were packed by a program of its own: hundreds of small embeddings,
annealed in windows of the lattice, each with all its shifts, reflections and rotations; of all of those, as
many disjoint ones as a local search found. The others come from the searches of this package, given minutes.
To improve one by these, or make another:

    python -m worker.embedding.search.shipped NETWORK sampled|folded TOPOLOGY SIDE SECONDS [SEED]
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from schema.codecs.tiling import Tiling, decode, encode

if TYPE_CHECKING:
    from worker.embedding.model.graphs import Interactions, SolverGraph

TRACKS = 4  # of the Zephyr and Chimera lattices that are built


def load_shipped(graph: Interactions, solver: SolverGraph) -> Tiling | None:
    """The plan for a graph on the ideal lattice of a solver, or None where none is shipped.

    Raises:
        Corrupt: the file is damaged.
    """
    file = files("worker.embedding").joinpath("ideal", file_name(graph, solver))
    return decode(file.read_bytes()) if file.is_file() else None


def save_shipped(graph: Interactions, solver: SolverGraph, tiling: Tiling) -> Path:
    """Write a plan into the package; where it is."""
    folder = Path(__file__).parent.parent / "ideal"
    folder.mkdir(exist_ok=True)
    path = folder / file_name(graph, solver)
    path.write_bytes(encode(tiling))
    return path


def file_name(graph: Interactions, solver: SolverGraph) -> str:
    sides = solver.shape[:1] if solver.topology == "pegasus" else solver.shape
    return f"{graph.digest[:16]}-{solver.topology}-{'-'.join(map(str, sides))}.tiling"
