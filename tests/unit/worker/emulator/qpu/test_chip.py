"""Working graphs are as large as real ones, and the same again under the same seed."""

from __future__ import annotations

import dwave.graphs
import numpy as np
import pytest
from dwave.system.coupling_groups import coupling_groups

from schema.errors import ParameterError
from worker.emulator.qpu.chip import Design, make
from worker.emulator.qpu.presets import CHIPS, DEFAULT, SOLVERS, ChipModel, models
from worker.emulator.qpu.solver import EmulatedSolver


@pytest.mark.parametrize(
    ("name", "size", "qubits", "couplers"),
    [
        ("emulator-pegasus", 5760, 5612, 40_088),
        ("emulator-zephyr", 4800, 4514, 40_409),
        ("emulator-pegasus-ideal", 5760, 5640, 40_484),
        ("emulator-zephyr-ideal", 4800, 4800, 45_864),
        ("emulator-chimera", 2048, 2048, 6016),
        ("advantage-system6", 5760, 5612, 40_088),
        ("advantage-system4", 5760, 5627, 40_279),
        ("advantage2-system1", 4800, 4577, 41_515),
        ("advantage2-system2", 4800, 4514, 40_409),
        ("advantage2-system4", 1248, 1202, 10_537),
    ],
)
def test_chips_have_the_documented_sizes(name: str, size: int, qubits: int, couplers: int) -> None:
    chip = make({**SOLVERS, **CHIPS}[name].design, seed=0)
    assert (chip.size, len(chip.qubits), len(chip.couplers)) == (size, qubits, couplers)
    assert np.isin(chip.couplers, chip.qubits).all()
    assert (chip.qubits[chip.ends] == chip.couplers).all()
    assert (np.diff(chip.qubits) > 0).all()


def test_a_defective_chip_is_a_part_of_the_lattice() -> None:
    chip = make(Design("zephyr", 3, dead=4, missing=7), seed=1)
    lattice = dwave.graphs.zephyr_graph(3)
    assert len(chip.qubits) == len(lattice) - 4
    assert all(lattice.has_edge(*pair) for pair in chip.couplers.tolist())
    assert len(chip.couplers) == lattice.subgraph(chip.qubits.tolist()).number_of_edges() - 7


@pytest.mark.parametrize("size", [1, 3, 6])
def test_groups_of_couplers_are_those_of_dwave_system(size: int) -> None:
    chip = make(Design("zephyr", size, dead=3, missing=4), seed=size)
    graph = dwave.graphs.zephyr_graph(size, node_list=chip.qubits.tolist(), edge_list=chip.couplers.tolist())
    assert chip.groups is not None
    groups: dict[tuple[int, int], set[frozenset[int]]] = {}
    for pair, numbers in zip(chip.couplers.tolist(), chip.groups.tolist(), strict=True):
        for qubit, number in zip(pair, numbers, strict=True):
            groups.setdefault((qubit, number), set()).add(frozenset(pair))
    expected = {frozenset(map(frozenset, group)) for group in coupling_groups(graph) if group}
    assert {frozenset(group) for group in groups.values()} == expected


@pytest.mark.parametrize("topology", ["pegasus", "chimera"])
def test_other_topologies_have_no_groups(topology: str) -> None:
    assert make(Design(topology, 2), seed=0).groups is None


def test_graph_ids_follow_from_the_graph() -> None:
    design = Design("pegasus", 4, dead=3, missing=2)
    again, other, later = make(design, 0), make(design, 1), make(design, 0, generation=1)
    assert make(design, 0).graph_id == again.graph_id
    assert len({again.graph_id, other.graph_id, later.graph_id}) == 3


def test_an_ideal_chip_loses_a_qubit_when_its_graph_changes() -> None:
    design = Design("pegasus", 3)
    assert len(make(design, 0, generation=2).qubits) == len(make(design, 0).qubits) - 1


@pytest.mark.parametrize(
    ("design", "message"),
    [
        (("torus", 4), "unknown topology"),
        (("pegasus", 1), "from size 2"),
        (("zephyr", 1000), "from size 1 to"),
        (("zephyr", 2, -1), "0 or more"),
        (("zephyr", 2, 10**6), "leaves no coupler"),
        (("zephyr", 2, 0, 10**6), "leaves none"),
    ],
)
def test_impossible_chips_are_refused(design: tuple[str, int, int], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        make(Design(*design), seed=0)


def test_solvers_are_read_from_options() -> None:
    assert tuple(models([], [])) == DEFAULT
    assert models(["all"], []) == SOLVERS
    own = models(["a=zephyr:3:1:2", "emulator-chimera"], [])["a"]
    assert own == ChipModel(Design("zephyr", 3, dead=1, missing=2))


def test_chips_of_one_kind_differ_in_their_dead_qubits() -> None:
    made = models(["a=pegasus:2"], ["advantage2-system4", "b=advantage2-system4"])
    assert list(made) == ["advantage2-system4", "b", "a"]
    one, other = (EmulatedSolver.make(name, made[name], seed=0) for name in list(made)[:2])
    assert len(one.chip.qubits) == len(other.chip.qubits)
    assert one.chip.graph_id != other.chip.graph_id
    assert one.limits["per_group_coupling_range"] == (-13.0, 10.0)
    assert not {"max_answers", "per_qubit_coupling_range"} & {*one.limits, *one.limits["parameters"]}


@pytest.mark.parametrize(
    "given", [["b"], ["a=zephyr"], ["a=zephyr:x"], ["a b=zephyr:2"], ["a=zephyr:2:1:1:1"], ["all", "all"]]
)
def test_wrong_solvers_are_refused(given: list[str]) -> None:
    with pytest.raises(ParameterError):
        models(given, [])


@pytest.mark.parametrize("given", [["advantage"], ["a b=advantage2-system4"], ["advantage2-system4"] * 2])
def test_wrong_chips_are_refused(given: list[str]) -> None:
    with pytest.raises(ParameterError):
        models([], given)
