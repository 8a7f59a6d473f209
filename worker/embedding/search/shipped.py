"""Tilings of ideal chips that took long to find: shipped, so that a first run need not search.

A plan is for one interaction graph and one lattice; on a real chip its tiles that hold are kept, the others
mended or searched anew. The denser ones were packed by a program of its own: hundreds of small embeddings,
annealed in windows of the lattice, each with all its shifts, reflections and rotations; of all of those, as
many disjoint ones as a local search found. The others come from the searches of this package, given minutes.
To improve one by these, or make another:

    python -m worker.embedding.plans NETWORK sampled|folded TOPOLOGY SIDE SECONDS [SEED]
"""

from __future__ import annotations

import sys
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from schema.tiling import Tiling, decode, encode

if TYPE_CHECKING:
    from worker.embedding.graph import Interactions, SolverGraph

_TRACKS = 4  # of the Zephyr and Chimera lattices that are built


def load(graph: Interactions, solver: SolverGraph) -> Tiling | None:
    """The plan for a graph on the ideal lattice of a solver, or None where none is shipped.

    Raises:
        Corrupt: the file is damaged.
    """
    file = files("worker.embedding").joinpath("ideal", _name(graph, solver))
    return decode(file.read_bytes()) if file.is_file() else None


def save(graph: Interactions, solver: SolverGraph, tiling: Tiling) -> Path:
    """Write a plan into the package; where it is."""
    folder = Path(__file__).parent / "ideal"
    folder.mkdir(exist_ok=True)
    path = folder / _name(graph, solver)
    path.write_bytes(encode(tiling))
    return path


def _name(graph: Interactions, solver: SolverGraph) -> str:
    sides = solver.shape[:1] if solver.topology == "pegasus" else solver.shape
    return f"{graph.digest[:16]}-{solver.topology}-{'-'.join(map(str, sides))}.tiling"


def main(network: str, visible: str, topology: str, side: str, seconds: str, seed: str = "0") -> None:
    """Search from the plan that is there, and keep what is better."""
    from schema.architecture import preset
    from schema.weights import decode as decode_weights
    from worker.embedding.graph import Interactions
    from worker.embedding.periodic import window
    from worker.embedding.search import find
    from worker.network.transfer import energy_model

    layers = preset(network)
    data = files("schema").joinpath("presets", f"{network}.safetensors").read_bytes()
    model = energy_model(layers, decode_weights(data, layers), "energy", visible)
    graph, solver = Interactions.of(model), window(topology, int(side), _TRACKS)
    before = load(graph, solver)
    found = find(graph, solver, seed=int(seed), time_limit_s=float(seconds)).tiling
    better = before is None or found.tiles > before.tiles
    path = save(graph, solver, found) if better else Path(_name(graph, solver))
    sys.stdout.write(f"{path.name}: {found.tiles} tiles, before {before.tiles if before else 0}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
