"""Positions of qubits, against the layouts of dwave.graphs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dwave.graphs
import numpy as np
import pytest

from producer.figures import chip_layout
from schema.errors import Corrupt

CHIPS: dict[str, tuple[tuple[int, ...], Callable[..., Any], Callable[..., Any]]] = {
    "chimera": ((4, 3, 4), dwave.graphs.chimera_graph, dwave.graphs.chimera_layout),
    "pegasus": ((4,), dwave.graphs.pegasus_graph, dwave.graphs.pegasus_layout),
    "zephyr": ((3, 4), dwave.graphs.zephyr_graph, dwave.graphs.zephyr_layout),
}


@pytest.mark.parametrize("topology", CHIPS)
def test_a_chip_without_faults_has_these_qubits(topology: str) -> None:
    shape, graph, _ = CHIPS[topology]
    assert chip_layout.lattice(topology, shape).tolist() == sorted(graph(*shape))


@pytest.mark.parametrize("topology", CHIPS)
def test_places_are_those_of_dwave_graphs_but_for_the_unit(topology: str) -> None:
    shape, graph, layout = CHIPS[topology]
    qubits = chip_layout.lattice(topology, shape)
    ours = chip_layout.places(topology, shape, qubits)
    drawn = layout(graph(*shape))
    theirs = np.array([drawn[qubit] for qubit in qubits.tolist()])
    for axis in range(2):
        assert np.corrcoef(ours[:, axis], theirs[:, axis])[0, 1] > 0.999
    assert len(np.unique(ours, axis=0)) == len(ours)


def test_strange_qubits_and_topologies_are_refused() -> None:
    with pytest.raises(Corrupt, match="torus"):
        chip_layout.places("torus", (3,), np.array([0], np.int32))
    with pytest.raises(Corrupt, match="pegasus"):
        chip_layout.places("pegasus", (4,), np.array([100_000], np.int32))
    with pytest.raises(Corrupt, match="torus"):
        chip_layout.lattice("torus", (3,))
