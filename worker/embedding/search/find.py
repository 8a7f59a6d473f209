"""Finding an embedding, or as many disjoint copies of one as a solver holds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from schema.codecs.tiling import Tiling
from schema.errors import Refused
from worker.embedding.copies import bounds, minorminer
from worker.embedding.copies.minorminer import Chains
from worker.embedding.copies.occupancy import FREE, Occupancy
from worker.embedding.copies.time_limit import Report, TimeLimit
from worker.embedding.layered import construct
from worker.embedding.model.check import check_tiling, intact_tiles
from worker.embedding.model.graphs import Interactions, SolverGraph
from worker.embedding.search import shipped
from worker.embedding.search.filling import WindowFiller
from worker.embedding.search.repair import repair_copies
from worker.embedding.tiling import head_tiling, heads, periodic, shapes
from worker.embedding.tiling.head_filling import HeadFiller
from worker.embedding.tiling.packing import Packer

# A whole chip is searched again while this share of the time limit lasts, in the hope of shorter chains.
_AGAIN_SHARE = 0.25
_MOST_TRIES = 5
# Qubits of a copy up to which holes are filled by searching: larger ones take minutes each.
_LARGEST_FILLED = 300
# Units up to which a search beats the construction of layered networks.
_LARGEST_SEARCHED = 60
# Copies from which on it pays to look for a shape that can be laid side by side.
_WORTH_A_LATTICE = 10


@dataclass(frozen=True)
class FoundTiling:
    """A tiling that holds on its solver, and how it was found.

    method: what made most of its copies: ``layered``, ``lattice``, ``minorminer`` or ``repaired``. seconds:
    wall time_limit. seed: gives the same tiling again where no time limit cut the search short.
    """

    tiling: Tiling
    method: str
    seconds: float
    seed: int


def find_embedding(
    graph: Interactions,
    solver: SolverGraph,
    *,
    tiles: int | None = None,
    seed: int = 0,
    time_limit_s: float = 60.0,
    report: Report | None = None,
    start: Tiling | None = None,
) -> FoundTiling:
    """Find chains for a model on a solver.

    tiles: disjoint copies wanted at most, 1 or more; None: as many as fit. time_limit_s: wall time_limit; the
    search ends soon after, with the best so far. report: called with the name of a step and the share done,
    0 to 1. start: a tiling for an earlier graph of this solver: tiles that still hold are kept.

    Raises:
        Refused: the model cannot fit, which counting may show at once; or nothing was found in time.
    """
    if tiles is not None and tiles < 1:
        raise Refused(f"tiles must be 1 or more, not {tiles}")
    bounds.refuse_too_large(graph, solver)
    time_limit = TimeLimit(time_limit_s, report)
    most = min(tiles or solver.size, len(solver.qubits) // bounds.fewest_qubits(graph, solver))
    occupancy, rng = Occupancy(solver), np.random.default_rng(seed)
    method = "repaired" if start is not None else "lattice"
    start = start or shipped.load_shipped(graph, solver)
    if start is not None and most > 1:
        time_limit.report_step("keep")
        _keep(graph, occupancy, start, most, time_limit, rng)
    if not occupancy.copies:
        time_limit.report_step("construct")
        method = _construct(graph, occupancy, most, time_limit, rng)
    copy = next(iter(occupancy.copies.values()), None) or _find_one(graph, solver, rng, time_limit)
    if not occupancy.copies:
        method = "minorminer"
    _fill(graph, occupancy, minorminer.embedding_size(copy)[0], most, time_limit, rng)
    if not occupancy.copies:
        occupancy.place(copy)
    tiling = occupancy.to_tiling(tiles)
    check_tiling(graph, solver, tiling)
    time_limit.report_step("done", 1.0)
    return FoundTiling(tiling, method, time_limit.spent_s, seed)


def _fill(
    graph: Interactions,
    occupancy: Occupancy,
    size: int,
    most: int,
    time_limit: TimeLimit,
    rng: np.random.Generator,
) -> None:
    """Lay copies of about ``size`` qubits where there is room, until the time is over."""
    head = heads.head_of(graph)
    time_limit.report_step("fill")
    if head is not None:
        HeadFiller(graph, head, occupancy, size, most, time_limit, rng).improve()
    elif size <= _LARGEST_FILLED:
        known = shapes.load_shapes(graph, occupancy.solver)
        if known is not None:
            packer = Packer(graph, known, occupancy, most, time_limit, rng)
            packer.fill()
            packer.improve()
        filler = WindowFiller(graph, occupancy, size, most, time_limit, rng)
        filler.fill()
        time_limit.report_step("improve")
        filler.improve()


def _construct(
    graph: Interactions, occupancy: Occupancy, most: int, time_limit: TimeLimit, rng: np.random.Generator
) -> str:
    """Lay what can be built on an empty occupancy at once; the name of how."""
    free = occupancy.owner == FREE
    if graph.units > _LARGEST_SEARCHED:
        one = construct.construct_embedding(graph, occupancy.solver, free) if most == 1 else None
        for copy in [one] if one else construct.construct_copies(graph, occupancy.solver, free, most):
            occupancy.place(copy)
        return "layered"
    if most >= _WORTH_A_LATTICE:
        head = heads.head_of(graph)
        if head is not None:
            head_tiling.tile_heads(graph, head, occupancy, time_limit, rng)
        else:
            periodic.tile_periodically(
                graph,
                occupancy,
                periodic.find_shapes(graph, occupancy.solver, time_limit, rng),
                time_limit,
                rng,
            )
    return "lattice"


def _keep(
    graph: Interactions,
    occupancy: Occupancy,
    start: Tiling,
    most: int,
    time_limit: TimeLimit,
    rng: np.random.Generator,
) -> None:
    """Lay the tiles of an earlier tiling that hold, and those that can be mended."""
    holds = intact_tiles(graph, occupancy.solver, start)
    tiles = [[start.chain(tile, unit).tolist() for unit in range(start.units)] for tile in range(start.tiles)]
    for tile in np.flatnonzero(holds)[:most].tolist():
        occupancy.place(tiles[tile])
    broken = [tiles[tile] for tile in np.flatnonzero(~holds)[: most - len(occupancy.copies)].tolist()]
    # Copies of known shapes are packed anew, which is faster.
    if broken and graph.units <= _LARGEST_SEARCHED and shapes.load_shapes(graph, occupancy.solver) is None:
        repair_copies(graph, occupancy, broken, time_limit, rng)


def _find_one(
    graph: Interactions, solver: SolverGraph, rng: np.random.Generator, time_limit: TimeLimit
) -> Chains:
    """The best of a few embeddings on the whole chip."""
    best: Chains | None = None
    for _ in range(_MOST_TRIES):
        if best is not None and time_limit.spent_s > _AGAIN_SHARE * time_limit.limit_s:
            break
        time_limit.report_step("minorminer")
        seed = int(rng.integers(1 << 31))
        found = minorminer.find_chains(graph, solver.couplers, solver.qubits, seed, time_limit.left_s)
        if found is not None and (
            best is None or minorminer.embedding_size(found) < minorminer.embedding_size(best)
        ):
            best = found
        if time_limit.expired:
            break
    if best is None:
        raise Refused(
            f"no embedding of {graph.units} units with {len(graph.edges)} interactions was found on solver "
            f"{solver.name} {solver.graph_id} in "
            f"{time_limit.limit_s:g} s; allow more time or fold visible units"
        )
    return best
