"""The codec of raw reads: round trips, and the refusal of damaged and hostile bytes."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from isal import isal_zlib

from schema.codecs.samples import Deflate, RawReads, decode, encode
from schema.errors import Corrupt


@st.composite
def sample_sets(draw: st.DrawFn) -> RawReads:
    images, reads, variables = draw(st.integers(1, 4)), draw(st.integers(1, 9)), draw(st.integers(1, 70))
    bits = draw(hnp.arrays(np.uint8, (images, reads, variables), elements=st.integers(0, 1)))
    energies = draw(hnp.arrays(np.float32, (images, reads), elements=st.floats(-1e6, 1e6, width=32)))
    counts = hnp.arrays(np.int32, (images, reads), elements=st.integers(1, 2**31 - 1))
    return RawReads.of(bits, energies, draw(st.none() | counts))


@pytest.mark.parametrize("deflate", [zlib.compress, isal_zlib.compress])
@given(samples=sample_sets())
def test_round_trip(deflate: Deflate, samples: RawReads) -> None:
    back = decode(encode(samples, deflate))
    np.testing.assert_array_equal(back.bits, samples.bits)
    np.testing.assert_array_equal(back.energies, samples.energies)
    if samples.occurrences is None:
        assert back.occurrences is None
    else:
        np.testing.assert_array_equal(back.occurrences, samples.occurrences)


@given(sample_sets(), st.data())
def test_any_damaged_byte_is_noticed(samples: RawReads, data: st.DataObject) -> None:
    good = bytearray(encode(samples))
    place = data.draw(st.integers(0, len(good) - 1))
    good[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(Corrupt):
        decode(bytes(good))


@given(sample_sets(), st.data())
def test_any_cut_is_noticed(samples: RawReads, data: st.DataObject) -> None:
    good = encode(samples)
    with pytest.raises(Corrupt):
        decode(good[: data.draw(st.integers(0, len(good) - 1))])


def test_a_header_that_claims_too_much_allocates_nothing() -> None:
    body = zlib.compress(b"")
    head = (b"AQSS", 1, 2, 2**31, 2**31, 2**31, len(body))
    layout = struct.Struct("<4sHHIIIQI")
    checksum = zlib.crc32(body, zlib.crc32(layout.pack(*head, 0)))
    with pytest.raises(Corrupt, match="more than"):
        decode(layout.pack(*head, checksum) + body)


def test_a_later_version_says_so() -> None:
    bits = np.zeros((1, 2, 3), np.uint8)
    data = bytearray(encode(RawReads.of(bits, np.zeros((1, 2), np.float32))))
    data[4] = 2
    # With the old checksum it is damage, not a version.
    with pytest.raises(Corrupt, match="damaged"):
        decode(bytes(data))
    data[28:32] = zlib.crc32(data[32:], zlib.crc32(data[:28] + bytes(4))).to_bytes(4, "little")
    with pytest.raises(Corrupt, match=r"version 2.*upgrade"):
        decode(bytes(data))


def test_a_thousand_reads_of_fifty_variables_are_at_most_11_kb_an_image() -> None:
    rng = np.random.default_rng(0)  # random bits do not deflate: the worst case
    bits = rng.integers(0, 2, (10, 1000, 50), dtype=np.uint8)
    energies = rng.normal(size=(10, 1000)).astype(np.float32)
    assert len(encode(RawReads.of(bits, energies))) <= 10 * 11_100


@pytest.mark.parametrize(
    "bits",
    [np.full((1, 2, 3), 2, np.uint8), np.zeros((2, 3), np.uint8), np.zeros((1, 2, 3), np.int64)],
)
def test_bits_of_another_kind_are_refused(bits: np.ndarray) -> None:
    with pytest.raises(ValueError, match="bit"):
        encode(RawReads.of(bits, np.zeros((1, 2), np.float32)))
