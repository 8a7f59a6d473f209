"""Copies that a fault has broken, put right with the free qubits around them.

minorminer begins with what is left of their chains: it ends well more often than from nothing,
with fewer qubits, and in a tenth of a second.
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
    from worker.embedding.copies.time_limit import TimeLimit
    from worker.embedding.model.graphs import Interactions

# Rounds: how far around a copy it may take free qubits, in lengths of a qubit; and whether it leaves alone
# the qubits of copies that wait for their turn.
_ROUNDS = ((0.5, True), (1.0, True), (1.0, False), (2.0, False))
_TRIES = 6  # of which the one with the fewest qubits is taken
_SHARE = 0.5  # of the time that is left for each copy, for its tries


def repair_copies(
    graph: Interactions,
    occupancy: Occupancy,
    broken: list[Chains],
    time_limit: TimeLimit,
    rng: np.random.Generator,
) -> int:
    """Lay the copies that can be put right on the occupancy, those with the fewest faults first; how many."""
    faults = [
        sum(not occupancy.solver.working[qubit] for qubit in minorminer.qubits_of(chains))
        for chains in broken
    ]
    waiting = [broken[index] for index in np.argsort(faults, kind="stable").tolist()]
    for reach, spares in _ROUNDS:
        left: list[Chains] = []
        for place, chains in enumerate(waiting):
            if time_limit.expired:
                return len(broken) - len(left) - len(waiting[place:])
            limit_s = _SHARE * time_limit.left_s / (len(waiting) - place)
            others = [*left, *waiting[place + 1 :]] if spares else []
            found = _repair_copy(
                graph, occupancy, chains, _window(occupancy, chains, others, reach), limit_s, rng
            )
            if found is None:
                left.append(chains)
            else:
                occupancy.place(found)
            time_limit.report_step("repair")
        waiting = left
    return len(broken) - len(waiting)


def _window(occupancy: Occupancy, chains: Chains, others: list[Chains], reach: float) -> NDArray[np.int64]:
    """Free qubits of a copy and around it that none of ``others`` has, ascending."""
    free = occupancy.free
    if others:
        reserved = [qubit for other in others for qubit in minorminer.qubits_of(other)]
        free = np.setdiff1d(free, reserved)
    centres = occupancy.lattice.centres
    own = centres[minorminer.qubits_of(chains)]
    low, high = own.min(axis=0), own.max(axis=0)
    margin = reach * occupancy.lattice.span
    inside = (centres[free] >= low - margin) & (centres[free] <= high + margin)
    window: NDArray[np.int64] = free[inside.all(axis=1)]
    return window


def _repair_copy(
    graph: Interactions,
    occupancy: Occupancy,
    chains: Chains,
    window: NDArray[np.int64],
    limit_s: float,
    rng: np.random.Generator,
) -> Chains | None:
    """The smallest embedding of a few that begin with a broken one, or None."""
    couplers = minorminer.induced_couplers(occupancy.solver, window)
    best: Chains | None = None
    started = time.monotonic()
    for _ in range(_TRIES):
        seed = int(rng.integers(1 << 31))
        found = minorminer.find_chains(graph, couplers, window, seed, 1.0, start=chains)
        if found is not None and (best is None or _cost(found) < _cost(best)):
            best = found
        if time.monotonic() - started > limit_s:
            break
    return best


def _cost(chains: Chains) -> int:
    """Qubits, and a long chain counts twice: it breaks more often."""
    qubits, longest = minorminer.embedding_size(chains)
    return qubits + longest
