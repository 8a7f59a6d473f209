"""A chip as a night's reads show it, judged by exact Boltzmann draws of chips with known errors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.unit.worker.compute.test_problem_checks import IMAGES, UNITS, a_problem, boltzmann_reads
from worker.compute.twin.drift import fit_changes
from worker.compute.twin.fields import FieldErrors
from worker.compute.twin.fit import ChipFit, fit_chip_errors
from worker.compute.twin.night import Night, NightProblem
from worker.compute.twin.temperature import AlongFields

BETA, FLIPS, PROBLEMS, H_SD = 3.0, 0.004, 24, 0.03


def a_night(
    fields: NDArray[np.float64],
    *,
    flips: float = 0.0,
    couplings: NDArray[np.float64] | None = None,
    gauges: bool = True,
) -> Night:
    """Problems of a chip whose tiles have these field errors (k, n), and errors of couplings (n, n)."""
    random = np.random.default_rng(1)
    problems = []
    for number in range(PROBLEMS):
        sent = a_problem(number)
        signs = random.choice([-1.0, 1.0], (IMAGES, 1)) if gauges else np.ones((IMAGES, 1))
        # As if no spin had been reversed, a field of the chip is reversed.
        J = sent.J if couplings is None else sent.J + couplings
        reads = boltzmann_reads(replace(sent, h=sent.h + signs * fields, J=J), BETA, 0.0, number)
        reads ^= (random.random(reads.shape) < flips).astype(np.uint8)
        problems.append(NightProblem.of(np.arange(IMAGES), reads, sent, 0.0, signs))
    ones = np.ones((IMAGES, UNITS), np.intp)
    return Night(ones, np.ones((IMAGES, UNITS, UNITS), np.intp) - np.eye(UNITS, dtype=np.intp), problems)


def fields_of_qubits(seed: int = 5) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(0.0, H_SD, (IMAGES, UNITS))


@pytest.fixture(scope="module")
def hidden() -> NDArray[np.float64]:
    return fields_of_qubits()


@pytest.fixture(scope="module")
def fitted(hidden: NDArray[np.float64]) -> ChipFit:
    return fit_chip_errors(a_night(hidden, flips=FLIPS))


def test_field_errors_are_those_of_the_chip(hidden: NDArray[np.float64], fitted: ChipFit) -> None:
    errors = fitted.errors
    assert np.corrcoef(errors.fields.ravel(), hidden.ravel())[0, 1] > 0.9
    # Pseudolikelihood counts what two neighbors share at both, so it is a little too certain.
    assert 0.9 < ((errors.fields - hidden) / errors.spreads).std() < 1.3
    assert errors.h_sd == pytest.approx(H_SD, rel=0.15)
    assert errors.reliability.min() > 0.5


def test_wrong_readings_do_not_make_the_chip_hot(fitted: ChipFit) -> None:
    assert fitted.temperature.beta == pytest.approx(BETA, rel=0.03)
    assert fitted.temperature.flips == pytest.approx(FLIPS, rel=0.25)


def test_errors_of_couplings_are_no_field_errors_with_spin_reversals() -> None:
    couplings = np.zeros((UNITS, UNITS))
    couplings[2, 6] = couplings[6, 2] = 0.06
    errors = fit_chip_errors(a_night(np.zeros((IMAGES, UNITS)), couplings=couplings)).errors
    means = errors.couplings.mean(axis=0)
    assert np.unravel_index(np.argmax(np.abs(means)), means.shape) in {(2, 6), (6, 2)}
    assert 0.015 < means[2, 6] < 0.07  # nearer to 0 by its prior, which expects 0.01
    assert np.abs(errors.fields.mean(axis=0)).max() < 0.01


def test_a_chip_without_errors_has_hardly_any() -> None:
    fitted = fit_chip_errors(a_night(np.zeros((IMAGES, UNITS)), gauges=False))
    assert np.abs(fitted.errors.fields).max() < 0.04
    assert fitted.temperature.flips < 3e-4
    assert fitted.errors.h_sd < 0.015


def test_tiles_with_the_largest_errors_are_named() -> None:
    fields = np.zeros((IMAGES, UNITS))
    fields[17] = 0.08 * np.array([1, -1] * (UNITS // 2))
    errors = fit_chip_errors(a_night(fields)).errors
    assert int(np.argmax(errors.tile_errors)) == 17


def test_units_without_a_tile_say_nothing() -> None:
    night = a_night(fields_of_qubits())
    part = [replace(one, tiles=np.arange(IMAGES) + 1) for one in night.problems]
    wider = Night(
        np.ones((IMAGES + 1, UNITS), np.intp), np.concatenate([night.couplers[:1], night.couplers]), part
    )
    errors = fit_chip_errors(wider).errors
    assert not errors.fields[0].any()
    assert not errors.reliability[0].any()


def test_the_histogram_of_one_temperature_has_it() -> None:
    random = np.random.default_rng(2)
    fields = random.normal(0.0, 0.5, 200_000)
    spins = np.where(random.random(fields.size) < 1.0 / (1.0 + np.exp(2.0 * 4.0 * fields)), 1.0, -1.0)
    found = AlongFields()
    found.add(-spins * fields)
    assert found.fit().beta == pytest.approx(4.0, rel=0.02)


@pytest.mark.parametrize(("drift", "memory", "random_sd"), [(0.02, 20.0, 0.0), (0.0, 20.0, 0.02)])
def test_drift_and_chance_are_told_apart(drift: float, memory: float, random_sd: float) -> None:
    random, problems, chains, information = np.random.default_rng(3), 400, 300, 500.0
    stays = np.exp(-1.0 / memory)
    field, slopes = np.zeros(chains), np.empty((problems, chains))
    for number in range(problems):
        field = stays * field + np.sqrt(1.0 - stays**2) * random.normal(0.0, drift, chains)
        here = field + random.normal(0.0, random_sd, chains)
        slopes[number] = information * here + random.normal(0.0, np.sqrt(information), chains)
    weights = np.full(slopes.shape, information, np.float32)
    found = fit_changes(slopes.astype(np.float32), weights, np.ones(chains, np.intp))
    assert found.drift == pytest.approx(drift, abs=0.003)
    assert found.random == pytest.approx(random_sd, abs=0.006)
    if drift:
        assert found.memory == pytest.approx(memory, rel=0.5)


def test_no_errors_are_those_of_a_perfect_chip() -> None:
    night = a_night(np.zeros((IMAGES, UNITS)))
    errors = FieldErrors.none(night)
    assert not errors.tile_errors.any()
    assert np.isinf(errors.spreads).all()
