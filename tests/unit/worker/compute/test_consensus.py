"""Consensus class scores: which reads count, how ties are broken, and when an image is undecided."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from schema.errors import ParameterError
from schema.parameters import Rule
from worker.compute.consensus import Consensus, score


@st.composite
def reads(draw: st.DrawFn, levels: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Class bits (B, R, K) and energies (B, R); few levels of energy make ties."""
    shape = draw(st.tuples(st.integers(1, 3), st.integers(1, 12), st.integers(1, 4)))
    bits = draw(hnp.arrays(np.uint8, shape, elements=st.integers(0, 1)))
    values = st.floats(-50.0, 50.0) if levels is None else st.integers(0, levels - 1).map(float)
    return bits, draw(hnp.arrays(np.float64, shape[:2], elements=values))


FRACTIONS = st.floats(0.01, 1.0)
RULE = st.sampled_from(Rule)


def same(left: Consensus, right: Consensus) -> None:
    np.testing.assert_array_equal(left.predicted, right.predicted)
    np.testing.assert_array_equal(left.tied, right.tied)
    np.testing.assert_array_equal(left.lowest_energy, right.lowest_energy)
    for name in ("scores", "margin", "one_hot_fraction"):
        np.testing.assert_allclose(getattr(left, name), getattr(right, name), rtol=0, atol=1e-12)


@given(reads(levels=3), FRACTIONS, RULE, st.randoms(use_true_random=False))
def test_the_order_of_the_reads_does_not_matter(sample, fraction, rule, random) -> None:
    bits, energies = sample
    order = list(range(bits.shape[1]))
    random.shuffle(order)
    straight = score(bits, energies, rule, fraction)
    shuffled = score(np.ascontiguousarray(bits[:, order]), energies[:, order], rule, fraction)
    same(straight, shuffled)
    if rule != Rule.BOLTZMANN:
        np.testing.assert_array_equal(straight.scores, shuffled.scores)


@given(reads(levels=3), FRACTIONS)
def test_reads_tied_at_the_cut_count_as_if_drawn_by_lot(sample, fraction: float) -> None:
    bits, energies = sample
    scores = score(bits, energies, fraction=fraction).scores
    keep = max(1, int(np.ceil(fraction * bits.shape[1] - 1e-9)))
    for image in range(len(bits)):
        total = np.sort(energies[image])[:keep].sum()
        choices = [
            list(c)
            for c in combinations(range(bits.shape[1]), keep)
            if energies[image][list(c)].sum() == total
        ]
        expected = np.mean([bits[image][choice].mean(axis=0) for choice in choices], axis=0)
        np.testing.assert_allclose(scores[image], expected, rtol=0, atol=1e-9)


@given(reads(levels=4), FRACTIONS, RULE, st.data())
def test_repeated_reads_count_as_often_as_they_were_read(sample, fraction, rule, data) -> None:
    bits, energies = sample
    times = data.draw(st.lists(st.integers(0, 3), min_size=bits.shape[1], max_size=bits.shape[1]).filter(any))
    written_out = np.repeat(np.arange(len(times)), times)
    occurrences = np.tile(np.array(times, dtype=np.int32), (len(bits), 1))
    folded = score(bits, energies, rule, fraction, occurrences=occurrences)
    same(folded, score(bits[:, written_out], energies[:, written_out], rule, fraction))


@given(reads())
def test_the_whole_fraction_is_the_mean_of_all_reads(sample) -> None:
    bits, energies = sample
    whole = score(bits, energies, fraction=1.0)
    np.testing.assert_allclose(whole.scores, bits.mean(axis=1), rtol=0, atol=1e-12)
    same(whole, score(bits, energies, Rule.ALL_READS_MEAN, fraction=0.1))


@given(reads(), st.floats(0.01, 5.0), st.floats(-1000.0, 1000.0))
def test_boltzmann_weights_know_no_zero_of_energy(sample, beta: float, shift: float) -> None:
    bits, energies = sample
    weights = np.exp(-beta * (energies - energies.min(axis=1, keepdims=True)))
    expected = (bits * weights[..., None]).sum(axis=1) / weights.sum(axis=1, keepdims=True)
    scores = score(bits, energies + shift, Rule.BOLTZMANN, beta=beta).scores
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-6)


