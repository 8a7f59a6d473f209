"""Tilings and their format as bytes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schema.codecs import tiling
from schema.codecs.tiling import Tiling
from schema.errors import Corrupt


@st.composite
def tilings(draw: st.DrawFn) -> Tiling:
    tiles, units = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    lengths = draw(st.lists(st.integers(1, 4), min_size=tiles * units, max_size=tiles * units))
    qubits = draw(st.permutations(range(sum(lengths) + 3)))[: sum(lengths)]
    return Tiling(np.array(lengths, np.int32).reshape(tiles, units), np.array(qubits, np.int32))


@given(tilings())
def test_bytes_give_back_the_tiling(some: Tiling) -> None:
    again = tiling.decode(tiling.encode(some))
    np.testing.assert_array_equal(again.lengths, some.lengths)
    np.testing.assert_array_equal(again.qubits, some.qubits)


@given(tilings(), st.data())
def test_no_damaged_byte_goes_unnoticed(some: Tiling, data: st.DataObject) -> None:
    held = bytearray(tiling.encode(some))
    held[data.draw(st.integers(0, len(held) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(Corrupt):
        tiling.decode(bytes(held))


@given(tilings(), st.data())
def test_cut_bytes_are_refused(some: Tiling, data: st.DataObject) -> None:
    held = tiling.encode(some)
    with pytest.raises(Corrupt):
        tiling.decode(held[: data.draw(st.integers(0, len(held) - 1))])


def test_chains_stand_where_they_were_put() -> None:
    some = Tiling.from_chains([[[4, 5], [9]], [[1], [0, 7, 2]]])
    assert (some.tiles, some.units, some.longest_chain) == (2, 2, 3)
    assert some.chain(0, 0).tolist() == [4, 5]
    assert some.chain(1, 1).tolist() == [0, 7, 2]
    second = some.take(np.array([1]))
    assert (second.tiles, second.chain(0, 0).tolist(), second.chain(0, 1).tolist()) == (1, [1], [0, 7, 2])


@pytest.mark.parametrize("tiles", [[[[1], [1]]], [[[1]], [[1]]], [[[1], []]], [[[-1]]]])
def test_chains_that_share_qubits_or_are_empty_are_refused(tiles: list[list[list[int]]]) -> None:
    with pytest.raises(ValueError, match=r"qubit|lengths"):
        Tiling.from_chains(tiles)
