"""A chip's graph is read back as it was written, or refused."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from schema.codecs.chip_graphs import decode, encode
from schema.errors import Corrupt
from tests import chips

GRAPH = chips.chip("zephyr", 2, dead=0.05)


def test_a_graph_is_what_a_worker_stored() -> None:
    qubits, couplers = decode(encode(GRAPH.qubits, GRAPH.couplers), len(GRAPH.qubits), len(GRAPH.couplers))
    np.testing.assert_array_equal(qubits, GRAPH.qubits)
    np.testing.assert_array_equal(couplers, GRAPH.couplers)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not deflated",
        encode(GRAPH.qubits, GRAPH.couplers)[:-1],
        zlib.compress(bytes(4)),
        zlib.compress(bytes(1 << 24)),  # more than was announced: it is not unpacked
    ],
)
def test_what_is_no_graph_of_this_size_is_refused(data: bytes) -> None:
    with pytest.raises(Corrupt, match="graph"):
        decode(data, len(GRAPH.qubits), len(GRAPH.couplers))
