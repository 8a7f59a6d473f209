"""Reads, features and graphs of a bundle: nothing is lost, and what does not fit is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schema.codecs import samples
from schema.errors import Corrupt
from worker.proof import compact

SIZES = st.integers(1, 20)


@given(SIZES, SIZES, SIZES, st.booleans(), st.integers(0, 2**32))
def test_reads_come_back(images: int, reads: int, variables: int, occurrences: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    bits = rng.integers(0, 2, (images, reads, variables), np.uint8)
    counts = rng.integers(1, 2**31, (images, reads), np.int32) if occurrences else None
    raw = samples.RawReads.of(bits, rng.normal(size=(images, reads)), counts)
    found = samples.decode(compact.decode_reads(compact.encode_reads(samples.encode(raw))))
    np.testing.assert_array_equal(found.packed, raw.packed)
    np.testing.assert_array_equal(found.energies, raw.energies)
    np.testing.assert_array_equal(found.occurrences, raw.occurrences)
    assert found.variables == variables


def test_reads_have_one_form() -> None:
    data = compact.encode_reads(
        samples.encode(samples.RawReads.of(np.ones((1, 3, 2), np.uint8), np.ones((1, 3))))
    )
    assert data[13:15] == b"\x80\x80"  # only the first read differs from the one before
    compact.decode_reads(data)
    for damaged in (
        data[:12],
        data[:-1],
        data + b"\0",
        data[:12] + b"\2" + data[13:],
        data[:13] + b"\x90" + data[14:],
    ):
        with pytest.raises(Corrupt):
            compact.decode_reads(damaged)


@given(st.lists(st.tuples(st.integers(0, 2**31 - 1), st.integers(0, 2**31 - 1)), max_size=30))
def test_graphs_come_back_in_any_order(pairs: list[tuple[int, int]]) -> None:
    couplers = np.array(pairs, np.int32).reshape(-1, 2)
    qubits = couplers[:, 1].copy()
    data = compact.encode_graph(qubits, couplers)
    found = compact.decode_graph(data, len(qubits), len(couplers))
    np.testing.assert_array_equal(found[0], qubits)
    np.testing.assert_array_equal(found[1], couplers)
    with pytest.raises(Corrupt, match="not those of"):
        compact.decode_graph(data, len(qubits) + 1, len(couplers))
