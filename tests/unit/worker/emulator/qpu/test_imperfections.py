"""Errors of a chip have the stated sizes, and last as long as they should."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from dwave.system.temperatures import background_susceptibility_ising

from schema.errors import ParameterError
from worker.emulator.qpu.chip import Design, make
from worker.emulator.qpu.imperfections import (
    LIKE_ADVANTAGE,
    ChipErrors,
    Imperfections,
    ProgrammedProblem,
    misprogrammed,
    parse,
)
from worker.emulator.qpu.problem import DecodedProblem

CHIP = make(Design("pegasus", 6, dead=5), seed=0)
LIMITS: dict[str, Any] = {"h_range": [-4.0, 4.0], "extended_j_range": [-2.0, 1.0]}


def _problem(h: float = 0.0, J: float = -0.5) -> DecodedProblem:
    """A problem on all qubits and couplers."""
    n, m = len(CHIP.qubits), len(CHIP.couplers)
    return DecodedProblem(True, CHIP.qubits, np.full(n, h), CHIP.ends, np.full(m, J))


def _program(
    errors: ChipErrors, problem: DecodedProblem, number: int = 0, generation: int = 0
) -> ProgrammedProblem:
    random = np.random.default_rng(number)
    return Imperfections(CHIP, errors, generation).program(problem, 2.0, random, number)


def test_a_perfect_chip_programs_what_it_is_given() -> None:
    programmed = _program(ChipErrors(), _problem(1.0))
    assert (programmed.h == 0.5).all()
    assert (programmed.J == -0.25).all()
    assert not programmed.offsets.any()


@pytest.mark.parametrize(
    "name", ["h_persistent", "h_random", "h_drift", "j_persistent", "j_random", "h_slope"]
)
def test_errors_have_the_stated_size(name: str) -> None:
    programmed = _program(ChipErrors(**{name: 0.02}), _problem(2.0))
    found = {"h": programmed.offsets, "j": programmed.J + 0.25, "h_slope": programmed.h - 1}
    for key, values in found.items():
        is_wrong = name == key or (name[0] == key and name != "h_slope")
        # A standard deviation of 600 values is good to 3 %: four times that is allowed.
        assert values.std() == pytest.approx(0.02 if is_wrong else 0.0, rel=0.12)


def test_persistent_errors_last_until_the_graph_changes() -> None:
    errors = ChipErrors(h_persistent=0.015, j_persistent=0.01)
    first, later = _program(errors, _problem(), 1), _program(errors, _problem(), 99)
    other = _program(errors, _problem(), 1, generation=1)
    assert np.array_equal(first.offsets, later.offsets)
    assert np.array_equal(first.J, later.J)
    assert abs(np.corrcoef(first.offsets, other.offsets)[0, 1]) < 0.2
    part = DecodedProblem(True, CHIP.qubits[50:], np.zeros(len(CHIP.qubits) - 50), np.empty((0, 2), np.int32),
                          np.empty(0))  # fmt: skip
    assert np.array_equal(_program(errors, part).offsets, first.offsets[50:])


def test_random_errors_are_drawn_for_each_problem() -> None:
    errors = ChipErrors(h_random=0.005, j_random=0.003)
    first, later = _program(errors, _problem(), 1), _program(errors, _problem(), 2)
    assert abs(np.corrcoef(first.offsets, later.offsets)[0, 1]) < 0.2
    assert abs(np.corrcoef(first.J, later.J)[0, 1]) < 0.2


def test_drift_is_slow_and_the_same_whatever_was_asked_before() -> None:
    chip = Imperfections(CHIP, ChipErrors(h_drift=0.009, drift_problems=20), 0)
    drift = {
        number: chip.program(_problem(), 1.0, np.random.default_rng(), number).offsets
        for number in (500, 501, 520, 900)
    }
    close, apart, far = (float(np.corrcoef(drift[500], drift[k])[0, 1]) for k in (501, 520, 900))
    assert close > 0.9
    assert 0.2 < apart < 0.55  # 1 / e
    assert abs(far) < 0.2
    again = Imperfections(CHIP, ChipErrors(h_drift=0.009, drift_problems=20), 0)
    assert np.array_equal(again.program(_problem(), 1.0, np.random.default_rng(), 520).offsets, drift[520])


def test_couplers_bias_their_qubits() -> None:
    programmed = _program(ChipErrors(h_from_j=-0.02), _problem(J=-1.0))
    degrees = np.bincount(CHIP.ends.ravel(), minlength=len(CHIP.qubits))
    np.testing.assert_allclose(programmed.offsets, -0.02 * 0.5 * degrees)


def test_converters_round() -> None:
    programmed = _program(ChipErrors(h_dac=0.005, j_dac=0.002), _problem())
    assert 0.004 < np.abs(programmed.h).max() <= 0.005
    assert 0.0018 < np.abs(programmed.J + 0.25).max() <= 0.002


def test_background_susceptibility_is_that_of_dwave_system() -> None:
    h, J = {0: 0.3, 1: -0.2, 2: 0.5, 3: 0.1}, {(0, 1): -1.0, (1, 2): 0.5, (0, 2): 0.2, (2, 3): -0.7}
    chip = make(Design("pegasus", 2), seed=0)
    edges, values = np.array(list(J), np.int32), np.array(list(J.values()))
    problem = DecodedProblem(True, chip.qubits[:4], np.array(list(h.values())), edges, values)
    made = Imperfections(chip, ChipErrors(chi=-0.02), 0).program(problem, 1.0, np.random.default_rng(0))
    dh, dJ, _ = background_susceptibility_ising(h, J)
    np.testing.assert_allclose(made.h + made.offsets, [h[i] - 0.02 * dh[i] for i in range(4)])
    expected = dict(J)
    for pair, value in dJ.items():
        expected[min(pair), max(pair)] = expected.get((min(pair), max(pair)), 0.0) - 0.02 * value
    found = {(min(pair), max(pair)): value for pair, value in zip(made.edges.tolist(), made.J, strict=True)}
    assert found == pytest.approx(expected)
    assert np.array_equal(made.edges[:4], edges)
    assert not made.nominal[4:].any()


def test_qubits_are_misread_at_the_stated_rate() -> None:
    spins = np.ones((1000, 500), np.int8)
    Imperfections(CHIP, ChipErrors(flip=0.002), 0).misread(spins, np.random.default_rng(1))
    # 1,000 expected, with a standard deviation of 32.
    assert 870 < (spins == -1).sum() < 1130
    assert set(np.unique(spins)) == {-1, 1}


def test_a_misprogrammed_problem_is_wrong_by_a_share_of_the_ranges() -> None:
    good = _program(ChipErrors(), _problem(1.0))
    bad = misprogrammed(good, 0.1, LIMITS, np.random.default_rng(1))
    assert (bad.h - good.h).std() == pytest.approx(0.4, rel=0.12)
    assert (bad.J - good.J).std() == pytest.approx(0.2, rel=0.12)


def test_errors_are_read_from_an_option() -> None:
    assert parse("none", LIKE_ADVANTAGE) == ChipErrors()
    assert parse("advantage", ChipErrors()) == LIKE_ADVANTAGE
    assert parse("chi=-0.02,flip=0", LIKE_ADVANTAGE).chi == -0.02
    assert parse("none,h_drift=0.01", LIKE_ADVANTAGE) == ChipErrors(h_drift=0.01)


@pytest.mark.parametrize(
    "text", ["", "dwave", "h=0.1", "flip=x", "flip=2", "none,chi=nan", "chi=-1", "seed=1"]
)
def test_wrong_errors_are_refused(text: str) -> None:
    with pytest.raises(ParameterError):
        parse(text, ChipErrors())
