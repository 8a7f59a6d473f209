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
from worker.compute.candidates import UNEMBEDDINGS, Choice, choose_cheapest, find_right, list_choices


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
def test_right_ones_are_found_as_by_hand(bits, orders, labels) -> None:
    energies = np.array(orders, dtype=np.float64) - 7.5
    among = [choice for choice in list_choices(12) if choice.rule is not Rule.BOLTZMANN]
    among += [Choice(reads, Rule.BOLTZMANN, beta=0.37) for reads in (3, 12)]
    expected = [
        [
            by_hand(bits[image, : choice.reads], energies[image, : choice.reads], choice) == labels[image]
            for image in range(4)
        ]
        for choice in among
    ]
    assert find_right(bits, energies, labels, among).tolist() == expected


def test_every_rule_is_compared_for_every_number_of_reads() -> None:
    assert {choice.reads for choice in list_choices(100)} == {10, 20, 50, 100}
    assert {choice.reads for choice in list_choices(120)} == {10, 20, 50, 100, 120}
    assert {choice.reads for choice in list_choices(4)} == {4}
    for reads in (10, 120):
        among = [choice for choice in list_choices(120) if choice.reads == reads]
        assert {choice.rule for choice in among} == set(Rule)
        assert {choice.fraction for choice in among if choice.rule is Rule.LOWEST_ENERGY_MEAN} >= {0.1, 0.5}
        assert len(set(among)) == len(among)
    assert len(list_choices(120, UNEMBEDDINGS)) == len(UNEMBEDDINGS) * len(list_choices(120))


@given(st.data())
def test_the_choice_is_the_cheapest_that_is_good_enough(data: st.DataObject) -> None:
    shape = data.draw(st.tuples(st.integers(1, 3), st.integers(1, 4)))
    images = data.draw(st.sampled_from([1, 7, 40]))
    right = data.draw(hnp.arrays(np.bool_, (*shape, images)))
    costs = data.draw(hnp.arrays(np.float64, shape, elements=st.sampled_from([10.0, 20.0, 1000.0])))
    chosen = choose_cheapest(right, costs)
    cells = list(np.ndindex(*shape))
    counts = right.sum(axis=2)
    best = min(cells, key=lambda cell: (-counts[cell], costs[cell], cells.index(cell)))
    good = []
    for cell in cells:
        lost = right[best].astype(float) - right[cell]
        if lost.mean() <= max(0.001, lost.std() / math.sqrt(images)) + 1e-12:
            good.append(cell)
    assert chosen == min(good, key=lambda cell: (costs[cell], -counts[cell], cells.index(cell)))


def cheap_and_dear(images: int, gained: int, lost: int) -> np.ndarray:
    """Return which images are right: the cheap one gains some images and loses others; the rest are right."""
    right = np.ones((1, 2, images), dtype=np.bool_)
    right[0, 1, :gained] = False
    right[0, 0, gained : gained + lost] = False
    return right


def test_a_standard_error_is_that_of_the_images_that_differ() -> None:
    costs = np.array([[1.0, 100.0]])
    assert choose_cheapest(cheap_and_dear(1_000, 9, 13), costs) == (0, 0)  # 4 less, error 4.7
    assert choose_cheapest(cheap_and_dear(1_000, 3, 8), costs) == (0, 1)  # 5 less, error 3.3
    assert choose_cheapest(cheap_and_dear(2_000, 0, 2), costs) == (0, 0)  # 0.1 points
    assert choose_cheapest(cheap_and_dear(2_000, 0, 3), costs) == (0, 1)


def test_among_equals_the_defaults_win() -> None:
    among = list_choices(50, UNEMBEDDINGS)
    right = np.ones((2, len(among), 10), dtype=np.bool_)
    costs = np.array([[choice.reads for choice in among]] * 2, dtype=np.float64)
    row, column = choose_cheapest(right, costs)
    assert (row, among[column]) == (0, Choice(10, Rule.LOWEST_ENERGY_MEAN, 0.1))


BITS, ENERGIES = np.zeros((2, 5, 3), dtype=np.uint8), np.zeros((2, 5))
ONES = np.ones((1, 2))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ImageError, match="3 labels for 2 images"):
        find_right(BITS, ENERGIES, np.zeros(3, np.int16), list_choices(5))
    with pytest.raises(ParameterError, match=r"6 reads.*only 5"):
        find_right(BITS, ENERGIES, np.zeros(2, np.int16), [Choice(6, Rule.ALL_READS_MEAN)])
    ones = np.ones((1, 2, 5), np.bool_)
    for right, costs in ((ones, np.ones((2, 1))), (ones[:, :0], np.ones((1, 0))), (ones[:, :, :0], ONES)):
        with pytest.raises(ParameterError, match="choose"):
            choose_cheapest(right, costs)
