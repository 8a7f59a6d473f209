"""Chains of a problem as they flip on a chip: as a whole, or in parts.

A chain is a tree of strong negative couplers. Flipping its qubits one by one takes a time that grows
exponentially with beta |J|, but qubits that are strongly coupled flip together on a chip: D-Wave's
documentation ("Freezeout Points" in annealing.rst) calls them logical qubits, with dynamics of their own. An
update here draws all qubits of a chain at once from their exact Boltzmann distribution, given all other
qubits: messages go from the leaves to the root of its tree, and states are drawn from the root to the leaves.
Couplers of a chain that are not in its tree enter by a Metropolis step over the whole chain. So an update at
inverse temperature beta leaves the Boltzmann distribution at beta as it is.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from worker.emulator.qpu.problem import FloatArray

Index = NDArray[np.intp]
Single = NDArray[np.float32]

# A coupler belongs to a chain from this share of the strongest negative one. Any choice leaves the
# distribution as it is; it decides how fast it is reached.
_STRONG = 0.5
_LONGEST = 64
# Reads of a block of updates: their states stay in the processor's cache.
_READS = 128


@dataclass(frozen=True, eq=False)
class _Level:
    """Qubits of one distance from the roots of their chains, those of one color.

    Attributes:
        rows: their rows, in a slice.
        parents: row of each one's parent; without meaning for roots.
        couplers: coupler to the parent, -1 for roots.
        ranks: for each k, the positions in the level of the qubits that are the k-th child of their parent.
    """

    rows: slice
    parents: Index
    couplers: Index
    ranks: tuple[Index, ...]


@dataclass(frozen=True, eq=False)
class _Color:
    """Chains that have no coupler to each other.

    Attributes:
        rows: their qubits.
        levels: roots first.
        ends: (p,) for each qubit itself, then the other ends of its couplers to qubits outside of its chain.
        couplers: (p,) these couplers; -1 for the qubit itself.
        starts: where each qubit's begin.
        chain_of: (qubits,) number of the chain of each qubit within the color.
        loops: (l, 2) rows of the couplers that no tree has, by chain.
        loop_couplers: (l,).
        loop_starts: where those of each chain with loops begin.
        looped: number of each chain with loops.
        chains: number of chains.
    """

    rows: slice
    levels: tuple[_Level, ...]
    ends: Index
    couplers: Index
    starts: Index
    chain_of: Index
    loops: Index
    loop_couplers: Index
    loop_starts: Index
    looped: Index
    chains: int


@dataclass(frozen=True, eq=False)
class Chains:
    """The chains of a problem, ordered for updates.

    Attributes:
        order: (n,) position in the problem of each row: qubits of chains first.
        colors: chains that can be updated at the same time.
    """

    order: Index
    colors: tuple[_Color, ...]

    @classmethod
    def of(cls, qubits: int, edges: NDArray[np.int32], J: FloatArray) -> Chains:
        """Return the chains of a problem; cached, since the problems of a run differ only in h.

        Args:
            qubits: number of qubits, n.
            edges: (m, 2) positions of qubits.
            J: (m,) as scaled, without errors.
        """
        return _find(qubits, edges.tobytes(), J.tobytes())

    def update(
        self, states: NDArray[np.int8], h: FloatArray, J: FloatArray, beta: float, random: np.random.Generator
    ) -> None:
        """Draw all chains of ``states`` (R, n) of -1 and 1 once, in place, at inverse temperature ``beta``.

        Args:
            states: reads.
            h: (n,) as programmed.
            J: (m,) as programmed, in the order of the problem's edges.
            beta: > 0.
            random: the stream to draw from.
        """
        if not self.colors:
            return
        fields = (-beta * h[self.order]).astype(np.float32)[:, np.newaxis]
        couplings = np.append(-beta * J, 0.0).astype(np.float32)[:, np.newaxis]
        for first in range(0, len(states), _READS):
            part = states[first : first + _READS]
            rows = part.T[self.order].astype(np.float32)
            for color in self.colors:
                _update(color, rows, fields, couplings, random)
            part.T[self.order] = rows


def _update(
    color: _Color, rows: Single, fields: Single, couplings: Single, random: np.random.Generator
) -> None:
    """Draw the chains of a color; ``fields`` and ``couplings`` are -beta times h and J."""
    pulls = np.add.reduceat(rows[color.ends] * couplings[color.couplers], color.starts)
    pulls += fields[color.rows]
    first = color.rows.start
    for level in reversed(color.levels[1:]):
        here = pulls[level.rows.start - first : level.rows.stop - first]
        message = _message(here, couplings[level.couplers])
        for rank in level.ranks:
            pulls[level.parents[rank] - first] += message[rank]
    drawn = random.random(pulls.shape, np.float32)
    drawn *= 2
    drawn -= 1
    before = rows[color.rows].copy() if len(color.loops) else None
    for depth, level in enumerate(color.levels):
        local = slice(level.rows.start - first, level.rows.stop - first)
        pull = pulls[local]
        if depth:
            pull += couplings[level.couplers] * rows[level.parents]
        np.tanh(pull, out=pull)
        rows[level.rows] = np.where(drawn[local] < pull, np.float32(1), np.float32(-1))
    if before is not None:
        _reject(color, before, rows, couplings, random)


def _message(pulls: Single, couplings: Single) -> Single:
    """Return half the log odds by which qubits pull at their parents: atanh(tanh(pull) tanh(coupling))."""
    plus, minus = np.abs(pulls + couplings), np.abs(pulls - couplings)
    message = plus - minus
    np.exp(np.multiply(plus, -2, out=plus), out=plus)
    np.exp(np.multiply(minus, -2, out=minus), out=minus)
    message += np.log((plus + 1) / (minus + 1))
    message *= 0.5
    return np.asarray(message, np.float32)


def _reject(
    color: _Color, before: Single, rows: Single, couplings: Single, random: np.random.Generator
) -> None:
    """Take back the states of chains whose couplers outside their trees refuse them (Metropolis)."""
    weights, first = couplings[color.loop_couplers], color.rows.start
    one, other = color.loops.T
    gain = rows[one] * rows[other] - before[one - first] * before[other - first]
    gain = np.add.reduceat(gain * weights, color.loop_starts)
    refused = np.log(random.random(gain.shape, np.float32) + np.float32(1e-38)) > gain
    back = np.zeros((color.chains, gain.shape[1]), bool)
    back[color.looped] = refused
    np.copyto(rows[color.rows], before, where=back[color.chain_of])


class _Node(NamedTuple):
    """A qubit in the tree of its chain; parent and coupler to it are -1 for the root."""

    qubit: int
    parent: int
    coupler: int
    depth: int


_Tree = list[_Node]


@lru_cache(maxsize=8)
def _find(qubits: int, edges: bytes, couplings: bytes) -> Chains:
    ends = np.frombuffer(edges, np.int32).reshape(-1, 2)
    J = np.frombuffer(couplings, np.float64)
    near: list[list[tuple[int, int]]] = [[] for _ in range(qubits)]
    for coupler in np.flatnonzero((J < 0) & (_STRONG * J.min(initial=0.0) >= J)).tolist():
        one, other = ends[coupler].tolist()
        near[one].append((other, coupler))
        near[other].append((one, coupler))
    chain_of = np.full(qubits, -1, np.intp)
    trees: list[_Tree] = []
    for qubit in range(qubits):
        if chain_of[qubit] < 0 and near[qubit]:
            trees.append(_grow(qubit, near, chain_of, len(trees)))
    classes: list[list[_Tree]] = []
    for tree, color in zip(trees, _colors(len(trees), chain_of, ends), strict=True):
        classes += [[] for _ in range(color + 1 - len(classes))]
        classes[color].append(tree)
    nodes = [
        sorted((node for tree in trees for node in tree), key=lambda node: node.depth) for trees in classes
    ]
    chained = np.array([node.qubit for color in nodes for node in color], np.intp)
    order = np.concatenate([chained, np.setdiff1d(np.arange(qubits), chained)])
    wiring = _Wiring(ends, chain_of, np.argsort(order))
    firsts = np.cumsum([0, *map(len, nodes)]).tolist()
    return Chains(order, tuple(wiring.color(*pair) for pair in zip(firsts[:-1], nodes, strict=True)))


def _grow(root: int, near: list[list[tuple[int, int]]], chain_of: Index, number: int) -> _Tree:
    """Return the tree of the chain of ``root``, breadth first: flat trees need few steps."""
    chain_of[root] = number
    tree = [_Node(root, -1, -1, 0)]
    for node in tree:
        for other, coupler in near[node.qubit]:
            if chain_of[other] < 0 and len(tree) < _LONGEST:
                chain_of[other] = number
                tree.append(_Node(other, node.qubit, coupler, node.depth + 1))
    return tree


def _colors(chains: int, chain_of: Index, ends: NDArray[np.int32]) -> list[int]:
    """Return a color for each chain; chains with a coupler between them have different ones."""
    pairs = chain_of[ends]
    pairs = np.unique(pairs[(pairs >= 0).all(axis=1) & (pairs[:, 0] != pairs[:, 1])], axis=0)
    near: list[list[int]] = [[] for _ in range(chains)]
    for one, other in pairs.tolist():
        near[one].append(other)
        near[other].append(one)
    colors = [-1] * chains
    for chain in sorted(range(chains), key=lambda chain: -len(near[chain])):
        taken = {colors[other] for other in near[chain]}
        colors[chain] = next(color for color in range(chains) if color not in taken)
    return colors


@dataclass(frozen=True, eq=False)
class _Wiring:
    """Couplers (m, 2), the chain of each qubit (-1: none), and its row."""

    ends: NDArray[np.int32]
    chain_of: Index
    row_of: Index

    def color(self, first: int, nodes: list[_Node]) -> _Color:
        """Return the color whose ``nodes``, by depth, have the rows from ``first`` on."""
        qubits = np.array([node.qubit for node in nodes], np.intp)
        own = np.zeros(len(self.row_of), bool)
        own[qubits] = True
        chains, chain = np.unique(self.chain_of[qubits], return_inverse=True)
        inside = self.chain_of[self.ends[:, 0]] == self.chain_of[self.ends[:, 1]]
        ends, couplers, starts = self._outside(qubits, own, inside)
        in_tree = np.zeros(len(self.ends), bool)
        in_tree[[node.coupler for node in nodes if node.depth]] = True
        loops = np.flatnonzero(inside & ~in_tree & own[self.ends[:, 0]])
        loops = loops[np.argsort(self.chain_of[self.ends[loops, 0]], kind="stable")]
        looped, loop_starts = np.unique(self.chain_of[self.ends[loops, 0]], return_index=True)
        return _Color(
            slice(first, first + len(nodes)), self._levels(first, nodes), ends, couplers, starts, chain,
            self.row_of[self.ends[loops]], loops, loop_starts, np.searchsorted(chains, looped), len(chains),
        )  # fmt: skip

    def _levels(self, first: int, nodes: list[_Node]) -> tuple[_Level, ...]:
        levels = []
        for _, group in groupby(nodes, key=lambda node: node.depth):
            level = list(group)
            parents = self.row_of[[node.parent for node in level]]
            ranks: list[list[int]] = []
            seen: Counter[int] = Counter()
            for place, parent in enumerate(parents.tolist()):
                if seen[parent] == len(ranks):
                    ranks.append([])
                ranks[seen[parent]].append(place)
                seen[parent] += 1
            couplers = np.array([node.coupler for node in level], np.intp)
            rows = slice(first, first + len(level))
            levels.append(_Level(rows, parents, couplers, tuple(np.array(rank, np.intp) for rank in ranks)))
            first = rows.stop
        return tuple(levels)

    def _outside(
        self, qubits: Index, own: NDArray[np.bool_], inside: NDArray[np.bool_]
    ) -> tuple[Index, Index, Index]:
        """Return `_Color`'s ends, couplers and starts."""
        out = np.flatnonzero(~inside)
        one = np.concatenate([qubits, self.ends[out, 0], self.ends[out, 1]])
        other = np.concatenate([qubits, self.ends[out, 1], self.ends[out, 0]])
        couplers = np.concatenate([np.full(len(qubits), -1), out, out])
        rows = self.row_of[one]
        chosen = np.flatnonzero(own[one])
        chosen = chosen[np.argsort(rows[chosen], kind="stable")]
        starts = np.searchsorted(rows[chosen], self.row_of[qubits])
        return self.row_of[other[chosen]], couplers[chosen], starts
