"""Where qubits are drawn, against dwave.graphs' own layouts."""

from __future__ import annotations

import dwave.graphs
import numpy as np
import pytest

from producer import chip_layout
from schema.errors import Corrupt

CHIPS = [
    ("chimera", (16, 16, 4)),
    ("chimera", (2, 3, 4)),
    ("pegasus", (2,)),
    ("pegasus", (16,)),
    ("zephyr", (1, 4)),
    ("zephyr", (12, 4)),
    ("zephyr", (3, 2)),
]


def graph_of(topology: str, shape: tuple[int, ...]) -> dwave.graphs:
    return getattr(dwave.graphs, f"{topology}_graph")(*shape)


@pytest.mark.parametrize(("topology", "shape"), CHIPS)
def test_places_are_those_of_dwave_graphs(topology: str, shape: tuple[int, ...]) -> None:
    """Up to one unit of length for each axis, and where zero is."""
    layout = getattr(dwave.graphs, f"{topology}_layout")(graph_of(topology, shape))
    qubits = np.array(sorted(layout), dtype=np.int32)
    theirs = np.array([layout[qubit] for qubit in qubits.tolist()])
    ours = chip_layout.places(topology, shape, qubits)
    for axis in (0, 1):
        slope, start = np.polyfit(ours[:, axis], theirs[:, axis], 1)
        assert slope > 0
        np.testing.assert_allclose(slope * ours[:, axis] + start, theirs[:, axis], atol=1e-9)


@pytest.mark.parametrize(("topology", "shape"), CHIPS)
def test_the_lattice_is_that_of_dwave_graphs(topology: str, shape: tuple[int, ...]) -> None:
    np.testing.assert_array_equal(chip_layout.lattice(topology, shape), sorted(graph_of(topology, shape)))


@pytest.mark.parametrize(("topology", "shape"), CHIPS)
def test_no_two_qubits_share_a_place(topology: str, shape: tuple[int, ...]) -> None:
    places = chip_layout.places(topology, shape, chip_layout.lattice(topology, shape))
    apart = np.unique(np.round(places, 6), axis=0)
    assert len(apart) == len(places)


def test_qubits_that_are_on_no_chip_are_refused() -> None:
    qubits = np.array([0, 40_000], dtype=np.int32)
    with pytest.raises(Corrupt, match=r"no chip of topology pegasus\[16\]"):
        chip_layout.places("pegasus", (16,), qubits)
    with pytest.raises(Corrupt, match="torus"):
        chip_layout.places("torus", (16,), qubits)
    with pytest.raises(Corrupt, match="torus"):
        chip_layout.lattice("torus", (16,))