@given(reads(levels=5), FRACTIONS, RULE)
def test_the_answer_is_consistent(sample, fraction, rule) -> None:
    bits, energies = sample
    result = score(bits, energies, rule, fraction)
    assert result.scores.dtype == np.float64
    assert result.predicted.dtype == np.int16
    assert np.all((result.scores >= 0.0) & (result.scores <= 1.0))
    np.testing.assert_array_equal(result.lowest_energy, energies.min(axis=1))
    np.testing.assert_allclose(result.one_hot_fraction, (bits.sum(axis=2) == 1).mean(axis=1))
    for image in range(len(bits)):
        scores, predicted = result.scores[image], result.predicted[image]
        ordered = np.sort(scores)[::-1]
        assert result.margin[image] == pytest.approx(ordered[0] - (ordered[1] if len(scores) > 1 else 0.0))
        assert (predicted == -1) == (scores.max() == 0.0)
        if predicted >= 0:
            assert scores[predicted] == pytest.approx(scores.max())
            assert result.tied[image] == (np.isclose(scores, scores.max(), rtol=0, atol=1e-9).sum() > 1)


def test_the_lowest_hundred_of_a_thousand() -> None:
    rng = np.random.default_rng(1)
    bits = rng.integers(0, 2, (20, 1000, 10), dtype=np.uint8)
    energies = rng.normal(size=(20, 1000))
    lowest = np.argsort(energies, axis=1)[:, :100]
    expected = np.take_along_axis(bits, lowest[..., None], axis=1).mean(axis=1)
    np.testing.assert_allclose(score(bits, energies).scores, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("fraction", "reads_made", "kept"),
    [
        (0.1, 1, 1),
        (0.1, 9, 1),
        (0.1, 10, 1),
        (0.1, 11, 2),
        (0.1, 1000, 100),
        (0.07, 100, 7),
        (0.55, 400, 220),
    ],
)
def test_the_fraction_is_rounded_up_but_not_for_rounding_errors(
    fraction: float, reads_made: int, kept: int
) -> None:
    bits = np.zeros((1, reads_made, 1), dtype=np.uint8)
    bits[0, :kept] = 1
    energies = np.arange(float(reads_made))[np.newaxis]
    assert score(bits, energies, fraction=fraction).scores[0, 0] == 1.0
    bits[0, kept - 1] = 0
    assert score(bits, energies, fraction=fraction).scores[0, 0] == pytest.approx((kept - 1) / kept)


def test_a_tie_goes_to_the_class_with_the_lowest_energy() -> None:
    bits = np.array([[[1, 0, 0], [0, 0, 1], [0, 1, 0], [0, 0, 0]]], dtype=np.uint8)
    energies = np.array([[-2.0, -3.0, -1.0, 0.0]])
    result = score(bits, energies, fraction=0.5)
    np.testing.assert_array_equal(result.scores, [[0.5, 0.0, 0.5]])
    assert (result.predicted[0], result.tied[0], result.margin[0]) == (2, True, 0.0)
    # Class 1 has the lowest energy of all, but its score is not among the highest.
    outsider = np.array([[[0, 1, 0], [1, 0, 0], [0, 0, 1], [1, 0, 0], [0, 0, 1]]], dtype=np.uint8)
    result = score(outsider, np.array([[-9.0, -1.0, -2.0, -1.0, -2.0]]), Rule.ALL_READS_MEAN)
    assert (result.predicted[0], result.tied[0]) == (2, True)


def test_rows_never_read_do_not_break_ties() -> None:
    bits = np.array([[[1, 0], [0, 1], [0, 1]]], dtype=np.uint8)
    energies = np.array([[-2.0, -1.0, -9.0]])
    result = score(bits, energies, Rule.ALL_READS_MEAN, occurrences=np.array([[1, 1, 0]]))
    assert (result.predicted[0], result.tied[0], result.lowest_energy[0]) == (0, True, -2.0)


