"""Copies of a head that a fault has broken, put right with the free qubits around them."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import numpy as np

from worker.embedding.heads import Annealer, masks
from worker.embedding.sheet import of_region

if TYPE_CHECKING:
    from worker.embedding.board import Board
    from worker.embedding.chains import Chains
    from worker.embedding.clock import Clock
    from worker.embedding.heads import Head

_MOVES = 25_000
_WARM = 0.25  # temperature to begin with: what is right stays as it is
_REACH = 1  # lines around a copy from which it may take free qubits


def mend(head: Head, board: Board, broken: list[Chains], clock: Clock, rng: np.random.Generator) -> int:
    """Lay the copies that can be put right on the board, those with the fewest faults first; how many.

    Qubits of copies that wait for their turn are not touched; those of a copy given up are free for the next.
    """
    faults = [
        sum(not board.solver.working[qubit] for chain in chains for qubit in chain) for chains in broken
    ]
    waiting = [broken[index] for index in np.argsort(faults, kind="stable").tolist()]
    mended = 0
    while waiting and not clock.over:
        chains = waiting.pop(0)
        reserved = {qubit for others in waiting for chain in others for qubit in chain}
        found = _mend_one(head, board, chains, reserved, clock, rng)
        if found is not None:
            board.place(found)
            mended += 1
        clock.tell("mend")
    return mended


def _mend_one(
    head: Head, board: Board, chains: Chains, reserved: set[int], clock: Clock, rng: np.random.Generator
) -> Chains | None:
    free = np.array([qubit for qubit in board.free.tolist() if qubit not in reserved], dtype=np.int64)
    centres = board.lattice.centres
    own = centres[[qubit for chain in chains for qubit in chain]]
    reach = _REACH * board.lattice.span
    near = ((centres[free] >= own.min(axis=0) - reach) & (centres[free] <= own.max(axis=0) + reach)).all(
        axis=1
    )
    sheet = of_region(board.solver, free[near])
    annealer = Annealer(head, sheet, random.Random(int(rng.integers(1 << 31))))  # noqa: S311 - no secret
    start = masks(sheet, [chains[unit] for unit in head.core])
    return annealer.search(_MOVES, lambda: clock.over, start, warm=_WARM)
