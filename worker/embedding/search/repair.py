"""Repairs copies that dead qubits or couplers have broken, with free qubits around them.

minorminer starts from what is left of their chains. It succeeds more often than from nothing, uses fewer
qubits, and takes a tenth of a second.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from worker.embedding.copies import minorminer

if TYPE_CHECKING:
    from worker.embedding.copies.minorminer import Chains
    from worker.embedding.copies.occupancy import Occupancy
    from worker.embedding.copies.task import TilingTask

# Rounds: how far around a copy free qubits may be used, in lengths of a qubit; and whether the qubits of
# copies that are still broken are left alone.
_ROUNDS = ((0.5, True), (1.0, True), (1.0, False), (2.0, False))
_TRIES = 6  # of which that with the fewest qubits is taken
_SHARE = 0.5  # of the remaining time of each copy, for its tries


def repair_copies(task: TilingTask, broken: list[Chains]) -> int:
    """Place those of the ``broken`` copies that can be repaired, and return their number.

    Copies with the fewest dead qubits come first. Later rounds use more free qubits. The chip of ``task``
    holds the copies that are not broken.
    """
    working = task.solver.working
    faults = [sum(not working[qubit] for qubit in minorminer.qubits_of(chains)) for chains in broken]
    waiting = [broken[index] for index in np.argsort(faults, kind="stable").tolist()]
    for reach, is_reserved in _ROUNDS:
        failed: list[Chains] = []
        for index, chains in enumerate(waiting):
            if task.time_limit.expired:
                return len(broken) - len(failed) - len(waiting[index:])
            limit_s = _SHARE * task.time_limit.left_s / (len(waiting) - index)
            reserved = [*failed, *waiting[index + 1 :]] if is_reserved else []
            window = _window(task.occupancy, chains, reserved, reach)
            repaired = _repair_copy(task, chains, window, limit_s)
            if repaired is None:
                failed.append(chains)
            else:
                task.occupancy.place(repaired)
            task.time_limit.report_step("repair")
        waiting = failed
    return len(broken) - len(waiting)


def _window(occupancy: Occupancy, chains: Chains, reserved: list[Chains], reach: float) -> NDArray[np.int64]:
    """Return the free qubits of a copy and around it that are in none of ``reserved``, ascending."""
    free = occupancy.free
    if reserved:
        free = np.setdiff1d(free, [qubit for copy in reserved for qubit in minorminer.qubits_of(copy)])
    centres = occupancy.lattice.centres
    own = centres[minorminer.qubits_of(chains)]
    low, high = own.min(axis=0), own.max(axis=0)
    margin = reach * occupancy.lattice.span
    inside = (centres[free] >= low - margin) & (centres[free] <= high + margin)
    window: NDArray[np.int64] = free[inside.all(axis=1)]
    return window


def _repair_copy(
    task: TilingTask, chains: Chains, window: NDArray[np.int64], limit_s: float
) -> Chains | None:
    """Return the smallest of a few embeddings in ``window`` that start from broken ``chains``, or None."""
    couplers = minorminer.induced_couplers(task.solver, window)
    best: Chains | None = None
    started = time.monotonic()
    for _ in range(_TRIES):
        repaired = minorminer.find_chains(task.graph, couplers, window, task.draw_seed(), 1.0, chains)
        if repaired is not None and (best is None or _cost(repaired) < _cost(best)):
            best = repaired
        if time.monotonic() - started > limit_s:
            break
    return best


def _cost(chains: Chains) -> int:
    """Return the number of qubits plus the longest chain, since long chains break more often."""
    return sum(minorminer.embedding_size(chains))
