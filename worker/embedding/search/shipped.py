"""Tilings of ideal chips that took long to find: part of the package, so that a first run need not search.

Each is for one interaction graph and one lattice. On a real chip its valid tiles are reused, the others are
repaired or searched. The denser ones were packed by separate programs. Copies of folded `mnist`: hundreds of
small embeddings, annealed in windows of the lattice, each with all its shifts, reflections and rotations; of
all of those, as many disjoint ones as a local search could pack. Heads of 20 visible units on Zephyr: the
class chains of five copies, annealed together until each copy has its visible units, on a row of the lattice
that is two lines high and as wide as the chip; all rows are alike; then the search of this package added
more. The others are from the searches of this package, given minutes. To improve or add one:

    python -m worker.tools.improve_plan NETWORK sampled|folded TOPOLOGY SIDE SECONDS [SEED]
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from schema.codecs.tiling import Tiling, decode, encode

if TYPE_CHECKING:
    from worker.embedding.model.graphs import Interactions, SolverGraph

TRACKS = 4  # of the Zephyr and Chimera chips that are built


def load_shipped(graph: Interactions, solver: SolverGraph) -> Tiling | None:
    """Return the tiling of ``graph`` on the ideal lattice of ``solver``, or None if none is shipped.

    Raises:
        Corrupt: the file is damaged.
    """
    file = files("worker.embedding").joinpath("ideal", file_name(graph, solver))
    return decode(file.read_bytes()) if file.is_file() else None


def save_shipped(graph: Interactions, solver: SolverGraph, tiling: Tiling) -> Path:
    """Write the ``tiling`` of ``graph`` on the lattice of ``solver`` into the package; return its path."""
    folder = Path(__file__).parent.parent / "ideal"
    folder.mkdir(exist_ok=True)
    path = folder / file_name(graph, solver)
    path.write_bytes(encode(tiling))
    return path


def file_name(graph: Interactions, solver: SolverGraph) -> str:
    """Return the name of the file for ``graph`` and the lattice of ``solver``."""
    sides = solver.shape[:1] if solver.topology == "pegasus" else solver.shape
    return f"{graph.digest[:16]}-{solver.topology}-{'-'.join(map(str, sides))}.tiling"
