"""Copies of each network on a chip, the time to find them, and the same by the library. Run:

    python -m pytest -m bench -s tests/benchmarks/test_embeddings.py

The rival is dwave-system's find_multiple_embeddings with minorminer, or minorminer itself. Its results on
the same lattices, with seconds, were measured once (it takes minutes) and are constants here. Times are CPU
seconds, so that other load on the machine does not count.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import pytest

from schema.errors import Refused
from tests import models
from tests.benchmarks.conftest import Record
from tests.chips import chip
from worker.embedding.copies.bounds import fewest_qubits
from worker.embedding.model.check import check_tiling
from worker.embedding.model.graphs import Interactions
from worker.embedding.search.find import find_embedding

pytestmark = [pytest.mark.bench, pytest.mark.timeout(600)]

CHIPS = {"P16": ("pegasus", 16), "Z12": ("zephyr", 12)}
# (network, chip): goal, copies that the library found, seconds allowed.
COPIES = {
    ("mnist", "P16"): (40, 28, 60),
    ("mnist", "Z12"): (44, 27, 60),
    ("new network", "P16"): (60, None, 60),
    ("new network", "Z12"): (64, None, 60),
    ("mnist folded", "P16"): (342, 222, 5),
    ("mnist folded", "Z12"): (292, 199, 5),
    ("digits5x5", "P16"): (155, 107, 60),
    ("digits5x5", "Z12"): (135, 110, 60),
    ("digits5x5 folded", "P16"): (390, 269, 60),
    ("digits5x5 folded", "Z12"): (340, 265, 60),
    ("conv358 folded", "P16"): (5, None, 60),
    ("conv358 folded", "Z12"): (6, None, 60),
}
HEAD_S = 10
NETWORKS = {
    "mnist": models.head,
    "new network": partial(models.head, units=20),
    "digits5x5": models.pooled,
    "conv358": models.conv358,
}


def _timed(name: str, lattice: str) -> Any:
    """Return parameters of `test_copies`; a search that uses all of a minute is slow."""
    is_slow = COPIES[name, lattice][2] > HEAD_S and name not in {"mnist", "new network"}
    return pytest.param(name, lattice, marks=[pytest.mark.slow] if is_slow else [])


def _graph(name: str) -> Interactions:
    network = name.removesuffix(" folded")
    return Interactions.of(NETWORKS[network]("sampled" if network == name else "folded"))


@pytest.mark.parametrize(("name", "lattice"), [_timed(*each) for each in COPIES])
def test_copies(record: Record, name: str, lattice: str) -> None:
    goal, rival, seconds = COPIES[name, lattice]
    found = find_embedding(_graph(name), chip(*CHIPS[lattice]), time_limit_s=seconds)
    record(f"{name}: copies on {lattice} in {seconds} s", found.tiling.tiles, "copies", goal, rival=rival)


@pytest.mark.slow
@pytest.mark.parametrize("classes", [2, 5, 10, 20, 47])
@pytest.mark.parametrize("units", [20, 30, 40])
@pytest.mark.parametrize("lattice", CHIPS)
def test_heads(record: Record, lattice: str, units: int, classes: int) -> None:
    graph, solver = Interactions.of(models.head(units=units, classes=classes)), chip(*CHIPS[lattice])
    try:
        tiling = find_embedding(graph, solver, time_limit_s=HEAD_S).tiling
    except Refused:
        return
    label = f"head of {units} visible units and {classes} classes on {lattice}"
    record(f"{label}: copies in {HEAD_S} s", tiling.tiles, "copies")
    bound = len(solver.qubits) // fewest_qubits(graph, solver)
    record(f"{label}: most that counting allows", bound, "copies")
    record(f"{label}: qubits a copy", len(tiling.qubits) / tiling.tiles, "qubits")
    record(f"{label}: longest chain", tiling.longest_chain, "qubits")


@pytest.mark.slow
@pytest.mark.parametrize("lattice", CHIPS)
@pytest.mark.parametrize(("name", "seconds"), [("mnist", 60), ("mnist folded", 60), ("mnist folded", 5)])
def test_copies_with_faults(record: Record, name: str, seconds: int, lattice: str) -> None:
    graph = _graph(name)
    ideal = find_embedding(graph, chip(*CHIPS[lattice]), time_limit_s=5).tiling.tiles
    found = find_embedding(graph, chip(*CHIPS[lattice], dead=0.015, seed=1), time_limit_s=seconds)
    share = 100.0 * found.tiling.tiles / ideal
    label = f"{name}: of the ideal {lattice}'s copies, 1.5 % of qubits dead"
    record(f"{label}, in {seconds} s", share, "%", 95.0)
    record(f"{label}: longest chain", found.tiling.longest_chain, "qubits")


@pytest.mark.parametrize(
    ("lattice", "dead", "longest", "seconds"),
    [("P16", 0.0, 13, 1), ("Z12", 0.0, 10, 1), ("P16", 0.015, 16, 10), ("Z12", 0.015, 16, 10)],
)
def test_layered(record: Record, lattice: str, dead: float, longest: int, seconds: int) -> None:
    graph, solver = _graph("conv358"), chip(*CHIPS[lattice], dead=dead, seed=1)
    started = time.process_time()
    tiling = find_embedding(graph, solver, tiles=1).tiling
    spent = time.process_time() - started
    label = f"conv358 on {lattice}" + (f", {100 * dead:g} % dead" if dead else "")
    record(f"{label}: search", spent, "CPU s", seconds, at_least=False)
    record(f"{label}: longest chain", tiling.longest_chain, "qubits", longest, at_least=False)
    goal = {"P16": 1582, "Z12": 1221}[lattice] if not dead else None
    record(f"{label}: qubits", len(tiling.qubits), "qubits", goal, at_least=False)
    started = time.process_time()
    check_tiling(graph, solver, tiling)
    record(f"{label}: check", 1e3 * (time.process_time() - started), "CPU ms")
