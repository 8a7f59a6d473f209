"""Known shapes fit wherever they are said to fit, and are packed around what does not work."""

from __future__ import annotations

import numpy as np
import pytest

from tests import models
from tests.chips import chip, verify
from worker.embedding.copies.occupancy import Occupancy
from worker.embedding.copies.task import TilingTask
from worker.embedding.copies.time_limit import TimeLimit
from worker.embedding.model import lattice
from worker.embedding.model.graphs import Interactions, SolverGraph
from worker.embedding.tiling import shapes
from worker.embedding.tiling.packing import Packer

GRAPH = Interactions.of(models.head("folded"))
CHIPS = [("zephyr", 4), ("pegasus", 5)]


def _packer(solver: SolverGraph, limit_s: float = 60.0, seed: int = 0) -> Packer:
    known = shapes.load_shapes(GRAPH, solver)
    assert known is not None
    rng = np.random.default_rng(seed)
    return Packer(TilingTask(GRAPH, Occupancy(solver), solver.size, TimeLimit(limit_s), rng), known)


def _verify(packer: Packer) -> None:
    verify(GRAPH, packer.occupancy.solver, *packer.occupancy.copies.values())


@pytest.mark.parametrize(("topology", "side"), CHIPS)
def test_every_shape_holds_where_it_fits(topology: str, side: int) -> None:
    solver, rng = chip(topology, side), np.random.default_rng(0)
    known = shapes.load_shapes(GRAPH, solver)
    assert known is not None
    finder = shapes.PlaceFinder(known, lattice.lattice_of(solver))
    bits = finder.allowed_tracks(solver.working)
    middle = finder.group[solver.qubits[len(solver.qubits) // 4 :: len(solver.qubits) // 2]]
    places = finder.places_over(np.unique(middle), bits, 20_000, rng)
    assert len(np.unique(places.shapes)) > 0.9 * len(known.sizes)
    chosen = rng.choice(len(places), 150, replace=False).tolist()
    verify(GRAPH, solver, *(finder.chains_at(places, index, bits, rng) for index in chosen))


@pytest.mark.parametrize(("topology", "side"), CHIPS)
def test_copies_are_packed_around_faults(topology: str, side: int) -> None:
    packer = _packer(chip(topology, side, dead=0.015, dead_couplers=25, seed=2))
    packer.fill()
    filled = len(packer.occupancy.copies)
    assert filled > 0.5 * len(packer.occupancy.solver.qubits) / 16
    _verify(packer)
    packer.task.most = filled + 1
    packer.improve()
    assert len(packer.occupancy.copies) == filled + 1
    _verify(packer)


def test_a_seed_gives_the_same_packing_again() -> None:
    one, other = (_packer(chip("zephyr", 3, dead=0.02), seed=7) for _ in range(2))
    for packer in (one, other):
        packer.fill()
    assert list(one.occupancy.copies.values()) == list(other.occupancy.copies.values())


def test_no_more_copies_than_wanted() -> None:
    packer = _packer(chip("zephyr", 3))
    packer.task.most = 4
    packer.fill()
    packer.improve()
    assert len(packer.occupancy.copies) == 4


def test_shapes_are_known_for_some_networks_and_lattices_only() -> None:
    assert shapes.load_shapes(GRAPH, chip("chimera", 4)) is None
    assert shapes.load_shapes(Interactions.of(models.head()), chip("zephyr", 3)) is None
