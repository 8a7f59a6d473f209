"""A tiling is judged as Ocean judges it; what does not hold is named."""

from __future__ import annotations

from itertools import pairwise

import networkx as nx
import numpy as np
import pytest
from dwave.embedding import verify_embedding
from dwave.embedding.exceptions import EmbeddingError

from schema.codecs.tiling import Tiling
from schema.errors import Refused
from tests.chips import chip
from worker.embedding.model.check import check_tiling, intact_tiles
from worker.embedding.model.graphs import Interactions, SolverGraph

TRIANGLE = Interactions((2, 1), np.array([[0, 1], [0, 2], [1, 2]], dtype=np.int32), "triangle")


def _random_tiling(rng: np.random.Generator, solver: SolverGraph) -> Tiling:
    """Two tiles of three chains of one to three qubits, most of them close together."""
    taken: list[int] = []
    tiles = []
    network = nx.Graph(solver.couplers.tolist())
    for _ in range(2):
        tile = []
        for _ in range(3):
            start = int(rng.choice([q for q in network if q not in taken]))
            if taken and rng.random() < 0.9:
                near = [q for q in network[taken[-1]] if q not in taken]
                start = int(rng.choice(near)) if near else start
            chain = [start]
            for _ in range(int(rng.integers(3))):
                near = [q for q in network[chain[-1]] if q not in taken + chain]
                chain += [int(rng.choice(near))] if near else []
            taken += chain
            tile.append(chain)
        tiles.append(tile)
    return Tiling.from_chains(tiles)


def _holds(solver: SolverGraph, tiling: Tiling, tile: int) -> bool:
    chains = {unit: tiling.chain(tile, unit).tolist() for unit in range(3)}
    try:
        return bool(verify_embedding(chains, TRIANGLE.edges.tolist(), solver.couplers.tolist()))
    except EmbeddingError:
        return False


def test_agrees_with_ocean() -> None:
    solver = chip("zephyr", 2)
    rng = np.random.default_rng(1)
    verdicts = []
    for _ in range(60):
        tiling = _random_tiling(rng, solver)
        expected = [_holds(solver, tiling, tile) for tile in range(2)]
        assert intact_tiles(TRIANGLE, solver, tiling).tolist() == expected
        verdicts += expected
        if all(expected):
            check_tiling(TRIANGLE, solver, tiling)
        else:
            with pytest.raises(Refused, match=f"tile {expected.index(False)}"):
                check_tiling(TRIANGLE, solver, tiling)
    assert 10 < sum(verdicts) < 110


def _line(count: int, couplers: list[list[int]]) -> SolverGraph:
    """Qubits 0..count-1 of a small Zephyr with just these couplers."""
    properties = {
        "topology": {"type": "zephyr", "shape": [1, 4]},
        "num_qubits": 48,
        "qubits": list(range(count)),
        "couplers": couplers,
    }
    return SolverGraph.from_properties("line", "line_1", properties)


def test_names_what_does_not_hold() -> None:
    solver = _line(6, [[0, 1], [1, 2], [2, 3], [3, 4], [1, 3]])
    good = Tiling.from_chains([[[0, 1], [2], [3, 4]]])
    check_tiling(TRIANGLE, solver, good)
    for chains, what in (
        ([[0, 1], [2], [3, 7]], "unit 2: qubit 7 does not work"),
        ([[0, 1], [2], [3, 90]], "unit 2: qubit 90 does not work"),
        ([[0, 1], [2], [3, 5]], r"unit 2: chain \[3, 5\] is not connected"),
        ([[0], [1, 2], [3]], "no coupler between units 0 and 2"),
    ):
        with pytest.raises(Refused, match=what):
            check_tiling(TRIANGLE, solver, Tiling.from_chains([chains]))
    with pytest.raises(Refused, match="for 2 units, the model has 3"):
        check_tiling(TRIANGLE, solver, Tiling.from_chains([[[0], [1]]]))
    with pytest.raises(Refused, match="for 2 units, the model has 3"):
        intact_tiles(TRIANGLE, solver, Tiling.from_chains([[[0], [1]]]))


def test_a_long_chain_is_followed_to_its_end() -> None:
    lone = Interactions((1,), np.empty((0, 2), dtype=np.int32), "lone")
    order = np.random.default_rng(0).permutation(40).tolist()
    path = sorted(sorted(pair) for pair in pairwise(order))
    tiling = Tiling.from_chains([[list(range(40))]])
    check_tiling(lone, _line(40, path), tiling)
    for gone in (0, 20, 38):
        assert not intact_tiles(lone, _line(40, path[:gone] + path[gone + 1 :]), tiling)[0]
