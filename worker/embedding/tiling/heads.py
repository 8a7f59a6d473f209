"""Heads: many visible units, each coupled to all class units and to nothing else.

minorminer treats all units alike. Here only the chains of the class units are searched, by simulated
annealing; a qubit that is coupled to all of them is a visible unit in one qubit, and two neighbouring
qubits that are coupled to all of them between them are one in two.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.embedding.tiling.bit_graph import BitGraph, random_bit, set_bits

if TYPE_CHECKING:
    from worker.embedding.copies.minorminer import Chains
    from worker.embedding.model.graphs import Interactions

# Found by trying on Pegasus and Zephyr, 40 + 10 units. What a free qubit is worth that is coupled to all
# chains but one or but two (a whole visible unit is 1); what a qubit of a chain costs; what a missing
# coupler between two chains costs; and the temperatures.
_WORTH = (0.6, 0.35)
_QUBIT_COST = 0.2
_GAP_COST = 2.0
_HOT, _COLD = 0.6, 0.1
# Shares of the moves, cumulated: grow a chain, shrink one, move one of its qubits; the rest takes a qubit
# from another chain.
_GROW, _SHRINK, _MOVE = 0.4, 0.65, 0.9
_LOOK = 256  # moves between two looks at the time_limit


@dataclass(frozen=True)
class HeadGraph:
    """The parts of such a graph: units coupled to all of ``core`` and to nothing else, and the rest."""

    leaves: tuple[int, ...]
    core: tuple[int, ...]
    links: tuple[tuple[int, int], ...]  # among the core, numbered within it


def head_of(graph: Interactions) -> HeadGraph | None:
    """The head that a graph is, or None when it is none."""
    core_size = graph.sizes[-1]
    leaves = graph.units - core_size
    edges = graph.edges
    within = edges[edges[:, 0] >= leaves] - leaves
    across = edges[(edges[:, 0] < leaves) & (edges[:, 1] >= leaves)]
    whole = len(across) == leaves * core_size and len(across) + len(within) == len(edges)
    if not whole or leaves < core_size or core_size < 2:
        return None
    links = tuple((int(i), int(j)) for i, j in within)
    return HeadGraph(tuple(range(leaves)), tuple(range(leaves, graph.units)), links)


@dataclass
class _State:
    """Chains of the core and what they see."""

    chains: list[int]
    near: list[int]
    energy: float = math.inf
    taken: int = 0  # every place of every qubit of a chain
    whole: int = 0  # free bits coupled to all chains
    gaps: int = 0  # pairs of chains without a coupler


class HeadAnnealer:
    """Searches the chains of one head on one sheet."""

    def __init__(self, head: HeadGraph, sheet: BitGraph, rng: random.Random) -> None:
        self.head, self.sheet, self.rng = head, sheet, rng

    def search(self, moves: int, over: Callable[[], bool], warm: float = _HOT) -> Chains | None:
        """Chains of all units after at most so many moves, or None; ``over`` ends the search early.

        warm: the temperature at the beginning.
        """
        state = self._begin()
        best, temperature = math.inf, warm
        for move in range(moves):
            if state.energy < best:
                best = state.energy
                found = self._finish(state)
                if found is not None:
                    return found
            if move % _LOOK == 0:
                if over():
                    return None
                temperature = warm * (_COLD / warm) ** (move / moves)
            proposed = self._propose(state)
            if proposed is None:
                continue
            change = proposed.energy - state.energy
            if change <= 0 or self.rng.random() < math.exp(-change / temperature):
                state = proposed
        return None

    def _begin(self) -> _State:
        """One qubit for each chain of the core, drawn by chance."""
        chains: list[int] = []
        taken, first = 0, ((1 << self.sheet.period) - 1) & self.sheet.full
        for _ in self.head.core:
            chains.append(random_bit(first & ~taken or first, self.rng))
            taken |= self.sheet.spread(self.sheet.fold(chains[-1]))
        return self._weigh(chains, [self.sheet.near(chain) for chain in chains])

    def _weigh(self, chains: list[int], near: list[int]) -> _State:
        sheet, folded = self.sheet, 0
        for chain in chains:
            folded |= sheet.fold(chain)
        taken = sheet.spread(folded)
        whole, but_one, but_two = sheet.full & ~taken, 0, 0
        for seen in near:
            unseen = whole & ~seen
            but_two = (but_two & seen) | (but_one & ~seen)
            but_one = (but_one & seen) | unseen
            whole &= seen
        gaps = sum(not near[i] & chains[j] for i, j in self.head.links)
        visible = sheet.fold(whole)
        almost = sheet.fold(but_one) & ~visible
        nearly = sheet.fold(but_two) & ~visible & ~almost
        worth = _WORTH[0] * almost.bit_count() + _WORTH[1] * nearly.bit_count()
        cost = _GAP_COST * gaps + _QUBIT_COST * folded.bit_count()
        return _State(chains, near, cost - worth - visible.bit_count(), taken, whole, gaps)

    def _propose(self, state: _State) -> _State | None:
        """A neighbouring state, or None where the move drawn is none."""
        rng, index = self.rng, self.rng.randrange(len(state.chains))
        chain, kind = state.chains[index], self.rng.random()
        chains = list(state.chains)
        if kind >= _MOVE:
            return self._steal(state, index)
        if kind >= _GROW:
            if chain & (chain - 1) == 0:
                return None
            chain &= ~random_bit(chain, rng)
        if kind < _GROW or kind >= _SHRINK:
            around = state.near[index] & ~state.taken
            if not around:
                return None
            chain |= random_bit(around, rng)
        if kind >= _GROW and not self.sheet.connected(chain):
            return None
        chains[index] = chain
        return self._weigh(chains, self._seen(state, chains, index))

    def _steal(self, state: _State, index: int) -> _State | None:
        others = 0
        for other, chain in enumerate(state.chains):
            others |= chain if other != index else 0
        around = state.near[index] & others
        if not around:
            return None
        bit = random_bit(around, self.rng)
        robbed = next(other for other, chain in enumerate(state.chains) if chain & bit)
        chains = list(state.chains)
        chains[robbed] &= ~bit
        if not self.sheet.connected(chains[robbed]):
            return None
        chains[index] |= bit
        return self._weigh(chains, self._seen(state, chains, index, robbed))

    def _seen(self, state: _State, chains: list[int], *changed: int) -> list[int]:
        near = list(state.near)
        for index in changed:
            near[index] = self.sheet.near(chains[index])
        return near

    def _finish(self, state: _State) -> Chains | None:
        """The embedding that a state holds, if it does."""
        sheet, wanted = self.sheet, len(self.head.leaves)
        if state.gaps:
            return None
        free = sheet.fold(sheet.full & ~state.taken).bit_count()
        singles = sheet.fold(state.whole).bit_count()
        if singles + max(0, free - singles) // 2 < wanted:
            return None
        leaves = self._singles(state, wanted)
        if len(leaves) < wanted:
            leaves += self._pairs(state, wanted - len(leaves))
        if len(leaves) < wanted:
            return None
        core = self._trimmed(state.chains, leaves)
        chains: Chains = [[] for _ in range(wanted + len(core))]
        for unit, mask in zip((*self.head.leaves, *self.head.core), (*leaves, *core), strict=True):
            chains[unit] = sorted(sheet.to_qubits(mask))
        return chains

    def _singles(self, state: _State, wanted: int) -> list[int]:
        """Visible units in one qubit, each folded qubit once, those with the fewest other uses first."""
        seen = 0
        found: list[int] = []
        for bit in set_bits(state.whole):
            folded = 1 << (bit % self.sheet.period)
            if not seen & folded and len(found) < wanted:
                seen |= folded
                found.append(1 << bit)
        return found

    def _pairs(self, state: _State, wanted: int) -> list[int]:
        """Visible units in two coupled qubits; greedily, qubits with the fewest partners first."""
        sheet = self.sheet
        free = sheet.full & ~state.taken & ~sheet.spread(sheet.fold(state.whole))
        partners = {bit: self._partners(state, free, bit) for bit in set_bits(free)}
        found: list[int] = []
        used = 0
        for bit in sorted(partners, key=lambda bit: partners[bit].bit_count()):
            mates = [
                mate for mate in set_bits(partners[bit] & ~used) if mate % sheet.period != bit % sheet.period
            ]
            if used >> bit & 1 or not mates or len(found) == wanted:
                continue
            mate = min(mates, key=lambda mate: partners[mate].bit_count())
            pair = 1 << bit | 1 << mate
            used |= sheet.spread(sheet.fold(pair))
            found.append(pair)
        return found

    def _partners(self, state: _State, free: int, bit: int) -> int:
        mates = self.sheet.adjacency[bit] & free
        for seen in state.near:
            if not seen >> bit & 1:
                mates &= seen
        return mates

    def _trimmed(self, chains: list[int], leaves: list[int]) -> list[int]:
        """The core's chains without the qubits that nothing needs."""
        core = list(chains)
        for index in range(len(core)):
            for bit in sorted(set_bits(core[index]), key=lambda bit: self.sheet.adjacency[bit].bit_count()):
                less = core[index] & ~(1 << bit)
                if self.sheet.connected(less) and self._holds(core, leaves, index, less):
                    core[index] = less
        return core

    def _holds(self, core: list[int], leaves: list[int], index: int, less: int) -> bool:
        seen = self.sheet.near(less)
        linked = [core[j if i == index else i] for i, j in self.head.links if index in (i, j)]
        return all(seen & chain for chain in linked) and all(seen & leaf for leaf in leaves)
