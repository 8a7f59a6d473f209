"""Embeds heads: networks whose visible units are each coupled to all class units and to nothing else.

minorminer treats all units alike. Here only the chains of the class units are searched, by simulated
annealing on masks of qubits. The visible units follow from them: a free qubit that is coupled to all class
chains is a visible unit of one qubit; two coupled free qubits that together reach all class chains are one of
two qubits.
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

# The terms of the energy, found by trying on Pegasus and Zephyr with 40 + 10 units. A free qubit that is
# coupled to all chains counts 1; _WORTH is for those that lack one or two chains.
_WORTH = (0.6, 0.35)
_QUBIT_COST = 0.2
_GAP_COST = 2.0
_HOT, _COLD = 0.6, 0.1
# Cumulated shares of the moves: grow a chain, shrink one, move one of its qubits; the rest takes a qubit from
# another chain.
_GROW, _SHRINK, _MOVE = 0.4, 0.65, 0.9
_CHECK_EVERY = 256  # moves between two looks at the time_limit


@dataclass(frozen=True)
class HeadGraph:
    """A head in parts.

    Attributes:
        leaves: the visible units, coupled to all of ``core`` and to nothing else.
        core: the class units.
        links: interactions among the class units, numbered within ``core``.
    """

    leaves: tuple[int, ...]
    core: tuple[int, ...]
    links: tuple[tuple[int, int], ...]  # among the core, numbered within it


def head_of(graph: Interactions) -> HeadGraph | None:
    """Return ``graph`` as a head, or None if it is not one.

    The last layer is the core. There must be at least 2 class units, at least as many leaves as class units,
    all interactions between leaves and core, and none among the leaves.
    """
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
    """Class chains as masks, and what follows from them."""

    chains: list[int]
    near: list[int]
    energy: float = math.inf
    taken: int = 0  # bits of all chains, in all periods
    whole: int = 0  # free bits that are coupled to all chains
    gaps: int = 0  # pairs of class units without a coupler


class HeadAnnealer:
    """Searches the class chains of one head on one target graph by simulated annealing.

    With chains C_1 .. C_K, the energy that is minimised is

        2 gaps + 0.2 qubits - visible - 0.6 almost - 0.35 nearly

    where ``gaps`` counts interactions of class units without a coupler, ``qubits`` those of all class chains,
    and ``visible``, ``almost`` and ``nearly`` the free qubits that are coupled to all chains, to all but one,
    and to all but two. On a periodic graph each qubit counts once.
    """

    def __init__(self, head: HeadGraph, target: BitGraph, rng: random.Random) -> None:
        self.head, self.target, self.rng = head, target, rng

    def find_chains(
        self, moves: int, should_stop: Callable[[], bool], start_temperature: float = _HOT
    ) -> Chains | None:
        """Return chains of all units, or None if none were found.

        Each time the energy reaches a new minimum, the state is completed to an embedding if it can be: the
        first success is returned.

        Args:
            moves: number of moves at most; the temperature falls geometrically over them, to 0.1.
            should_stop: asked every 256 moves; True ends the search.
            start_temperature: in units of the energy.
        """
        state = self._random_state()
        best, temperature = math.inf, start_temperature
        for move in range(moves):
            if state.energy < best:
                best = state.energy
                chains = self._complete(state)
                if chains is not None:
                    return chains
            if move % _CHECK_EVERY == 0:
                if should_stop():
                    return None
                temperature = start_temperature * (_COLD / start_temperature) ** (move / moves)
            proposed = self._propose(state)
            if proposed is None:
                continue
            change = proposed.energy - state.energy
            if change <= 0 or self.rng.random() < math.exp(-change / temperature):
                state = proposed
        return None

    def _random_state(self) -> _State:
        """Draw one qubit for each class unit."""
        chains: list[int] = []
        taken, first = 0, ((1 << self.target.period) - 1) & self.target.all_bits
        for _ in self.head.core:
            chains.append(random_bit(first & ~taken or first, self.rng))
            taken |= self.target.unfold(self.target.fold(chains[-1]))
        return self._evaluate(chains, [self.target.neighbours(chain) for chain in chains])

    def _evaluate(self, chains: list[int], near: list[int]) -> _State:
        """Return the state of ``chains`` with these ``near`` masks, and its energy."""
        target, folded = self.target, 0
        for chain in chains:
            folded |= target.fold(chain)
        taken = target.unfold(folded)
        whole, but_one, but_two = target.all_bits & ~taken, 0, 0
        for seen in near:
            unseen = whole & ~seen
            but_two = (but_two & seen) | (but_one & ~seen)
            but_one = (but_one & seen) | unseen
            whole &= seen
        gaps = sum(not near[i] & chains[j] for i, j in self.head.links)
        visible = target.fold(whole)
        almost = target.fold(but_one) & ~visible
        nearly = target.fold(but_two) & ~visible & ~almost
        worth = _WORTH[0] * almost.bit_count() + _WORTH[1] * nearly.bit_count()
        cost = _GAP_COST * gaps + _QUBIT_COST * folded.bit_count()
        return _State(chains, near, cost - worth - visible.bit_count(), taken, whole, gaps)

    def _propose(self, state: _State) -> _State | None:
        """Return a neighbouring state, or None if the move that was drawn is impossible."""
        rng, index = self.rng, self.rng.randrange(len(state.chains))
        chain, kind = state.chains[index], self.rng.random()
        chains = list(state.chains)
        if kind >= _MOVE:
            return self._take_from_other(state, index)
        if kind >= _GROW:
            if chain & (chain - 1) == 0:
                return None
            chain &= ~random_bit(chain, rng)
        if kind < _GROW or kind >= _SHRINK:
            around = state.near[index] & ~state.taken
            if not around:
                return None
            chain |= random_bit(around, rng)
        if kind >= _GROW and not self.target.connected(chain):
            return None
        chains[index] = chain
        return self._evaluate(chains, self._neighbours(state, chains, index))

    def _take_from_other(self, state: _State, index: int) -> _State | None:
        others = 0
        for other, chain in enumerate(state.chains):
            others |= chain if other != index else 0
        around = state.near[index] & others
        if not around:
            return None
        bit = random_bit(around, self.rng)
        owner = next(other for other, chain in enumerate(state.chains) if chain & bit)
        chains = list(state.chains)
        chains[owner] &= ~bit
        if not self.target.connected(chains[owner]):
            return None
        chains[index] |= bit
        return self._evaluate(chains, self._neighbours(state, chains, index, owner))

    def _neighbours(self, state: _State, chains: list[int], *changed: int) -> list[int]:
        near = list(state.near)
        for index in changed:
            near[index] = self.target.neighbours(chains[index])
        return near

    def _complete(self, state: _State) -> Chains | None:
        """Return the embedding of all units that ``state`` allows, or None."""
        target, wanted = self.target, len(self.head.leaves)
        if state.gaps:
            return None
        free = target.fold(target.all_bits & ~state.taken).bit_count()
        singles = target.fold(state.whole).bit_count()
        if singles + max(0, free - singles) // 2 < wanted:
            return None
        leaves = self._singles(state, wanted)
        if len(leaves) < wanted:
            leaves += self._pairs(state, wanted - len(leaves))
        if len(leaves) < wanted:
            return None
        core = self._trim(state.chains, leaves)
        chains: Chains = [[] for _ in range(wanted + len(core))]
        for unit, mask in zip((*self.head.leaves, *self.head.core), (*leaves, *core), strict=True):
            chains[unit] = sorted(target.to_qubits(mask))
        return chains

    def _singles(self, state: _State, wanted: int) -> list[int]:
        """Return visible units of one qubit, at most ``wanted``, each qubit of the period once."""
        used = 0
        singles: list[int] = []
        for bit in set_bits(state.whole):
            folded = 1 << (bit % self.target.period)
            if not used & folded and len(singles) < wanted:
                used |= folded
                singles.append(1 << bit)
        return singles

    def _pairs(self, state: _State, wanted: int) -> list[int]:
        """Return visible units of two coupled qubits: greedily, qubits with the fewest partners first."""
        target = self.target
        free = target.all_bits & ~state.taken & ~target.unfold(target.fold(state.whole))
        partners = {bit: self._partners(state, free, bit) for bit in set_bits(free)}
        pairs: list[int] = []
        used = 0
        for bit in sorted(partners, key=lambda bit: partners[bit].bit_count()):
            mates = [
                mate
                for mate in set_bits(partners[bit] & ~used)
                if mate % target.period != bit % target.period
            ]
            if used >> bit & 1 or not mates or len(pairs) == wanted:
                continue
            mate = min(mates, key=lambda mate: partners[mate].bit_count())
            pair = 1 << bit | 1 << mate
            used |= target.unfold(target.fold(pair))
            pairs.append(pair)
        return pairs

    def _partners(self, state: _State, free: int, bit: int) -> int:
        mates = self.target.adjacency[bit] & free
        for seen in state.near:
            if not seen >> bit & 1:
                mates &= seen
        return mates

    def _trim(self, chains: list[int], leaves: list[int]) -> list[int]:
        """Return the class chains without the qubits that no interaction needs."""
        core = list(chains)
        for index in range(len(core)):
            for bit in sorted(set_bits(core[index]), key=lambda bit: self.target.adjacency[bit].bit_count()):
                less = core[index] & ~(1 << bit)
                if self.target.connected(less) and self._still_coupled(core, leaves, index, less):
                    core[index] = less
        return core

    def _still_coupled(self, core: list[int], leaves: list[int], index: int, less: int) -> bool:
        seen = self.target.neighbours(less)
        linked = [core[j if i == index else i] for i, j in self.head.links if index in (i, j)]
        return all(seen & chain for chain in linked) and all(seen & leaf for leaf in leaves)
