"""Finding an embedding, or as many disjoint copies of one as a solver holds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from schema.codecs.tiling import Tiling
from schema.errors import Refused
from worker.embedding.copies import bounds, minorminer
from worker.embedding.copies.minorminer import Chains
from worker.embedding.copies.occupancy import FREE, Board
from worker.embedding.copies.time_limit import Report, TimeLimit
from worker.embedding.layered import construct
from worker.embedding.model.check import check, intact
from worker.embedding.model.graphs import Interactions, SolverGraph
from worker.embedding.search import shipped
from worker.embedding.search.filling import Filler
from worker.embedding.search.repair import mend
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
class Found:
    """A tiling that holds on its solver, and how it was found.

    method: what made most of its copies: ``layered``, ``lattice``, ``minorminer`` or ``repaired``. seconds:
    wall clock. seed: gives the same tiling again where no time limit cut the search short.
    """

    tiling: Tiling
    method: str
    seconds: float
    seed: int


def find(
    graph: Interactions,
    solver: SolverGraph,
    *,
    tiles: int | None = None,
    seed: int = 0,
    time_limit_s: float = 60.0,
    report: Report | None = None,
    start: Tiling | None = None,
) -> Found:
    """Find chains for a model on a solver.

    tiles: disjoint copies wanted at most, 1 or more; None: as many as fit. time_limit_s: wall clock; the
    search ends soon after, with the best so far. report: called with the name of a step and the share done,
    0 to 1. start: a tiling for an earlier graph of this solver: tiles that still hold are kept.

    Raises:
        Refused: the model cannot fit, which counting may show at once; or nothing was found in time.
    """
    if tiles is not None and tiles < 1:
        raise Refused(f"tiles must be 1 or more, not {tiles}")
    bounds.refuse_too_large(graph, solver)
    clock = TimeLimit(time_limit_s, report)
    most = min(tiles or solver.size, len(solver.qubits) // bounds.fewest_qubits(graph, solver))
    board, rng = Board(solver), np.random.default_rng(seed)
    method = "repaired" if start is not None else "lattice"
    start = start or shipped.load(graph, solver)
    if start is not None and most > 1:
        clock.tell("keep")
        _keep(graph, board, start, most, clock, rng)
    if not board.copies:
        clock.tell("construct")
        method = _construct(graph, board, most, clock, rng)
    copy = next(iter(board.copies.values()), None) or _find_one(graph, solver, rng, clock)
    if not board.copies:
        method = "minorminer"
    _fill(graph, board, minorminer.size(copy)[0], most, clock, rng)
    if not board.copies:
        board.place(copy)
    tiling = board.to_tiling(tiles)
    check(graph, solver, tiling)
    clock.tell("done", 1.0)
    return Found(tiling, method, clock.spent_s, seed)


def _fill(
    graph: Interactions, board: Board, size: int, most: int, clock: TimeLimit, rng: np.random.Generator
) -> None:
    """Lay copies of about ``size`` qubits where there is room, until the time is over."""
    head = heads.as_head(graph)
    clock.tell("fill")
    if head is not None:
        HeadFiller(graph, head, board, size, most, clock, rng).improve()
    elif size <= _LARGEST_FILLED:
        known = shapes.load(graph, board.solver)
        if known is not None:
            packer = Packer(graph, known, board, most, clock, rng)
            packer.fill()
            packer.improve()
        filler = Filler(graph, board, size, most, clock, rng)
        filler.fill()
        clock.tell("improve")
        filler.improve()


def _construct(
    graph: Interactions, board: Board, most: int, clock: TimeLimit, rng: np.random.Generator
) -> str:
    """Lay what can be built on an empty board at once; the name of how."""
    free = board.owner == FREE
    if graph.units > _LARGEST_SEARCHED:
        one = construct.weave(graph, board.solver, free) if most == 1 else None
        for copy in [one] if one else construct.stack(graph, board.solver, free, most):
            board.place(copy)
        return "layered"
    if most >= _WORTH_A_LATTICE:
        head = heads.as_head(graph)
        if head is not None:
            head_tiling.tile(graph, head, board, clock, rng)
        else:
            periodic.lay(graph, board, periodic.gather(graph, board.solver, clock, rng), clock, rng)
    return "lattice"


def _keep(
    graph: Interactions, board: Board, start: Tiling, most: int, clock: TimeLimit, rng: np.random.Generator
) -> None:
    """Lay the tiles of an earlier tiling that hold, and those that can be mended."""
    holds = intact(graph, board.solver, start)
    tiles = [[start.chain(tile, unit).tolist() for unit in range(start.units)] for tile in range(start.tiles)]
    for tile in np.flatnonzero(holds)[:most].tolist():
        board.place(tiles[tile])
    broken = [tiles[tile] for tile in np.flatnonzero(~holds)[: most - len(board.copies)].tolist()]
    # Copies of known shapes are packed anew, which is faster.
    if broken and graph.units <= _LARGEST_SEARCHED and shapes.load(graph, board.solver) is None:
        mend(graph, board, broken, clock, rng)


def _find_one(graph: Interactions, solver: SolverGraph, rng: np.random.Generator, clock: TimeLimit) -> Chains:
    """The best of a few embeddings on the whole chip."""
    best: Chains | None = None
    for _ in range(_MOST_TRIES):
        if best is not None and clock.spent_s > _AGAIN_SHARE * clock.limit_s:
            break
        clock.tell("minorminer")
        seed = int(rng.integers(1 << 31))
        found = minorminer.embed(graph, solver.couplers, solver.qubits, seed, clock.left_s)
        if found is not None and (best is None or minorminer.size(found) < minorminer.size(best)):
            best = found
        if clock.over:
            break
    if best is None:
        raise Refused(
            f"no embedding of {graph.units} units with {len(graph.edges)} interactions was found on solver "
            f"{solver.name} {solver.graph_id} in {clock.limit_s:g} s; allow more time or fold visible units"
        )
    return best
