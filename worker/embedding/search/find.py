"""Finds an embedding of a model, or as many disjoint copies of one as a solver holds.

`find_embedding` tries what is known first and searches last:
1. Copies of an earlier or shipped tiling that are still valid are placed; broken ones are repaired.
2. Otherwise layered networks (over 60 units) are constructed along the lines of the lattice, and small ones
   are tiled periodically, if at least 10 copies fit.
3. Otherwise minorminer searches one copy on the whole chip.
4. Free qubits are filled with further copies, and copies replaced, until the time limit.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from schema.codecs.tiling import Tiling
from schema.errors import Refused
from worker.embedding.copies import bounds, minorminer
from worker.embedding.copies.minorminer import Chains
from worker.embedding.copies.occupancy import FREE, Occupancy
from worker.embedding.copies.task import TilingTask
from worker.embedding.copies.time_limit import Report, TimeLimit
from worker.embedding.layered import construct
from worker.embedding.model.check import check_tiling, intact_tiles
from worker.embedding.model.found import FoundTiling
from worker.embedding.model.graphs import Interactions, SolverGraph
from worker.embedding.search import shipped
from worker.embedding.search.filling import WindowFiller
from worker.embedding.search.repair import repair_copies
from worker.embedding.tiling import head_tiling, heads, periodic, shapes
from worker.embedding.tiling.head_filling import HeadFiller
from worker.embedding.tiling.packing import Packer

# The whole chip is searched again, for shorter chains, while this share of the time limit lasts.
_AGAIN_SHARE = 0.25
_MOST_TRIES = 5
# Qubits of a copy up to which gaps are filled by searching: larger ones take minutes each.
_LARGEST_FILLED = 300
# Units up to which a search beats the construction of layered networks.
_LARGEST_SEARCHED = 60
# Copies from which on the search for a periodic packing pays.
_WORTH_A_LATTICE = 10
_SAVE_EVERY_S = 5.0


def find_embedding(
    graph: Interactions,
    solver: SolverGraph,
    *,
    tiles: int | None = None,
    seed: int = 0,
    time_limit_s: float = 60.0,
    report: Report | None = None,
    start: Tiling | None = None,
    found: tuple[Tiling, float] | None = None,
    save: Callable[[Tiling], None] | None = None,
) -> FoundTiling:
    """Find chains of one or more copies of a model on a solver.

    "Tiles" are disjoint copies of the embedding that are sampled in one problem: what Ocean calls parallel
    embeddings (``ParallelEmbeddingComposite``).

    Args:
        graph: the interactions of the model.
        solver: its working qubits and couplers.
        tiles: number of copies wanted at most, 1 or more; None: as many as fit.
        seed: of all random choices.
        time_limit_s: wall clock in seconds; the search ends soon after, with the best result so far.
        report: called with the name of a step and the share done, 0 to 1.
        start: a tiling for an earlier graph of this solver, whose valid copies are reused.
        found: the best tiling of a search that was interrupted, and its seconds, which count.
        save: called with the best tiling so far, every few seconds at most.

    Raises:
        Refused: the model cannot fit, which counting may show at once; or nothing was found in time.

    Examples:
        >>> from worker.embedding.tiling.periodic import ideal_chip
        >>> triangle = Interactions((3,), np.array([[0, 1], [0, 2], [1, 2]], dtype=np.int32), "triangle")
        >>> tiling = find_embedding(triangle, ideal_chip("zephyr", 1, 4), tiles=1).tiling
        >>> tiling.tiles, tiling.units
        (1, 3)
    """
    if tiles is not None and tiles < 1:
        raise Refused(f"tiles must be 1 or more, not {tiles}")
    bounds.refuse_too_large(graph, solver)
    most = min(tiles or solver.size, len(solver.qubits) // bounds.fewest_qubits(graph, solver))
    occupancy = Occupancy(solver)
    time_limit = TimeLimit(time_limit_s, _Saver(occupancy, tiles, save, report).watch)
    task = TilingTask(graph, occupancy, most, time_limit, np.random.default_rng(seed))
    method = _place_first(task, start) if found is None else _resume(task, *found, seed)
    copy = next(iter(occupancy.copies.values()), None) or _find_single(task)
    if not occupancy.copies:
        method = "minorminer"
    _fill(task, minorminer.embedding_size(copy)[0])
    if not occupancy.copies:
        occupancy.place(copy)
    tiling = occupancy.to_tiling(tiles)
    check_tiling(graph, solver, tiling)
    time_limit.report_step("done", 1.0)
    return FoundTiling(tiling, method, time_limit.spent_s, seed)


class _Saver:
    """Hands on the best tiling of a search while it runs, whenever that has more copies than before."""

    def __init__(
        self,
        occupancy: Occupancy,
        tiles: int | None,
        save: Callable[[Tiling], None] | None,
        report: Report | None,
    ) -> None:
        self._occupancy, self._tiles, self._save, self._report = occupancy, tiles, save, report
        self._copies, self._saved_at = 0, float("-inf")

    def watch(self, step: str, fraction: float) -> None:
        """Save the copies if there are more now, and report ``step`` with the ``fraction`` done."""
        copies = len(self._occupancy.copies)
        if self._save and copies > self._copies and time.monotonic() - self._saved_at >= _SAVE_EVERY_S:
            self._save(self._occupancy.to_tiling(self._tiles))
            self._copies, self._saved_at = copies, time.monotonic()
        if self._report is not None:
            self._report(step, fraction)


def _place_first(task: TilingTask, start: Tiling | None) -> str:
    """Place the copies that need no search of each; return the name of the method."""
    method = "repaired" if start is not None else "lattice"
    start = start or shipped.load_shipped(task.graph, task.solver)
    if start is not None and task.most > 1:
        task.time_limit.report_step("reuse")
        _reuse(task, start)
    if not task.occupancy.copies:
        task.time_limit.report_step("construct")
        method = _construct(task)
    return method


def _resume(task: TilingTask, found: Tiling, spent_s: float, seed: int) -> str:
    """Place the copies of a search that was interrupted; return the name of the method."""
    task.time_limit.started -= spent_s
    task.rng = np.random.default_rng([seed, round(spent_s * 1e3)])  # does not try the same again
    _reuse(task, found)
    return "resumed"


def _reuse(task: TilingTask, start: Tiling) -> None:
    """Place the copies of an earlier tiling that are valid, and those that can be repaired."""
    valid = intact_tiles(task.graph, task.solver, start)
    tiles = [[start.chain(tile, unit).tolist() for unit in range(start.units)] for tile in range(start.tiles)]
    for tile in np.flatnonzero(valid)[: task.most].tolist():
        task.occupancy.place(tiles[tile])
    broken = [tiles[tile] for tile in np.flatnonzero(~valid)[: task.missing].tolist()]
    # Copies of shipped shapes are packed again, which is faster than a repair.
    if (
        broken
        and task.graph.units <= _LARGEST_SEARCHED
        and shapes.load_shapes(task.graph, task.solver) is None
    ):
        repair_copies(task, broken)


def _construct(task: TilingTask) -> str:
    """Place copies on an empty chip without a search of each; return the name of the method."""
    graph, solver, free = task.graph, task.solver, task.occupancy.owner == FREE
    if graph.units > _LARGEST_SEARCHED:
        single = construct.construct_embedding(graph, solver, free) if task.most == 1 else None
        for copy in [single] if single else construct.construct_copies(graph, solver, free, task.most):
            task.occupancy.place(copy)
        return "layered"
    if task.most >= _WORTH_A_LATTICE:
        head = heads.head_of(graph)
        if head is not None:
            head_tiling.tile_heads(task, head)
        else:
            periodic.tile_periodically(task, periodic.find_shapes(task))
    return "lattice"


def _find_single(task: TilingTask) -> Chains:
    """Return the best of a few embeddings by minorminer on the whole chip, which is empty."""
    graph, solver, time_limit = task.graph, task.solver, task.time_limit
    best: Chains | None = None
    for _ in range(_MOST_TRIES):
        if best is not None and time_limit.has_spent(_AGAIN_SHARE):
            break
        time_limit.report_step("minorminer")
        seed, left_s = task.draw_seed(), time_limit.left_s
        chains = minorminer.find_chains(graph, solver.couplers, solver.qubits, seed, left_s)
        if chains is not None:
            if best is None:
                copy = task.occupancy.place(chains)
                time_limit.report_step("improve")  # which saves it
                task.occupancy.remove(copy)
            best = chains if best is None else min(best, chains, key=minorminer.embedding_size)
        if time_limit.expired:
            break
    if best is None:
        raise Refused(
            f"no embedding of {graph.units} units with {len(graph.edges)} interactions was found on solver "
            f"{solver.name} {solver.graph_id} in {time_limit.limit_s:g} s; "
            "allow more time or fold visible units"
        )
    return best


def _fill(task: TilingTask, size: int) -> None:
    """Add copies of about ``size`` qubits on free qubits, by the methods that suit the graph."""
    head = heads.head_of(task.graph)
    task.time_limit.report_step("fill")
    if head is not None:
        HeadFiller(task, head, size).improve()
    elif size <= _LARGEST_FILLED:
        shipped_shapes = shapes.load_shapes(task.graph, task.solver)
        filler = WindowFiller(task, size)
        if shipped_shapes is None:
            _fill_windows(task, filler)
        else:
            _pack(task, Packer(task, shipped_shapes), filler)


def _pack(task: TilingTask, packer: Packer, filler: WindowFiller) -> None:
    """Add copies by shapes and by minorminer in turns, as long as both together find more."""
    packer.fill()
    before = -1
    while len(task.occupancy.copies) > before and not task.done:
        before = len(task.occupancy.copies)
        packer.improve()
        _fill_windows(task, filler)


def _fill_windows(task: TilingTask, filler: WindowFiller) -> None:
    """Add copies by minorminer on free qubits, then in place of others."""
    filler.fill()
    task.time_limit.report_step("improve")
    filler.improve()
