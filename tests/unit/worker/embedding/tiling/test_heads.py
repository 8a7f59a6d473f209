"""Heads are embedded by annealing their class units' chains; copies are laid, filled in and mended."""

from __future__ import annotations

import random

import networkx as nx
import numpy as np
import pytest

from tests import models
from tests.chips import chains_of, chip, verify
from worker.embedding.copies.minorminer import find_chains, induced_couplers
from worker.embedding.copies.occupancy import Occupancy
from worker.embedding.copies.task import TilingTask
from worker.embedding.copies.time_limit import TimeLimit
from worker.embedding.model.graphs import Interactions, SolverGraph
from worker.embedding.search import repair, shipped
from worker.embedding.search.find import find_embedding
from worker.embedding.tiling import heads
from worker.embedding.tiling.bit_graph import region_graph
from worker.qubo.energy_model import Visible

SMALL = Interactions.of(models.head(units=12, classes=4))


def test_only_heads_are_heads() -> None:
    found = heads.head_of(Interactions.of(models.head()))
    assert found is not None
    assert (len(found.leaves), len(found.core), len(found.links)) == (40, 10, 45)
    for model in (models.pooled(), models.head("folded"), models.conv358("folded")):
        assert heads.head_of(Interactions.of(model)) is None


@pytest.mark.parametrize(("topology", "side"), [("zephyr", 2), ("pegasus", 3)])
def test_annealed_chains_hold(topology: str, side: int) -> None:
    solver = chip(topology, side, dead=0.02)
    head = heads.head_of(SMALL)
    assert head is not None
    target = region_graph(solver, solver.qubits)
    chains = heads.HeadAnnealer(head, target, random.Random(0)).find_chains(20_000, lambda: False)
    assert chains is not None
    verify(SMALL, solver, chains)
    again = heads.HeadAnnealer(head, target, random.Random(0)).find_chains(20_000, lambda: False)
    assert again == chains


def test_copies_side_by_side_hold() -> None:
    solver = chip("zephyr", 5, dead=0.01)
    found = find_embedding(SMALL, solver, time_limit_s=4.0)
    verify(SMALL, solver, *chains_of(found.tiling))
    assert found.tiling.tiles >= 0.5 * len(solver.qubits) / 32


def test_broken_copies_are_mended() -> None:
    ideal = chip("zephyr", 4)
    whole = find_embedding(SMALL, ideal, tiles=4, time_limit_s=10.0).tiling
    hit = chip("zephyr", 4)
    gone = [int(whole.chain(tile, unit)[0]) for tile, unit in ((0, 0), (1, 14), (2, 15))]
    keep = np.isin(hit.qubits, gone, invert=True)
    couplers = hit.couplers[np.isin(hit.couplers, gone, invert=True).all(axis=1)]
    hurt = SolverGraph("hurt", "hurt_1", "zephyr", (4, 4), hit.size, hit.qubits[keep], couplers)
    task = TilingTask(SMALL, Occupancy(hurt), whole.tiles, TimeLimit(20.0), np.random.default_rng(0))
    assert repair.repair_copies(task, chains_of(whole)) == whole.tiles
    verify(SMALL, hurt, *task.occupancy.copies.values())


def test_a_start_may_lie_in_several_parts_of_a_window() -> None:
    solver = chip("zephyr", 4)
    (chains,) = chains_of(find_embedding(SMALL, solver, tiles=1, time_limit_s=10.0).tiling)
    own = [qubit for chain in chains for qubit in chain]
    target = nx.Graph(solver.couplers.tolist())
    beside = set(own).union(*(target[qubit] for qubit in own))
    apart = next(pair for pair in solver.couplers.tolist() if beside.isdisjoint(pair))
    window = np.sort(np.array(own + apart))
    start = [chains[0] + apart, *chains[1:]]
    found = find_chains(SMALL, induced_couplers(solver, window), window, 0, 5.0, initial_chains=start)
    assert found is not None
    verify(SMALL, solver, found)


@pytest.mark.parametrize(
    ("topology", "side", "visible", "units", "tiles"),
    [
        ("pegasus", 16, "sampled", 40, 35),
        ("zephyr", 12, "sampled", 40, 40),
        ("pegasus", 16, "sampled", 20, 61),
        ("zephyr", 12, "sampled", 20, 66),
        ("pegasus", 16, "folded", 40, 330),
        ("zephyr", 12, "folded", 40, 279),
    ],
)
def test_shipped_plans_hold(topology: str, side: int, visible: Visible, units: int, tiles: int) -> None:
    graph, solver = Interactions.of(models.head(visible, units)), chip(topology, side)
    plan = shipped.load_shipped(graph, solver)
    assert plan is not None
    assert plan.tiles == tiles
    verify(graph, solver, *chains_of(plan))
    assert shipped.load_shipped(graph, chip(topology, 2)) is None


def test_a_repaired_tiling_keeps_what_holds() -> None:
    graph = Interactions.of(models.head("folded"))
    before = find_embedding(graph, chip("zephyr", 3), time_limit_s=3.0).tiling
    solver = chip("zephyr", 3, dead=0.03, seed=5)
    found = find_embedding(graph, solver, time_limit_s=3.0, start=before)
    assert found.method == "repaired"
    verify(graph, solver, *chains_of(found.tiling))
    assert found.tiling.tiles >= 0.7 * before.tiles
