"""Feature vectors as bytes: what is read is what was written, and damage is noticed."""

from __future__ import annotations

import numpy as np
import pytest

from schema.codecs.features import decode_features, encode_features
from schema.errors import Corrupt

VECTORS = np.random.default_rng(0).normal(0.0, 3.0, (7, 11)).clip(0.0).astype(np.float32)


def test_vectors_are_kept_as_float16() -> None:
    data = encode_features(VECTORS)
    np.testing.assert_array_equal(decode_features(data, 7, 11), VECTORS.astype(np.float16))
    assert encode_features(decode_features(data, 7, 11)) == data


def test_no_damaged_byte_changes_a_vector() -> None:
    data = encode_features(VECTORS)
    right, noticed = decode_features(data, 7, 11), 0
    for place in range(len(data)):
        damaged = bytearray(data)
        damaged[place] ^= 16
        try:
            np.testing.assert_array_equal(decode_features(bytes(damaged), 7, 11), right)
        except Corrupt:
            noticed += 1
    assert noticed > 0.9 * len(data)  # deflate ignores some bits


@pytest.mark.parametrize(("count", "values"), [(6, 11), (8, 11), (7, 10), (7, 12), (1, 1)])
def test_another_shape_is_noticed(count: int, values: int) -> None:
    with pytest.raises(Corrupt):
        decode_features(encode_features(VECTORS), count, values)


@pytest.mark.parametrize("data", [b"", b"x", b"1234", bytes(100)])
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(Corrupt):
        decode_features(data, 7, 11)
