"""Finding an embedding, or as many disjoint copies of one as a solver holds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from schema.errors import Refused
from schema.tiling import Tiling
from worker.embedding import bounds, chains, layered, periodic
from worker.embedding.board import FREE, Board
from worker.embedding.chains import Chains
from worker.embedding.check import check, intact
from worker.embedding.clock import Clock, Report
from worker.embedding.filling import Filler
from worker.embedding.graph import Interactions, SolverGraph

# A whole chip is searched again while this share of the time limit lasts, in the hope of shorter chains.
_AGAIN_SHARE = 0.25
_MOST_TRIES = 5
# Graphs of so many units embed within a few cells of a lattice: their copies are packed in its period.
_SMALL = 16
_POOL = 60  # small embeddings gathered for that


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
    clock = Clock(time_limit_s, report)
    most = min(tiles or solver.size, len(solver.qubits) // bounds.fewest_qubits(graph, solver))
    board, rng = Board(solver), np.random.default_rng(seed)
    method = "minorminer"
    if start is not None:
        _keep(graph, board, start)
        method = "repaired" if board.copies else method
    if not board.copies:
        method = _construct(graph, board, most, rng, clock) or method
    if method != "layered":
        _fill(graph, board, most, rng, clock)
    tiling = board.to_tiling(tiles)
    check(graph, solver, tiling)
    clock.tell("done", 1.0)
    return Found(tiling, method, clock.spent_s, seed)


def _construct(
    graph: Interactions, board: Board, most: int, rng: np.random.Generator, clock: Clock
) -> str | None:
    """Lay copies by what is known of the graph's shape and of the lattice; says by what, None: no copies."""
    free = board.owner == FREE
    clock.tell("layered")
    if most == 1:
        copies = [found] if (found := layered.weave(graph, board.solver, free)) is not None else []
    else:
        copies = layered.stack(graph, board.solver, free, most)
    for chains_ in copies:
        board.place(chains_)
    if copies:
        return "layered"
    clock.tell("lattice")
    if graph.units <= _SMALL:
        periodic.lay(graph, board, periodic.gather(graph, board.solver, clock, rng, _POOL), rng)
    return "lattice" if board.copies else None


def _fill(graph: Interactions, board: Board, most: int, rng: np.random.Generator, clock: Clock) -> None:
    """Lay copies where there is room, then closer, until there are enough or the time is over."""
    if not board.copies and graph.units > _SMALL and most > 1:
        Filler(graph, board, 2 * graph.units, most, clock, rng).tile()
    if not board.copies:
        board.place(_find_one(graph, board.solver, rng, clock))
    size = min(chains.size(copy)[0] for copy in board.copies.values())
    filler = Filler(graph, board, size, most, clock, rng)
    clock.tell("fill")
    filler.tile() if graph.units > _SMALL else filler.fill()
    clock.tell("improve")
    if not filler.done:
        filler.improve()


def _keep(graph: Interactions, board: Board, start: Tiling) -> None:
    for tile in np.flatnonzero(intact(graph, board.solver, start)).tolist():
        board.place([start.chain(tile, unit).tolist() for unit in range(start.units)])


def _find_one(graph: Interactions, solver: SolverGraph, rng: np.random.Generator, clock: Clock) -> Chains:
    """The best of a few embeddings on the whole chip."""
    best: Chains | None = None
    for _ in range(_MOST_TRIES):
        if best is not None and clock.spent_s > _AGAIN_SHARE * clock.limit_s:
            break
        clock.tell("minorminer")
        seed = int(rng.integers(1 << 31))
        found = chains.embed(graph, solver.couplers, solver.qubits, seed, clock.left_s)
        if found is not None and (best is None or chains.size(found) < chains.size(best)):
            best = found
        if clock.over:
            break
    if best is None:
        raise Refused(
            f"no embedding of {graph.units} units with {len(graph.edges)} interactions was found on solver "
            f"{solver.name} {solver.graph_id} in {clock.limit_s:g} s; allow more time or fold visible units"
        )
    return best
