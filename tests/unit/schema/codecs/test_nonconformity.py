"""Scores of nonconformity survive their format, and no damage goes unnoticed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from schema.codecs import nonconformity
from schema.codecs.nonconformity import Nonconformity, ReadOutcome, ReadsHad, decode, encode, plan_name
from schema.errors import Corrupt
from schema.parameters import Parameters, Round

# Of version 0.9: labels 3 and 1, plans `[20]` and `[20, [50, 1.0]]`.
EARLIER = bytes.fromhex(
    "41514e43f058fd8502000000020000001b0000005b225b32305d222c20225b32302c205b35302c20312e305d5d225d030001000000"
    "000000000000000000000000e03f000000000000d03f000000000000f07f"
)


@given(
    data=st.data(), images=st.integers(0, 20), numbers=st.sets(st.integers(1, 10_000), min_size=1, max_size=4)
)
def test_scores_are_decoded_as_they_were_encoded(data: st.DataObject, images: int, numbers: set[int]) -> None:
    labels = data.draw(arrays.arrays(np.int16, images, elements=st.integers(0, 2**15 - 1)))
    scores = arrays.arrays(np.float64, images, elements=st.floats(0, allow_nan=False))
    gaps = arrays.arrays(np.float64, images, elements=st.floats(allow_nan=False))
    outcomes = {number: ReadOutcome(data.draw(scores), data.draw(gaps)) for number in numbers}
    found = decode(encode(Nonconformity(labels, outcomes)))
    np.testing.assert_array_equal(found.labels, labels)
    assert list(found.outcomes) == sorted(numbers)
    for number, outcome in outcomes.items():
        np.testing.assert_array_equal(found.outcomes[number].scores, outcome.scores)
        np.testing.assert_array_equal(found.outcomes[number].gaps, outcome.gaps)


def known(scores: list[float], gaps: list[float]) -> Nonconformity:
    return Nonconformity(np.array([3, 1]), {20: ReadOutcome(np.array(scores), np.array(gaps))})


@given(data=st.data(), earlier=st.booleans())
def test_damage_is_found(data: st.DataObject, *, earlier: bool) -> None:
    whole = EARLIER if earlier else encode(known([0.0, 0.5], [1.0, np.inf]))
    place = data.draw(st.integers(0, len(whole) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != whole[place]))
    for damaged in (whole[:place], whole[:place] + bytes([byte]) + whole[place + 1 :], whole + b"x"):
        with pytest.raises(Corrupt, match="scores of nonconformity are damaged"):
            decode(damaged)


@pytest.mark.parametrize(
    ("scores", "gaps", "why"),
    [([-0.5, 0.0], [0.0, 0.0], "below 0"), ([np.nan, 0.0], [0.0, 0.0], "below 0"),
     ([0.0, 0.0], [np.nan, 0.0], "not a number")],
)  # fmt: skip
def test_values_out_of_range_are_refused(scores: list[float], gaps: list[float], why: str) -> None:
    with pytest.raises(Corrupt, match=why):
        decode(encode(known(scores, gaps)))


def test_what_an_earlier_version_wrote_is_read_by_its_plans() -> None:
    found = decode(EARLIER)
    assert found.labels.tolist() == [3, 1]
    assert found.plans["[20]"].tolist() == [0.0, 0.5]
    assert found.plans["[20, [50, 1.0]]"].tolist() == [0.25, np.inf]
    assert found.has({"reads": 20, "rounds": [[50, 1, 0.05]]})
    assert not found.has({"reads": 20, "rounds": [[50, 2, 0.05]]})
    assert found.scores(ReadsHad(20)) is None


def test_reads_are_known_if_all_numbers_that_an_image_may_have_are() -> None:
    outcome = ReadOutcome(np.zeros(2), np.zeros(2))
    found = Nonconformity(np.array([3, 1]), {20: outcome, 70: outcome, 100: outcome})
    assert found.has({"reads": 20, "rounds": [[50, 1.0, 0.05]]})
    assert not found.has({"reads": 20, "rounds": [[50, 1.0, 0.05], [30, 1.0, 0.05]]})  # 50 reads may be
    assert found.scores(ReadsHad(20, ((30, 1.0),))) is None
    assert found.reads_text == "20, 70, 100 reads of an image in all"


def test_a_plan_is_named_by_its_reads_and_rounds() -> None:
    assert plan_name(Parameters(reads=20).to_dict()) == "[20]"
    rounds = Parameters(reads=20, rounds=(Round(50, 1.0, 0.05),))
    assert plan_name(rounds.to_dict()) == "[20, [50, 1.0]]"
    assert nonconformity.plan_name({"reads": 20, "rounds": [[50, 1]]}) == plan_name(rounds.to_dict())
