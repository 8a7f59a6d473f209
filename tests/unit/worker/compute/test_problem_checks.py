"""A chip measured by ordinary reads, judged by exact Boltzmann draws."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from worker.compute.problem_checks import LEAST, ProblemCheck, SentProblem, check_problem, suspicions

UNITS, IMAGES, READS = 8, 60, 80
BETA = 3.0


def a_problem(seed: int) -> SentProblem:
    random = np.random.default_rng(seed)
    J = np.triu(random.normal(0.0, 0.15, (UNITS, UNITS)), k=1)
    h = random.normal(0.0, 0.3, (IMAGES, UNITS))
    return SentProblem(h, J + J.T, random.uniform(1.0, 12.0, (IMAGES, UNITS)))


def boltzmann_reads(sent: SentProblem, beta: float, coupling_bias: float, seed: int) -> np.ndarray:
    """Draw reads (k, R, n) from the exact distribution of a chip that pulls its chains one way."""
    random = np.random.default_rng(seed)
    states = np.array(list(product((0, 1), repeat=UNITS)), dtype=np.uint8)
    spins = 2.0 * states - 1.0
    pairs = np.einsum("si,ij,sj->s", spins, sent.J, spins) / 2.0
    reads = np.empty((len(sent.h), READS, UNITS), dtype=np.uint8)
    for image, h in enumerate(sent.h + coupling_bias * sent.coupled):
        energies = spins @ h + pairs
        weights = np.exp(-beta * (energies - energies.min()))
        reads[image] = states[random.choice(len(states), READS, p=weights / weights.sum())]
    return reads


def check(sent: SentProblem, reads: np.ndarray) -> ProblemCheck:
    spins = 2.0 * reads - 1.0
    energies = (spins * sent.h[:, np.newaxis]).sum(axis=2) + ((spins @ sent.J) * spins).sum(axis=2) / 2.0
    excess = float((energies.mean(axis=1) - energies.min(axis=1)).mean())
    return check_problem(reads, sent, chain_breaks=0.01, excess=excess)


def test_reads_that_never_leave_their_fields_are_cold_and_tell_no_bias() -> None:
    sent = a_problem(1)
    ground = (sent.h < 0.0).astype(np.uint8)[:, np.newaxis].repeat(READS, axis=1)
    found = check(SentProblem(4.0 * sent.h, 0.0 * sent.J, sent.coupled), ground)
    assert found.beta > 5.0
    assert abs(found.coupling_bias) < 0.05


@pytest.mark.parametrize("coupling_bias", [0.0, -0.02, 0.03])
@pytest.mark.parametrize("beta", [1.5, 4.5])
def test_temperature_and_coupling_bias_are_those_of_the_draws(beta: float, coupling_bias: float) -> None:
    sent = a_problem(1)
    found = check(sent, boltzmann_reads(sent, beta, coupling_bias, seed=2))
    assert found.beta == pytest.approx(beta, rel=0.05)
    assert found.coupling_bias == pytest.approx(coupling_bias, abs=0.002)


def test_random_bits_have_no_temperature() -> None:
    bits = np.random.default_rng(3).integers(0, 2, (IMAGES, READS, UNITS), dtype=np.uint8)
    assert check(a_problem(1), bits).beta < 0.1


def good_checks(count: int, start: int = 0) -> list[ProblemCheck]:
    seeds = range(start, start + count)
    return [check(a_problem(seed), boltzmann_reads(a_problem(seed), BETA, -0.02, seed)) for seed in seeds]


def wrong_check(seed: int, sigma: float) -> ProblemCheck:
    """Check a problem whose chip has other fields than were sent."""
    sent = a_problem(seed)
    errors = np.random.default_rng(seed).normal(0.0, sigma, sent.h.shape)
    return check(sent, boltzmann_reads(replace(sent, h=sent.h + errors), BETA, -0.02, seed))


def test_a_problem_that_was_programmed_wrongly_is_found_and_others_are_not() -> None:
    good = good_checks(40)
    wrong = [wrong_check(seed, 0.6) for seed in (100, 101)]
    assert not any(suspicions(good, []))
    found = suspicions([*good_checks(10, start=200), *wrong], good)
    assert [bool(z) for z in found] == [False] * 10 + [True] * 2


def test_wrong_problems_are_found_among_those_of_the_same_batch() -> None:
    found = suspicions([*good_checks(20), wrong_check(100, 0.6)], [])
    assert [bool(z) for z in found] == [False] * 20 + [True]


def test_nothing_is_suspect_where_there_is_too_little_to_compare_with() -> None:
    checks = [*good_checks(LEAST - 1), wrong_check(100, 0.6)]
    assert suspicions(checks, []) == [0.0] * LEAST
