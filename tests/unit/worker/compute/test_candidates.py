"""The arithmetic of a calibration, against plain counting."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from schema.errors import ImageError, ParameterError
from schema.parameters import Rule
from worker.compute.candidates import Choice, choose_cheapest, count_right, list_choices


def by_hand(bits: np.ndarray, energies: np.ndarray, choice: Choice) -> int | None:
    """Return the class of one image (R, K), or None; energies are all different."""
    reads = sorted(zip(energies.tolist(), bits.tolist(), strict=True))
    weights = [1.0] * len(reads)
    if choice.rule is Rule.LOWEST_ENERGY_MEAN:
        reads = reads[: max(1, math.ceil(choice.fraction * len(reads) - 1e-9))]
        weights = weights[: len(reads)]
    if choice.rule is Rule.BOLTZMANN:
        weights = [math.exp(-choice.beta * (energy - reads[0][0])) for energy, _ in reads]
    scores = [
        sum(weight * read[k] for weight, (_, read) in zip(weights, reads, strict=True)) / sum(weights)
        for k in range(bits.shape[1])
    ]
    best = [k for k, score in enumerate(scores) if score > max(scores) - 1e-9]
    if max(scores) == 0:
        return None
    # A tie goes to the class with the read of lowest energy, over all reads.
    order = sorted(zip(energies.tolist(), bits.tolist(), strict=True))
    return next((k for _, read in order for k in best if read[k]), None)


@given(
    hnp.arrays(np.uint8, (4, 12, 3), elements=st.integers(0, 1)),
    st.lists(st.permutations(range(12)), min_size=4, max_size=4),
    hnp.arrays(np.int16, 4, elements=st.integers(0, 2)),
)
def test_right_ones_are_counted_as_by_hand(bits, orders, labels) -> None:
    energies = np.array(orders, dtype=np.float64) - 7.5
    among = [choice for choice in list_choices(12) if choice.rule is not Rule.BOLTZMANN]
    among += [Choice(reads, Rule.BOLTZMANN, beta=0.37) for reads in (3, 12)]
    expected = [
        sum(
            by_hand(bits[image, : choice.reads], energies[image, : choice.reads], choice) == labels[image]
            for image in range(4)
        )
        for choice in among
    ]
    assert count_right(bits, energies, labels, among).tolist() == expected


def test_every_rule_is_compared_for_every_number_of_reads() -> None:
    assert {choice.reads for choice in list_choices(100)} == {10, 20, 50, 100}
    assert {choice.reads for choice in list_choices(120)} == {10, 20, 50, 100, 120}
    assert {choice.reads for choice in list_choices(4)} == {4}
    for reads in (10, 120):
        among = [choice for choice in list_choices(120) if choice.reads == reads]
        assert {choice.rule for choice in among} == set(Rule)
        assert {choice.fraction for choice in among if choice.rule is Rule.LOWEST_ENERGY_MEAN} >= {0.1, 0.5}
        assert len(set(among)) == len(among)


@given(st.data())
def test_the_choice_is_the_cheapest_that_is_good_enough(data: st.DataObject) -> None:
    shape = data.draw(st.tuples(st.integers(1, 3), st.integers(1, 5)))
    images = data.draw(st.sampled_from([1, 999, 1000, 2500]))
    most = data.draw(st.integers(0, images))
    right = data.draw(hnp.arrays(np.int64, shape, elements=st.integers(max(0, most - 4), most)))
    costs = data.draw(hnp.arrays(np.float64, shape, elements=st.sampled_from([10.0, 20.0, 1000.0])))
    row, column = choose_cheapest(right, costs, images)
    cells = list(np.ndindex(*shape))
    good = [cell for cell in cells if (right.max() - right[cell]) / images <= 0.001 + 1e-12]
    assert (row, column) == min(good, key=lambda cell: (costs[cell], -right[cell], cells.index(cell)))


def test_two_images_of_two_thousand_are_a_tenth_of_a_point_and_three_are_not() -> None:
    costs = np.array([[1.0, 100.0]])
    assert choose_cheapest(np.array([[1996, 1998]]), costs, 2000) == (0, 0)
    assert choose_cheapest(np.array([[1995, 1998]]), costs, 2000) == (0, 1)


def test_among_equals_the_defaults_win() -> None:
    among = list_choices(50)
    right = np.full((2, len(among)), 7)
    costs = np.array([[choice.reads for choice in among]] * 2, dtype=np.float64)
    row, column = choose_cheapest(right, costs, 10)
    assert (row, among[column]) == (0, Choice(10, Rule.LOWEST_ENERGY_MEAN, 0.1))


BITS, ENERGIES = np.zeros((2, 5, 3), dtype=np.uint8), np.zeros((2, 5))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ImageError, match="3 labels for 2 images"):
        count_right(BITS, ENERGIES, np.zeros(3, np.int16), list_choices(5))
    with pytest.raises(ParameterError, match=r"6 reads.*only 5"):
        count_right(BITS, ENERGIES, np.zeros(2, np.int16), [Choice(6, Rule.ALL_READS_MEAN)])
    ones = np.ones((1, 2), np.int64)
    for right, costs, images in (
        (ones, np.ones((2, 1)), 5),
        (ones[:, :0], np.ones((1, 0)), 5),
        (ones * 6, np.ones((1, 2)), 5),
        (ones, np.ones((1, 2)), 0),
    ):
        with pytest.raises(ParameterError, match=r"choose|cannot be right"):
            choose_cheapest(right, costs, images)