def test_no_class_in_the_kept_reads_is_undecided_and_never_class_zero() -> None:
    bits = np.zeros((2, 20, 3), dtype=np.uint8)
    bits[:, 2:] = 1
    energies = np.tile(np.arange(20.0), (2, 1))
    result = score(bits, energies)
    np.testing.assert_array_equal(result.predicted, [-1, -1])
    np.testing.assert_array_equal(result.tied, [False, False])
    np.testing.assert_array_equal(result.margin, [0.0, 0.0])
    assert score(bits, energies, Rule.ALL_READS_MEAN).predicted[0] != -1


def test_enormous_energies_do_not_overflow() -> None:
    bits = np.eye(3, dtype=np.uint8)[np.newaxis]
    result = score(bits, np.array([[1e6, -1e6, 0.0]]), Rule.BOLTZMANN, beta=1e3)
    np.testing.assert_array_equal(result.scores, [[0.0, 1.0, 0.0]])


def test_a_large_batch_is_scored_as_its_images_are() -> None:
    rng = np.random.default_rng(2)
    bits = rng.integers(0, 2, (60, 700, 10), dtype=np.uint8)
    energies = rng.integers(0, 9, (60, 700)).astype(float)
    whole = score(bits, energies)
    for image in (0, 31, 59):
        one = score(bits[[image]], energies[[image]])
        np.testing.assert_array_equal(one.scores[0], whole.scores[image])
        assert one.predicted[0] == whole.predicted[image]


def test_stored_energies_of_single_precision_are_taken() -> None:
    bits = np.ones((1, 4, 1), dtype=np.uint8)
    result = score(bits, np.arange(4, dtype=np.float32)[np.newaxis])
    assert result.lowest_energy.dtype == np.float64


def test_an_empty_batch_has_an_empty_consensus() -> None:
    assert score(np.zeros((0, 5, 3), dtype=np.uint8), np.zeros((0, 5))).scores.shape == (0, 3)


BITS, ENERGIES = np.zeros((2, 4, 3), dtype=np.uint8), np.zeros((2, 4))


@pytest.mark.parametrize(
    ("arguments", "options", "match"),
    [
        ((BITS.astype(float), ENERGIES), {}, "uint8"),
        ((BITS[0], ENERGIES), {}, "uint8"),
        ((BITS[:, :0], ENERGIES[:, :0]), {}, "R >= 1"),
        ((BITS[..., :0], ENERGIES), {}, "K >= 1"),
        ((BITS + np.uint8(2), ENERGIES), {}, "0 or 1"),
        ((BITS, ENERGIES[:, :3]), {}, "energies"),
        ((BITS, np.full((2, 4), np.nan)), {}, "finite"),
        ((BITS, ENERGIES), {"rule": "majority"}, "lowest_energy_mean, all_reads_mean, boltzmann"),
        ((BITS, ENERGIES), {"fraction": 0.0}, "fraction"),
        ((BITS, ENERGIES), {"fraction": 1.5}, "fraction"),
        ((BITS, ENERGIES), {"fraction": np.nan}, "fraction"),
        ((BITS, ENERGIES), {"beta": 0.0}, "beta"),
        ((BITS, ENERGIES), {"beta": np.inf}, "beta"),
        ((BITS, ENERGIES), {"occurrences": np.ones((2, 3), dtype=int)}, "occurrences"),
        ((BITS, ENERGIES), {"occurrences": np.ones((2, 4))}, "integers"),
        ((BITS, ENERGIES), {"occurrences": np.full((2, 4), -1)}, "0 or more"),
        (
            (BITS, ENERGIES),
            {"occurrences": np.array([[1, 1, 1, 1], [0, 0, 0, 0]])},
            "every image needs a read",
        ),
    ],
)
def test_impossible_reads_and_options_are_refused(arguments, options, match: str) -> None:
    with pytest.raises(ParameterError, match=match):
        score(*arguments, **options)
