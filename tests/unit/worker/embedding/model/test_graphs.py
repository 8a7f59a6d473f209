"""A solver's properties as a graph; hostile ones are refused."""

from __future__ import annotations

from typing import Any

import dwave.graphs
import pytest

from schema.errors import Refused
from worker.embedding.model.graphs import SolverGraph


def _properties(**changes: Any) -> dict[str, Any]:
    graph = dwave.graphs.zephyr_graph(2)
    properties = {
        "topology": {"type": "zephyr", "shape": [2, 4]},
        "num_qubits": len(graph),
        "qubits": sorted(graph),
        "couplers": sorted(tuple(sorted(edge)) for edge in graph.edges),
    }
    return properties | changes


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"topology": None}, "topology|describe"),
        ({"topology": {"type": "torus", "shape": [2, 4]}}, "torus"),
        ({"topology": {"type": "zephyr", "shape": [2]}}, "zephyr"),
        ({"num_qubits": 10}, "not on its chip"),
        ({"num_qubits": 1 << 40}, "not on its chip"),
        ({"qubits": []}, "not on its chip"),
        ({"qubits": [0, 0, 1]}, "not on its chip"),
        ({"couplers": [[0, 0]]}, "not on its chip"),
        ({"couplers": [[0, 1 << 33]]}, "describe"),
        ({"couplers": [[0, "x"]]}, "describe"),
        ({"couplers": [[0, 9], [9, 0]]}, "not on its chip"),
    ],
)
def test_nonsense_is_refused(changes: dict[str, Any], what: str) -> None:
    with pytest.raises(Refused, match=what):
        SolverGraph.from_properties("chip", "chip_1", _properties(**changes))
