"""A chip's graph is read back as it was written, or refused."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from producer.embeddings.chips import unpack
from schema.errors import Corrupt
from tests import chips
from worker.records.embeddings import pack_graph

GRAPH = chips.chip("zephyr", 2, dead=0.05)


def test_a_graph_is_what_a_worker_stored() -> None:
    qubits, couplers = unpack(pack_graph(GRAPH), len(GRAPH.qubits), len(GRAPH.couplers))
    np.testing.assert_array_equal(qubits, GRAPH.qubits)
    np.testing.assert_array_equal(couplers, GRAPH.couplers)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not deflated",
        pack_graph(GRAPH)[:-1],
        zlib.compress(bytes(4)),
        zlib.compress(bytes(1 << 24)),  # more than was announced: it is not unpacked
    ],
)
def test_what_is_no_graph_of_this_size_is_refused(data: bytes) -> None:
    with pytest.raises(Corrupt, match="graph"):
        unpack(data, len(GRAPH.qubits), len(GRAPH.couplers))
