"""Moving qubits by cells preserves couplers; crossing pieces are coupled."""

from __future__ import annotations

import dwave.graphs
import numpy as np
import pytest
from dwave.system.coupling_groups import coupling_groups

from schema.errors import Refused
from tests.chips import chip
from worker.embedding.model import lattice
from worker.embedding.model.graphs import SolverGraph


def _coupled(solver: SolverGraph, pairs: np.ndarray) -> np.ndarray:
    """(P,) bool: which pairs of qubits (P, 2) have a coupler."""
    couplers = {frozenset(pair) for pair in solver.couplers.tolist()}
    return np.array([frozenset(pair) in couplers for pair in pairs.tolist()])


CHIPS = [("chimera", 4, 5), ("pegasus", 5), ("zephyr", 3), ("zephyr", 3, 2)]


@pytest.mark.parametrize("shape", CHIPS)
@pytest.mark.parametrize("shift", [(1, 0), (0, 1), (-1, 2)])
def test_shifts_keep_couplers(shape: tuple[str, int], shift: tuple[int, int]) -> None:
    solver = chip(*shape)
    cells = lattice.lattice_of(solver).cells
    moved = lattice.lattice_of(solver).qubits_in(cells + np.array([0, *shift]))
    ends = moved[solver.couplers]
    there = (ends >= 0).all(axis=1) & solver.working[ends].all(axis=1)
    assert there.sum() > len(solver.couplers) / 5
    assert _coupled(solver, ends[there]).all()


@pytest.mark.parametrize("shape", CHIPS)
def test_pieces_are_coupled_just_where_they_cross(shape: tuple[str, int]) -> None:
    solver = chip(*shape)
    u, line, _, start = lattice.lattice_of(solver).sites[solver.qubits].T
    span = lattice.lattice_of(solver).span

    def covers(start: np.ndarray, line: np.ndarray) -> np.ndarray:
        return (start[:, np.newaxis] <= line) & (line < start[:, np.newaxis] + span)

    one, other = u == 0, u == 1
    crossing = covers(start[one], line[other]) & covers(start[other], line[one]).T
    pairs = np.stack(np.meshgrid(solver.qubits[one], solver.qubits[other], indexing="ij"), axis=-1)
    coupled = _coupled(solver, pairs.reshape(-1, 2)).reshape(crossing.shape)
    assert np.array_equal(coupled, crossing)


@pytest.mark.parametrize("shape", [(2, 4), (3, 4)])  # Ocean's function needs four tracks
def test_groups_of_couplers_are_oceans(shape: tuple[int, int]) -> None:
    graph = dwave.graphs.zephyr_graph(*shape)
    solver = chip("zephyr", *shape)
    groups = lattice.coupling_groups(lattice.lattice_of(solver), solver.couplers)
    ours: dict[tuple[int, int], set[int]] = {}
    for pair, numbers in zip(solver.couplers.tolist(), groups.tolist(), strict=True):
        for here, there, number in zip(pair, pair[::-1], numbers, strict=True):
            ours.setdefault((here, number), set()).add(there)
    theirs = [(group[0][1], {there for there, _ in group}) for group in coupling_groups(graph) if group]
    assert sorted((qubit, sorted(group)) for (qubit, _), group in ours.items()) == sorted(
        (qubit, sorted(group)) for qubit, group in theirs
    )


def test_a_wrong_size_is_refused() -> None:
    solver = chip("zephyr", 2)
    wrong = SolverGraph("z", "z_1", "zephyr", (3, 4), solver.size, solver.qubits, solver.couplers)
    with pytest.raises(Refused, match=r"with 160 qubits; that lattice has 336"):
        lattice.lattice_of(wrong)
