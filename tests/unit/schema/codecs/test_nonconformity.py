"""Scores of nonconformity survive their format, and no damage goes unnoticed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from schema.codecs import nonconformity
from schema.codecs.nonconformity import Nonconformity, decode, encode, plan_name
from schema.errors import Corrupt
from schema.parameters import Parameters, Round


@given(data=st.data(), images=st.integers(0, 20), names=st.sets(st.text(max_size=9), max_size=4))
def test_scores_are_decoded_as_they_were_encoded(data: st.DataObject, images: int, names: set[str]) -> None:
    labels = data.draw(arrays.arrays(np.int16, images, elements=st.integers(0, 2**15 - 1)))
    scores = arrays.arrays(np.float64, images, elements=st.floats(0, allow_nan=False))
    plans = {name: data.draw(scores) for name in sorted(names)}
    found = decode(encode(Nonconformity(labels, plans)))
    np.testing.assert_array_equal(found.labels, labels)
    assert found.plans.keys() == plans.keys()
    for name, plan in plans.items():
        np.testing.assert_array_equal(found.plans[name], plan)


@given(data=st.data())
def test_damage_is_found(data: st.DataObject) -> None:
    whole = encode(Nonconformity(np.array([3, 1]), {"[20]": np.array([0.0, 0.5])}))
    place = data.draw(st.integers(0, len(whole) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != whole[place]))
    for damaged in (whole[:place], whole[:place] + bytes([byte]) + whole[place + 1 :], whole + b"x"):
        with pytest.raises(Corrupt, match="scores of nonconformity are damaged"):
            decode(damaged)


@pytest.mark.parametrize("scores", [[-0.5, 0.0], [np.nan, 0.0]])
def test_scores_out_of_range_are_refused(scores: list[float]) -> None:
    with pytest.raises(Corrupt, match="below 0"):
        decode(encode(Nonconformity(np.array([3, 1]), {"[20]": np.array(scores)})))


def test_a_plan_is_named_by_its_reads_and_rounds() -> None:
    assert plan_name(Parameters(reads=20).to_dict()) == "[20]"
    rounds = Parameters(reads=20, rounds=(Round(50, 1.0, 0.05),))
    assert plan_name(rounds.to_dict()) == "[20, [50, 1.0]]"
    assert nonconformity.plan_name({"reads": 20, "rounds": [[50, 1]]}) == plan_name(rounds.to_dict())
